import { test } from "tap";
import { Body, type Exchange, ProxyError, type ProxyResponse } from "../../core/index.ts";
import { HedgeBudget, type HedgeOptions, hedge, RecentLatency, RetryBudget } from "../../resilience/index.ts";
import { exchangeOf, responseOf } from "../support/exchange.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";

const OPTIONS: HedgeOptions = { enabled: true, after: { ms: 50 }, windowMs: 30_000, attempts: 1, ratio: 1 };

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
