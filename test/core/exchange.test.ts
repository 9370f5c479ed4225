import { test } from "tap";
import {
  asProxyError,
  below,
  ERROR_KINDS,
  type ErrorCode,
  endpointKey,
  type Handler,
  headerValue,
  isName,
  type Layer,
  ProxyError,
  removeHeader,
  setHeader,
  stack,
  type Wait,
} from "../../core/index.ts";
import { exchangeOf, responseOf } from "../support/exchange.ts";
import { settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";

const GONE = new ProxyError("client_closed", "the caller closed the connection");
const LATE = new ProxyError("deadline_exceeded", "too late");

// --- waiting and being aborted

test("an abort ends exactly the wait that is on, once, and with its reason", async (t) => {
  const exchange = exchangeOf();
  const ended: [Wait, string][] = [];
  for (const wait of ["queue", "connection", "response"] as const) {
    exchange.suspend(wait, 0, (reason) => ended.push([wait, reason.code]));
    if (wait !== "response") exchange.resume(0);
  }
  exchange.abort(GONE);
  t.same(ended, [["response", "client_closed"]]);
  exchange.abort(LATE);
  t.equal(ended.length, 1);
  t.equal(exchange.aborted, GONE, "the first reason stays");
});

test("an abort while nothing is waited for is kept for the next wait, which is over before it begins", async (t) => {
  const exchange = exchangeOf();
  exchange.suspend("queue", 0, () => t.fail("this wait is over"));
  exchange.resume(3);
  exchange.abort(GONE);
  const reasons: ProxyError[] = [];
  exchange.suspend("backoff", 5, (reason) => reasons.push(reason));
  t.same(reasons, [GONE]);
  t.equal(exchange.state, "running");
  t.equal(exchange.suspendedOn, "");
  exchange.resume(50);
  t.equal(exchange.waitedMs.backoff, 0);
});

test("once settled, an exchange cannot be aborted any more", async (t) => {
  const exchange = exchangeOf();
  exchange.suspend("transfer", 0, () => t.fail("nothing is waited for"));
  exchange.settle("success", 1);
  exchange.abort(GONE);
  t.equal(exchange.aborted, undefined);
});

test("waited times add up by what was waited for, the wait that settling ends included", async (t) => {
  const exchange = exchangeOf();
  const waits: [Wait, number, number][] = [
    ["queue", 10, 15],
    ["response", 20, 120],
    ["backoff", 120, 145],
    ["response", 150, 152.5],
  ];
  for (const [wait, from, until] of waits) {
    exchange.suspend(wait, from, () => {});
    t.equal(exchange.state, "suspended");
    t.equal(exchange.suspendedOn, wait);
    t.equal(exchange.suspendedAtMs, from);
    exchange.resume(until);
    t.equal(exchange.state, "running");
    exchange.resume(until + 1000);
  }
  exchange.suspend("transfer", 160, () => {});
  exchange.settle("success", 200);
  t.same(exchange.waitedMs, {
    queue: 5,
    connection: 0,
    response: 102.5,
    backoff: 25,
    transfer: 40,
    layer: 0,
    discovery: 0,
  });
  t.equal(exchange.settledAtMs, 200);
});

test("a signal is made only for those who ask, and is aborted with the reason, also when asked for late", async (t) => {
  const Original = globalThis.AbortController;
  let made = 0;
  globalThis.AbortController = class extends Original {
    constructor() {
      super();
      made++;
    }
  };
  t.teardown(() => {
    globalThis.AbortController = Original;
  });
  const unasked = exchangeOf();
  unasked.abort(GONE);
  unasked.settle("ignored", 1);
  t.equal(made, 0);

  const early = exchangeOf();
  const { signal } = early;
  t.equal(early.signal, signal, "there is one");
  t.equal(signal.aborted, false);
  early.abort(GONE);
  t.equal(signal.reason, GONE);

  const late = exchangeOf();
  late.abort(LATE);
  t.equal(late.signal.reason, LATE);
  t.equal(made, 2);
});

// --- being settled

test("an exchange is settled once, and what was taken last is given back first", async (t) => {
  const exchange = exchangeOf();
  const told: string[] = [];
  for (const layer of ["outer", "middle", "inner"])
    exchange.onSettled((settledExchange, outcome) => {
      t.equal(settledExchange, exchange);
      t.equal(exchange.state, "settled");
      told.push(`${layer} ${outcome}`);
    });
  exchange.settle("failure", 10);
  exchange.settle("success", 20);
  t.same(told, ["inner failure", "middle failure", "outer failure"]);
  t.equal(exchange.settledAtMs, 10);
});

test("who asks to be told after the exchange was settled is told at once", async (t) => {
  const exchange = exchangeOf();
  const told: string[] = [];
  exchange.onSettled(() => exchange.onSettled(() => told.push("asked while it was settled")));
  exchange.settle("success", 10);
  exchange.onSettled((_, outcome) => told.push(`asked later: ${outcome}`));
  t.same(told, ["asked while it was settled", "asked later: ignored"]);
});

test("a layer whose settler fails disturbs neither the other settlers nor who settles the exchange", async (t) => {
  const exchange = exchangeOf();
  const given: string[] = [];
  exchange.onSettled(() => given.push("permit"));
  exchange.onSettled(() => {
    throw new Error("a layer's own fault");
  });
  exchange.onSettled(() => given.push("sample"));
  const surfaced: string[] = [];
  process.setUncaughtExceptionCaptureCallback((fault) => surfaced.push((fault as Error).message));
  t.teardown(() => process.setUncaughtExceptionCaptureCallback(null));
  t.doesNotThrow(() => exchange.settle("success", 10), "the connection has its own books to keep");
  await settled();
  t.same(given, ["sample", "permit"]);
  t.same(surfaced, ["a layer's own fault"], "and the fault is not swallowed");
});

test("the first reason for not simply succeeding is the one that is noted", async (t) => {
  const exchange = exchangeOf();
  exchange.blame(new ProxyError("upstream_reset", "lost", { detail: "half_way" }));
  exchange.blame(GONE);
  t.same([exchange.cause, exchange.detail, exchange.causeMessage], ["upstream_reset", "half_way", "lost"]);
});

test("the endpoints of all attempts are remembered, the last one apart from those before it", async (t) => {
  const exchange = exchangeOf();
  t.equal(exchange.hasTried(""), false, "nothing has been tried yet");
  exchange.beginAttempt("a:1");
  t.same([exchange.attempts, exchange.endpoint, exchange.triedBefore], [1, "a:1", []]);
  exchange.beginAttempt("b:1");
  exchange.beginAttempt("b:1");
  t.same([exchange.attempts, exchange.endpoint, exchange.triedBefore], [3, "b:1", ["a:1", "b:1"]]);
  t.same(
    ["a:1", "b:1", "c:1"].map((endpoint) => exchange.hasTried(endpoint)),
    [true, true, false],
  );
  t.same(exchangeOf().triedBefore, [], "and by no other request");
});

// --- the onion

test("a request meets the first layer first and its response meets it last; layers are wrapped once", async (t) => {
  const walk: string[] = [];
  let wrapped = 0;
  const layer = (name: string): Layer => ({
    name,
    wrap(next: Handler): Handler {
      wrapped++;
      return async (exchange) => {
        walk.push(`into ${name}`);
        const response = await next(exchange);
        walk.push(`out of ${name}`);
        return response;
      };
    },
  });
  const answer = responseOf(204);
  const handle = stack([layer("outer"), layer("inner")], async () => {
    walk.push("last");
    return answer;
  });
  t.equal(await handle(exchangeOf()), answer);
  t.same(walk, ["into outer", "into inner", "last", "out of inner", "out of outer"]);
  await handle(exchangeOf());
  t.equal(wrapped, 2);
  const last: Handler = async () => answer;
  t.equal(stack([], last), last, "without layers there is nothing around");
});

// --- header pairs

test("a field is found in any case, its first value counts, and a value is never taken for a name", async (t) => {
  const headers = ["Accept", "x-tag", "X-TAG", "one", "x-tag", "two"];
  t.equal(headerValue(headers, "x-tag"), "one");
  t.equal(headerValue(headers, "accept"), "x-tag");
  t.equal(headerValue(headers, "one"), undefined);
  t.equal(headerValue([], "accept"), undefined);
  t.equal(isName("Content-TYPE", "content-type"), true);
  t.equal(isName("Content-Typ", "content-type"), false);
});

test("setting replaces every field of that name by one; the others keep order, case and repetition", async (t) => {
  const headers = ["X-Tag", "1", "Accept", "a", "x-tag", "2", "X-TAG", "3", "accept", "b"];
  setHeader(headers, "x-TAG", "4");
  t.same(headers, ["Accept", "a", "accept", "b", "x-TAG", "4"]);
  removeHeader(headers, "accept");
  t.same(headers, ["x-TAG", "4"]);
  removeHeader(headers, "missing");
  t.same(headers, ["x-TAG", "4"]);
});

test("what would not be one field on the wire cannot be set, and changes nothing", async (t) => {
  const headers = ["X-Tag", "1"];
  for (const name of ["", "X Tag", "X-Tag:", "X-Tag\r\nX-Evil", "X-T\u00e4g"])
    t.throws(() => setHeader(headers, name, "2"), TypeError, JSON.stringify(name));
  for (const value of ["2\r\nX-Evil: 1", "2\n", "\0", "\x7f", "\u0141"])
    t.throws(() => setHeader(headers, "x-tag", value), TypeError, JSON.stringify(value));
  t.same(headers, ["X-Tag", "1"]);
  setHeader(headers, "x-tag", "tab\tand \xe4 are allowed, and so is nothing");
  setHeader(headers, "x-empty", "");
  t.equal(headerValue(headers, "x-empty"), "");
});

// --- errors

test("every error code answers with an error status, says whose fault it is, and means something", async (t) => {
  for (const [code, kind] of Object.entries(ERROR_KINDS)) {
    t.match(code, /^[a-z]+(_[a-z]+)*$/);
    t.ok(kind.status >= 400 && kind.status <= 599, code);
    t.match(kind.meaning, /^[a-z].*[^.]$/, `${code}: in lower case and without a full stop`);
    const status = new ProxyError(code as ErrorCode, "x").kind;
    t.equal(status, kind);
    const byCaller = kind.origin === "downstream";
    // Rules of ours that the caller can keep.
    const byRule = code === "no_route" || code === "rate_limited";
    t.equal(kind.status < 500 || kind.status === 501 || kind.status === 505, byCaller || byRule, code);
    if (kind.origin !== "upstream") t.equal(kind.resend, "never", `${code}: only an endpoint is tried again`);
  }
  const safe = Object.keys(ERROR_KINDS).filter((code) => ERROR_KINDS[code as ErrorCode].resend === "safe");
  t.same(
    safe,
    ["connect_failed", "connect_timeout"],
    "what was never sent, and only that, is safe to send again",
  );
});

test("an error carries what narrows it down, and costs no stack", async (t) => {
  const limit = Error.stackTraceLimit;
  const cause = new Error("ECONNRESET");
  const error = new ProxyError("upstream_reset", "lost", {
    detail: "half_way",
    endpoint: "10.0.0.1:80",
    cause,
  });
  t.match(error, {
    name: "ProxyError",
    code: "upstream_reset",
    message: "lost",
    detail: "half_way",
    endpoint: "10.0.0.1:80",
    cause,
  });
  t.notMatch(error.stack, /\n\s+at /);
  t.equal(Error.stackTraceLimit, limit, "others keep theirs");
  const bare = new ProxyError("no_route", "none");
  t.equal("cause" in bare, false);
  t.equal(bare.detail, undefined);
});

test("what a layer throws is an error of its own, or a fault of ours that keeps its cause", async (t) => {
  t.equal(asProxyError(GONE), GONE);
  const fault = new TypeError("x is not a function");
  t.match(asProxyError(fault), {
    code: "internal_error",
    message: "a layer failed: x is not a function",
    cause: fault,
  });
  for (const thrown of ["text", undefined, null, 42, Symbol("odd")])
    t.equal(asProxyError(thrown).code, "internal_error");
});

// --- the rest of the words

test("an endpoint's key tells IPv6 addresses from their port", async (t) => {
  t.equal(endpointKey({ address: "10.0.0.1", port: 8080 }), "10.0.0.1:8080");
  t.equal(endpointKey({ address: "orders.local", port: 80 }), "orders.local:80");
  t.equal(endpointKey({ address: "::1", port: 8080 }), "[::1]:8080");
});

test("a number below a bound is whole, never the bound, and each is equally likely", async (t) => {
  t.equal(below({ next: () => 1 - 2 ** -53 }, 7), 6);
  t.equal(below({ next: () => 0 }, 7), 0);
  const random = seededRandom(1);
  const counts = new Array<number>(7).fill(0);
  for (let i = 0; i < 70_000; i++) counts[below(random, 7)]!++;
  // 10,000 are expected of each; 500 are five standard deviations.
  for (const count of counts) t.ok(Math.abs(count - 10_000) < 500, `${count}`);
});
