import { test } from "tap";
import { Body, headerValue, ProxyError } from "../../../core/index.ts";
import { choosing, eject, holdTimers, many, named, optionsOf, refuse } from "../../support/choosing.ts";
import { exchangeOf, responseOf } from "../../support/exchange.ts";
import { settled } from "../../support/manual-clock.ts";

holdTimers();

const OPEN_FOR_MS = 5_000;
/** With what chance adds at most. */
const LONGEST_OPEN_MS = OPEN_FOR_MS * 1.25;
const RANDOM = "balancing: { algorithm: random }";

/** A body of which nobody but the test knows when it ends. */
const openBody = () => new Body({ pause() {}, resume() {}, cancel() {} }, undefined);

// --- how many

test("however many endpoints are dead, trials take no more than their part by weight, and a tenth at most", async (t) => {
  const [requests, perSecond] = [600, 20];
  for (const [total, dead] of [
    [300, 100],
    [100, 10],
    [100, 2],
    [3, 1],
    [2, 1],
  ] as const) {
    const world = choosing(t, many("a", total), {
      options: optionsOf(`${RANDOM}, retries: { attempts: 0 }, breaker: { openForMax: 5s }`),
      answer: async (address) => responseOf(Number(address.slice(1)) < dead ? 500 : 200),
    });
    for (let i = 0; i < dead; i++) world.fail(`a${i}`);
    world.pass(LONGEST_OPEN_MS);
    const way = world.way();
    let failed = 0;
    for (let i = 0; i < requests; i++) {
      if ((await world.send(way)) !== 200) failed++;
      world.pass(1_000 / perSecond);
    }
    const most = Math.min(0.1, dead / total) * requests;
    t.ok(failed <= most + 1, `${dead} of ${total}: ${failed} trials for at most ${most}`);
    // Those whose breakers are open again are no reason for a trial: it is less than that, but not nothing.
    const turns = (dead * requests) / perSecond / (OPEN_FOR_MS / 1_000);
    t.ok(failed >= Math.min(most, turns) / 3, `${dead} of ${total}: ${failed} trials are enough`);
  }
});

test("a heavy endpoint is tried as its weight says, up to the tenth", async (t) => {
  const trials = (weight: number, others: number) => {
    const world = choosing(t, [named("x", { weight }), ...many("a", others)]);
    world.fail("x");
    world.pass(LONGEST_OPEN_MS);
    // Nobody is sent there in the end, so the place stays free and each turn leads to it.
    return world.counts(1_000)["x"]!;
  };
  t.equal(trials(1, 99), 10, "of a hundred equals each would get a hundredth");
  t.equal(trials(5, 95), 50);
  t.equal(trials(50, 50), 100, "and half of the weight is still a tenth of the requests");
});

test("who has waited longest is tried first: one that fails each trial at once keeps nobody from his", async (t) => {
  const world = choosing(t, many("a", 40), {
    answer: (address, exchange) =>
      address === "a0" ? refuse(address, exchange) : Promise.resolve(responseOf()),
  });
  for (let i = 0; i < 20; i++) world.fail(`a${i}`);
  world.pass(LONGEST_OPEN_MS);
  const way = world.way();
  for (let i = 0; i < 250; i++) {
    t.equal(await world.send(way), 200);
    world.pass(100);
  }
  t.same(
    world.upstream.endpoints.filter((one) => !one.isWell).map(({ endpoint }) => endpoint.address),
    ["a0"],
  );
});

test("where there is nobody else, a trial needs no turn", async (t) => {
  const world = choosing(t, many("a", 3));
  for (const address of ["a0", "a1", "a2"]) world.fail(address);
  world.pass(LONGEST_OPEN_MS);
  const way = world.way();
  for (let i = 0; i < 3; i++) t.equal(await world.send(way), 200);
});

// --- who is tried at all

test("unwell endpoints that are used in panic come back after their breakers have opened", async (t) => {
  const unwell = { unwell: true };
  for (const closed of [[], ["a3"]]) {
    const world = choosing(t, [...many("a", 4, () => unwell), named("b0", { priority: 1, ...unwell })]);
    const broken = ["a0", "a1", "a2", "a3", "b0"].filter((address) => !closed.includes(address));
    for (const address of broken) world.fail(address);
    world.pass(LONGEST_OPEN_MS);
    const way = world.way();
    for (let i = 0; i < 100; i++) t.equal(await world.send(way), 200);
    const levels = closed.length === 0 ? ["a0"] : ["a0", "a1", "a2", "a3"];
    for (const address of levels) t.equal(world.of(address).breakerState, "closed", address);
  }
});

test("one that is ejected and whose breaker is half open is tried when there is nobody else", async (t) => {
  const world = choosing(t, many("a", 4), {
    answer: (address, exchange) =>
      address === "a3" ? Promise.resolve(responseOf()) : refuse(address, exchange),
  });
  world.fail("a3");
  eject(world, ["a3"]);
  t.same([world.of("a3").watched!.standing.is, world.of("a3").breakerState], ["ejected", "halfOpen"]);
  for (const address of ["a0", "a1", "a2"]) world.fail(address);
  t.equal(await world.send(world.way()), 200);
});

test("a level that is needed but has nobody left is tried, and one that is not needed is left alone", async (t) => {
  const answered = new Set<string>();
  const world = choosing(
    t,
    ["a", "b", "c"].flatMap((name, priority) => many(name, 10, () => ({ priority }))),
    {
      answer: (address, exchange) => {
        if (/^a[1-9]/.test(address)) return refuse(address, exchange);
        answered.add(address[0]!);
        return Promise.resolve(responseOf());
      },
    },
  );
  for (const prefix of ["a", "b", "c"]) for (let i = 0; i < 10; i++) world.fail(`${prefix}${i}`);
  world.pass(LONGEST_OPEN_MS);
  const { breaker } = world.of("a0");
  breaker.settle(breaker.admit()!, "success");
  const way = world.way();
  for (let i = 0; i < 400; i++) {
    t.equal(await world.send(way), 200);
    world.pass(100);
  }
  t.ok(answered.has("b"), "the second level is well and carries what the first cannot");
  t.equal(world.of("c9").breakerState, "halfOpen", "which is why nobody asks for the third");
});

// --- by which requests

test("whoever has retries has his payments spared, and without any nobody is: the route's count, then the lane's", async (t) => {
  const triedBy = async (own: number, ofLane?: number, ofRoute?: number) => {
    const options = optionsOf(`${RANDOM}, retries: { attempts: ${own} }`);
    const world = choosing(t, many("a", 3), { options });
    world.fail("a0");
    world.pass(LONGEST_OPEN_MS);
    const exchange = exchangeOf({ method: "POST", nowMs: world.clock.now() });
    if (ofRoute !== undefined) exchange.policy = { retries: { attempts: ofRoute } };
    const lane = ofLane === undefined ? {} : { retries: { ...options.retries, attempts: ofLane } };
    await world.send(world.way(lane), exchange);
    return exchange.endpoint;
  };
  t.not(await triedBy(2), "a0:1");
  t.equal(await triedBy(0), "a0:1");
  t.not(await triedBy(0, 2), "a0:1");
  t.equal(await triedBy(2, 0), "a0:1");
  t.not(await triedBy(0, 0, 2), "a0:1");
  t.equal(await triedBy(2, 2, 0), "a0:1");
});

test("callers that all have cookies bring an endpoint back, and none of them loses its place by that", async (t) => {
  const options = optionsOf("balancing: { algorithm: random, sticky: { cookie: s } }");
  const world = choosing(t, many("a", 3), { options });
  const way = world.way();
  const jars = new Array<string>(20).fill("");
  const round = async () => {
    for (const [i, jar] of jars.entries()) {
      const exchange = exchangeOf({ nowMs: world.clock.now(), headers: ["Cookie", jar] });
      const { headers } = await way(exchange);
      exchange.settle("success", world.clock.now());
      jars[i] = headerValue(headers, "set-cookie")?.split(";")[0] ?? jar;
    }
    world.pass(1_000);
  };
  await round();
  world.fail("a1");
  await round();
  const homes = [...jars];
  for (let i = 0; i < 10; i++) await round();
  t.equal(
    world.of("a1").breakerState,
    "halfOpen",
    "as long as callers without one may come, it waits for them",
  );
  for (let i = 0; i < 30; i++) await round();
  t.equal(world.of("a1").breakerState, "closed");
  t.same(jars, homes);
});

// --- what a trial proves

test("a tunnel that has switched is a trial that was passed, long before it ends", async (t) => {
  const world = choosing(t, many("a", 4), {
    options: optionsOf(`${RANDOM}, upgrades: [websocket]`),
    answer: async () => responseOf(101, openBody()),
  });
  eject(world, ["a2"]);
  world.pass(36_000);
  t.equal(world.of("a2").watched!.standing.is, "probing");
  const way = world.way();
  for (let i = 0; i < 60; i++) await way(exchangeOf({ upgrade: "websocket", nowMs: world.clock.now() }));
  t.equal(world.of("a2").watched!.standing.is, "in");
});

test("callers that give up waiting for an endpoint on trial are three, and then nobody waits for it for a while", async (t) => {
  const minute = 60_000;
  const patience = 1_000;
  const world = choosing(t, many("a", 4), {
    options: optionsOf(`${RANDOM}, outliers: { enabled: false }`),
    answer: (address) =>
      address === "a0"
        ? new Promise((_, reject) => {
            world.clock.schedule(patience, () => reject(new ProxyError("client_closed", "gave up")));
          })
        : Promise.resolve(responseOf()),
  });
  world.fail("a0");
  world.pass(LONGEST_OPEN_MS);
  const way = world.way();
  let gaveUp = 0;
  for (let ms = 0; ms < minute; ms += 100) {
    const exchange = exchangeOf({ nowMs: world.clock.now() });
    way(exchange).catch(() => {
      gaveUp++;
      exchange.settle("failure", world.clock.now());
    });
    world.pass(100);
    await settled();
  }
  // The third keeps the place for as long as a breaker is open, and the next three have theirs after it.
  const rounds = minute / (2 * patience + OPEN_FOR_MS);
  t.ok(gaveUp <= 3 * Math.ceil(rounds), `${gaveUp} callers in a minute, without a bound nearly sixty`);
  t.ok(gaveUp >= 3 * Math.floor(rounds) - 3, `and as it goes on being tried, ${gaveUp}`);
});

test("a trial that ends in whatever way gives its place back", async (t) => {
  const ends: Record<string, () => Promise<never> | ReturnType<typeof responseOf>> = {
    "it is rejected": () => Promise.reject(new ProxyError("client_closed", "gone")),
    "it is thrown": () => {
      throw new ProxyError("client_closed", "gone");
    },
    "its deadline passes": () => Promise.reject(new ProxyError("deadline_exceeded", "too late")),
    "its body is broken off": () => {
      const body = openBody();
      setImmediate(() => body.cancel(new ProxyError("client_closed", "gone")));
      return responseOf(200, body);
    },
  };
  for (const [what, end] of Object.entries(ends)) {
    let isWell = false;
    const world = choosing(t, many("a", 4), {
      options: optionsOf(`${RANDOM}, retries: { attempts: 0 }`),
      answer: async (address) => (address === "a2" && !isWell ? end() : responseOf()),
    });
    const way = world.way();
    const { watched } = world.of("a2");
    eject(world, ["a2"]);
    world.pass(36_000);
    for (let i = 0; i < 30; i++) {
      await world.send(way);
      await settled();
      await settled();
      t.ok(watched!.mayProbe(world.clock.now()), what);
    }
    t.equal(world.of("a2").inFlight, 0, what);
    isWell = true;
    for (let i = 0; i < 60; i++) await world.send(way);
    t.equal(watched!.standing.is, "in", what);
  }
});
