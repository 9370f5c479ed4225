import fc from "fast-check";
import { test } from "tap";
import {
  Body,
  type Exchange,
  type FallbackPolicy,
  type HeaderPairs,
  type LastGoodOptions,
  ProxyError,
  type ProxyResponse,
} from "../../core/index.ts";
import { GoodAnswers, mayBeKept, questionKey } from "../../resilience/good-answers.ts";
import { FallbackTally, fallback } from "../../resilience/index.ts";
import { type ExchangeSettings, exchangeOf, responseOf } from "../support/exchange.ts";
import { ManualClock } from "../support/manual-clock.ts";

const LAST_GOOD: LastGoodOptions = {
  maxAgeMs: 60_000,
  maxBytes: 10_000,
  maxBodyBytes: 1_000,
  vary: ["accept"],
};
const POLICY: FallbackPolicy = { on: ["breaker_open", 503], methods: ["GET", "HEAD"] };
const STATIC = { status: 200, headers: ["Content-Type", "text/plain"], body: "none today\n" };
const BREAKER_OPEN = new ProxyError("breaker_open", "all are open");

const textOf = (body: Body) => Buffer.concat([...body.takeAll()]).toString();
const bodyOf = (text: string) => Body.of(Buffer.from(text));

/** A route with a fallback, and a caller that takes its answers to the end. */
function routeWith(policy: Partial<FallbackPolicy>) {
  const clock = new ManualClock();
  const tally = new FallbackTally();
  let answer: () => ProxyResponse = () => responseOf();
  const handle = fallback({ clock, tally }, { ...POLICY, ...policy }).wrap(async () => answer());
  const call = async (settings: ExchangeSettings = {}, outcome: "success" | "ignored" = "success") => {
    const exchange = exchangeOf({ nowMs: clock.now(), ...settings });
    const response = await handle(exchange);
    const text = response.body.complete ? textOf(response.body) : "";
    exchange.settle(outcome, clock.now());
    return { exchange, response, text };
  };
  return {
    clock,
    tally,
    call,
    answers: (status: number, text = "", headers: HeaderPairs = []) => {
      answer = () => responseOf(status, bodyOf(text), [...headers]);
    },
    fails: (error: Error = BREAKER_OPEN) => {
      answer = () => {
        throw error;
      };
    },
  };
}

test("a static answer stands in for failures and statuses that are named, and for no others", async (t) => {
  const { call, answers, fails, tally } = routeWith({ answer: STATIC });
  fails();
  const { exchange, response, text } = await call();
  t.match(response, { status: 200, headers: ["Content-Type", "text/plain", "X-Heddle-Fallback", "static"] });
  t.equal(text, "none today\n");
  t.match(exchange, { fallback: "static", cause: "breaker_open", causeMessage: "all are open" });
  answers(503, "busy");
  t.match(await call(), { text: "none today\n", exchange: { cause: "upstream_status" } });
  answers(500, "broken");
  t.match(await call(), { text: "broken", exchange: { fallback: "", cause: "" } });
  fails(new ProxyError("client_closed", "gone"));
  await t.rejects(call(), { code: "client_closed" });
  t.same(tally.counts(), { "static breaker_open ": 1, "static upstream_status ": 1 });
});

test("each static answer is one of its own: what a layer adds to one is not in the next", async (t) => {
  const { call, fails } = routeWith({ answer: STATIC });
  fails();
  (await call()).response.headers.push("Set-Cookie", "a=1");
  t.notOk((await call()).response.headers.includes("Set-Cookie"));
});

test("who changes something is told of the error, unless the method is named", async (t) => {
  const post = { method: "POST" };
  const usual = routeWith({ answer: STATIC });
  usual.fails();
  await t.rejects(usual.call(post), { code: "breaker_open" });
  const named = routeWith({ answer: STATIC, methods: ["POST"] });
  named.fails();
  t.equal((await named.call(post)).response.status, 200);
});

test("the last good answer comes back with its age, and before a static one", async (t) => {
  const { clock, call, answers, fails } = routeWith({ answer: STATIC, lastGood: LAST_GOOD });
  fails();
  t.equal((await call({ target: "/a" })).exchange.fallback, "static", "nothing is known yet");
  answers(200, "fine", ["Content-Type", "text/html", "Age", "5"]);
  await call({ target: "/a" });
  clock.advance(30_500);
  fails();
  const { response, text, exchange } = await call({ target: "/a" });
  t.equal(text, "fine");
  t.same(response.headers, ["Content-Type", "text/html", "Age", "35", "X-Heddle-Fallback", "stale"]);
  t.match(exchange, { fallback: "stale", cause: "breaker_open" });
  t.equal((await call({ target: "/b" })).exchange.fallback, "static", "it was another question");
  clock.advance(30_000);
  t.equal((await call({ target: "/a" })).exchange.fallback, "static", "it is too old");
});

test("an answer is kept when its caller has got the last byte, and not before", async (t) => {
  const { call, answers, fails } = routeWith({ lastGood: LAST_GOOD });
  answers(200, "fine");
  await call({}, "ignored");
  fails();
  await t.rejects(call());
});

test("a body is kept as it streams, in as many pieces as it likes, unless it is too long or breaks", async (t) => {
  const clock = new ManualClock();
  const source = { pause() {}, resume() {}, cancel() {} };
  let body = Body.empty();
  let isDown = false;
  const policy = { ...POLICY, lastGood: LAST_GOOD };
  const handle = fallback({ clock, tally: new FallbackTally() }, policy).wrap(async () => {
    if (isDown) throw BREAKER_OPEN;
    return responseOf(200, body);
  });
  const stream = async (target: string, send: (of: Body) => void) => {
    body = new Body(source, undefined);
    const exchange = exchangeOf({ target });
    const response = await handle(exchange);
    let got = "";
    response.body.pipe({
      write(chunk) {
        got += Buffer.from(chunk).toString();
        return true;
      },
      end: () => exchange.settle("success", clock.now()),
      fail: () => exchange.settle("failure", clock.now()),
    });
    body.push(Buffer.from("first,"));
    t.equal(got, "first,", "nobody waits");
    send(body);
  };
  await stream("/whole", (of) => {
    of.push(Buffer.from("second"));
    of.end();
  });
  await stream("/long", (of) => {
    of.push(Buffer.alloc(LAST_GOOD.maxBodyBytes));
    of.end();
  });
  await stream("/broken", (of) => of.fail(new Error("reset")));
  isDown = true;
  t.equal(textOf((await handle(exchangeOf({ target: "/whole" }))).body), "first,second");
  await t.rejects(handle(exchangeOf({ target: "/long" })));
  await t.rejects(handle(exchangeOf({ target: "/broken" })));
});

test("an answer that says that it is gone or forbidden overrules the good one; one of a busy upstream does not", async (t) => {
  for (const [status, stays] of [
    [404, false],
    [403, false],
    [302, false],
    [500, true],
    [429, true],
    [304, true],
  ] as const) {
    const { call, answers, fails } = routeWith({ lastGood: LAST_GOOD });
    answers(200, "fine");
    await call();
    answers(status);
    await call();
    fails();
    if (stays) t.equal((await call()).text, "fine", `${status}`);
    else await t.rejects(call(), `${status}`);
  }
  const { call, answers, fails } = routeWith({ lastGood: LAST_GOOD });
  answers(200, "fine");
  await call();
  answers(200, "mine", ["Cache-Control", "private"]);
  await call();
  fails();
  await t.rejects(call(), "nor is an older one shown when the latest is not for everybody");
});

const answerWith = (...headers: string[]) => responseOf(200, bodyOf("x"), headers);

test("what is not for everybody, or not for later, is not kept", async (t) => {
  const kept = (answer: ProxyResponse, exchange: Exchange = exchangeOf()) =>
    mayBeKept(exchange, answer, LAST_GOOD);
  t.ok(kept(answerWith("Cache-Control", "public, max-age=5", "Vary", "Accept")));
  for (const control of [
    "no-store",
    "private",
    'max-age=1, Private="a"',
    "NO-CACHE",
    "max-age=0,must-revalidate",
    "proxy-revalidate",
    "s-maxage=10",
  ])
    t.notOk(kept(answerWith("cache-control", control)), control);
  t.ok(kept(answerWith("Cache-Control", "x-private-ish=1")), "another word is no such word");
  t.notOk(kept(answerWith("Set-Cookie", "a=1")));
  t.notOk(kept(answerWith("Pragma", "no-cache")));
  t.notOk(kept(answerWith("Vary", "*")));
  t.notOk(kept(answerWith("Vary", "Accept, X-User")), "the same words may get another answer");
  t.notOk(kept(answerWith(), exchangeOf({ headers: ["Cache-Control", "no-store"] })));
  t.notOk(kept(responseOf(200, Body.of(new Uint8Array(1_001)))));
  for (const status of [101, 206, 301, 404, 500]) t.notOk(kept(responseOf(status)), `${status}`);
  const injected = exchangeOf();
  injected.injected = "delay";
  t.notOk(kept(answerWith(), injected));
});

test("a question is its method, host, path, query and the fields that are named, and nobody's who shows who he is", async (t) => {
  const key = (settings: ExchangeSettings, vary: readonly string[] = ["accept"]) =>
    questionKey(exchangeOf({ target: "/a?b=1", ...settings }), vary);
  const same = key({});
  t.equal(key({ authority: "ORDERS" }), same);
  t.equal(key({ headers: ["X-Other", "1"] }), same);
  const others = [
    key({ method: "HEAD" }),
    key({ authority: "orders:81" }),
    key({ target: "/a?b=2" }),
    key({ headers: ["Accept", ""] }),
    key({ headers: ["Accept", "a, b"] }),
    key({ headers: ["Accept", "a", "accept", "b"] }),
  ];
  t.equal(new Set([same, ...others]).size, others.length + 1);
  for (const headers of [
    ["Authorization", "x"],
    ["cookie", "a=1"],
    ["Range", "bytes=0-1"],
  ])
    t.equal(key({ headers: headers as HeaderPairs }), undefined, `${headers[0]}`);
  t.equal(key({ method: "POST" }), undefined);
  t.equal(key({ upgrade: "websocket" }), undefined);
  const mine = (token: string) => key({ headers: ["Authorization", token] }, ["authorization"]);
  t.ok(mine("a") !== undefined && mine("a") !== mine("b"));
});

test("answers never take more than they may, and those that were not needed for the longest time go first", async (t) => {
  const answer = (bytes: number, storedAtMs = 0) => ({
    status: 200,
    reason: "",
    headers: [],
    body: new Uint8Array(bytes),
    storedAtMs,
  });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 5_000 }))),
      (kept) => {
        const answers = new GoodAnswers({ ...LAST_GOOD, maxBytes: 8_000 });
        for (const [key, bytes] of kept) answers.keep(`${key}`, answer(bytes));
        const found = Array.from({ length: 10 }, (_, key) => answers.find(`${key}`, 0)).filter(Boolean);
        const held = found.reduce((sum, of) => sum + of!.body.length, 0);
        return answers.bytes <= 8_000 && held <= answers.bytes && (found.length > 0 || answers.bytes === 0);
      },
    ),
  );
  const answers = new GoodAnswers({ ...LAST_GOOD, maxBytes: 8_000 });
  for (const key of ["a", "b"]) answers.keep(key, answer(3_000));
  answers.find("a", 0);
  answers.keep("c", answer(3_000));
  t.same(
    ["a", "b", "c"].map((key) => answers.find(key, 0) !== undefined),
    [true, false, true],
  );
  answers.keep("a", answer(9_000));
  t.equal(answers.find("a", 0), undefined, "an older one is not shown in place of one that does not fit");
});

test("an answer that is broken before it began is a connection to be cut off, whatever its status", async (t) => {
  const clock = new ManualClock();
  const body = new Body({ pause() {}, resume() {}, cancel() {} }, undefined);
  body.fail(new Error("injected"));
  const policy = { ...POLICY, answer: STATIC };
  const handle = fallback({ clock, tally: new FallbackTally() }, policy).wrap(async () =>
    responseOf(503, body),
  );
  const response = await handle(exchangeOf());
  t.equal(response.body, body);
});
