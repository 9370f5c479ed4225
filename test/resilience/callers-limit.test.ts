import fc from "fast-check";
import { test } from "tap";
import { Body, type Exchange } from "../../core/index.ts";
import { callersLimitMs, grpcMs, grpcTimeout, wholeMs } from "../../resilience/callers-limit.ts";
import {
  CALLERS_LIMIT,
  callerDeadline,
  deadline,
  deadlineExceeded,
  Inheritance,
  outcomeOf,
  saysTimeIsUp,
} from "../../resilience/index.ts";
import { type ExchangeSettings, exchangeOf, responseOf } from "../support/exchange.ts";
import { ManualClock } from "../support/manual-clock.ts";

const NONE = Number.POSITIVE_INFINITY;
const REQUEST_MS = 300;

/** What has become of the request's deadline when both layers have seen it, at 5000. */
async function met(settings: ExchangeSettings, inheritance?: Inheritance) {
  const clock = new ManualClock(5000);
  const exchange = exchangeOf({ nowMs: 5000, ...settings });
  let passed = false;
  const inner = deadline(clock, { requestMs: REQUEST_MS }).wrap(async () => {
    passed = true;
    return responseOf();
  });
  const fault = await callerDeadline(inheritance)
    .wrap(inner)(exchange)
    .then(
      () => undefined,
      (thrown) => thrown,
    );
  return { clock, exchange, passed, fault };
}

// --- reading

test("a caller's limit is whole milliseconds, or gRPC's digits and unit; anything else says nothing", async (t) => {
  for (const [value, ms] of [
    ["0", 0],
    ["007", 7],
    ["1500", 1500],
    ["999999999", 999_999_999],
  ] as const)
    t.equal(wholeMs(value), ms, value);
  for (const value of ["", " ", "-1", "+1", "1.5", "1e3", "0x10", "12ms", "1 2", "1000000000", "٣", "NaN"])
    t.equal(wholeMs(value), -1, value);
  for (const [value, ms] of [
    ["2H", 7_200_000],
    ["3M", 180_000],
    ["4S", 4000],
    ["250m", 250],
    ["500u", 0.5],
    ["99999999n", 99.999999],
    ["0S", 0],
  ] as const)
    t.ok(Math.abs(grpcMs(value) - ms) < 1e-9, value);
  for (const value of ["", "S", "5", "5s", "5h", "-5S", "5.5S", "5 S", "123456789m", "5SS", "constructor"])
    t.equal(grpcMs(value), -1, value);
});

test("of several limits the shortest holds, whatever the case of their names", async (t) => {
  const fields = [
    "X-HEDDLE-Timeout-ms",
    "900",
    "grpc-timeout",
    "800m",
    "x-envoy-expected-rq-timeout-ms",
    "700",
  ];
  t.equal(callersLimitMs(fields), 700);
  t.equal(callersLimitMs(fields.slice(0, 4)), 800);
  t.equal(callersLimitMs(["x-heddle-timeout-ms", "5", "X-Heddle-Timeout-Ms", "4"]), 4);
  t.equal(callersLimitMs(["x-heddle-timeout-ms", "x", "grpc-timeout", "1S"]), 1000, "nonsense hides nothing");
  t.equal(callersLimitMs(["grpc-timeouT", "-1S", "Accept", "1"]), NONE);
  t.equal(callersLimitMs(["content-type", "5", "x-request-id", "5"]), NONE, "names that are as long");
});

test("what gRPC is told never exceeds what is left, loses little of it, and can be read by whoever reads gRPC", async (t) => {
  fc.assert(
    fc.property(fc.double({ min: 0.001, max: 9e10, noNaN: true }), (leftMs) => {
      const text = grpcTimeout(leftMs);
      const readMs = grpcMs(text);
      return (
        /^\d{1,8}[HMSmun]$/.test(text) && readMs <= leftMs && readMs >= leftMs - Math.max(0.001, leftMs / 90)
      );
    }),
    { numRuns: 2000 },
  );
  t.equal(grpcTimeout(0), "1u", "gRPC has no word for nothing");
});

// --- what it means

test("a caller shortens its request's time, and is told that it was its own limit that passed", async (t) => {
  const { clock, exchange, passed } = await met({ headers: ["X-Heddle-Timeout-Ms", "120"] });
  t.equal(exchange.deadlineMs, 5120);
  t.ok(passed);
  t.equal(clock.pending, 0, "a deadline is no timer");
  t.match(deadlineExceeded(exchange, ""), { code: "deadline_exceeded", detail: CALLERS_LIMIT });
  const usual = await met({ headers: ["X-Heddle-Timeout-Ms", "301"] });
  t.equal(usual.exchange.deadlineMs, 5300);
  t.equal(deadlineExceeded(usual.exchange, "").detail, undefined);
});

test("whatever a caller sends, nothing is thrown and its time is never longer than is configured", async (t) => {
  const name = fc.constantFrom(
    "x-heddle-timeout-ms",
    "Grpc-Timeout",
    "X-Envoy-Expected-Rq-Timeout-Ms",
    "accept",
  );
  const value = fc.oneof(
    fc.string(),
    fc.integer({ min: -10, max: 2 ** 40 }).map(String),
    fc.tuple(fc.nat(), fc.constantFrom("H", "M", "S", "m", "u", "n", "x")).map(([n, unit]) => `${n}${unit}`),
  );
  const promise = fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(name, value), { maxLength: 5 }),
      fc.boolean(),
      async (fields, arriving) => {
        const body = arriving ? new Body({ pause() {}, resume() {}, cancel() {} }, undefined) : undefined;
        const headers = fields.flat();
        const { exchange, passed, fault } = await met({ headers, ...(body === undefined ? {} : { body }) });
        const limitMs = callersLimitMs(headers);
        if (passed !== limitMs > 0 || (fault?.code ?? "deadline_exceeded") !== "deadline_exceeded")
          return false;
        body?.end();
        return exchange.deadlineMs === 5000 + Math.min(REQUEST_MS, limitMs);
      },
    ),
    { numRuns: 500 },
  );
  await t.resolves(promise);
});

test("a request whose time is spent is refused before anything is done for it", async (t) => {
  for (const headers of [
    ["x-heddle-timeout-ms", "0"],
    ["grpc-timeout", "0n"],
  ]) {
    const { passed, fault } = await met({ headers });
    t.notOk(passed);
    t.match(fault, { code: "deadline_exceeded", detail: CALLERS_LIMIT });
  }
  const late = await met({ nowMs: 4900, headers: ["x-heddle-timeout-ms", "100"] });
  t.notOk(late.passed, "nor one that has waited for discovery until then");
});

test("a caller waits from its head on, also while it sends a body; what is configured counts from the body's end", async (t) => {
  for (const [limit, before, after] of [
    ["1000", 6000, 5700],
    ["600", 5600, 5600],
  ] as const) {
    const body = new Body({ pause() {}, resume() {}, cancel() {} }, undefined);
    const { clock, exchange } = await met({ headers: ["x-heddle-timeout-ms", limit], body });
    t.same([exchange.deadlineMs, exchange.waitDeadlineMs], [before, 5300]);
    clock.advance(400);
    body.end();
    t.same([exchange.deadlineMs, exchange.waitDeadlineMs], [after, after]);
  }
});

// --- whose deadline it was

test("an endpoint is not judged by a caller's limit, neither by silence nor by saying first that the time is up", async (t) => {
  const { exchange: hurried } = await met({ headers: ["x-heddle-timeout-ms", "10"] });
  const { exchange: usual } = await met({});
  t.equal(outcomeOf(deadlineExceeded(hurried, "", "10.0.0.1:80")), "ignored");
  t.equal(outcomeOf(deadlineExceeded(usual, "", "10.0.0.1:80")), "failure");
  const says = (status: number, code: string) => responseOf(status, Body.empty(), ["X-Heddle-Error", code]);
  t.equal(saysTimeIsUp(hurried, says(504, "deadline_exceeded")), true);
  t.equal(saysTimeIsUp(usual, says(504, "deadline_exceeded")), false);
  t.equal(saysTimeIsUp(hurried, says(504, "attempt_timeout")), false);
  t.equal(saysTimeIsUp(hurried, responseOf(504)), false);
});

// --- through the app

const inbound = (requestId: string, limit: string): Exchange =>
  exchangeOf({ direction: "inbound", requestId, nowMs: 5000, headers: ["x-heddle-timeout-ms", limit] });

/** Serves a request until it is settled. */
async function serve(inheritance: Inheritance, exchange: Exchange): Promise<Exchange> {
  await callerDeadline(inheritance).wrap(async () => responseOf())(exchange);
  return exchange;
}

test("what the app sends with the id of a request that it answers ends no later than that", async (t) => {
  const inheritance = new Inheritance("repeatable");
  const served = await serve(inheritance, inbound("a", "100"));
  const heir = await met({ requestId: "a" }, inheritance);
  t.equal(heir.exchange.deadlineMs, 5100);
  t.match(deadlineExceeded(heir.exchange, ""), { detail: CALLERS_LIMIT });
  t.equal((await met({ requestId: "b" }, inheritance)).exchange.deadlineMs, 5300, "another id, nothing");
  const shorter = ["x-heddle-timeout-ms", "50"];
  t.equal((await met({ requestId: "a", headers: shorter }, inheritance)).exchange.deadlineMs, 5050);
  const longer = ["x-heddle-timeout-ms", "250"];
  t.equal((await met({ requestId: "a", headers: longer }, inheritance)).exchange.deadlineMs, 5100);
  served.deadlineMs = 4999;
  const late = await met({ requestId: "a" }, inheritance);
  t.notOk(late.passed, "and is refused when that is over");
});

test("what may not be sent twice inherits only where all requests do", async (t) => {
  for (const [inheriting, method, key, expected] of [
    ["repeatable", "POST", [], 5300],
    ["repeatable", "POST", ["Idempotency-Key", "7"], 5100],
    ["repeatable", "PUT", [], 5100],
    ["all", "POST", [], 5100],
  ] as const) {
    const inheritance = new Inheritance(inheriting);
    await serve(inheritance, inbound("a", "100"));
    const { exchange } = await met({ requestId: "a", method, headers: [...key] }, inheritance);
    t.equal(exchange.deadlineMs, expected, `${inheriting}: ${method} ${key[0] ?? ""}`);
  }
});

test("of several requests with one id the longest deadline is inherited, as nobody knows which one it is for", async (t) => {
  const inheritance = new Inheritance("repeatable");
  const first = await serve(inheritance, inbound("a", "100"));
  const second = await serve(inheritance, inbound("a", "200"));
  const third = await serve(inheritance, inbound("a", "150"));
  const deadlineNow = async () => (await met({ requestId: "a" }, inheritance)).exchange.deadlineMs;
  t.equal(await deadlineNow(), 5200);
  second.settle("success", 5000);
  t.equal(await deadlineNow(), 5150);
  third.settle("success", 5000);
  t.equal(await deadlineNow(), 5100);
  first.settle("success", 5000);
  t.equal(await deadlineNow(), 5300);
  t.equal(inheritance.size, 0);
});

test("nothing is inherited from an answer that has begun, and nothing is remembered of one that has ended", async (t) => {
  const inheritance = new Inheritance("all");
  const streaming = await serve(inheritance, inbound("a", "100"));
  streaming.status = 200;
  t.equal((await met({ requestId: "a" }, inheritance)).exchange.deadlineMs, 5300);
  streaming.settle("success", 5000);
  for (let i = 0; i < 1000; i++)
    (await serve(inheritance, inbound(`id-${i % 7}`, "9"))).settle("ignored", 5000);
  t.equal(inheritance.size, 0);
});
