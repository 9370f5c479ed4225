import { test } from "tap";
import { Body, type Exchange, stack } from "../../core/index.ts";
import { outcomeOf } from "../../resilience/breaker-failures.ts";
import {
  deadline,
  deadlineExceeded,
  type FaultEffect,
  Faults,
  injectFaults,
  postponedFaults,
  type RunningFault,
} from "../../resilience/index.ts";
import { slowed } from "../../resilience/slow-body.ts";
import { exchangeOf, responseOf } from "../support/exchange.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";

const fault = (effect: FaultEffect, more: Partial<RunningFault> = {}): RunningFault => ({
  id: effect.kind,
  match: {},
  share: 1,
  effect,
  leftMs: 1_000,
  ...more,
});
const ABORT: FaultEffect = { kind: "abort", status: 418 };

function injecting(running: readonly RunningFault[], requestMs = 60_000) {
  const clock = new ManualClock();
  const faults = new Faults();
  faults.replace(running, clock.now());
  let sent = 0;
  const parts = { clock, random: seededRandom(1), faults };
  const handle = stack(
    [injectFaults(parts), deadline(clock, { requestMs }), postponedFaults(parts)],
    async () => {
      sent++;
      return responseOf(200, Body.of(Buffer.from("fine")));
    },
  );
  return { clock, faults, handle, sent: () => sent };
}

test("an abort is answered and not sent, and says that it was injected and by which fault", async (t) => {
  const { handle, sent, faults } = injecting([fault(ABORT, { id: "added-1" })]);
  const exchange = exchangeOf();
  const response = await handle(exchange);
  t.equal(response.status, 418);
  t.match(response.headers.join(), /X-Heddle-Error,fault_injected,X-Heddle-Fault,abort/);
  t.match(exchange, { cause: "fault_injected", detail: "added-1", injected: "abort" });
  t.equal(sent(), 0);
  t.same(faults.counts(), { abort: 1 });
});

test("a fault ends by itself, though nobody ends it", async (t) => {
  const { clock, handle } = injecting([fault(ABORT)]);
  clock.advance(999);
  t.equal((await handle(exchangeOf())).status, 418);
  clock.advance(1);
  t.equal((await handle(exchangeOf())).status, 200);
});

test("only those requests are hit for which all holds that is said", async (t) => {
  const match = { route: "cart", upstream: "orders", header: "x-fault-test", value: "a" };
  const { handle } = injecting([fault(ABORT, { match })]);
  const statusOf = async (route: string, upstream: string, headers: string[]) => {
    const exchange = exchangeOf({ headers });
    Object.assign(exchange, { route, upstream });
    return (await handle(exchange)).status;
  };
  t.equal(await statusOf("cart", "orders", ["X-Fault-Test", "a"]), 418);
  t.equal(await statusOf("other", "orders", ["X-Fault-Test", "a"]), 200);
  t.equal(await statusOf("cart", "other", ["X-Fault-Test", "a"]), 200);
  t.equal(await statusOf("cart", "orders", ["X-Fault-Test", "b"]), 200);
  t.equal(await statusOf("cart", "orders", []), 200);
});

test("a share is a share", async (t) => {
  const { handle } = injecting([fault(ABORT, { share: 0.1 })]);
  let hit = 0;
  for (let i = 0; i < 10_000; i++) if ((await handle(exchangeOf())).status === 418) hit++;
  // Five standard deviations.
  t.ok(Math.abs(hit - 1_000) < 150, `${hit} of 10000`);
});

test("a delay holds the request back before it is sent, and ends when its caller goes", async (t) => {
  const { clock, handle, sent } = injecting([fault({ kind: "delay", delayMs: [100, 200] })]);
  const exchange: Exchange = exchangeOf();
  const answer = handle(exchange);
  await settled();
  t.match(exchange, { state: "suspended", suspendedOn: "layer" });
  clock.advance(99);
  await settled();
  t.equal(sent(), 0);
  clock.advance(101);
  t.match((await answer).headers, ["X-Heddle-Fault", "delay"]);
  t.ok(exchange.waitedMs.layer >= 100 && exchange.waitedMs.layer <= 200);
  const gone = exchangeOf();
  const never = handle(gone);
  await settled();
  const { ProxyError } = await import("../../core/index.ts");
  gone.abort(new ProxyError("client_closed", "gone"));
  await t.rejects(never, { code: "client_closed" });
  t.equal(sent(), 1);
  t.equal(clock.pending, 0, "and leaves no timer behind");
});

test("an endpoint that had only what a delay left of the time is not to blame", async (t) => {
  const { clock, handle } = injecting([fault({ kind: "delay", delayMs: [100, 100] })]);
  const blamed = (exchange: Exchange) => {
    exchange.deadlineMs = 200;
    return outcomeOf(deadlineExceeded(exchange, "late", "127.0.0.1:1"));
  };
  t.equal(blamed(exchangeOf()), "failure", "without a delay it is");
  const exchange = exchangeOf();
  const answer = handle(exchange);
  clock.advance(100);
  await answer;
  t.equal(blamed(exchange), "ignored");
  t.equal(blamed(exchange.twin(undefined)), "ignored", "nor is one that was asked beside it");
});

test("a delay is over with the request's time, and what comes after it does not happen", async (t) => {
  const { clock, handle, faults, sent } = injecting(
    [
      fault({ kind: "delay", delayMs: [800, 800] }),
      fault(ABORT),
      fault({ kind: "slow", bytesPerSecond: 1_000 }),
    ],
    500,
  );
  const exchange = exchangeOf({ nowMs: clock.now() });
  const answer = handle(exchange);
  await settled();
  clock.advance(499);
  t.equal(exchange.state, "suspended");
  clock.advance(1);
  await t.rejects(answer, { code: "deadline_exceeded" });
  t.same(faults.counts(), { delay: 1 });
  t.equal(exchange.injected, "delay");
  t.equal(sent(), 0);
  t.equal(clock.pending, 0);
});

test("what was to come after a delay does not, when the fault has ended meanwhile", async (t) => {
  const { clock, handle, faults } = injecting([fault({ kind: "delay", delayMs: [100, 100] })]);
  const late = injectFaults({ clock, random: seededRandom(1), faults }).wrap(async (exchange) => {
    faults.replace([], clock.now());
    return handle(exchange);
  });
  t.equal((await late(exchangeOf())).status, 200);
  t.equal(clock.pending, 0);
});

test("a reset gives an answer that is broken before its first byte", async (t) => {
  const { handle, sent } = injecting([fault({ kind: "reset" })]);
  const exchange = exchangeOf();
  t.ok((await handle(exchange)).body.failed);
  t.match(exchange, { cause: "fault_injected", injected: "reset" });
  t.equal(sent(), 0);
});

test("several faults hit in the order in which they were added", async (t) => {
  const { clock, handle, faults } = injecting([fault({ kind: "delay", delayMs: [50, 50] }), fault(ABORT)]);
  const answer = handle(exchangeOf());
  await clock.pass(50);
  t.match((await answer).headers.join(), "X-Heddle-Fault,delay, abort");
  t.same(faults.counts(), { delay: 1, abort: 1 });
});

/** Everything that a body gives, with the time of its end. */
function taken(body: Body, clock: ManualClock) {
  const seen = { text: "", atMs: [] as number[], ended: 0, failed: "", trailers: [] as readonly string[] };
  body.pipe({
    write(chunk) {
      seen.text += Buffer.from(chunk).toString();
      seen.atMs.push(clock.now());
      return true;
    },
    end(trailers) {
      seen.ended = clock.now();
      seen.trailers = trailers;
    },
    fail(cause) {
      seen.failed = cause.message;
    },
  });
  return seen;
}

test("a slow body comes whole, in order, and no faster than it may", async (t) => {
  const clock = new ManualClock(0);
  const source = { paused: 0, pause: () => source.paused++, resume() {}, cancel() {} };
  const body = new Body(source, undefined);
  const seen = taken(slowed(body, 1_000, clock), clock);
  const text = "0123456789".repeat(100);
  for (let at = 0; at < text.length; at += 30) body.push(Buffer.from(text.slice(at, at + 30)));
  body.end(["X-Sum", "1"]);
  clock.advance(500);
  t.ok(seen.text.length <= 500 && seen.text.length >= 400, `${seen.text.length} bytes in half a second`);
  clock.advance(600);
  t.equal(seen.text, text);
  t.ok(seen.ended >= 950 && seen.ended <= 1_100, `${seen.ended} ms`);
  t.same(seen.trailers, ["X-Sum", "1"]);
});

test("a slow body passes on that it broke, that nobody wants it, and holds its producer back", async (t) => {
  const clock = new ManualClock(0);
  const broken = new Body({ pause() {}, resume() {}, cancel() {} }, undefined);
  const seen = taken(slowed(broken, 1_000, clock), clock);
  broken.push(Buffer.alloc(500));
  broken.fail(new Error("reset"));
  t.equal(seen.failed, "reset");
  let cancelled = "";
  let pauses = 0;
  const unwanted = new Body(
    {
      pause: () => pauses++,
      resume() {},
      cancel: (reason) => {
        cancelled = reason.message;
      },
    },
    undefined,
  );
  const slow = slowed(unwanted, 1_000, clock);
  unwanted.push(Buffer.alloc(1_000));
  unwanted.push(Buffer.alloc(100_000));
  t.equal(pauses, 1);
  slow.cancel(new Error("gone"));
  t.equal(cancelled, "gone");
  t.equal(clock.pending, 0);
});

test("a slow body that its consumer holds up goes on where it stopped", async (t) => {
  const clock = new ManualClock(0);
  const body = new Body({ pause() {}, resume() {}, cancel() {} }, 4_000_000);
  const slow = slowed(body, 10_000_000, clock);
  let got = 0;
  let ended = false;
  slow.pipe({
    write(chunk) {
      got += chunk.length;
      return false;
    },
    end: () => {
      ended = true;
    },
    fail() {},
  });
  for (let i = 0; i < 4; i++) body.push(new Uint8Array(1_000_000));
  body.end();
  for (let i = 0; i < 200 && !ended; i++) {
    clock.advance(50);
    slow.resume();
  }
  t.same([got, ended], [4_000_000, true]);
});
