import { createHook } from "node:async_hooks";
import { once } from "node:events";
import { type Test, test } from "tap";
import {
  Body,
  ERROR_KINDS,
  type ErrorCode,
  type Handler,
  type Outcome,
  ProxyError,
  type ProxyResponse,
} from "../../core/index.ts";
import {
  Breaker,
  type BreakerOptions,
  BreakerRotation,
  type BreakerState,
  breakerLayer,
  FAILURE_CLASSES,
  type FailureKind,
} from "../../resilience/index.ts";
import { exchangeOf, responseOf } from "../support/exchange.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";

// The time for which a breaker stays open is opossum's, in real time; everything else here is virtual.
const OPEN_FOR_MS = 30;

const OPTIONS: BreakerOptions = {
  mode: "enforce",
  errorRate: 0.5,
  minimumRequests: 20,
  windowMs: 10_000,
  consecutiveFailures: 5,
  failures: FAILURE_CLASSES,
  openForMs: OPEN_FOR_MS,
  openForMaxMs: OPEN_FOR_MS,
  probes: 1,
};

/** Chance that makes nothing longer than was asked for. */
const random = { next: () => 0 };

type Teardown = Pick<Test, "teardown">;

/** A breaker with its own rotation, that can be awaited. */
function breakerWith(t: Teardown, options: Partial<BreakerOptions> = {}) {
  const clock = new ManualClock();
  const rotation = new BreakerRotation(clock, options.windowMs ?? OPTIONS.windowMs);
  const changes: BreakerState[] = [];
  let told: (() => void) | undefined;
  const breaker = new Breaker({ ...OPTIONS, ...options }, { clock, random, rotation }, (state) => {
    changes.push(state);
    told?.();
  });
  t.teardown(() => {
    breaker.stop();
    rotation.stop();
  });
  return {
    breaker,
    clock,
    rotation,
    changes,
    /** One request that ends like this. */
    request(outcome: Outcome): void {
      const permit = breaker.admit();
      if (permit === undefined) throw new Error(`refused: the breaker is ${breaker.state}`);
      breaker.settle(permit, outcome);
    },
    /** Waits until it is in this state. */
    async until(state: BreakerState): Promise<void> {
      // The breaker's own timer does not keep a process alive.
      const alive = setInterval(() => {}, 1000);
      while (breaker.judged !== state)
        await new Promise<void>((resolve) => {
          told = resolve;
        });
      clearInterval(alive);
    },
  };
}

/** As above, tripped and waiting for a probe. */
async function halfOpen(t: Teardown, options: Partial<BreakerOptions> = {}) {
  const parts = breakerWith(t, options);
  while (parts.breaker.state === "closed") parts.request("failure");
  await parts.until("halfOpen");
  return parts;
}

// --- when it opens

test("failures in a row open it, and a success in between begins the row anew", async (t) => {
  const { breaker, clock, changes, request } = breakerWith(t);
  for (let i = 0; i < 4; i++) request("failure");
  request("success");
  for (let i = 0; i < 4; i++) request("failure");
  t.equal(breaker.state, "closed");
  request("failure");
  t.equal(breaker.state, "open");
  t.same([breaker.admits, breaker.admit()], [false, undefined]);
  t.equal(breaker.openUntilMs, clock.now() + OPEN_FOR_MS);
  t.same(changes, ["open"]);
});

test("the share of failures opens it, but only when the window holds enough requests", async (t) => {
  const { breaker, request } = breakerWith(t, { consecutiveFailures: 0 });
  for (let i = 0; i < 10; i++) request("success");
  for (let i = 0; i < 9; i++) request("failure");
  t.equal(breaker.state, "closed", "9 of 19");
  request("failure");
  t.equal(breaker.state, "open", "10 of 20 are half of them");

  const few = breakerWith(t, { consecutiveFailures: 0 });
  for (let i = 0; i < 19; i++) few.request("failure");
  t.equal(few.breaker.state, "closed", "19 of 19 are too few to judge by");
  few.request("failure");
  t.equal(few.breaker.state, "open");

  const most = breakerWith(t, { consecutiveFailures: 0 });
  for (let i = 0; i < 60; i++) most.request("success");
  for (let i = 0; i < 59; i++) most.request("failure");
  t.equal(most.breaker.state, "closed", "59 of 119 are less than half");
  most.request("failure");
  t.equal(most.breaker.state, "open");
});

test("what was ignored counts for nothing: neither as a request, nor in the row, nor against it", async (t) => {
  const { breaker, request } = breakerWith(t, { minimumRequests: 6, consecutiveFailures: 5 });
  for (let i = 0; i < 4; i++) {
    request("failure");
    for (let j = 0; j < 10; j++) request("ignored");
  }
  t.equal(breaker.state, "closed");
  request("failure");
  t.equal(breaker.state, "open", "the fifth in a row of those that said something");
});

test("the window forgets: after its length a failure counts no more, and before it does", async (t) => {
  const { breaker, clock, request } = breakerWith(t, { consecutiveFailures: 0, minimumRequests: 4 });
  for (let i = 0; i < 3; i++) request("failure");
  clock.advance(10_000);
  request("failure");
  t.equal(breaker.state, "closed", "one of one");
  clock.advance(8_999);
  for (let i = 0; i < 2; i++) request("failure");
  t.equal(breaker.state, "closed");
  request("failure");
  t.equal(breaker.state, "open", "the one of nine seconds ago is the fourth");
});

test("a breaker that is switched off never refuses", async (t) => {
  const { breaker, changes, request } = breakerWith(t, { mode: "off" });
  for (let i = 0; i < 200; i++) request("failure");
  t.same([breaker.state, breaker.admits, changes], ["closed", true, []]);
});

test("a request that began before the breaker opened changes nothing when it ends", async (t) => {
  const { breaker, changes, request } = breakerWith(t);
  const straggler = breaker.admit()!;
  for (let i = 0; i < 5; i++) request("failure");
  for (const outcome of ["success", "failure", "ignored"] as const) breaker.settle(straggler, outcome);
  t.same([breaker.state, changes], ["open", ["open"]]);
});

// --- half open

test("after its time it lets exactly one request through", async (t) => {
  const { breaker, changes } = await halfOpen(t);
  t.same(changes, ["open", "halfOpen"]);
  t.equal(breaker.admits, true);
  t.not(breaker.admit(), undefined);
  t.equal(breaker.admits, false);
  t.equal(breaker.admit(), undefined, "one probe at a time");
});

test("a good probe closes it, and what led to the trip is forgotten", async (t) => {
  const { breaker, changes, request } = await halfOpen(t, { consecutiveFailures: 3, minimumRequests: 3 });
  request("success");
  t.same([breaker.state, changes.at(-1)], ["closed", "closed"]);
  request("failure");
  t.equal(breaker.state, "closed", "a single failure after the recovery is a single failure");
  request("failure");
  t.equal(breaker.state, "closed");
  request("failure");
  t.equal(breaker.state, "open");
});

test("a failed probe opens it again at once, whatever the rate, and for as long", async (t) => {
  const byRate = { consecutiveFailures: 0, minimumRequests: 4 };
  const { breaker, clock, changes, request, until } = await halfOpen(t, byRate);
  clock.advance(OPTIONS.windowMs);
  request("failure");
  t.equal(breaker.state, "open");
  t.equal(breaker.openUntilMs, clock.now() + OPEN_FOR_MS);
  await until("halfOpen");
  request("success");
  t.same(changes, ["open", "halfOpen", "open", "halfOpen", "closed"]);
});

test("a straggler from before the trip cannot settle the probe", async (t) => {
  const parts = breakerWith(t);
  const stragglers = [parts.breaker.admit()!, parts.breaker.admit()!, parts.breaker.admit()!];
  while (parts.breaker.state === "closed") parts.request("failure");
  await parts.until("halfOpen");
  const probe = parts.breaker.admit()!;
  for (const [i, outcome] of (["success", "failure", "ignored"] as const).entries()) {
    parts.breaker.settle(stragglers[i]!, outcome);
    t.same([parts.breaker.state, parts.breaker.admits], ["halfOpen", false], outcome);
  }
  parts.breaker.settle(probe, "success");
  t.equal(parts.breaker.state, "closed");
});

test("a probe that was abandoned gives its turn to the next request", async (t) => {
  const { breaker } = await halfOpen(t);
  breaker.settle(breaker.admit()!, "ignored");
  t.equal(breaker.state, "halfOpen");
  const next = breaker.admit()!;
  t.not(next, undefined);
  breaker.settle(next, "success");
  t.equal(breaker.state, "closed");
});

test("a probe that never ends does not hold the breaker half open for ever", async (t) => {
  const { breaker, clock } = await halfOpen(t);
  const lost = breaker.admit()!;
  clock.advance(OPEN_FOR_MS - 1);
  t.equal(breaker.admit(), undefined);
  clock.advance(1);
  const next = breaker.admit()!;
  t.not(next, undefined);
  t.equal(breaker.admit(), undefined, "and again one at a time");
  breaker.settle(next, "success");
  t.equal(breaker.state, "closed");
  breaker.settle(lost, "failure");
  t.equal(breaker.state, "closed", "the lost one has no say any more");
});

test("a probe that is answered by a stream has passed when that has gone on for as long as a breaker is open", async (t) => {
  const { breaker, clock, changes } = await halfOpen(t, { probes: 2 });
  const handle = (body: Body) =>
    breakerLayer(breaker, "10.0.0.1:80").wrap(async () => responseOf(200, body))(exchangeOf());
  const streams = [1, 2].map(() => new Body({ pause() {}, resume() {}, cancel() {} }, undefined));
  await handle(streams[0]!);
  clock.advance(OPEN_FOR_MS - 1);
  t.equal(breaker.admit(), undefined, "not before");
  clock.advance(1);
  await handle(streams[1]!);
  t.same([breaker.state, breaker.admits], ["halfOpen", false], "the first of two");
  clock.advance(OPEN_FOR_MS);
  t.ok(breaker.admits);
  const next = breaker.admit()!;
  t.equal(breaker.state, "closed");
  for (const stream of streams) stream.fail(new Error("lost"));
  t.equal(breaker.state, "closed", "how they end is no second opinion");
  for (let i = 0; i < 5; i++) breaker.settle(next, "failure");
  t.same(changes, ["open", "halfOpen", "closed", "open"]);
});

test("a stream that was given up says nothing for the probe that comes after it", async (t) => {
  const { breaker, clock } = await halfOpen(t);
  const stream = new Body({ pause() {}, resume() {}, cancel() {} }, undefined);
  await breakerLayer(breaker, "10.0.0.1:80").wrap(async () => responseOf(200, stream))(exchangeOf());
  stream.cancel(new Error("gone"));
  breaker.admit();
  clock.advance(OPEN_FOR_MS);
  breaker.admit();
  t.equal(breaker.state, "halfOpen", "nothing of that one has come");
});

test("where callers always leave in the middle of good answers, three of those are a good probe, and none before is", async (t) => {
  for (const probes of [1, 2]) {
    const { breaker, clock, request } = await halfOpen(t, { probes });
    const layer = breakerLayer(breaker, "10.0.0.1:80");
    const leave = async () => {
      const stream = new Body({ pause() {}, resume() {}, cancel() {} }, undefined);
      await layer.wrap(async () => responseOf(200, stream))(exchangeOf());
      stream.cancel(new Error("the caller has gone"));
      // Again and again, the next trial waits.
      clock.advance(OPEN_FOR_MS);
    };
    for (let left = 0; left < 3 * probes; left++) {
      t.equal(breaker.state, "halfOpen", `${left} of ${3 * probes}`);
      await leave();
      if (left === 0) request("ignored");
      clock.advance(OPEN_FOR_MS);
    }
    t.equal(breaker.state, "closed");
  }
  const { breaker, clock, until, request } = await halfOpen(t);
  const leave = () => {
    const permit = breaker.admit()!;
    breaker.answers(permit);
    breaker.settle(permit, "ignored");
    clock.advance(OPEN_FOR_MS);
  };
  leave();
  leave();
  request("failure");
  await until("halfOpen");
  leave();
  leave();
  t.equal(breaker.state, "halfOpen", "those of before a failure count no more");
  leave();
  t.equal(breaker.state, "closed");
});

test("callers that leave before anything has come close nothing, however many they are", async (t) => {
  const { breaker, clock } = await halfOpen(t);
  for (let i = 0; i < 20; i++) {
    breaker.settle(breaker.admit()!, "ignored");
    clock.advance(OPEN_FOR_MS);
  }
  t.equal(breaker.state, "halfOpen");
});

test("with more probes it takes so many good ones in a row, one at a time, and one bad one opens it again", async (t) => {
  const { breaker, changes, request, until } = await halfOpen(t, { probes: 3 });
  request("success");
  request("success");
  t.equal(breaker.state, "halfOpen");
  request("failure");
  await until("halfOpen");
  request("success");
  request("ignored");
  request("success");
  t.equal(
    breaker.state,
    "halfOpen",
    "those of before the failure count no more, and what was ignored does not count",
  );
  const last = breaker.admit()!;
  t.equal(breaker.admit(), undefined);
  breaker.settle(last, "success");
  t.same(changes, ["open", "halfOpen", "open", "halfOpen", "closed"]);
});

test("it says how often and why it opened, and by which failures", async (t) => {
  const { breaker, clock, until } = breakerWith(t, { consecutiveFailures: 3 });
  t.equal(breaker.opening, undefined);
  const fail = (kind: FailureKind) => breaker.settle(breaker.admit()!, "failure", kind);
  for (const kind of ["connect", 503, 503] as const) fail(kind);
  const first = { times: 1, atMs: clock.now(), why: "failuresInARow", failures: { connect: 1, 503: 2 } };
  t.same(breaker.opening, first);
  await until("halfOpen");
  fail("timeout");
  t.match(breaker.opening, { times: 2, why: "failedTrial", failures: { timeout: 1 } });
});

// --- shadow and force

test("in shadow it opens and closes as it would, and refuses nothing", async (t) => {
  const { breaker, changes, request, until } = breakerWith(t, { mode: "shadow" });
  for (let i = 0; i < 5; i++) request("failure");
  t.same([breaker.judged, breaker.state, breaker.admits], ["open", "closed", true]);
  // What it would have refused says nothing: a breaker in earnest would not have seen it.
  for (let i = 0; i < 5; i++) request("success");
  t.equal(breaker.judged, "open");
  await until("halfOpen");
  request("success");
  t.same(changes, ["open", "halfOpen", "closed"]);
});

test("forced open it refuses although all is well, until its time is over", async (t) => {
  const { breaker, clock, changes, request } = breakerWith(t);
  breaker.force("open", 60_000);
  t.same(
    [breaker.state, breaker.judged, breaker.admits, breaker.admit()],
    ["open", "closed", false, undefined],
  );
  t.equal(breaker.openUntilMs, clock.now() + 60_000);
  clock.advance(59_999);
  t.equal(breaker.admits, false);
  clock.advance(1);
  t.same([breaker.state, breaker.forced], ["closed", undefined]);
  request("success");
  t.same(changes, ["open", "closed"]);
});

test("forced closed everything passes although it is open, and given back it is open again", async (t) => {
  const { breaker, request, clock } = breakerWith(t, { openForMs: 3_600_000, openForMaxMs: 3_600_000 });
  for (let i = 0; i < 5; i++) request("failure");
  breaker.force("closed", 60_000);
  t.same([breaker.state, breaker.judged, breaker.admits], ["closed", "open", true]);
  for (let i = 0; i < 50; i++) request("failure");
  breaker.force(undefined, 0);
  t.same([breaker.state, breaker.forced, breaker.opening?.times], ["open", undefined, 1]);
  clock.advance(60_000);
  t.equal(breaker.state, "open", "the time of what was given back is over without a word");
});

test("a breaker that is off can be forced, and one that is stopped leaves no timer of it", async (t) => {
  const { breaker, clock } = breakerWith(t, { mode: "off" });
  breaker.force("open", 60_000);
  t.equal(breaker.admit(), undefined);
  breaker.stop();
  t.equal(clock.pending, 0);
});

// --- what it leaves behind

test("stopping leaves no timer and no listener", async (t) => {
  const timers = new Map<number, "running" | "gone">();
  let tripping = false;
  const hook = createHook({
    init(id, type) {
      if (tripping && type === "Timeout") timers.set(id, "running");
    },
    destroy(id) {
      if (timers.has(id)) timers.set(id, "gone");
    },
  }).enable();
  t.teardown(() => hook.disable());
  const { breaker, clock, rotation, request } = breakerWith(t, { openForMs: 3_600_000 });
  request("success");
  t.equal(rotation.events.listenerCount("rotate"), 0, "an endpoint that is well needs none");
  tripping = true;
  for (let i = 0; i < 5; i++) request("failure");
  tripping = false;
  t.equal(breaker.state, "open");
  t.same([...timers.values()], ["running"], "it waits to let a probe through");
  breaker.stop();
  await settled();
  t.same([...timers.values()], ["gone"]);
  t.equal(rotation.events.listenerCount("rotate"), 0);
  t.equal(clock.pending, 1, "the rotation has one timer for all breakers");
  rotation.stop();
  t.equal(clock.pending, 0);
});

test("one rotation turns the windows of all its breakers, ten times per window", async (t) => {
  const { clock, rotation } = breakerWith(t);
  let turns = 0;
  rotation.events.on("rotate", () => turns++);
  rotation.begin();
  clock.advance(999);
  t.equal(turns, 0);
  clock.advance(9_001);
  t.equal(turns, 10);
  const next = once(rotation.events, "rotate");
  clock.advance(1000);
  await next;
});

// --- the layer

/** What the layer tells the breaker after each of these endings, found out from the breaker's own reaction. */
async function verdictOn(t: Teardown, next: Handler): Promise<Outcome> {
  const { breaker, request } = breakerWith(t, { consecutiveFailures: 2 });
  request("failure");
  await breakerLayer(breaker, "10.0.0.1:80")
    .wrap(next)(exchangeOf())
    .catch(() => {});
  if (!breaker.admits) return "failure";
  request("failure");
  return breaker.admits ? "success" : "ignored";
}

test("statuses that say that the endpoint is failing count against it; 501, 505 and 4xx judge the request", async (t) => {
  for (const status of [200, 204, 304, 400, 404, 408, 429, 499, 501, 505])
    t.equal(await verdictOn(t, async () => responseOf(status)), "success", `${status}`);
  for (const status of [500, 502, 503, 504, 507, 599])
    t.equal(await verdictOn(t, async () => responseOf(status)), "failure", `${status}`);
});

test("errors that are the endpoint's count against it; the caller's and our own say nothing about it", async (t) => {
  const atFault = ["connect_failed", "connect_timeout", "upstream_reset", "bad_response", "attempt_timeout"];
  for (const code of Object.keys(ERROR_KINDS) as ErrorCode[]) {
    const expected = atFault.includes(code) || code === "response_timeout" ? "failure" : "ignored";
    t.equal(await verdictOn(t, () => Promise.reject(new ProxyError(code, ""))), expected, code);
  }
  t.equal(await verdictOn(t, () => Promise.reject(new TypeError("a layer's own fault"))), "ignored");
});

test("an endpoint that let the whole deadline pass has failed; a deadline that passed in our queue says nothing", async (t) => {
  const late = (endpoint?: string) =>
    verdictOn(t, () =>
      Promise.reject(new ProxyError("deadline_exceeded", "", endpoint === undefined ? {} : { endpoint })),
    );
  t.equal(await late("10.0.0.1:80"), "failure");
  t.equal(await late(), "ignored");
});

test("an answer is judged by how its body ends, and the permit is held until then", async (t) => {
  const endings: [string, (body: Body) => void, BreakerState][] = [
    ["it arrives whole", (body) => body.end(), "closed"],
    ["it breaks", (body) => body.fail(new Error("lost")), "open"],
    ["the caller goes away", (body) => body.cancel(new Error("gone")), "halfOpen"],
  ];
  for (const [how, end, expected] of endings) {
    const { breaker } = await halfOpen(t);
    const body = new Body({ pause() {}, resume() {}, cancel() {} }, undefined);
    const answer: ProxyResponse = responseOf(200, body);
    const handle = breakerLayer(breaker, "10.0.0.1:80").wrap(async () => answer);
    t.equal(await handle(exchangeOf()), answer);
    body.push(new Uint8Array(9));
    t.same([breaker.state, breaker.admits], ["halfOpen", false], `${how}: the head alone says nothing`);
    end(body);
    t.equal(breaker.state, expected, how);
    t.equal(breaker.admits, expected !== "open", how);
  }
});

test("a failing status is judged at its head: how its body ends is no second opinion", async (t) => {
  const { breaker, request } = breakerWith(t, { consecutiveFailures: 2 });
  const body = new Body({ pause() {}, resume() {}, cancel() {} }, undefined);
  await breakerLayer(breaker, "10.0.0.1:80").wrap(async () => responseOf(503, body))(exchangeOf());
  body.end();
  request("failure");
  t.equal(breaker.state, "open");
});

test("an open breaker refuses without asking the endpoint, and says which it is", async (t) => {
  const { breaker, request } = breakerWith(t);
  for (let i = 0; i < 5; i++) request("failure");
  const handle = breakerLayer(breaker, "10.0.0.1:80").wrap(async () => {
    t.fail("it must not get here");
    return responseOf();
  });
  await t.rejects(handle(exchangeOf()), { code: "breaker_open", endpoint: "10.0.0.1:80" });
});

test("an endpoint that is well again lets go of its window, and what was counted meanwhile still counts", async (t) => {
  const { breaker, clock, rotation, request } = breakerWith(t, { consecutiveFailures: 0 });
  for (let i = 0; i < 30; i++) request("success");
  clock.advance(3_000);
  request("failure");
  t.ok(rotation.events.listenerCount("rotate") > 0);
  clock.advance(4_000);
  for (let i = 0; i < 15; i++) request("success");
  clock.advance(6_500);
  t.equal(rotation.events.listenerCount("rotate"), 0, "the failure has left the window");
  t.equal(clock.pending, 0, "and nothing is turned for nobody");
  for (let i = 0; i < 14; i++) request("failure");
  t.equal(breaker.state, "closed", "14 of 29 are less than half");
  request("failure");
  t.equal(breaker.state, "open", "15 of 30 are half");
});

test("what was under way when it was stopped counts no more", async (t) => {
  const { breaker, changes, clock } = breakerWith(t);
  const permits = Array.from({ length: 5 }, () => breaker.admit()!);
  breaker.stop();
  for (const permit of permits) breaker.settle(permit, "failure");
  t.same([breaker.state, changes, clock.pending], ["closed", [], 0]);
});

test("successes of before the window are forgotten, with a window and without one", async (t) => {
  const { breaker, clock, request } = breakerWith(t, { consecutiveFailures: 0 });
  for (let i = 0; i < 1000; i++) request("success");
  clock.advance(11_000);
  for (let i = 0; i < 19; i++) request("failure");
  t.equal(breaker.state, "closed");
  request("failure");
  t.equal(breaker.state, "open", "20 of 20, and not of 1,020");
});
