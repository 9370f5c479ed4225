import { test } from "tap";
import { type Exchange, ProxyError } from "../../core/index.ts";
import { AdaptiveLimit } from "../../resilience/adaptive-limit.ts";
import { ConcurrencyLimit, concurrencyLimit } from "../../resilience/index.ts";
import { exchangeOf, responseOf } from "../support/exchange.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";

/** A limit over an app that answers when it is told; each request has a name, and everything that becomes of it is noted. */
function queueing(options: { requests?: number; pending?: number; queueMs?: number }) {
  const clock = new ManualClock();
  const limit = new ConcurrencyLimit({ requests: 1, pending: 4, queueMs: 1000, ...options }, seededRandom(1));
  const begun: string[] = [];
  const refused: Record<string, string> = {};
  const running = new Map<string, Exchange>();
  const handle = concurrencyLimit(clock, limit).wrap(async (exchange) => {
    begun.push(exchange.requestId);
    running.set(exchange.requestId, exchange);
    return responseOf();
  });
  return {
    clock,
    limit,
    begun,
    refused,
    async ask(name: string, criticality?: string) {
      const headers = criticality === undefined ? [] : ["X-Heddle-Criticality", criticality];
      const exchange = exchangeOf({ requestId: name, headers, nowMs: clock.now() });
      handle(exchange).catch((thrown: ProxyError) => {
        refused[name] = thrown.code;
        exchange.settle("failure", clock.now());
      });
      await settled();
    },
    async end(name: string) {
      running.get(name)!.settle("success", clock.now());
      await settled();
    },
  };
}

// --- the queue

test("who has no turn within the queue's time is refused, and has never been sent", async (t) => {
  const { clock, limit, begun, refused, ask, end } = queueing({ queueMs: 200 });
  await ask("first");
  await ask("second");
  clock.advance(100);
  await ask("third");
  clock.advance(99);
  await settled();
  t.same([refused, limit.waiting], [{}, 2]);
  clock.advance(1);
  await settled();
  t.same([refused, limit.waiting], [{ second: "queue_timeout" }, 1]);
  await end("first");
  await end("third");
  t.same(begun, ["first", "third"]);
  t.same([limit.held, limit.waiting, clock.pending], [0, 0, 0], "nothing is left behind");
});

test("critical requests stand in front of the others, and sheddable ones behind", async (t) => {
  const { begun, ask, end } = queueing({});
  await ask("running");
  await ask("later", "sheddable");
  await ask("usual");
  await ask("unknown", "most-important-of-all");
  await ask("payment", "critical");
  for (const name of ["running", "payment", "usual", "unknown", "later"]) await end(name);
  t.same(begun, ["running", "payment", "usual", "unknown", "later"]);
});

test("in a full queue a critical request takes the place of the least critical one, never the other way round", async (t) => {
  const { refused, limit, ask } = queueing({ pending: 3 });
  await ask("running");
  await ask("usual");
  await ask("later", "sheddable");
  await ask("latest", "sheddable");
  await ask("payment", "critical");
  t.same(refused, { latest: "overflow" });
  await ask("another");
  t.same(refused, { latest: "overflow", later: "overflow" });
  await ask("one more");
  await ask("too late", "sheddable");
  t.same(Object.keys(refused), ["latest", "later", "one more", "too late"]);
  t.equal(limit.waiting, 3);
});

test("a burst is served in the order of arrival, a queue that stands from its end, where nobody is about to give up", async (t) => {
  const { clock, begun, refused, limit, ask, end } = queueing({ pending: 3, queueMs: 1000 });
  await ask("running");
  await ask("a");
  await ask("b");
  await end("running");
  t.equal(begun.at(-1), "a", "as long as it is short, first come, first served");
  clock.advance(501);
  await ask("c");
  await ask("d");
  t.same(refused, {});
  await ask("e");
  t.same(refused, { b: "overflow" }, "what comes takes the place of the oldest");
  await end("a");
  await end("e");
  t.same(begun, ["running", "a", "e", "d"]);
  await end("d");
  await end("c");
  t.equal(limit.held, 0);
  await ask("f");
  await ask("g");
  await ask("h");
  await end("f");
  t.equal(begun.at(-1), "g", "a queue that has been empty is a burst again");
});

test("an upstream asked for twice what it can do works for callers that are still there", async (t) => {
  // Callers give up after 400 ms, the app does ten a second and is asked for twenty.
  const { clock, begun, ask, end, limit } = queueing({ pending: 100, queueMs: 400 });
  const askedAtMs: Record<string, number> = {};
  const waitedMs: number[] = [];
  for (let i = 0; i < 200; i++) {
    const name = `${i}`;
    askedAtMs[name] = clock.now();
    await ask(name);
    clock.advance(50);
    if (i % 2 === 0) continue;
    const running = begun.at(-1)!;
    await end(running);
    if (begun.at(-1) !== running) waitedMs.push(clock.now() - askedAtMs[begun.at(-1)!]!);
  }
  t.ok(limit.waiting > 0, "there is always somebody waiting");
  const late = waitedMs.slice(20);
  t.ok(late.length > 60);
  t.ok(
    late.every((ms) => ms <= 100),
    `each has just come: ${Math.max(...late)} ms at most`,
  );
});

// --- the limit that finds itself

const ADAPTIVE = { minimum: 4, tolerance: 0.25, windowMs: 100, percentile: 0.5, measureMs: 30_000 };

/** Answers so many requests, one after the other, with as many in flight as are let in. */
function answered(
  limit: AdaptiveLimit,
  latencyMs: (inFlight: number) => number,
  fromMs: number,
  windows: number,
) {
  let nowMs = fromMs;
  for (let i = 0; i < windows * 60; i++) {
    const inFlight = limit.limit;
    limit.noteInFlight(inFlight, nowMs);
    nowMs += 5;
    limit.observe(latencyMs(inFlight), nowMs);
  }
  return nowMs;
}

test("the limit rises while nobody waits in the upstream, and stays below what is configured", async (t) => {
  const limit = new AdaptiveLimit(ADAPTIVE, 50, seededRandom(1));
  t.equal(limit.limit, 4, "it begins with the least");
  answered(limit, () => 2, 1000, 10);
  t.equal(limit.baselineMs, 2);
  t.equal(limit.settled, 50);
});

test("the limit does not rise above twice what is asked for", async (t) => {
  const limit = new AdaptiveLimit(ADAPTIVE, 1000, seededRandom(1));
  let nowMs = 1000;
  for (let i = 0; i < 2000; i++) {
    limit.noteInFlight(10, nowMs);
    nowMs += 5;
    limit.observe(2, nowMs);
  }
  t.ok(limit.settled >= 10 && limit.settled <= 40, `${limit.settled}`);
});

test("the limit falls when requests take longer, by half of it in a window at most, and never below the least", async (t) => {
  const limit = new AdaptiveLimit(ADAPTIVE, 1000, seededRandom(1));
  const nowMs = answered(limit, (inFlight) => Math.max(2, inFlight / 10), 1000, 20);
  const before = limit.settled;
  let now = nowMs;
  for (let i = 0; limit.settled >= before; i++) {
    if (i > 100) t.fail("it does not fall");
    now += 5;
    limit.noteInFlight(limit.limit, now);
    limit.observe(60, now + 60);
  }
  t.ok(limit.settled > before / 2);
  answered(limit, () => 1000, now + 10_000, 40);
  t.ok(limit.limit >= 4);
});

test("requests that began before the limit was changed say nothing about it", async (t) => {
  const limit = new AdaptiveLimit(ADAPTIVE, 1000, seededRandom(1));
  const nowMs = answered(limit, () => 2, 1000, 1);
  const before = limit.settled;
  for (let i = 0; i < 500; i++) limit.observe(100_000, nowMs + i);
  t.equal(limit.settled, before);
});

test("permits follow the limit: what it gains goes to those that wait, what it loses is not handed on", async (t) => {
  const limit = new ConcurrencyLimit(
    { requests: 100, pending: 100, queueMs: 1000, adaptive: ADAPTIVE },
    seededRandom(1),
  );
  const clock = new ManualClock();
  const entered: Exchange[] = [];
  const handle = concurrencyLimit(clock, limit).wrap(async (exchange) => {
    entered.push(exchange);
    exchange.attempts = 1;
    return responseOf();
  });
  // The head comes at once and the rest later, so that all who are let in stay.
  for (let i = 0; i < 60; i++) {
    handle(exchangeOf({ nowMs: clock.now() })).catch(() => {});
    clock.advance(1);
  }
  await settled();
  t.equal(entered.length, limit.held);
  t.ok(limit.held <= Math.max(limit.limit, 4));
  t.ok(limit.waiting > 0);
  for (let i = 0; i < 200 && limit.waiting > 0; i++) {
    entered.shift()?.settle("success", clock.now());
    clock.advance(5);
    await settled();
    if (limit.held > limit.limit) t.fail(`${limit.held} of ${limit.limit}`);
  }
  t.equal(limit.waiting, 0, "all had their turn, or gave up");
});

test("requests that got no answer in time are slow ones, unless their time was shorter than any answer takes", async (t) => {
  for (const [what, givenMs, falls] of [
    ["a little more than the baseline", 60, true],
    ["less than the baseline", 5, false],
  ] as const) {
    const limit = new AdaptiveLimit(ADAPTIVE, 1000, seededRandom(1));
    let nowMs = answered(limit, () => 50, 1000, 3);
    const { baselineMs, settled: before } = limit;
    t.equal(baselineMs, 50);
    for (let i = 0; i < 600; i++) {
      limit.noteInFlight(limit.limit, nowMs);
      nowMs += 5;
      limit.observeLate(givenMs, nowMs);
    }
    if (falls) t.ok(limit.settled < before, `${what}: ${before} to ${limit.settled}`);
    else t.equal(limit.settled, before, what);
    t.ok(limit.baselineMs >= 50, `${limit.baselineMs}`);
  }
});

test("failures and second attempts are no samples of how long an answer takes, nor is what was not answered in time", async (t) => {
  const cases: [string, () => ReturnType<typeof responseOf>, number, boolean][] = [
    ["an answer", () => responseOf(200), 1, true],
    ["the caller's fault", () => responseOf(404), 1, true],
    ["a failure", () => responseOf(500), 1, false],
    ["too many", () => responseOf(429), 1, false],
    ["a second attempt", () => responseOf(200), 2, false],
    ["none at all", () => responseOf(200), 0, false],
    [
      "no answer in time",
      () => {
        throw new ProxyError("attempt_timeout", "late");
      },
      1,
      false,
    ],
    [
      "no connection",
      () => {
        throw new ProxyError("connect_failed", "refused");
      },
      1,
      false,
    ],
  ];
  for (const [what, answer, attempts, counts] of cases) {
    const clock = new ManualClock();
    const limit = new ConcurrencyLimit(
      { requests: 100, pending: 0, queueMs: 1000, adaptive: ADAPTIVE },
      seededRandom(1),
    );
    const handle = concurrencyLimit(clock, limit).wrap(async (exchange) => {
      exchange.attempts = attempts;
      clock.advance(3);
      return answer();
    });
    for (let i = 0; i < 10; i++) {
      const exchange = exchangeOf({ nowMs: clock.now() });
      await handle(exchange).catch(() => {});
      await settled();
      exchange.settle("success", clock.now());
    }
    t.equal(limit.adaptive!.baselineMs, counts ? 3 : 0, what);
  }
});
