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
import { GoodAnswers, mayBeKept } from "../../resilience/good-answers.ts";
import { FallbackTally, fallback } from "../../resilience/index.ts";
import { questionOf } from "../../resilience/question.ts";
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

test("what is gone is gone in every form of it, and what was changed is not shown as it was before", async (t) => {
  const forms: ExchangeSettings[] = [{}, { headers: ["Accept", "text/html"] }, { method: "HEAD" }];
  const cases: [string, ExchangeSettings, number, boolean][] = [
    ["gone for one form", { headers: ["Accept", "text/html"] }, 404, false],
    ["deleted", { method: "DELETE" }, 204, false],
    ["changed, and led elsewhere", { method: "POST" }, 303, false],
    ["a change that was refused", { method: "PUT" }, 409, true],
    ["a change that failed", { method: "PUT" }, 500, true],
    ["another place was changed", { method: "PUT", target: "/other" }, 200, true],
    ["asked what may be done", { method: "OPTIONS" }, 200, true],
  ];
  for (const [what, request, status, stays] of cases) {
    const { call, answers, fails } = routeWith({ lastGood: LAST_GOOD });
    answers(200, "fine");
    for (const form of forms) await call(form);
    answers(status);
    await call(request);
    fails();
    for (const form of forms) {
      const found = await call(form).then(
        () => true,
        () => false,
      );
      t.equal(found, stays, `${what}: ${JSON.stringify(form)}`);
    }
  }
});

/** A route whose answers stream, each of them ended by the test. */
function streamingRoute(lastGood: LastGoodOptions = LAST_GOOD) {
  const clock = new ManualClock();
  let answer: () => ProxyResponse = () => responseOf();
  const parts = { clock, tally: new FallbackTally() };
  const handle = fallback(parts, { ...POLICY, lastGood }).wrap(async () => answer());
  return {
    clock,
    async begin(settings: ExchangeSettings = {}, length?: number) {
      const body = new Body({ pause() {}, resume() {}, cancel() {} }, length);
      answer = () => responseOf(200, body);
      const exchange = exchangeOf({ nowMs: clock.now(), ...settings });
      const response = await handle(exchange);
      response.body.pipe({
        write: () => true,
        end: () => exchange.settle("success", clock.now()),
        fail: () => exchange.settle("failure", clock.now()),
      });
      return (text: string) => {
        body.push(Buffer.from(text));
        body.end();
      };
    },
    async answers(status: number, settings: ExchangeSettings = {}) {
      answer = () => responseOf(status);
      const exchange = exchangeOf({ nowMs: clock.now(), ...settings });
      await handle(exchange);
      exchange.settle("success", clock.now());
    },
    async kept(settings: ExchangeSettings = {}) {
      answer = () => {
        throw BREAKER_OPEN;
      };
      return handle(exchangeOf({ nowMs: clock.now(), ...settings })).then(
        ({ body, headers }) => ({ text: textOf(body), age: headers[headers.indexOf("Age") + 1] }),
        () => undefined,
      );
    },
  };
}

test("an answer that was overtaken while it streamed does not come back", async (t) => {
  for (const overtake of [
    (of: ReturnType<typeof streamingRoute>) => of.answers(404),
    (of: ReturnType<typeof streamingRoute>) => of.answers(204, { method: "DELETE" }),
  ]) {
    const route = streamingRoute();
    const finish = await route.begin();
    await overtake(route);
    finish("before");
    t.equal(await route.kept(), undefined);
  }
  const route = streamingRoute();
  const older = await route.begin();
  route.clock.advance(1_000);
  (await route.begin())("newer");
  older("older");
  t.equal((await route.kept())?.text, "newer", "the later of two is kept, whichever ends first");
});

test("an answer is as old as its head, however long its body took", async (t) => {
  const route = streamingRoute();
  const finish = await route.begin();
  route.clock.advance(50_000);
  finish("slow");
  t.same(await route.kept(), { text: "slow", age: "50" });
  route.clock.advance(20_000);
  t.equal(await route.kept(), undefined);
});

test("what is taken down counts before it is kept: slow callers do not make a route hold more than it may", async (t) => {
  const route = streamingRoute({ ...LAST_GOOD, maxBytes: 6_000, maxBodyBytes: 2_000 });
  const finish = [];
  for (let i = 0; i < 4; i++) finish.push(await route.begin({ target: `/${i}` }));
  for (const end of finish) end("x");
  const kept = [];
  for (let i = 0; i < 4; i++) kept.push((await route.kept({ target: `/${i}` })) !== undefined);
  t.same(kept, [true, true, true, false], "an unknown length may be the longest that is kept");
  const small = streamingRoute({ ...LAST_GOOD, maxBytes: 3_000, maxBodyBytes: 5_000 });
  (await small.begin())("x");
  t.ok(await small.kept(), "where one worker's part is less than that, it is all of that part");
  (await small.begin({}, 4_000))("x".repeat(4_000));
  t.equal(await small.kept(), undefined, "an older one is not shown in place of one that does not fit");
  const short = [];
  for (let i = 0; i < 4; i++) short.push(await route.begin({ target: `/short/${i}` }, 1));
  for (const end of short) end("x");
  t.ok(await route.kept({ target: "/short/3" }), "one that says its length takes no more than that");
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
  t.notOk(
    kept(answerWith("X-Heddle-Fallback", "static")),
    "another sidecar has answered in place of its upstream",
  );
  t.notOk(kept(answerWith("x-heddle-fault", "slow")), "or has injected a fault");
  t.notOk(kept({ ...answerWith(), untilClose: true }), "nobody knows whether it is whole");
  for (const status of [101, 206, 301, 404, 500]) t.notOk(kept(responseOf(status)), `${status}`);
  const injected = exchangeOf();
  injected.injected = "delay";
  t.notOk(kept(answerWith(), injected));
});

test("a question is its method, host, path, query and the fields that are named, and nobody's who shows who he is", async (t) => {
  const key = (settings: ExchangeSettings, vary: readonly string[] = ["accept"]) =>
    questionOf(exchangeOf({ target: "/a?b=1", ...settings }), vary)?.key;
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
  for (const field of ["X-Forwarded-Host", "x-forwarded-proto", "X-Original-URL"])
    others.push(key({ headers: [field, "other"] }));
  t.equal(new Set([same, ...others]).size, others.length + 1);
  for (const headers of [
    ["Authorization", "x"],
    ["cookie", "a=1"],
    ["Range", "bytes=0-1"],
    ["X-Api-Key", "k1"],
    ["x-auth-token", "t1"],
    ["X-Forwarded-User", "ann"],
    ["X-Forwarded-Client-Cert", "Hash=1"],
    ["X-HTTP-Method-Override", "DELETE"],
  ])
    t.equal(key({ headers: headers as HeaderPairs }), undefined, `${headers[0]}`);
  t.equal(key({ method: "POST" }), undefined);
  t.equal(key({ upgrade: "websocket" }), undefined);
  t.equal(key({ body: bodyOf("which one?") }), undefined, "what it asks is in its body");
  const mine = (token: string) => key({ headers: ["Authorization", token] }, ["authorization"]);
  t.ok(mine("a") !== undefined && mine("a") !== mine("b"));
});

test("answers never take more than they may, and those that were not needed for the longest time go first", async (t) => {
  const of = (key: string) => ({ place: key, key });
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
        for (const [key, bytes] of kept) answers.keep(of(`${key}`), answer(bytes));
        const found = Array.from({ length: 10 }, (_, key) => answers.find(of(`${key}`), 0)).filter(Boolean);
        const held = found.reduce((sum, of) => sum + of!.body.length, 0);
        return answers.bytes <= 8_000 && held <= answers.bytes && (found.length > 0 || answers.bytes === 0);
      },
    ),
  );
  const answers = new GoodAnswers({ ...LAST_GOOD, maxBytes: 8_000 });
  for (const key of ["a", "b"]) answers.keep(of(key), answer(2_000));
  answers.find(of("a"), 0);
  answers.keep(of("c"), answer(2_000));
  t.same(
    ["a", "b", "c"].map((key) => answers.find(of(key), 0) !== undefined),
    [true, false, true],
  );
  answers.keep(of("a"), answer(9_000));
  t.equal(answers.find(of("a"), 0), undefined, "an older one is not shown in place of one that does not fit");
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
