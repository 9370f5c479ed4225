import fc from "fast-check";
import { test } from "tap";
import {
  DEFAULT_SLOW_START,
  SlowStart,
  type SlowStartOptions,
  slowStartFactor,
} from "../../balancing/index.ts";

const OPTIONS: SlowStartOptions = { windowMs: 60_000, aggression: 1, floor: 0.1 };
const LATER_MS = 100_000;

/** Endpoints a and b, long known. */
function settled(options: SlowStartOptions = OPTIONS): SlowStart {
  const slowStart = new SlowStart(options);
  slowStart.replace(["a", "b"], 0);
  return slowStart;
}

test("the factor follows Envoy's formula", async (t) => {
  const rows: [seconds: number, aggression: number, factor: number][] = [
    [0, 1, 0.1],
    [3, 1, 0.1],
    [6, 1, 0.1],
    [15, 1, 0.25],
    [30, 1, 0.5],
    [45, 1, 0.75],
    [59, 1, 59 / 60],
    [60, 1, 1],
    [600, 1, 1],
    [15, 2, 0.5],
    [30, 2, Math.SQRT1_2],
    [30, 0.5, 0.25],
    [6, 0.5, 0.1],
  ];
  for (const [seconds, aggression, factor] of rows)
    t.ok(
      Math.abs(slowStartFactor(seconds * 1000, { ...OPTIONS, aggression }) - factor) < 1e-12,
      `${seconds} s of 60 with an aggression of ${aggression}`,
    );
});

test("the factor rises from the floor to 1 and never beyond, whatever the settings", async (t) => {
  const settings = fc.record({
    windowMs: fc.nat(600_000),
    aggression: fc.double({ min: 0.1, max: 10, noNaN: true }),
    floor: fc.double({ min: 0.01, max: 1, noNaN: true }),
  });
  const age = fc.integer({ min: -1_000, max: 700_000 });
  const property = fc.property(settings, age, age, (options, one, other) => {
    const younger = slowStartFactor(Math.min(one, other), options);
    const older = slowStartFactor(Math.max(one, other), options);
    return (
      options.floor <= younger &&
      younger <= older &&
      older <= 1 &&
      slowStartFactor(options.windowMs, options) === 1
    );
  });
  t.doesNotThrow(() => fc.assert(property, { seed: 1 }));
});

test("at the start of the sidecar nobody is new, however late the first list comes", async (t) => {
  const slowStart = new SlowStart(OPTIONS);
  slowStart.replace([], 0);
  slowStart.replace(["a", "b"], LATER_MS);
  t.equal(slowStart.factor("a", LATER_MS), 1);
  t.notOk(slowStart.isWarming(LATER_MS));
});

test("those that a source is still counting up at the start are found and not new", async (t) => {
  const slowStart = new SlowStart(OPTIONS);
  slowStart.replace(["a"], 0);
  slowStart.replace(["a", "b"], 900);
  t.equal(slowStart.factor("b", 900), 1);
});

test("one that comes to others begins with the floor and is warm after the window", async (t) => {
  const slowStart = settled();
  slowStart.replace(["a", "b", "c"], LATER_MS);
  t.equal(slowStart.factor("a", LATER_MS), 1);
  t.equal(slowStart.factor("c", LATER_MS), 0.1);
  t.ok(slowStart.isWarming(LATER_MS));
  t.equal(slowStart.factor("c", LATER_MS + 30_000), 0.5);
  t.ok(slowStart.isWarming(LATER_MS + 59_999));
  t.notOk(slowStart.isWarming(LATER_MS + 60_000));
  t.equal(slowStart.factor("c", LATER_MS + 60_000), 1);
});

test("a new snapshot does not make anybody younger", async (t) => {
  const slowStart = settled();
  slowStart.replace(["a", "b", "c"], LATER_MS);
  slowStart.replace(["a", "c", "d"], LATER_MS + 30_000);
  t.equal(slowStart.factor("c", LATER_MS + 30_000), 0.5);
  t.equal(slowStart.factor("d", LATER_MS + 30_000), 0.1);
});

test("a list that has nobody in common with the one before starts warm", async (t) => {
  const slowStart = settled();
  slowStart.replace(["c", "d"], LATER_MS);
  t.notOk(slowStart.isWarming(LATER_MS));
  slowStart.replace([], LATER_MS + 1);
  slowStart.replace(["c", "d"], LATER_MS + 2);
  t.notOk(slowStart.isWarming(LATER_MS + 2));
});

test("one that left is new when it is here again, and one that recovers begins again", async (t) => {
  const slowStart = settled();
  slowStart.replace(["a"], LATER_MS);
  slowStart.replace(["a", "b"], LATER_MS + 1);
  t.equal(slowStart.factor("b", LATER_MS + 1), 0.1);
  slowStart.restart("a", LATER_MS + 30_001);
  t.equal(slowStart.factor("a", LATER_MS + 30_001), 0.1);
  t.equal(slowStart.factor("b", LATER_MS + 30_001), 0.5);
});

test("without a window nobody is ever held back", async (t) => {
  const slowStart = settled({ ...OPTIONS, windowMs: 0 });
  slowStart.replace(["a", "b", "c"], LATER_MS);
  slowStart.restart("a", LATER_MS);
  t.notOk(slowStart.isWarming(LATER_MS));
  t.equal(slowStart.factor("c", LATER_MS), 1);
});

test("an old endpoint never gets more than it had before the new ones came", async (t) => {
  for (let newcomers = 1; newcomers < 100; newcomers++) {
    const slowStart = settled(DEFAULT_SLOW_START);
    const keys = ["a", "b", ...Array.from({ length: newcomers }, (_, i) => `new ${i}`)];
    slowStart.replace(keys, LATER_MS);
    for (let ageMs = 0; ageMs <= DEFAULT_SLOW_START.windowMs; ageMs += slowStart.stepMs) {
      const total = keys.reduce((sum, key) => sum + slowStart.factor(key, LATER_MS + ageMs), 0);
      if (slowStart.factor("a", LATER_MS + ageMs) / total > 1 / 2) t.fail(`${newcomers} after ${ageMs} ms`);
    }
  }
});
