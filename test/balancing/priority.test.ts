import fc from "fast-check";
import { test } from "tap";
import { DEFAULT_PRIORITY, type PriorityLevel, priorityShares } from "../../balancing/index.ts";
import { ENVOY_PRIORITY_TABLES } from "../support/envoy-priorities.ts";

/** Levels of a hundred endpoints, of which so many are healthy. */
const levels = (...perCents: number[]): PriorityLevel[] =>
  perCents.map((healthyWeight) => ({ healthyWeight, totalWeight: 100 }));

const sum = (numbers: readonly number[]) => numbers.reduce((all, number) => all + number, 0);

/** Envoy's tables are in whole per cents. */
const WITHIN = 0.01;

test("shares are those of Envoy's tables of two and three levels", async (t) => {
  for (const { healthy, shares: expected } of ENVOY_PRIORITY_TABLES.flat()) {
    const shares = priorityShares(levels(...healthy)).map(({ share }) => share);
    const isClose = expected.every((perCent, place) => Math.abs(shares[place]! - perCent / 100) < WITHIN);
    t.ok(isClose, `${healthy} gives ${expected}, here ${shares}`);
  }
});

test("who is in panic is as in Envoy's tables", async (t) => {
  // Its documentation, "Panic threshold" (arch_overview/upstream/load_balancing). The page's rows for 50/60 and 25/100 say
  // 50/50 and 25/75, which its own formula does not; here are the formula's.
  const rows: [healthy: number[], shares: number[], panic: boolean[]][] = [
    [
      [71, 100],
      [99, 1],
      [false, false],
    ],
    [
      [0, 100],
      [0, 100],
      [false, false],
    ],
    [
      [72, 72],
      [100, 0],
      [false, false],
    ],
    [
      [50, 60],
      [70, 30],
      [false, false],
    ],
    [
      [25, 100],
      [35, 65],
      [false, false],
    ],
    [
      [25, 25],
      [50, 50],
      [true, true],
    ],
    [
      [5, 65],
      [7, 93],
      [true, false],
    ],
    [
      [0, 0],
      [100, 0],
      [true, true],
    ],
  ];
  for (const [healthy, expected, panic] of rows) {
    const found = priorityShares(levels(...healthy));
    t.same(
      found.map((level) => level.panic),
      panic,
      `panic at ${healthy}`,
    );
    const isClose = expected.every(
      (perCent, place) => Math.abs(found[place]!.share - perCent / 100) < WITHIN,
    );
    t.ok(isClose, `${healthy} gives ${expected}`);
  }
});

test("a single level keeps everything, and panics below half", async (t) => {
  for (const [healthy, panic] of [
    [100, false],
    [71, false],
    [50, false],
    [49, true],
    [0, true],
  ] as const)
    t.same(priorityShares(levels(healthy)), [{ share: 1, panic }], `${healthy} %`);
});

test("with a threshold of 0 health is always believed", async (t) => {
  t.same(priorityShares(levels(0, 0), { ...DEFAULT_PRIORITY, panicThreshold: 0 }), [
    { share: 1, panic: false },
    { share: 0, panic: false },
  ]);
});

test("a level without endpoints gets nothing and is not in panic", async (t) => {
  const nobody = { healthyWeight: 0, totalWeight: 0 };
  t.same(priorityShares([]), []);
  t.same(priorityShares([nobody]), [{ share: 1, panic: false }]);
  t.same(priorityShares([nobody, ...levels(0)]), [
    { share: 0, panic: false },
    { share: 1, panic: true },
  ]);
  t.same(priorityShares([nobody, ...levels(100)]), [
    { share: 0, panic: false },
    { share: 1, panic: false },
  ]);
});

test("five of seven endpoints are enough: 1.4 is meant as a ratio and not as a double", async (t) => {
  t.same(
    priorityShares([
      { healthyWeight: 5, totalWeight: 7 },
      { healthyWeight: 1, totalWeight: 1 },
    ]).map(({ share }) => share),
    [1, 0],
  );
});

const aLevel = fc.tuple(fc.nat(50), fc.nat(50)).map(
  ([one, other]): PriorityLevel => ({
    healthyWeight: Math.min(one, other),
    totalWeight: Math.max(one, other),
  }),
);
const someLevels = fc.array(aLevel, { minLength: 1, maxLength: 6 });
const someOptions = fc.record({
  overprovisioning: fc.double({ min: 1, max: 3, noNaN: true }),
  panicThreshold: fc.double({ min: 0, max: 1, noNaN: true }),
});

test("shares are not negative, and add up to exactly 1 in any order", async (t) => {
  const property = fc.property(someLevels, someOptions, (some, options) => {
    const shares = priorityShares(some, options).map(({ share }) => share);
    return shares.every((share) => share >= 0) && sum(shares) === 1 && sum(shares.toReversed()) === 1;
  });
  t.doesNotThrow(() => fc.assert(property, { seed: 2, numRuns: 2000 }));
});

test("a level gets something only if all before it together are not enough, and there is panic only then", async (t) => {
  const property = fc.property(someLevels, someOptions, (some, options) => {
    const found = priorityShares(some, options);
    let before = 0;
    for (const [place, { healthyWeight, totalWeight }] of some.entries()) {
      if (before >= 1 && found[place]!.share > 0) return false;
      if (totalWeight > 0) before += (options.overprovisioning * healthyWeight) / totalWeight;
    }
    return before < 1 || found.every(({ panic }) => !panic);
  });
  t.doesNotThrow(() => fc.assert(property, { seed: 3, numRuns: 2000 }));
});

test("a level never gets less because one of its own endpoints has recovered", async (t) => {
  const property = fc.property(someLevels, fc.nat(5), someOptions, (some, at, options) => {
    const place = at % some.length;
    const level = some[place]!;
    if (level.healthyWeight === level.totalWeight) return true;
    const better = some.with(place, { ...level, healthyWeight: level.healthyWeight + 1 });
    // Where nobody at all is healthy the first level stands in for all of them.
    if (some.every(({ healthyWeight }) => healthyWeight === 0)) return true;
    const share = (of: readonly PriorityLevel[]) => priorityShares(of, options)[place]!.share;
    return share(better) >= share(some) - 1e-8;
  });
  t.doesNotThrow(() => fc.assert(property, { seed: 4, numRuns: 2000 }));
});
