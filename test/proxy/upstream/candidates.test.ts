import { test } from "tap";
import { DEFAULT_PRIORITY, priorityShares } from "../../../balancing/index.ts";
import { type Endpoint, ProxyError } from "../../../core/index.ts";
import { situationAmong } from "../../../proxy/control/peers.ts";
import { choosing, eject, isAbout, many, named, optionsOf, under } from "../../support/choosing.ts";
import { exchangeOf } from "../../support/exchange.ts";

// --- health

test("an endpoint whose breaker is open gets nothing, and the last one's refusal is an error that says so", async (t) => {
  const world = choosing(t, many("a", 3));
  world.fail("a0");
  t.same(Object.keys(world.counts(200)).toSorted(), ["a1", "a2"]);
  world.fail("a1");
  world.fail("a2");
  t.throws(() => world.choose(), new ProxyError("breaker_open", "the breakers of all 3 endpoints are open"));
});

test("an ejected endpoint gets nothing until its time is over, and comes back by three requests one at a time", async (t) => {
  const world = choosing(t, many("a", 4));
  const { clock, of } = world;
  eject(world, ["a2"]);
  t.equal(of("a2").watched!.standing.is, "ejected");
  t.equal(world.counts(400)["a2"], undefined);
  t.same(world.upstream.counts().endpoints, { available: 3, refused: 0, ejected: 1 });
  t.same([...world.upstream.counts().ejections], [["successRate", 1]]);
  clock.advance(36_000);
  t.equal(of("a2").watched!.standing.is, "probing");
  for (let probe = 0; probe < 3; probe++) {
    t.equal(world.choose(), "a2", "the next request is a probe");
    t.equal(world.counts(100)["a2"], undefined, "and nothing else as long as it has not ended");
    of("a2").watched!.observe("success", 10, clock.now(), clock.now());
  }
  t.equal(of("a2").watched!.standing.is, "in");
  t.match(world.upstream.warmth("a2:1"), 0.1, "it has to warm up");
});

test("when breakers leave nobody but an ejected endpoint, it is used", async (t) => {
  const world = choosing(t, many("a", 4), {
    options: optionsOf("balancing: { algorithm: random, panicThreshold: 0% }"),
  });
  eject(world, ["a3"]);
  for (const address of ["a0", "a1", "a2"]) world.fail(address);
  t.same(world.counts(10), { a3: 10 });
});

test("a half-open breaker is tried by a request that may be repeated, and by any when none has come for a while", async (t) => {
  const options = optionsOf("balancing: { algorithm: random }, breaker: { openFor: 40ms }");
  const world = choosing(t, many("a", 3), { options });
  const { clock } = world;
  world.fail("a0");
  await world.until("a0", "halfOpen");
  clock.advance(45);
  const post = () => exchangeOf({ method: "POST" });
  const since = world.of("a0").onTrialSinceMs;
  t.ok(clock.now() - since < 40, "it is not long ago");
  t.equal(world.counts(100, post)["a0"], undefined, "payments are spared");
  t.equal(world.choose(exchangeOf({ method: "POST", headers: ["Idempotency-Key", "1"] })), "a0");
  const permit = world.of("a0").breaker.admit();
  t.not(permit, undefined, "the breaker has a place");
  t.equal(world.counts(50)["a0"], undefined, "which is taken now");
  world.of("a0").breaker.settle(permit!, "ignored");
  clock.advance(50);
  t.equal(world.choose(post()), "a0", "somebody has to");
});

test("without retries, any request is as good a probe as another", async (t) => {
  const world = choosing(t, many("a", 3), { options: optionsOf("breaker: { openFor: 20ms }") });
  world.fail("a0");
  await world.until("a0", "halfOpen");
  t.equal(world.choose(exchangeOf({ method: "POST" }), false), "a0");
});

test("an endpoint whose breaker has closed warms up", async (t) => {
  const world = choosing(t, many("a", 3), { options: optionsOf("breaker: { openFor: 20ms }") });
  world.fail("a0");
  await world.until("a0", "halfOpen");
  t.equal(world.choose(), "a0");
  const { breaker } = world.of("a0");
  breaker.settle(breaker.admit()!, "success");
  t.equal(world.of("a0").breakerState, "closed");
  t.equal(world.upstream.warmth("a0:1"), 0.1);
});

test("a further attempt goes to whom the request has not tried, also in another part, and at last again to the same", async (t) => {
  const world = choosing(t, [named("a0"), named("b0", { priority: 1 })]);
  const exchange = exchangeOf();
  const tried = () => {
    const endpoint = world.upstream.choice.endpointFor(exchange, true);
    exchange.beginAttempt(endpoint.key);
    return endpoint.endpoint.address;
  };
  t.equal(tried(), "a0");
  t.equal(tried(), "b0", "which had no part in the traffic");
  t.equal(tried(), "a0", "there is nobody else");
  const two = choosing(t, [named("a0"), named("a1", { unwell: true }), named("b0", { priority: 1 })]);
  const other = exchangeOf();
  const seen = new Set<string>();
  for (let i = 0; i < 2; i++) {
    const endpoint = two.upstream.choice.endpointFor(other, true);
    other.beginAttempt(endpoint.key);
    seen.add(endpoint.endpoint.address);
  }
  t.same([...seen].toSorted(), ["a0", "b0"], "where both levels have one, the other one is asked");
});

test("a further attempt goes to one that is on trial before it goes where the request has failed", async (t) => {
  const world = choosing(t, many("a", 3), { options: optionsOf("breaker: { openFor: 20ms }") });
  world.fail("a2");
  await world.until("a2", "halfOpen");
  const payment = exchangeOf({ method: "POST" });
  t.same(world.attempts(payment, 3).toSorted(), ["a0", "a1", "a2"]);
});

test("a further attempt goes to an outlier before it goes where the request has failed, and to nobody else's open breaker", async (t) => {
  const world = choosing(t, many("a", 3));
  eject(world, ["a2"]);
  t.equal(world.of("a2").watched!.standing.is, "ejected");
  const met = world.attempts(exchangeOf(), 4);
  t.same(met.slice(0, 2).toSorted(), ["a0", "a1"], "whoever is well comes first");
  t.equal(met[2], "a2");
  t.not(met[3], "a2", "when all have failed it, an outlier is one again");
  t.same(world.counts(1_000)["a2"], undefined, "first attempts leave it alone");
  world.fail("a2");
  t.notOk(world.attempts(exchangeOf(), 4).includes("a2"));
});

test("in panic, too, attempts meet everybody that is used before they meet anybody again", async (t) => {
  const heavy = { unwell: true, weight: 9 };
  for (const endpoints of [
    [named("a0", heavy), named("a1"), named("b0", { priority: 1, ...heavy }), named("b1", { priority: 1 })],
    [...many("a", 3, () => ({ unwell: true })), named("a3")],
  ])
    for (let seed = 1; seed <= 100; seed++) {
      const met = choosing(t, endpoints, { seed }).attempts(exchangeOf(), 4);
      if (new Set(met).size !== 4) t.fail(`seed ${seed}: ${met}`);
    }
  t.pass();
});

// --- priorities

test("each level gets what the formula gives it, whatever the algorithm", async (t) => {
  const requests = 20_000;
  for (const algorithm of ["random", "leastRequest", "peakEwma", "roundRobin"])
    for (const unwell of [0, 2, 3, 5, 8, 10]) {
      const endpoints = [
        ...many("a", 10, (place) => (place < unwell ? { unwell: true } : {})),
        ...many("b", 10, () => ({ priority: 1 })),
      ];
      const options = optionsOf(`balancing: { algorithm: ${algorithm} }`);
      const counts = choosing(t, endpoints, { options, seed: unwell }).counts(requests);
      const [first] = priorityShares(
        [
          { healthyWeight: 10 - unwell, totalWeight: 10 },
          { healthyWeight: 10, totalWeight: 10 },
        ],
        DEFAULT_PRIORITY,
      );
      isAbout(t, under(counts, "a"), first!.share, requests, `${algorithm}, ${unwell} of 10 unwell`);
      if (unwell < 10) for (let i = 0; i < unwell; i++) t.equal(counts[`a${i}`], undefined);
    }
});

test("levels are taken in the order of their numbers, wherever they stand and whichever numbers are missing", async (t) => {
  const world = choosing(t, [
    named("c", { priority: 7 }),
    named("b", { priority: 3 }),
    named("a", { priority: 2 }),
  ]);
  t.same(world.counts(50), { a: 50 });
  world.fail("a");
  t.same(world.counts(50), { b: 50 });
  world.fail("b");
  t.same(world.counts(50), { c: 50 });
  world.fail("c");
  t.throws(() => world.choose(), { code: "breaker_open" });
});

test("a level that has nothing any more is still tried, so that it comes back", async (t) => {
  const options = optionsOf("breaker: { openFor: 20ms }");
  const world = choosing(t, [named("a"), named("b", { priority: 1 })], { options });
  world.fail("a");
  t.same(world.counts(20), { b: 20 });
  await world.until("a", "halfOpen");
  t.equal(world.choose(), "a");
  const { breaker } = world.of("a");
  breaker.settle(breaker.admit()!, "success");
  t.same(world.counts(20), { a: 20 });
});

test("in panic all of a level are used, whatever discovery says, and without a threshold none of those is", async (t) => {
  const endpoints = many("a", 10, (place) => (place < 7 ? { unwell: true } : {}));
  const trusting = choosing(t, endpoints);
  t.equal(Object.keys(trusting.counts(2_000)).length, 10);
  const strict = choosing(t, endpoints, { options: optionsOf("balancing: { panicThreshold: 0% }") });
  t.same(Object.keys(strict.counts(500)).toSorted(), ["a7", "a8", "a9"]);
  const nobody = choosing(
    t,
    many("a", 2, () => ({ unwell: true })),
    {
      options: optionsOf("balancing: { panicThreshold: 0% }"),
    },
  );
  t.throws(() => nobody.choose(), { code: "breaker_open" });
});

test("equal requests belong to the same part, and as many to each as without a hash", async (t) => {
  const endpoints = [
    ...many("a", 10, (place) => (place < 5 ? { unwell: true } : {})),
    ...many("b", 10, () => ({ priority: 1 })),
  ];
  const options = optionsOf("balancing: { algorithm: ringHash, hash: [{ header: x-user }] }");
  const world = choosing(t, endpoints, { options });
  const of = (user: number) => exchangeOf({ headers: ["X-User", `user-${user}`] });
  // The circle of a second part is laid by and by, with the requests that come for it.
  for (let user = 0; user < 200; user++) world.choose(of(user));
  const first = Array.from({ length: 2_000 }, (_, user) => world.choose(of(user)));
  t.same(
    first,
    Array.from({ length: 2_000 }, (_, user) => world.choose(of(user))),
  );
  isAbout(t, first.filter((address) => address.startsWith("a")).length, 0.7, 2_000, "the first level");
});

// --- zones

const ZONES = "balancing: { algorithm: random, zones: { enabled: true } }";
const spread = (a: number, b: number, c: number) => [
  ...many("a", a, () => ({ zone: "a" })),
  ...many("b", b, () => ({ zone: "b" })),
  ...many("c", c, () => ({ zone: "c" })),
];

test("requests stay in the own zone as far as it can carry them", async (t) => {
  const options = optionsOf(ZONES, "{ zone: a }");
  const even = choosing(t, spread(3, 3, 3), { options, situation: { zone: "a" } });
  t.same(under(even.counts(500), "a"), 500);
  // One of nine endpoints for a third of the callers: 1.4 times a ninth, over a third.
  const few = choosing(t, spread(1, 4, 4), { options, situation: { zone: "a" } });
  isAbout(t, under(few.counts(20_000), "a"), (1.4 / 9) * 3, 20_000, "the own zone");
  // All callers are here: three of nine endpoints may get 1.4 times their third.
  const crowded = choosing(t, spread(3, 3, 3), { options, situation: { zone: "a", callers: { a: 5 } } });
  isAbout(t, under(crowded.counts(20_000), "a"), 1.4 / 3, 20_000, "the own zone of all callers");
  const nowhere = choosing(t, spread(3, 3, 3), { options });
  isAbout(t, under(nowhere.counts(20_000), "a"), 1 / 3, 20_000, "a sidecar that is nowhere");
});

test("what is not well is no capacity of a zone, and where this sidecar is may change", async (t) => {
  const options = optionsOf(ZONES, "{ zone: a }");
  const world = choosing(t, spread(3, 3, 3), { options, situation: { zone: "a" } });
  for (const address of ["a0", "a1"]) world.fail(address);
  const counts = world.counts(20_000);
  isAbout(t, under(counts, "a"), (1.4 / 7) * 3, 20_000, "with one of three");
  world.upstream.situate({ zone: "b" });
  t.equal(under(world.counts(500), "b"), 500);
});

test("an endpoint elsewhere that fails takes nothing away from the own zone", async (t) => {
  const options = optionsOf(ZONES, "{ zone: a }");
  const world = choosing(t, spread(2, 2, 2), { options, situation: { zone: "a" } });
  t.equal(under(world.counts(1_000), "a"), 1_000);
  // Five well ones are fewer than zones are looked at for: how many there are is not how many are well.
  world.fail("c0");
  t.equal(under(world.counts(1_000), "a"), 1_000);
});

test("peers that are listed in another order are the same situation", async (t) => {
  const instances = ["a", "b", "c"].map((zone, place) => ({
    ...named(`10.0.0.${place}`, { zone }),
    health: "passing" as const,
  }));
  const self = { id: "web-1", zone: "a", isOwn: ({ address }: Endpoint) => address === "10.0.0.1" };
  const told = (list: typeof instances) => JSON.stringify(situationAmong(list, self));
  t.equal(told(instances.toReversed()), told(instances), "a text is what is compared");
});

// --- aperture

test("of many endpoints a sidecar talks to its part, and all sidecars together to all alike", async (t) => {
  const options = optionsOf("balancing: { algorithm: random, aperture: 12 }");
  const endpoints = many("a", 100);
  const requests = 2_000;
  const totals: Record<string, number> = {};
  for (let index = 0; index < 25; index++) {
    const situation = { place: { index, count: 25 } };
    const counts = choosing(t, endpoints, { options, situation, seed: index }).counts(requests);
    t.ok(Object.keys(counts).length >= 12 && Object.keys(counts).length <= 14);
    for (const [address, count] of Object.entries(counts)) totals[address] = (totals[address] ?? 0) + count;
  }
  for (const { address } of endpoints) isAbout(t, totals[address] ?? 0, 1 / 100, requests * 25, address);
});

test("when less than half of its part is well, a sidecar talks to all; when no more than that are there, too", async (t) => {
  const options = optionsOf("balancing: { algorithm: random, aperture: 12 }");
  const situation = { place: { index: 0, count: 25 } };
  const world = choosing(t, many("a", 100), { options, situation });
  const own = Object.keys(world.counts(2_000));
  for (const address of own.slice(0, 7)) world.fail(address);
  t.equal(Object.keys(world.counts(5_000)).length, 93);
  const few = choosing(t, many("a", 12), { options, situation });
  t.equal(Object.keys(few.counts(2_000)).length, 12);
});

test("where all are talked to for want of well ones in its part, they count alike", async (t) => {
  const options = optionsOf("balancing: { algorithm: random, aperture: 12 }");
  // Of the endpoints at its ends, a part belongs to the neighbours.
  const world = choosing(t, many("a", 100), { options, situation: { place: { index: 1, count: 7 } } });
  const own = Object.keys(world.counts(5_000));
  for (const address of own.slice(0, 9)) world.fail(address);
  const requests = 91 * 500;
  const counts = world.counts(requests);
  t.equal(Object.keys(counts).length, 91);
  for (const [address, count] of Object.entries(counts)) isAbout(t, count, 1 / 91, requests, address);
});

// --- how many may be ejected

const BY_RUNS = "outliers: { consecutiveFailures: 4 }, breaker: { enabled: false }";

test("of those that make up for each other only so many are ejected: of a level, whoever is in reserve", async (t) => {
  const options = optionsOf(`balancing: { algorithm: random }, ${BY_RUNS}`);
  const endpoints = [...many("a", 6), ...many("b", 100, () => ({ priority: 1 }))];
  const world = choosing(t, endpoints, { options });
  const fails = (address: string) => {
    for (let i = 0; i < 4; i++)
      world.of(address).watched!.observe("failure", 1, world.clock.now(), world.clock.now());
  };
  const out = (prefix: string) =>
    world.upstream.endpoints.filter((one) => one.key.startsWith(prefix) && !one.isIn).length;
  for (const { address } of endpoints) fails(address);
  t.same([out("a"), out("b")], [1, 30], "30 % of each");
});

test("of those that make up for each other only so many are ejected: of an aperture, whoever is outside", async (t) => {
  const options = optionsOf("balancing: { algorithm: random, aperture: 12 }");
  const situation = { place: { index: 0, count: 20 } };
  const world = choosing(t, many("a", 200), { options, situation });
  const used = Object.keys(world.counts(3_000));
  for (let window = 0; window < 5; window++) {
    const now = Object.keys(world.counts(3_000));
    eject(world, used.slice(2 * window, 2 * window + 2), now);
  }
  const out = used.filter((address) => !world.of(address).isIn).length;
  t.equal(out, Math.floor(0.3 * used.length), `of ${used.length}`);
});

// --- slow start

test("a new endpoint gets a tenth of its weight at first, and more with each step, and lists are new with each", async (t) => {
  const world = choosing(t, many("a", 9), { options: optionsOf("balancing: { algorithm: roundRobin }") });
  const { clock, upstream } = world;
  world.choose();
  clock.advance(5_000);
  upstream.update(many("a", 10));
  const share = () => (world.counts(9_100)["a9"] ?? 0) / 9_100;
  t.ok(Math.abs(share() - 0.1 / 9.1) < 0.001, "a tenth of a share");
  clock.advance(15_000);
  t.ok(Math.abs(share() - 0.5 / 9.5) < 0.001, "half of it after half of the time");
  clock.advance(15_000);
  t.ok(Math.abs(share() - 0.1) < 0.001, "all of it at the end");
  t.equal(upstream.warmth("a9:1"), 1);
});

test("nobody is new at the start, and with a hash nobody ever is", async (t) => {
  const options = optionsOf("balancing: { algorithm: maglev, hash: [{ path: true }] }");
  for (const hashing of [undefined, options]) {
    const world = choosing(t, many("a", 3), hashing === undefined ? {} : { options: hashing });
    for (const { key } of world.upstream.endpoints) t.equal(world.upstream.warmth(key), 1);
    world.clock.advance(10_000);
    world.upstream.update(many("a", 4));
    t.equal(world.upstream.warmth("a3:1"), hashing === undefined ? 0.1 : 1);
  }
});

// --- changes

test("an endpoint that leaves while it is ejected or on trial leaves no trace, and comes back as a new one", async (t) => {
  const world = choosing(t, many("a", 4));
  const { upstream, clock } = world;
  eject(world, ["a2"]);
  upstream.update(many("a", 4).filter(({ address }) => address !== "a2"));
  t.same(upstream.counts().endpoints, { available: 3, refused: 0, ejected: 0 });
  clock.advance(60_000);
  upstream.update(many("a", 4));
  t.equal(world.of("a2").watched!.standing.is, "in");
  t.ok((world.counts(4_000)["a2"] ?? 0) > 0);
});

test("a changed weight counts from the next request on", async (t) => {
  const world = choosing(t, many("a", 2));
  world.choose();
  world.upstream.update([named("a0", { weight: 3 }), named("a1")]);
  isAbout(t, world.counts(10_000)["a0"]!, 3 / 4, 10_000, "three of four");
});
