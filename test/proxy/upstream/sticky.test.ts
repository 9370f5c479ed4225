import { createHash } from "node:crypto";
import { type Test, test } from "tap";
import { BALANCING_ALGORITHMS, HASHING_ALGORITHMS } from "../../../balancing/index.ts";
import { parseConfig } from "../../../config/index.ts";
import {
  type Clock,
  type Endpoint,
  type Handler,
  ProxyError,
  type ProxyResponse,
} from "../../../core/index.ts";
import { balance, Upstream } from "../../../proxy/upstream/index.ts";
import { retry } from "../../../resilience/index.ts";
import { type ExchangeSettings, exchangeOf, responseOf } from "../../support/exchange.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { seededRandom } from "../../support/seeded-random.ts";
import { SILENT_LOG } from "../../support/silent-log.ts";

const STICKY = "sticky: { cookie: replica }";

function named(address: string, more: Partial<Endpoint> = {}): Endpoint {
  return { address, port: 1, weight: 1, source: "test", ...more };
}

const many = (count: number): Endpoint[] => Array.from({ length: count }, (_, i) => named(`10.0.0.${i}`));

/** An upstream with these settings of `balancing`, whose endpoints answer what a test says; and callers that keep cookies. */
function serving(t: Test, balancing: string, endpoints: readonly Endpoint[], { seed = 1, more = "" } = {}) {
  const file = `upstreams: { orders: { endpoints: ["127.0.0.1:1"], balancing: { ${balancing} }, ${more} } }`;
  const { options } = parseConfig(file, "heddle.yaml", {}).upstreams["orders"]!;
  const clock = new ManualClock();
  const random = seededRandom(seed);
  const failing = new Set<string>();
  const upstream = new Upstream(
    "orders",
    options,
    { clock, random, log: SILENT_LOG },
    (_, { endpoint: { address } }) =>
      async () => {
        if (failing.has(`${address} connection`)) throw new ProxyError("connect_failed", "no connection");
        return responseOf(failing.has(address) ? 503 : 200, undefined, ["X-App", address]);
      },
  );
  upstream.update(endpoints);
  t.teardown(() => upstream.stop());
  // Waits between attempts are over at once, so that nobody has to move the clock.
  const hurried: Clock = {
    now: () => clock.now(),
    recentMs: clock.recentMs,
    schedule(_, callback) {
      queueMicrotask(callback);
      return { cancel() {} };
    },
  };
  const parts = { clock: hurried, random, budget: upstream.trying.budget, onRefused() {} };
  const handle: Handler = retry(parts, options.retries).wrap(balance(upstream, true));

  async function ask(cookies = "", settings: ExchangeSettings = {}) {
    const headers = [...(settings.headers ?? []), ...(cookies === "" ? [] : ["Cookie", cookies])];
    const exchange = exchangeOf({ ...settings, headers });
    const answer = await handle(exchange);
    const tried = [...exchange.triedBefore, exchange.endpoint];
    return { app: appOf(answer), status: answer.status, set: setBy(answer), tried };
  }

  return {
    upstream,
    clock,
    ask,
    failing,
    of: (address: string) => upstream.endpoints.find(({ endpoint }) => endpoint.address === address)!,
    /** Its breaker opens. */
    breakAt(address: string): void {
      const { breaker } = this.of(address);
      for (let i = 0; i < 5; i++) breaker.settle(breaker.admit()!, "failure");
    },
    /** One that keeps what it is told, as a browser does. */
    caller() {
      const jar = new Map<string, string>();
      return {
        jar,
        async ask(settings: ExchangeSettings = {}): Promise<string> {
          const { app, set } = await ask([...jar].map((pair) => pair.join("=")).join("; "), settings);
          for (const field of set) {
            const [, name, value] = /^([^=]+)=([^;]*);/.exec(field)!;
            jar.set(name!, value!);
          }
          return app;
        },
      };
    },
  };
}

function appOf({ headers }: ProxyResponse): string {
  return headers[headers.indexOf("X-App") + 1]!;
}

function setBy({ headers }: ProxyResponse): string[] {
  return headers.filter((_, i) => i % 2 === 1 && headers[i - 1] === "Set-Cookie");
}

for (const algorithm of BALANCING_ALGORITHMS)
  test(`${algorithm}: a caller stays where it was answered first, and callers are spread as without cookies`, async (t) => {
    const hash = HASHING_ALGORITHMS.has(algorithm) ? ", hash: [{ header: x-user }]" : "";
    const world = serving(t, `algorithm: ${algorithm}${hash}, ${STICKY}`, many(20));
    const homes = new Map<string, number>();
    for (let i = 0; i < 400; i++) {
      const caller = world.caller();
      const home = await caller.ask({ headers: ["x-user", `user-${i}`] });
      homes.set(home, (homes.get(home) ?? 0) + 1);
      // Where a session began is no matter of what the next request is hashed by.
      for (let again = 0; again < 5; again++)
        if ((await caller.ask({ headers: ["x-user", `${again}`] })) !== home) t.fail(`caller ${i} was moved`);
    }
    t.equal(homes.size, 20, "every endpoint has callers");
  });

test("a cookie is set once, names the endpoint by a hash, and shows nothing of its address", async (t) => {
  const world = serving(t, STICKY, [named("10.1.2.3")]);
  const { set } = await world.ask();
  const token = createHash("sha256").update("\n10.1.2.3:1").digest("hex").slice(0, 16);
  t.same(set, [`replica=${token}; Path=/; HttpOnly; SameSite=Lax`]);
  t.same((await world.ask(`replica=${token}`)).set, []);
  t.same((await world.ask(`a=b; replica=${token}; c`)).set, []);
});

test("sidecars agree on a name, and with a secret only those that have the same", async (t) => {
  const cookieOf = async (settings: string) =>
    (await serving(t, settings, [named("10.1.2.3")], { seed: 7 }).ask()).set[0]!.slice(0, 24);
  const secret = (value: string) => `sticky: { cookie: replica, sharedSecret: ${value} }`;
  t.equal(await cookieOf(STICKY), await cookieOf(STICKY));
  t.equal(await cookieOf(secret("one")), await cookieOf(secret("one")));
  t.not(await cookieOf(secret("one")), await cookieOf(secret("two")));
  t.not(await cookieOf(secret("one")), await cookieOf(STICKY));
});

test("the cookie has the life, the path and the guards that the file gives it", async (t) => {
  const behindTls = { headers: ["X-Forwarded-Proto", "HTTPS, http"] };
  for (const [settings, request, attributes] of [
    ["ttl: 1h, path: /shop", {}, "Path=/shop; Max-Age=3600; HttpOnly; SameSite=Lax"],
    ["ttl: 500ms", {}, "Path=/; Max-Age=1; HttpOnly; SameSite=Lax"],
    ["sameSite: strict", behindTls, "Path=/; HttpOnly; SameSite=Strict; Secure"],
    ["sameSite: none, secure: true", {}, "Path=/; HttpOnly; SameSite=None; Secure"],
    ["secure: false", behindTls, "Path=/; HttpOnly; SameSite=Lax"],
    ["ttl: 0s", { headers: ["X-Forwarded-Proto", "http, https"] }, "Path=/; HttpOnly; SameSite=Lax"],
  ] as const) {
    const world = serving(t, `sticky: { cookie: replica, ${settings} }`, many(1));
    const { set } = await world.ask("", request as ExchangeSettings);
    t.equal(set[0]?.replace(/^replica=[0-9a-f]{16}; /, ""), attributes, settings);
  }
});

test("the answer itself is left alone, and without cookies it is handed on as it is", async (t) => {
  const shared = Object.freeze({
    ...responseOf(200, undefined, Object.freeze(["Set-Cookie", "own=1"]) as string[]),
  });
  for (const settings of ["algorithm: random", STICKY]) {
    const { upstream } = serving(t, settings, []);
    const one = new Upstream(
      "orders",
      upstream.options,
      { clock: new ManualClock(), random: seededRandom(1), log: SILENT_LOG },
      () => async () => shared,
    );
    one.update(many(1));
    t.teardown(() => one.stop());
    const answer = await balance(one, true)(exchangeOf());
    t.equal(answer === shared, settings !== STICKY);
    t.equal(answer.body, shared.body);
    t.same(shared.headers, ["Set-Cookie", "own=1"]);
    t.equal(setBy(answer)[0], "own=1", "the endpoint's own cookies stay");
  }
});

test("a retry goes elsewhere, the cookie names who answered, and the caller stays there", async (t) => {
  const world = serving(t, `algorithm: random, ${STICKY}`, many(5));
  for (const fault of ["", " connection"]) {
    const caller = world.caller();
    const home = await caller.ask();
    world.failing.add(home + fault);
    const refuge = await caller.ask();
    t.not(refuge, home);
    world.failing.clear();
    for (let i = 0; i < 20; i++) t.equal(await caller.ask(), refuge);
  }
});

test("an answer that is its endpoint's failure begins no session and moves none", async (t) => {
  const world = serving(t, STICKY, [named("10.0.0.1")], { more: "retries: { attempts: 0 }" });
  const { set: first } = await world.ask();
  world.failing.add("10.0.0.1");
  for (const cookies of ["", first[0]!.split(";", 1)[0]!, "replica=0123456789abcdef"]) {
    const { status, set } = await world.ask(cookies);
    t.same([status, set], [503, []]);
  }
});

test("a caller leaves an endpoint that has something against it, stays where it went, and comes back to no one", async (t) => {
  const ways: Record<string, (world: ReturnType<typeof serving>, home: string) => void> = {
    "it has left": ({ upstream }, home) => upstream.update(many(5).filter(({ address }) => address !== home)),
    "discovery says it is unwell": ({ upstream }, home) =>
      upstream.update(many(5).map((one) => (one.address === home ? { ...one, unwell: true } : one))),
    "its breaker is open": (world, home) => world.breakAt(home),
    "it has been ejected": ({ upstream, clock }, home) => {
      for (const { endpoint, watched } of upstream.endpoints)
        for (let i = 0; i < 100; i++) {
          const outcome = endpoint.address === home && i % 2 === 0 ? "failure" : "success";
          watched!.observe(outcome, 10, clock.now(), clock.now());
        }
      clock.advance(10_000);
    },
  };
  for (const [what, happens] of Object.entries(ways)) {
    const world = serving(t, `algorithm: random, ${STICKY}`, many(5));
    const callers = Array.from({ length: 40 }, () => world.caller());
    const before = await Promise.all(callers.map((caller) => caller.ask()));
    t.same(await Promise.all(callers.map((caller) => caller.ask())), before);
    const [gone] = before;
    happens(world, gone!);
    const after = await Promise.all(callers.map((caller) => caller.ask()));
    t.notOk(after.includes(gone!), what);
    for (const [i, home] of before.entries()) if (home !== gone) t.equal(after[i], home, "others stay");
    world.upstream.update(many(5));
    world.clock.advance(400_000);
    // One that nobody has tried for long is tried by callers who have a cookie, and who keep it.
    for (let round = 0; round < 10 && !world.of(gone!).isWell; round++)
      for (const [i, app] of (await Promise.all(callers.map((caller) => caller.ask()))).entries())
        if (app !== after[i]) t.equal(app, gone, "a trial");
    t.same(await Promise.all(callers.map((caller) => caller.ask())), after, "all stay where they are");
  }
});

test("where nobody's health is believed, callers stay with those that are used", async (t) => {
  const unwell = many(4).map((one) => ({ ...one, unwell: true }));
  const world = serving(t, `algorithm: random, ${STICKY}`, many(4));
  const callers = Array.from({ length: 20 }, () => world.caller());
  const before = await Promise.all(callers.map((caller) => caller.ask()));
  world.upstream.update(unwell);
  t.same(await Promise.all(callers.map((caller) => caller.ask())), before);
});

test("a new endpoint that warms up keeps the callers that it has", async (t) => {
  const world = serving(t, `algorithm: roundRobin, ${STICKY}`, many(9));
  await world.ask();
  world.clock.advance(5_000);
  world.upstream.update(many(10));
  t.equal(world.upstream.warmth("10.0.0.9:1"), 0.1);
  const caller = world.caller();
  while ((await caller.ask()) !== "10.0.0.9") caller.jar.clear();
  for (let i = 0; i < 50; i++) t.equal(await caller.ask(), "10.0.0.9");
});

test("an endpoint outside of what this sidecar talks to keeps a caller that another sidecar sent there", async (t) => {
  const world = serving(t, `algorithm: random, aperture: 2, ${STICKY}`, many(100));
  const token = createHash("sha256").update("\n10.0.0.50:1").digest("hex").slice(0, 16);
  for (let index = 0; index < 10; index++) {
    world.upstream.situate({ place: { index, count: 10 } });
    t.equal((await world.ask(`replica=${token}`)).app, "10.0.0.50");
  }
});

test("of several cookies the first that names an endpoint counts, and what is none is no harm", async (t) => {
  const world = serving(t, `algorithm: random, ${STICKY}`, many(20));
  const tokens = new Map<string, string>();
  while (tokens.size < 3) {
    const { app, set } = await world.ask();
    tokens.set(app, set[0]!.slice("replica=".length, "replica=".length + 16));
  }
  const [[home, token], [other, second]] = [...tokens] as [[string, string], [string, string]];
  for (const cookies of [
    `replica=; replica=gone; replica=${token}; replica=${second}`,
    `replica=${"f".repeat(16)};replica=${token}`,
    `Replica=${second}; replica = ${token} ;`,
    `replica=${"0".repeat(60_000)}; =; ;; replica; replica=${token}`,
  ]) {
    const { app, set } = await world.ask(cookies);
    t.same([app, set], [home, []], cookies.slice(0, 60));
  }
  const twice = await world.ask(`replica=${second}`, {
    headers: ["Cookie", "replica=x", "cookie", `replica=${token}`],
  });
  t.equal(twice.app, home, "in any of several fields");
  world.breakAt(home);
  t.equal((await world.ask(`replica=${token}; replica=${second}`)).app, other, "or the first that may serve");
  for (const malformed of [
    "__proto__",
    "constructor",
    `"${token}"`,
    token.toUpperCase().replace(/\d/g, "A"),
    `${token}x`,
    "\xff",
  ])
    t.equal((await world.ask(`replica=${malformed}`)).set.length, 1, malformed);
});

test("the request goes on as it came", async (t) => {
  const world = serving(t, STICKY, many(3));
  const headers = ["cookie", "replica=x; a=b", "Accept", "*/*"];
  const exchange = exchangeOf({ headers });
  await balance(world.upstream, true)(exchange);
  t.same(exchange.headers, ["cookie", "replica=x; a=b", "Accept", "*/*"]);
});

// --- a cookie that is hashed

const HASHED = "algorithm: ringHash, hash: [{ header: x-user }, { cookie: session, ttl: 1h, path: /shop }]";

test("a request without the cookie that it is hashed by is given one, and is hashed by it from then on", async (t) => {
  for (const algorithm of ["ringHash", "maglev"]) {
    const world = serving(t, HASHED.replace("ringHash", algorithm), many(20));
    const values = new Set<string>();
    for (let i = 0; i < 100; i++) {
      const caller = world.caller();
      const home = await caller.ask();
      const value = caller.jar.get("session")!;
      t.match(value, /^[0-9a-f]{32}$/);
      values.add(value);
      for (let again = 0; again < 3; again++) t.equal(await caller.ask(), home);
      t.equal(caller.jar.get("session"), value, "which is not set anew");
    }
    t.equal(values.size, 100, "everybody has one of his own");
  }
});

test("the cookie that is hashed has its life and path, for a session without an end none, and is only read without a ttl", async (t) => {
  const { set } = await serving(t, HASHED, many(2)).ask();
  t.match(set[0], /^session=[0-9a-f]{32}; Path=\/shop; Max-Age=3600; HttpOnly; SameSite=Lax$/);
  const session = await serving(t, "algorithm: maglev, hash: [{ cookie: s, ttl: 0s }]", many(2)).ask("s=");
  t.match(session.set[0], /^s=[0-9a-f]{32}; Path=\/; HttpOnly; SameSite=Lax$/);
  const read = await serving(t, "algorithm: maglev, hash: [{ cookie: s }]", many(2)).ask();
  t.same(read.set, []);
});

test("who is known by what comes before the cookie is given none", async (t) => {
  const world = serving(t, HASHED, many(5));
  t.same((await world.ask("", { headers: ["x-user", "7"] })).set, []);
  t.same((await world.ask("session=chosen-by-hand")).set, []);
});

test("all attempts of a request are hashed by one value, which the answer sets", async (t) => {
  const world = serving(t, HASHED, many(3));
  for (let i = 0; i < 20; i++) {
    world.failing.add("10.0.0.0").add("10.0.0.1");
    const { app, set, tried } = await world.ask();
    t.equal(app, "10.0.0.2");
    t.equal(set.length, 1);
    world.failing.clear();
    const again = await world.ask(set[0]!.split(";", 1)[0]);
    t.equal(`${again.app}:1`, tried[0], "it began where it now belongs");
  }
});
