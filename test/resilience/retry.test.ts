import { test } from "tap";
import { Body, type Exchange, type Handler, ProxyError, type ProxyResponse } from "../../core/index.ts";
import {
  backoffMs,
  DEFAULT_RETRY_BUDGET,
  RETRY_REFUSALS,
  RetryBudget,
  type RetryOptions,
  type RetryRefusal,
  retry,
} from "../../resilience/index.ts";
import { isRetryable, retryRefusal } from "../../resilience/retry.ts";
import { type ExchangeSettings, exchangeOf, responseOf } from "../support/exchange.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";

const OPTIONS: RetryOptions = {
  attempts: 2,
  on: ["connectFailure", "reset", 502, 503, 504],
  backoff: { baseMs: 25, maxMs: 250 },
  budget: DEFAULT_RETRY_BUDGET,
  replayBytes: 16,
};

const REFUSED = new ProxyError("connect_failed", "no connection");
const RESET = new ProxyError("upstream_reset", "lost");
const HALF = { next: () => 0.5 };

// --- back-off

test("a back-off is uniform between nothing and a ceiling that doubles up to the most", async (t) => {
  const options = { baseMs: 25, maxMs: 250 };
  const ceilings = [25, 75, 175, 250, 250];
  for (const [i, ceiling] of ceilings.entries()) {
    t.equal(backoffMs(options, i + 1, { next: () => 0 }), 0, "full jitter begins at nothing");
    t.equal(backoffMs(options, i + 1, HALF), ceiling / 2);
    t.ok(backoffMs(options, i + 1, { next: () => 1 - 2 ** -53 }) <= ceiling);
  }
  t.equal(backoffMs(options, 5000, HALF), 125, "also after very many");
  const random = seededRandom(1);
  const delays = Array.from({ length: 10_000 }, () => backoffMs(options, 2, random));
  const mean = delays.reduce((sum, delay) => sum + delay) / delays.length;
  t.ok(Math.abs(mean - 37.5) < 1, `the mean is half of the ceiling: ${mean}`);
});

// --- the budget

test("a quiet caller may spend the floor, ten a second over ten seconds, and not one more", async (t) => {
  const budget = new RetryBudget(DEFAULT_RETRY_BUDGET);
  t.equal(budget.balance(0), 100);
  for (let i = 0; i < 100; i++) if (!budget.withdraw(0)) t.fail(`refused the ${i}th`);
  t.equal(budget.withdraw(0), false);
  t.equal(budget.withdraw(9_999), false);
  t.equal(budget.withdraw(10_000), true, "what was spent ten seconds ago is forgotten");
});

test("each request entitles to a fifth of a retry for ten seconds, and no longer", async (t) => {
  const budget = new RetryBudget({ ratio: 0.2, minPerSecond: 0, windowMs: 10_000 });
  for (let i = 0; i < 4; i++) budget.deposit(500);
  t.equal(budget.withdraw(500), false, "four fifths are not a retry");
  budget.deposit(500);
  t.equal(budget.balance(9_999), 1);
  t.equal(budget.balance(10_000), 0, "the entitlement expires");
  t.equal(budget.withdraw(10_000), false);
  for (let i = 0; i < 50; i++) budget.deposit(11_000);
  let spent = 0;
  while (budget.withdraw(12_000)) spent++;
  t.equal(spent, 10);
});

test("a refused retry costs nothing, and a budget of nothing gives nothing", async (t) => {
  const budget = new RetryBudget({ ratio: 1, minPerSecond: 0, windowMs: 10_000 });
  for (let i = 0; i < 100; i++) budget.withdraw(0);
  budget.deposit(0);
  t.equal(budget.withdraw(0), true);
  const none = new RetryBudget({ ratio: 0, minPerSecond: 0, windowMs: 10_000 });
  for (let i = 0; i < 100; i++) none.deposit(0);
  t.equal(none.withdraw(0), false);
});

test("a clock that starts anywhere, rests for long or goes back a little does not confuse the budget", async (t) => {
  for (const start of [-123_456, 0, 1e9]) {
    const budget = new RetryBudget(DEFAULT_RETRY_BUDGET);
    for (let i = 0; i < 10; i++) budget.deposit(start);
    t.equal(budget.balance(start), 102);
    t.equal(budget.balance(start - 5), 102);
    t.equal(budget.balance(start + 1e8), 100);
  }
  for (let restMs = 10_000; restMs <= 20_000; restMs += 500) {
    const budget = new RetryBudget(DEFAULT_RETRY_BUDGET);
    for (let i = 0; i < 10; i++) budget.deposit(500);
    if (budget.balance(500 + restMs) !== 100) t.fail(`${restMs} ms later something is remembered`);
  }
});

// --- the decision

interface Case {
  readonly why: string;
  readonly exchange?: ExchangeSettings;
  readonly attempts?: number;
  readonly prepare?: (exchange: Exchange) => void;
  readonly failure?: ProxyError | number;
  readonly expected: RetryRefusal | undefined;
}

const post = { method: "POST" };
const consumed = (bytes: number, rememberBytes: number): Body => {
  const body = Body.of(new Uint8Array(bytes));
  body.remember(rememberBytes);
  body.takeAll();
  return body;
};

const DECISIONS: readonly Case[] = [
  { why: "a GET may be repeated", expected: undefined },
  { why: "the caller has gone", prepare: (e) => e.abort(RESET), expected: "caller_gone" },
  { why: "the second retry is the last", attempts: 2, expected: undefined },
  { why: "there is no third", attempts: 3, expected: "attempts" },
  { why: "a POST may have been processed", exchange: post, expected: "method" },
  { why: "a POST that was answered, too", exchange: post, failure: 503, expected: "method" },
  { why: "a PATCH is no better", exchange: { method: "PATCH" }, expected: "method" },
  { why: "methods have a case", exchange: { method: "get" }, expected: "method" },
  {
    why: "the caller vouches for it",
    exchange: { ...post, headers: ["idempotency-KEY", "4711"] },
    expected: undefined,
  },
  ...["", '""'].map((key) => ({
    why: `a key of nothing vouches for nothing: ${key}`,
    exchange: { ...post, headers: ["Idempotency-Key", key] },
    expected: "method" as const,
  })),
  { why: "a POST that was never sent", exchange: post, failure: REFUSED, expected: undefined },
  {
    why: "a body that was not sent at all",
    exchange: { method: "PUT", body: Body.of(new Uint8Array(99)) },
    expected: undefined,
  },
  {
    why: "a body that is remembered",
    exchange: { method: "PUT", body: consumed(16, 16) },
    expected: undefined,
  },
  { why: "a body that is too large", exchange: { method: "PUT", body: consumed(17, 16) }, expected: "body" },
  {
    why: "a body that is too large, even if the connection failed",
    exchange: { ...post, body: consumed(17, 16) },
    failure: REFUSED,
    expected: "body",
  },
  {
    why: "there is a millisecond left",
    prepare: (e) => {
      e.deadlineMs = 1001;
    },
    expected: undefined,
  },
  {
    why: "the time is over",
    prepare: (e) => {
      e.deadlineMs = 1000;
    },
    expected: "deadline",
  },
];

test("whether a request may be sent again is decided with a reason for every no", async (t) => {
  const seen = new Set<string>();
  for (const { why, exchange: settings, attempts = 1, prepare, failure = RESET, expected } of DECISIONS) {
    const exchange = exchangeOf(settings);
    exchange.attempts = attempts;
    prepare?.(exchange);
    t.equal(retryRefusal(exchange, failure, attempts > OPTIONS.attempts, 1000), expected, why);
    if (expected !== undefined) seen.add(expected);
  }
  // Those are for the layer to find, and one for what counts broken answers.
  for (const reason of ["budget", "retry_after", "switched_off", "response_started"]) seen.add(reason);
  t.same([...seen].sort(), [...RETRY_REFUSALS].sort(), "every reason is in the table");
  for (const method of ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"]) {
    const exchange = exchangeOf({ method });
    exchange.attempts = 1;
    t.equal(retryRefusal(exchange, 503, false, 0), undefined, method);
  }
});

test("a retry answers to the failures that the configuration names, and to no others", async (t) => {
  const on = (...conditions: RetryOptions["on"]) => ({ ...OPTIONS, on: conditions });
  const failures: [RetryOptions, ProxyError | number, boolean][] = [
    [on("connectFailure"), REFUSED, true],
    [on("connectFailure"), new ProxyError("connect_timeout", ""), true],
    [on("connectFailure"), RESET, false],
    [on("reset"), RESET, true],
    [on("reset"), new ProxyError("bad_response", ""), true],
    [on("timeout"), new ProxyError("attempt_timeout", ""), true],
    [on("reset", "connectFailure"), new ProxyError("attempt_timeout", ""), false],
    [on(503), 503, true],
    [on(503), 502, false],
    [on(502, 503, 504), 200, false],
    [on("connectFailure", "reset", "timeout", 503, 504), new ProxyError("deadline_exceeded", ""), false],
    [on("connectFailure", "reset", "timeout", 503, 504), new ProxyError("breaker_open", ""), false],
    [on("connectFailure", "reset", "timeout", 503, 504), new ProxyError("overflow", ""), false],
    [on("connectFailure", "reset", "timeout", 503, 504), new ProxyError("internal_error", ""), false],
    [on("connectFailure", "reset", "timeout", 503, 504), new ProxyError("client_closed", ""), false],
  ];
  for (const [options, failure, expected] of failures)
    t.equal(isRetryable(options, failure), expected, `${options.on} after ${failure}`);
});

// --- the layer

type Attempt = number | Error | ProxyResponse;

/** A retry layer over an endpoint that answers as it is told, attempt by attempt; the last answer is repeated. */
function retrying(attempts: readonly Attempt[], options: Partial<RetryOptions> = {}) {
  const clock = new ManualClock();
  const refusals: RetryRefusal[] = [];
  const sentAt: number[] = [];
  const bodies: string[] = [];
  const budget = new RetryBudget(options.budget ?? OPTIONS.budget);
  const layer = retry(
    { clock, random: HALF, budget, onRefused: (_, reason) => refusals.push(reason) },
    { ...OPTIONS, ...options },
  );
  const handle = layer.wrap(async (exchange) => {
    const attempt = attempts[Math.min(sentAt.length, attempts.length - 1)]!;
    sentAt.push(clock.now() - 1000);
    exchange.beginAttempt("10.0.0.1:80");
    if (exchange.body !== undefined) bodies.push(Buffer.concat(exchange.body.takeAll()).toString());
    if (attempt instanceof Error) throw attempt;
    return typeof attempt === "number" ? responseOf(attempt) : attempt;
  });
  return { clock, handle, refusals, sentAt, bodies, budget };
}

test("what succeeds is sent once, and an error that nobody retries is passed on as it is", async (t) => {
  const good = retrying([200]);
  t.equal((await good.handle(exchangeOf())).status, 200);
  t.same([good.sentAt, good.refusals, good.clock.pending], [[0], [], 0]);
  const fault = new ProxyError("breaker_open", "all open");
  const bad = retrying([fault]);
  await t.rejects(bad.handle(exchangeOf()), fault);
  t.same([bad.sentAt, bad.refusals], [[0], []]);
  const bug = retrying([new TypeError("a bug")]).handle(exchangeOf());
  await t.rejects(bug, { code: "internal_error" }, "what is not ours becomes an error of ours");
});

test("attempts are made until one succeeds, with a growing wait between them", async (t) => {
  const backoff = { baseMs: 40, maxMs: 400 };
  const { clock, handle, sentAt, refusals } = retrying([REFUSED, 503, 200], { backoff });
  const exchange = exchangeOf();
  exchange.deadlineMs = clock.now() + 5000;
  const answer = handle(exchange);
  await settled();
  t.same(sentAt, [0]);
  t.same([exchange.state, exchange.suspendedOn], ["suspended", "backoff"]);
  await clock.pass(19);
  t.same(sentAt, [0], "20 ms are half of the first ceiling");
  await clock.pass(1);
  t.same(sentAt, [0, 20]);
  await clock.pass(60);
  t.same(sentAt, [0, 20, 80], "and 60 ms half of the second");
  t.equal((await answer).status, 200);
  t.same([exchange.attempts, exchange.retryRefused, refusals], [3, "", []]);
  t.equal(exchange.waitedMs.backoff, 80);
  t.equal(clock.pending, 0);
});

test("when the attempts are used up the last answer goes out, or the last error", async (t) => {
  for (const last of [503, RESET]) {
    const { clock, handle, sentAt, refusals } = retrying([REFUSED, REFUSED, last]);
    const exchange = exchangeOf();
    const ending = handle(exchange).then(
      ({ status }) => status,
      (thrown: unknown) => thrown,
    );
    await clock.pass(1000);
    t.equal(await ending, last);
    t.equal(sentAt.length, 3);
    t.same([exchange.retryRefused, refusals], ["attempts", ["attempts"]]);
    t.equal(clock.pending, 0);
  }
});

test("where nothing is tried again, the layer hands on what comes and holds nothing", async (t) => {
  const answer = Promise.resolve(responseOf());
  const next: Handler = () => answer;
  const parts = { clock: new ManualClock(), random: HALF, onRefused: () => {} };
  const layer = retry({ ...parts, budget: new RetryBudget(OPTIONS.budget) }, { ...OPTIONS, attempts: 0 });
  t.equal(layer.wrap(next)(exchangeOf()), answer);
});

test("where nobody can be reached, requests knock once: requeues are earned by answers", async (t) => {
  const clock = new ManualClock();
  let isOut = false;
  let knocks = 0;
  const layer = retry(
    {
      clock,
      random: HALF,
      budget: new RetryBudget(OPTIONS.budget),
      requeueBudget: new RetryBudget({ ...DEFAULT_RETRY_BUDGET, ratio: 1 }),
      onRefused: () => {},
    },
    { ...OPTIONS, requeues: { attempts: 2, budget: DEFAULT_RETRY_BUDGET } },
  );
  const handle = layer.wrap(async () => {
    knocks++;
    if (isOut) throw REFUSED;
    return responseOf(200);
  });
  const second = async (requests: number) => {
    for (let i = 0; i < requests; i++) {
      await handle(exchangeOf()).catch(() => {});
      if (i % 10 === 9) await clock.pass(10_000 / requests);
    }
  };
  for (let i = 0; i < 10; i++) await second(100);
  t.equal(knocks, 1_000);
  isOut = true;
  for (let i = 0; i < 60; i++) await second(100);
  // What had been answered in the window before, the floor of that window, and that of the outage.
  t.ok(knocks - 1_000 <= 6_000 + 1_000 + 100 + 600, `${knocks - 1_000} for 6,000 requests`);
  t.ok(knocks - 1_000 >= 6_000 + 1_000, "what was earned is spent");
});

test("an answer that is given up for a retry is cancelled, one that goes out is not touched", async (t) => {
  const cancelled: string[] = [];
  const arriving = (name: string) =>
    responseOf(
      503,
      new Body(
        { pause() {}, resume() {}, cancel: (reason) => cancelled.push(`${name}: ${reason.message}`) },
        9,
      ),
    );
  const { clock, handle } = retrying([arriving("first"), arriving("second")], { attempts: 1 });
  const answer = handle(exchangeOf());
  await clock.pass(100);
  const { body } = await answer;
  t.same(cancelled, ["first: the answer was discarded for a retry"]);
  t.equal(body.failed, false);
});

test("the whole body is sent with each attempt", async (t) => {
  const { clock, handle, bodies } = retrying([REFUSED, 503, 200]);
  const answer = handle(exchangeOf({ method: "PUT", body: Body.of(Buffer.from("all of it")) }));
  await clock.pass(1000);
  t.equal((await answer).status, 200);
  t.same(bodies, ["all of it", "all of it", "all of it"]);
});

test("a body that is too large to remember is sent once, and whole", async (t) => {
  const { handle, bodies, refusals } = retrying([503, 200]);
  const exchange = exchangeOf({ method: "PUT", body: Body.of(Buffer.from("seventeen letters")) });
  t.equal((await handle(exchange)).status, 503);
  t.same(bodies, ["seventeen letters"]);
  t.same([exchange.retryRefused, refusals], ["body", ["body"]]);
});

test("an exhausted budget ends the attempts, and is told", async (t) => {
  const { clock, handle, refusals, sentAt } = retrying([REFUSED], {
    attempts: 10,
    budget: { ratio: 1, minPerSecond: 0, windowMs: 10_000 },
  });
  const exchange = exchangeOf();
  const answer = handle(exchange);
  answer.catch(() => {});
  await clock.pass(1000);
  await t.rejects(answer, REFUSED);
  t.equal(sentAt.length, 2, "one request pays for one retry");
  t.same([exchange.retryRefused, refusals], ["budget", ["budget"]]);
});

test("a retry that is refused for another reason is not paid for", async (t) => {
  const { handle, budget } = retrying([503]);
  const before = budget.balance(1000);
  await handle(exchangeOf({ method: "POST" }));
  t.equal(budget.balance(1000), before + 0.2, "only the request's own share has been added");
});

test("a caller that goes away during the back-off ends it at once", async (t) => {
  const { clock, handle, sentAt } = retrying([503, 200]);
  const exchange = exchangeOf();
  const answer = handle(exchange);
  await settled();
  const gone = new ProxyError("client_closed", "the caller closed the connection");
  exchange.abort(gone);
  await t.rejects(answer, gone);
  t.equal(clock.pending, 0, "no timer is left behind");
  await clock.pass(1000);
  t.equal(sentAt.length, 1);
});

test("a caller that has gone before the answer failed is not tried for again", async (t) => {
  const exchange = exchangeOf();
  const { refusals, handle } = retrying([RESET]);
  exchange.abort(new ProxyError("client_closed", "the caller closed the connection"));
  await t.rejects(handle(exchange), RESET);
  t.same(refusals, ["caller_gone"]);
});

test("a back-off that would end after the deadline is not begun: the failure is answered at once", async (t) => {
  for (const leftMs of [12.5, 12.6]) {
    const { clock, handle, sentAt, refusals } = retrying([503, 200]);
    const exchange = exchangeOf();
    exchange.deadlineMs = clock.now() + leftMs;
    const answer = handle(exchange);
    await settled();
    if (leftMs === 12.5) {
      t.equal((await answer).status, 503, "without a wait");
      t.same([refusals, exchange.retryRefused, exchange.waitedMs.backoff], [["deadline"], "deadline", 0]);
    } else {
      await clock.pass(12.5);
      t.equal((await answer).status, 200);
      t.same(refusals, []);
    }
    t.equal(clock.pending, 0);
    await clock.pass(1000);
    t.equal(sentAt.length, leftMs === 12.5 ? 1 : 2);
  }
});

test("a retry that the deadline forbids spends nothing of the budget", async (t) => {
  const { clock, handle, budget } = retrying([503]);
  const before = budget.balance(clock.now());
  const exchange = exchangeOf();
  exchange.deadlineMs = clock.now() + 5;
  await handle(exchange);
  t.ok(budget.balance(clock.now()) >= before);
});

test("the layer bounds the attempts itself, also below a layer of a user's own that never reaches an endpoint", async (t) => {
  const clock = new ManualClock();
  const parts = { clock, random: HALF, budget: new RetryBudget(OPTIONS.budget), onRefused: () => {} };
  let attempts = 0;
  const handle = retry(parts, OPTIONS).wrap(async () => {
    attempts++;
    throw REFUSED;
  });
  const answer = handle(exchangeOf());
  answer.catch(() => {});
  await clock.pass(3000);
  t.equal(attempts, 3);
});

test("in an outage all retries together stay within a fifth of the requests and the floor", async (t) => {
  const { clock, handle, refusals, sentAt } = retrying([REFUSED], {
    attempts: 10,
    backoff: { baseMs: 2, maxMs: 20 },
  });
  const requests = 1000;
  let failed = 0;
  // Nine seconds of it, so that all of it lies in one window.
  for (let i = 0; i < requests; i++) {
    handle(exchangeOf()).catch(() => failed++);
    await clock.pass(9);
  }
  await clock.pass(500);
  t.equal(failed, requests);
  t.ok(sentAt.length <= 1.2 * requests + 100, `${sentAt.length} attempts`);
  t.equal(sentAt.length, 1300, "and what the budget allows is used");
  t.ok(refusals.filter((reason) => reason === "budget").length > 900);
  t.equal(clock.pending, 0);
});
