import { test } from "tap";
import { Body, type Exchange, ProxyError, type ProxyResponse } from "../../core/index.ts";
import {
  Breaker,
  type BreakerOptions,
  BreakerRotation,
  breakerLayer,
  FAILURE_CLASSES,
  HedgeBudget,
  type HedgeOptions,
  hedge,
  RecentLatency,
  RetryBudget,
} from "../../resilience/index.ts";
import { exchangeOf, responseOf } from "../support/exchange.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";

const OPTIONS: HedgeOptions = { enabled: true, after: { ms: 50 }, windowMs: 30_000, attempts: 1, ratio: 1 };

const BREAKER: BreakerOptions = {
  mode: "enforce",
  errorRate: 0.5,
  minimumRequests: 20,
  windowMs: 10_000,
  consecutiveFailures: 5,
  failures: FAILURE_CLASSES,
  openForMs: 60_000,
  openForMaxMs: 60_000,
  probes: 1,
};

/** A hedge layer over endpoints that answer when they are told to, each attempt at its own. */
function hedging(options: Partial<HedgeOptions> = {}, turned = { enabled: true }) {
  const clock = new ManualClock();
  const shared = new RetryBudget({ ratio: 1, minPerSecond: 10, windowMs: 10_000 });
  const latency = new RecentLatency(30_000);
  const outcomes: string[] = [];
  const sent: {
    exchange: Exchange;
    answer: (response: ProxyResponse) => void;
    ended: ProxyError | undefined;
  }[] = [];
  const handle = hedge(
    {
      clock,
      budget: new HedgeBudget(options.ratio ?? 1, shared),
      latency,
      switch: turned,
      replayBytes: 100,
      hasOther: () => true,
      onHedge: (outcome) => outcomes.push(outcome),
    },
    { ...OPTIONS, ...options },
  ).wrap((exchange) => {
    exchange.beginAttempt(`10.0.0.${sent.length + 1}:80`);
    return new Promise((resolve, reject) => {
      const attempt = { exchange, answer: resolve, ended: undefined as ProxyError | undefined };
      sent.push(attempt);
      exchange.suspend("response", clock.now(), (reason) => {
        attempt.ended = reason;
        exchange.resume(clock.now());
        reject(reason);
      });
    });
  });
  return { clock, handle, latency, outcomes, sent };
}

test("a request that is answered in time is sent once, and leaves no timer", async (t) => {
  const { clock, handle, outcomes, sent } = hedging();
  const answer = handle(exchangeOf());
  await clock.pass(49);
  sent[0]!.exchange.resume(clock.now());
  sent[0]!.answer(responseOf());
  t.equal((await answer).status, 200);
  t.same([sent.length, outcomes, clock.pending], [1, [], 0]);
});

test("the first good answer is taken, and the other attempt is given up by ending its wait", async (t) => {
  const { clock, handle, outcomes, sent } = hedging();
  const exchange = exchangeOf();
  const answer = handle(exchange);
  await clock.pass(50);
  t.equal(sent.length, 2);
  t.same([exchange.attempts, exchange.hedges, exchange.endpoint], [2, 1, "10.0.0.1:80"]);
  sent[1]!.answer(responseOf(204));
  t.equal((await answer).status, 204);
  t.equal(sent[0]!.ended?.code, "hedge_lost");
  t.same([exchange.endpoint, exchange.triedBefore], ["10.0.0.2:80", ["10.0.0.1:80"]]);
  t.equal(exchange.aborted, undefined, "the exchange itself goes on");
  t.equal(exchange.waitedMs.response, 50);
  t.same([outcomes, clock.pending], [["won"], 0]);
});

test("a bad answer waits for the other attempt, and is cancelled when that one is good", async (t) => {
  const { clock, handle, sent } = hedging();
  const exchange = exchangeOf();
  const answer = handle(exchange);
  await clock.pass(50);
  let cancelled = "";
  const source = {
    pause() {},
    resume() {},
    cancel({ message }: Error) {
      cancelled = message;
    },
  };
  exchange.resume(clock.now());
  sent[0]!.answer(responseOf(503, new Body(source, 9)));
  await settled();
  t.same([exchange.state, exchange.suspendedOn, cancelled], ["suspended", "response", ""]);
  sent[1]!.answer(responseOf(200));
  t.equal((await answer).status, 200);
  t.equal(cancelled, "another attempt of the same request was faster");
  t.equal(exchange.state, "running");
});

test("to be asked to come back later is no answer that wins", async (t) => {
  for (const status of [429, 408]) {
    const { clock, handle, outcomes, sent } = hedging();
    const answer = handle(exchangeOf());
    await clock.pass(50);
    sent[1]!.answer(responseOf(status));
    await settled();
    sent[0]!.exchange.resume(clock.now());
    sent[0]!.answer(responseOf(200));
    t.equal((await answer).status, 200);
    t.same([outcomes, clock.pending], [["failed"], 0]);
  }
});

test("a failure before a hedge is due is nobody's to hold, and a caller that goes away ends all", async (t) => {
  const soon = hedging();
  const failing = soon.handle(exchangeOf());
  soon.sent[0]!.exchange.cancelWait(new ProxyError("upstream_reset", "lost"));
  await t.rejects(failing, { code: "upstream_reset" });
  t.equal(soon.clock.pending, 0);
  const { clock, handle, sent } = hedging();
  const exchange = exchangeOf();
  const answer = handle(exchange);
  await clock.pass(50);
  exchange.abort(new ProxyError("client_closed", "gone"));
  await t.rejects(answer, { code: "client_closed" });
  t.equal(sent[1]!.ended?.code, "client_closed");
});

test("what is switched off, unpaid, without its body or not idempotent is not sent twice", async (t) => {
  const off = hedging({}, { enabled: false });
  off.handle(exchangeOf()).catch(() => {});
  await off.clock.pass(60);
  t.same([off.sent.length, off.outcomes], [1, ["switched_off"]]);
  const poor = hedging({ ratio: 0 });
  poor.handle(exchangeOf()).catch(() => {});
  await poor.clock.pass(60);
  t.same([poor.sent.length, poor.outcomes], [1, ["budget"]]);
  const arriving = hedging();
  const body = new Body({ pause() {}, resume() {}, cancel() {} }, 9);
  arriving.handle(exchangeOf({ method: "PUT", body })).catch(() => {});
  await arriving.clock.pass(60);
  t.same([arriving.sent.length, arriving.outcomes], [1, ["body"]]);
  const post = hedging();
  post.handle(exchangeOf({ method: "POST", headers: ["idempotency-key", "k"] })).catch(() => {});
  await post.clock.pass(60);
  t.same([post.sent.length, post.outcomes, post.clock.pending], [1, [], 0]);
});

test("what goes on after it has been overtaken is heard by the breaker and by nobody else", async (t) => {
  const ATTEMPT_MS = 10_000;
  /** GETs, one each 100 ms, that begin at an endpoint which takes so long and are answered by another in 5 ms. */
  const overtaken = async (requests: number, answersMs: number) => {
    const clock = new ManualClock();
    const rotation = new BreakerRotation(clock, BREAKER.windowMs);
    const breaker = new Breaker(BREAKER, { clock, random: { next: () => 0 }, rotation }, () => {});
    t.teardown(() => {
      breaker.stop();
      rotation.stop();
    });
    const parts = {
      clock,
      budget: new HedgeBudget(1, new RetryBudget({ ratio: 1, minPerSecond: 10, windowMs: 10_000 })),
      latency: new RecentLatency(30_000),
      replayBytes: 0,
      hasOther: () => true,
      onHedge: () => {},
    };
    const slow = breakerLayer(breaker, "10.0.0.1:80").wrap(
      () =>
        new Promise((resolve, reject) => {
          if (answersMs < ATTEMPT_MS) clock.schedule(answersMs, () => resolve(responseOf()));
          else clock.schedule(ATTEMPT_MS, () => reject(new ProxyError("attempt_timeout", "silent")));
        }),
    );
    const other = () =>
      new Promise<ProxyResponse>((resolve) => clock.schedule(5, () => resolve(responseOf(204))));
    const handle = hedge(parts, { ...OPTIONS, after: { ms: 20 } }).wrap((exchange) => {
      const isTwin = exchange.attempts > 0;
      exchange.beginAttempt(isTwin ? "10.0.0.2:80" : "10.0.0.1:80");
      return isTwin ? other() : slow(exchange);
    });
    const statuses = new Set<number>();
    for (let i = 0; i < requests && breaker.state === "closed"; i++) {
      void handle(exchangeOf()).then(({ status }) => statuses.add(status));
      await clock.pass(100);
    }
    return { state: breaker.state, statuses: [...statuses], tookMs: clock.now() - 1_000 };
  };
  const silent = await overtaken(1_000, Number.POSITIVE_INFINITY);
  t.match(silent, { state: "open", statuses: [204] });
  t.ok(silent.tookMs <= ATTEMPT_MS + 500, "as soon as five of its attempts have had their time");
  t.match(await overtaken(1_000, 9_000), { state: "closed", statuses: [204] }, "merely second, every time");
});

test("a percentile is that of the last half minute, and none before five slower ones were seen", async (t) => {
  const latency = new RecentLatency(30_000);
  for (let i = 0; i < 99; i++) latency.record(i % 20 === 0 ? 1000 : 5, i);
  t.equal(latency.percentileMs(0.95, 99), undefined);
  latency.record(5, 100);
  const p95 = latency.percentileMs(0.95, 100)!;
  t.ok(p95 > 5 && p95 <= 6, `5 ms is not above it: ${p95}`);
  for (let i = 0; i < 400; i++) latency.record(40, 40_000 + i);
  const later = latency.percentileMs(0.95, 40_500)!;
  t.ok(later > 40 && later <= 48, `what was before is forgotten: ${later}`);
});
