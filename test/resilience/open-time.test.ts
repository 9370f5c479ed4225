import { test } from "tap";
import { type BreakerOptions, FAILURE_CLASSES } from "../../resilience/index.ts";
import { OpenTime } from "../../resilience/open-time.ts";
import { seededRandom } from "../support/seeded-random.ts";

const OPTIONS: BreakerOptions = {
  mode: "enforce",
  errorRate: 0.5,
  minimumRequests: 20,
  windowMs: 10_000,
  consecutiveFailures: 5,
  failures: FAILURE_CLASSES,
  openForMs: 5_000,
  openForMaxMs: 30_000,
  probes: 1,
};
const never = { next: () => 0 };

test("it stays open twice as long with each failed trial, up to the bound and no longer", async (t) => {
  const time = new OpenTime(OPTIONS);
  t.same(
    [0, 1, 2, 3, 4, 5].map((at) => time.open(at * 60_000, never)),
    [5_000, 10_000, 20_000, 30_000, 30_000, 30_000],
  );
  const forYears = new OpenTime(OPTIONS);
  for (let i = 0; i < 5_000; i++) forYears.open(i, never);
  t.equal(forYears.open(5_000, never), 30_000);
});

test("opening soon after it has closed counts like a failed trial, and being well for long makes it forget", async (t) => {
  const time = new OpenTime(OPTIONS);
  t.equal(time.open(0, never), 5_000);
  time.close(5_000);
  t.equal(time.open(14_999, never), 10_000, "well for less than a window");
  time.open(30_000, never);
  time.close(50_000);
  t.equal(time.open(69_999, never), 30_000, "well for less than it was open, which was 20 s");
  time.close(100_000);
  t.equal(time.open(130_000, never), 5_000, "well for as long as it was open");
});

test("a hundred sidecars that open together come back over a quarter of the time, and none of them sooner", async (t) => {
  const random = seededRandom(7);
  const times = Array.from({ length: 100 }, () => new OpenTime(OPTIONS).open(0, random)).toSorted(
    (a, b) => a - b,
  );
  t.ok(times[0]! >= 5_000);
  t.ok(times.at(-1)! < 6_250);
  t.ok(times[90]! - times[10]! > 800, "spread, and not in one heap");
});
