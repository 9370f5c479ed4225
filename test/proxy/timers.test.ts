import { test } from "tap";
import { below } from "../../core/index.ts";
import { Expiry } from "../../proxy/expiry.ts";
import { type TickSource, TimerWheel } from "../../proxy/timer-wheel.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";

const TICK_MS = 10;
/** A round of the wheel. */
const ROUND_MS = 1024 * TICK_MS;

/** The machine's side of the wheel: a time that the test moves, and one wake-up that is asked for at a time. */
class Machine implements TickSource {
  nowMs: number;
  wakeUps = 0;
  /** What has arrived and is read before late timers are fired. */
  unread: () => void = () => {};
  #wakeAtMs = Number.POSITIVE_INFINITY;
  #callback: (() => void) | undefined;

  constructor(nowMs = 0) {
    this.nowMs = nowMs;
  }

  now(): number {
    return this.nowMs;
  }

  wakeIn(delayMs: number, callback: () => void): void {
    this.#wakeAtMs = this.nowMs + delayMs;
    this.#callback = callback;
  }

  afterReading(callback: () => void): void {
    this.unread();
    callback();
  }

  /** Moves time on, and wakes the wheel each time that it asked for, exactly then. */
  advanceTo(untilMs: number): void {
    while (this.#wakeAtMs <= untilMs) this.#wake(this.#wakeAtMs);
    this.nowMs = Math.max(this.nowMs, untilMs);
  }

  /** Moves time on without waking anybody on the way: the machine slept, or was busy. */
  sleepTo(untilMs: number): void {
    this.nowMs = untilMs;
    if (this.#wakeAtMs <= untilMs) this.#wake(untilMs);
  }

  /** Whether anybody wants to be woken at all. */
  get asked(): boolean {
    return this.#callback !== undefined;
  }

  #wake(atMs: number): void {
    const callback = this.#callback!;
    this.nowMs = Math.max(this.nowMs, atMs);
    this.#wakeAtMs = Number.POSITIVE_INFINITY;
    this.#callback = undefined;
    this.wakeUps++;
    callback();
  }
}

function wheelAt(nowMs = 0) {
  const machine = new Machine(nowMs);
  return { machine, wheel: new TimerWheel(machine) };
}

// --- the wheel

test("a timer never fires early, at most one tick late, and once", async (t) => {
  for (const startMs of [0, 3.7, 123_456.789]) {
    for (const delayMs of [-5, 0, 0.1, 9.9, 10, 10.1, 95, 1000, ROUND_MS, 3 * ROUND_MS + 7]) {
      const { machine, wheel } = wheelAt(startMs);
      const firedAt: number[] = [];
      wheel.schedule(delayMs, () => firedAt.push(wheel.now() - startMs));
      t.equal(wheel.pending, 1);
      machine.advanceTo(startMs + 100_000);
      t.equal(firedAt.length, 1, `${delayMs} from ${startMs}`);
      const dueMs = Math.max(0, delayMs);
      t.ok(
        firedAt[0]! >= dueMs - 1e-6 && firedAt[0]! <= dueMs + TICK_MS + 1e-6,
        `${firedAt[0]} for ${delayMs}`,
      );
      t.equal(wheel.pending, 0);
    }
  }
});

test("timers fire in the order in which they are due, also when the machine wakes late", async (t) => {
  const { machine, wheel } = wheelAt();
  const fired: number[] = [];
  for (const delayMs of [500, 20, 300, ROUND_MS + 40, 100, 2 * ROUND_MS + 20])
    wheel.schedule(delayMs, () => fired.push(delayMs));
  machine.sleepTo(3 * ROUND_MS);
  t.same(fired, [20, 100, 300, 500, ROUND_MS + 40, 2 * ROUND_MS + 20]);
  t.equal(wheel.pending, 0);
});

test("after a pause of the machine what has arrived is read before timers are fired, and may cancel them", async (t) => {
  for (const [lateMs, isRead] of [
    [0, false],
    [49, false],
    [50, true],
    [60_000, true],
  ] as const) {
    const { machine, wheel } = wheelAt();
    const fired: string[] = [];
    const answered = wheel.schedule(100, () => fired.push("answered"));
    wheel.schedule(100, () => fired.push("silent"));
    machine.unread = () => {
      answered.cancel();
      wheel.schedule(1000, () => {});
    };
    machine.sleepTo(100 + lateMs);
    t.same(fired.sort(), isRead ? ["silent"] : ["answered", "silent"], `${lateMs} ms late`);
    t.equal(wheel.pending, isRead ? 1 : 0);
    machine.advanceTo(120_000);
    t.equal(wheel.pending, 0);
  }
});

test("after a long sleep one turn sees every slot", async (t) => {
  for (const sleptMs of [ROUND_MS - 1, ROUND_MS, ROUND_MS + 1, 7 * ROUND_MS + 5]) {
    const { machine, wheel } = wheelAt();
    let fired = 0;
    for (let delayMs = TICK_MS; delayMs <= ROUND_MS; delayMs += TICK_MS)
      wheel.schedule(delayMs, () => fired++);
    machine.sleepTo(sleptMs);
    t.equal(fired, Math.min(1024, Math.floor(sleptMs / TICK_MS)), `${sleptMs} ms`);
  }
});

test("a timer of a later round is not mistaken for one of this round", async (t) => {
  const { machine, wheel } = wheelAt();
  const fired: string[] = [];
  wheel.schedule(50 + 2 * ROUND_MS, () => fired.push("third round"));
  wheel.schedule(50 + ROUND_MS, () => fired.push("second round"));
  wheel.schedule(50, () => fired.push("first round"));
  machine.advanceTo(50 + ROUND_MS - TICK_MS);
  t.same(fired, ["first round"]);
  machine.advanceTo(50 + ROUND_MS);
  t.same(fired, ["first round", "second round"]);
  machine.advanceTo(50 + 2 * ROUND_MS);
  t.equal(fired.length, 3);
});

test("a cancelled timer does not fire; cancelling again, or after it has fired, is harmless", async (t) => {
  const { machine, wheel } = wheelAt();
  let fired = 0;
  const cancelled = wheel.schedule(100, () => t.fail("it was cancelled"));
  const other = wheel.schedule(100, () => fired++);
  cancelled.cancel();
  cancelled.cancel();
  t.equal(wheel.pending, 1);
  machine.advanceTo(200);
  other.cancel();
  other.cancel();
  t.same([fired, wheel.pending], [1, 0]);
  wheel.schedule(100, () => fired++);
  other.cancel();
  cancelled.cancel();
  machine.advanceTo(400);
  t.same([fired, wheel.pending], [2, 0], "nobody else's timer was cancelled by that");
});

test("a timer can still be cancelled by one that fires in the same turn", async (t) => {
  const { machine, wheel } = wheelAt();
  const fired: string[] = [];
  const timers = ["a", "b", "c"].map((name) =>
    wheel.schedule(100, () => {
      fired.push(name);
      for (const timer of timers) timer.cancel();
    }),
  );
  wheel.schedule(90, () => {});
  const later = wheel.schedule(130, () => fired.push("later"));
  wheel.schedule(110, () => later.cancel());
  machine.sleepTo(200);
  t.equal(fired.length, 1, "the first of the three, whichever that is");
  t.notOk(fired.includes("later"));
  t.equal(wheel.pending, 0);
});

test("a timer that is started by one that fires is due in a later turn", async (t) => {
  const { machine, wheel } = wheelAt();
  const firedAt: number[] = [];
  const again = () => {
    firedAt.push(wheel.now());
    if (firedAt.length < 4) wheel.schedule(0, again);
  };
  wheel.schedule(10, again);
  machine.advanceTo(1000);
  t.same(firedAt, [10, 20, 30, 40]);
});

test("a callback that fails does not keep the other timers from firing", async (t) => {
  const { machine, wheel } = wheelAt();
  const fired: string[] = [];
  const faults: string[] = [];
  const note = (fault: unknown) => faults.push((fault as Error).message);
  process.setUncaughtExceptionCaptureCallback(note);
  t.teardown(() => process.setUncaughtExceptionCaptureCallback(null));
  for (const name of ["a", "b", "c"]) {
    wheel.schedule(100, () => {
      fired.push(name);
      throw new Error(name);
    });
  }
  wheel.schedule(200, () => fired.push("later"));
  // A fault in a timer reaches the process, which survives it.
  for (let atMs = 100; atMs <= 300; atMs += TICK_MS) {
    try {
      machine.advanceTo(atMs);
    } catch (thrown) {
      note(thrown);
    }
  }
  await settled();
  t.same(fired.sort(), ["a", "b", "c", "later"]);
  t.same(faults.sort(), ["a", "b", "c"], "and no fault is swallowed");
  t.equal(wheel.pending, 0);
});

test("a wheel that has slept for long tells the time right when it is used again", async (t) => {
  const { machine, wheel } = wheelAt();
  wheel.schedule(10, () => {});
  machine.advanceTo(20);
  machine.sleepTo(3_600_005);
  let firedAt = 0;
  wheel.schedule(95, () => {
    firedAt = wheel.now();
  });
  machine.advanceTo(3_600_095);
  t.equal(firedAt, 0);
  machine.advanceTo(3_700_000);
  t.equal(firedAt, 3_600_100);
});

test("a machine that wakes a little early does not make a timer early", async (t) => {
  const { machine, wheel } = wheelAt();
  let firedAt = 0;
  wheel.schedule(100, () => {
    firedAt = wheel.now();
  });
  // The source's timer is a little ahead of its clock, as real ones are.
  const wakeIn = machine.wakeIn.bind(machine);
  machine.wakeIn = (delayMs, callback) => wakeIn(Math.max(0.1, delayMs - 0.9), callback);
  wheel.schedule(50, () => {});
  machine.advanceTo(1000);
  t.ok(firedAt >= 100 && firedAt <= 110, `${firedAt}`);
});

test("an idle wheel does not wake the machine, and one distant timer wakes it about once a round", async (t) => {
  const { machine, wheel } = wheelAt();
  t.equal(machine.asked, false);
  wheel.schedule(10 * ROUND_MS, () => {});
  machine.advanceTo(20 * ROUND_MS);
  t.ok(machine.wakeUps <= 11, `${machine.wakeUps} wake-ups`);
  t.equal(machine.asked, false);
  const timer = wheel.schedule(100, () => {});
  timer.cancel();
  machine.advanceTo(21 * ROUND_MS);
  t.equal(machine.asked, false, "nor after the last timer was cancelled");
});

test("ten thousand random timers fire as a sorted list says", async (t) => {
  const random = seededRandom(17);
  const { machine, wheel } = wheelAt(777.7);
  const expected = new Map<number, number>();
  const fired = new Map<number, number>();
  const order: number[] = [];
  const live: { readonly id: number; readonly cancel: () => void }[] = [];
  for (let id = 0; id < 10_000; id++) {
    const dueMs = wheel.now() + random.next() ** 2 * 4 * ROUND_MS;
    const timer = wheel.schedule(dueMs - wheel.now(), () => {
      fired.set(id, wheel.now());
      order.push(id);
    });
    expected.set(id, dueMs);
    live.push({ id, cancel: () => timer.cancel() });
    if (random.next() < 0.3) {
      const [victim] = live.splice(below(random, live.length), 1);
      victim!.cancel();
      if (!fired.has(victim!.id)) expected.delete(victim!.id);
    }
    if (random.next() < 0.1) machine.advanceTo(wheel.now() + random.next() * 100);
    if (random.next() < 0.001) machine.advanceTo(wheel.now() + random.next() * 2 * ROUND_MS);
  }
  t.equal(wheel.pending, expected.size - fired.size);
  machine.advanceTo(wheel.now() + 5 * ROUND_MS);
  t.equal(wheel.pending, 0);
  t.equal(fired.size, expected.size);
  let worstMs = 0;
  for (const [id, dueMs] of expected) {
    const lateMs = (fired.get(id) ?? Number.NaN) - dueMs;
    if (!(lateMs >= -1e-6)) t.fail(`timer ${id} is ${lateMs} ms late`);
    worstMs = Math.max(worstMs, lateMs);
  }
  t.ok(worstMs <= TICK_MS + 1e-6, `${worstMs} ms late at the most`);
  const tickOf = (id: number) => Math.ceil(expected.get(id)! / TICK_MS - 1e-9);
  const sorted = order.toSorted((a, b) => tickOf(a) - tickOf(b));
  t.same(order.map(tickOf), sorted.map(tickOf), "in the order of their ticks");
});

// --- the moment that moves

/** A clock that counts the timers that are started. */
class CountingClock extends ManualClock {
  started = 0;

  override schedule(delayMs: number, callback: () => void) {
    this.started++;
    return super.schedule(delayMs, callback);
  }
}

function expiry() {
  const clock = new CountingClock(0);
  const expiredAt: number[] = [];
  return { clock, expiredAt, expiry: new Expiry(clock, () => expiredAt.push(clock.now())) };
}

test("a moment that is moved later again and again costs one timer, and expires once at the last of them", async (t) => {
  const { clock, expiredAt, expiry: moment } = expiry();
  moment.moveTo(100);
  for (let atMs = 101; atMs <= 150; atMs++) moment.moveTo(atMs);
  t.equal(clock.started, 1);
  clock.advance(149);
  t.same([expiredAt, clock.started], [[], 2], "it looked when the first was due, and slept for the rest");
  clock.advance(1000);
  t.same(expiredAt, [150]);
  t.equal(clock.pending, 0);
});

test("a moment that is moved earlier expires earlier, and one in the past at once", async (t) => {
  const { clock, expiredAt, expiry: moment } = expiry();
  moment.moveTo(1000);
  moment.moveTo(200);
  t.equal(clock.pending, 1);
  clock.advance(500);
  t.same(expiredAt, [200]);
  moment.moveTo(400);
  clock.advance(0);
  t.same(expiredAt, [200, 500]);
  clock.advance(5000);
  t.equal(expiredAt.length, 2);
});

test("a suspended moment does not expire until it is moved again", async (t) => {
  const { clock, expiredAt, expiry: moment } = expiry();
  moment.moveTo(100);
  moment.suspend();
  clock.advance(50);
  moment.moveTo(300);
  t.equal(clock.started, 1, "the timer that is still running is used");
  clock.advance(249);
  t.same(expiredAt, []);
  clock.advance(1);
  t.same(expiredAt, [300]);
  moment.moveTo(400);
  moment.suspend();
  clock.advance(1000);
  t.same([expiredAt, clock.pending], [[300], 0]);
});

test("a moment may be moved by the one whom it calls", async (t) => {
  const clock = new ManualClock(0);
  const expiredAt: number[] = [];
  const moment: Expiry = new Expiry(clock, () => {
    expiredAt.push(clock.now());
    if (expiredAt.length < 3) moment.moveTo(clock.now() + 100);
  });
  moment.moveTo(100);
  clock.advance(1000);
  t.same(expiredAt, [100, 200, 300]);
});

test("stopping leaves nothing behind", async (t) => {
  const { clock, expiredAt, expiry: moment } = expiry();
  moment.moveTo(100);
  moment.stop();
  moment.stop();
  t.equal(clock.pending, 0);
  clock.advance(1000);
  t.same(expiredAt, []);
});

test("a moment on the wheel is not early, although the wheel is coarse", async (t) => {
  const { machine, wheel } = wheelAt(3.3);
  const expiredAt: number[] = [];
  const moment = new Expiry(wheel, () => expiredAt.push(wheel.now()));
  moment.moveTo(57.1);
  moment.moveTo(61.2);
  machine.advanceTo(1000);
  t.same(expiredAt, [70]);
});
