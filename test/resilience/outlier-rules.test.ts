import { readFileSync } from "node:fs";
import fc from "fast-check";
import { test } from "tap";
import { below, type Random } from "../../core/index.ts";
import { DEFAULT_OUTLIERS, type OutlierOptions } from "../../resilience/index.ts";
import { LatencyHistogram } from "../../resilience/latency-histogram.ts";
import {
  ejectionLimit,
  ejectionMs,
  findOutliers,
  heldAgainst,
  type Sample,
} from "../../resilience/outlier-rules.ts";
import { seededRandom } from "../support/seeded-random.ts";

const { ejection: EJECTION } = DEFAULT_OUTLIERS;
const NEVER: Random = { next: () => 0 };

const sample = (key: string, requests: number, failures: number, medianMs = 10): Sample => ({
  key,
  requests,
  failures,
  answers: requests - failures,
  medianMs,
});

const found = (samples: readonly Sample[], options: Partial<OutlierOptions> = {}) =>
  findOutliers(samples, { ...DEFAULT_OUTLIERS, ...options }).map(({ key, rule }) => `${key} ${rule}`);

const keys = (count: number) => Array.from({ length: count }, (_, i) => `e${i}`);

/** The chances of 0, 1, 2, ... failures; of few enough requests that a double holds them. */
function binomial(requests: number, share: number): number[] {
  const chances = [(1 - share) ** requests];
  for (let failures = 0; failures < requests; failures++)
    chances.push((chances[failures]! * (requests - failures) * share) / ((failures + 1) * (1 - share)));
  return chances;
}

/** How many of so many requests fail this time. */
function failuresBy(random: Random, requests: number, share: number): number {
  let failures = 0;
  for (let i = 0; i < requests; i++) if (random.next() < share) failures++;
  return failures;
}

/** So many endpoints of 100 requests each, with so many failures. */
const failing = (...failures: number[]) => failures.map((count, i) => sample(`e${i}`, 100, count));

test("an endpoint that fails half beside others that do not is an outlier, in a cluster of any size from three", async (t) => {
  for (const size of [3, 4, 5, 10, 100])
    t.same(found(failing(...new Array(size - 1).fill(1), 50)), [`e${size - 1} successRate`], `${size}`);
  t.same(found(failing(0, 50)), [], "of two nobody can say which is the odd one");
  t.same(found(failing(0, 50), { minimumEndpoints: 2 }), ["e1 successRate"], "unless it is wanted");
});

test("a small difference is no outlier, however much the others agree", async (t) => {
  // Among ten, Envoy's formula ejects the endpoint with 99 % beside nine with 100 %: it is three deviations away.
  t.same(found(failing(0, 0, 0, 0, 0, 0, 0, 0, 0, 1)), []);
  t.same(found(failing(0, 0, 0, 0, 0, 0, 0, 0, 0, 10)), [], "a tenth is the margin");
  t.same(found(failing(0, 0, 0, 0, 0, 0, 0, 0, 0, 11)), ["e9 successRate"]);
});

test("where the others differ widely among themselves, so may one more", async (t) => {
  t.same(found(failing(0, 10, 20, 30, 40, 45)), []);
  t.same(found(failing(0, 10, 20, 30, 40, 80)), ["e5 successRate"]);
});

test("when all fail alike nobody is an outlier", async (t) => {
  t.same(found(failing(100, 100, 100, 100)), []);
  t.same(found(failing(50, 52, 48, 55, 45, 50)), []);
});

test("two that fail are both outliers, the worse first; half of them failing are none", async (t) => {
  t.same(found(failing(0, 0, 0, 0, 0, 0, 0, 0, 60, 80)), ["e9 successRate", "e8 successRate"]);
  t.same(found(failing(0, 0, 0, 60, 60, 60)), []);
});

test("few requests say nothing, and what chance can do to them is no outlier", async (t) => {
  t.same(found([...failing(0, 0, 0, 0), sample("few", 19, 19)]), [], "19 requests");
  t.same(found([...failing(1, 1, 1, 1), sample("few", 20, 4)]), [], "4 of 20 happen");
  t.same(found([...failing(1, 1, 1, 1), sample("few", 20, 10)]), ["few successRate"]);
  t.same(found([...failing(1, 1, 1, 1), sample("many", 200, 40)]), ["many successRate"], "40 of 200 do not");
});

test("what two others usually fail is known less well than what nine do", async (t) => {
  const beside = (others: number) =>
    found([...keys(others).map((key) => sample(key, 50, 8)), sample("bad", 50, 24)]);
  t.same(beside(2), []);
  t.same(beside(9), ["bad successRate"]);
});

test("chance finds one of equals less often than once in 20,000 times, whatever they usually fail", async (t) => {
  const anyMargin = { minimumRequests: 1, minimumEndpoints: 2, successRateMargin: 1e-9 };
  const isFound = (...[one, others]: [Sample, Sample]) =>
    found([one, others], anyMargin).includes("one successRate");
  const sizes = [
    [5, 11],
    [20, 40],
    [20, 180],
    [50, 100],
    [100, 40],
  ] as const;
  for (const [requests, othersRequests] of sizes) {
    // So many failures it takes beside each number of failures of the others.
    const least = Array.from({ length: othersRequests + 1 }, (_, othersFailures) => {
      let failures = 0;
      const others = sample("others", othersRequests, othersFailures);
      while (failures <= requests && !isFound(sample("one", requests, failures), others)) failures++;
      return failures;
    });
    let worst = 0;
    for (let share = 0.01; share < 1; share += 0.01) {
      const own = binomial(requests, share);
      const chance = binomial(othersRequests, share).reduce(
        (sum, likelihood, i) => sum + likelihood * own.slice(least[i]).reduce((all, one) => all + one, 0),
        0,
      );
      worst = Math.max(worst, chance);
    }
    t.ok(worst < 1 / 20_000, `${requests} requests beside ${othersRequests}: ${worst * 20_000} of it`);
    t.ok(worst > 0.1 / 20_000, "and no less than a tenth of that, or outliers would wait for nothing");
  }
});

test("an endpoint that fails more is out after as many intervals as docs/outliers.md says", async (t) => {
  const page = readFileSync(new URL("../../docs/outliers.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| (\d+) \| (\d+) % \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$/gm)];
  t.equal(rows.length, 6);
  const random = seededRandom(12);
  for (const [, endpoints, usual, ...intervals] of rows)
    for (const [i, more] of [20, 30, 50].entries()) {
      const drawn = (key: string, share: number) => sample(key, 50, failuresBy(random, 50, share / 100));
      const windows = 60_000 / Number(endpoints);
      let times = 0;
      for (let window = 0; window < windows; window++) {
        const others = keys(Number(endpoints) - 1).map((key) => drawn(key, Number(usual)));
        if (found([...others, drawn("bad", Number(usual) + more)]).includes("bad successRate")) times++;
      }
      t.equal((windows / times).toFixed(1), intervals[i], `${endpoints}, ${usual} %, ${more} points more`);
    }
});

test("endpoints that fail alike are hardly ever wronged", async (t) => {
  const random = seededRandom(11);
  let wronged = 0;
  const comparisons = 3000;
  for (let run = 0; run < comparisons; run++) {
    const share = [0, 0.01, 0.05, 0.1, 0.3][run % 5]!;
    const samples = keys(10).map((key) => {
      const requests = 20 + below(random, 80);
      return sample(key, requests, failuresBy(random, requests, share));
    });
    wronged += found(samples).length;
  }
  t.ok(wronged <= 2, `${wronged} of ${comparisons * 10}`);
});

test("the flat rules are off unless they are wanted", async (t) => {
  t.same(found(failing(90, 90, 90)), []);
  t.same(found(failing(84, 85, 90), { failureShare: 0.85 }), ["e2 failureShare", "e1 failureShare"]);
  const slow = [sample("a", 50, 0, 20), sample("b", 50, 0, 30), sample("c", 50, 0, 400)];
  t.same(found(slow), []);
  t.same(found(slow, { latencyFactor: 5 }), ["c latency"]);
});

test("slow is: so many times the others' median, and not below the floor; two of three are no outliers", async (t) => {
  const medians = (...all: number[]) => all.map((medianMs, i) => sample(`e${i}`, 50, 0, medianMs));
  const slow = (...all: number[]) => found(medians(...all), { latencyFactor: 5, latencyFloorMs: 100 });
  t.same(slow(10, 10, 99), [], "below the floor");
  t.same(slow(10, 10, 101), ["e2 latency"]);
  t.same(slow(30, 30, 149), [], "less than five times");
  t.same(slow(30, 30, 151), ["e2 latency"]);
  t.same(slow(10, 500, 600), [], "the majority is slow");
  t.same(slow(10, 10, 10, 10, 500, 600), ["e5 latency", "e4 latency"], "the slowest first");
  const failingFast = [...medians(10, 10), { ...sample("f", 50, 40, 900), answers: 10 }];
  t.same(found(failingFast, { latencyFactor: 5 }), ["f successRate"], "ten answers are no median");
});

test("how many may be out: one of few, three of ten, never the last", async (t) => {
  const rows = [
    [0, 0],
    [1, 0],
    [2, 1],
    [3, 1],
    [4, 1],
    [6, 1],
    [7, 2],
    [10, 3],
    [30, 9],
    [100, 30],
  ] as const;
  for (const [endpoints, limit] of rows) t.equal(ejectionLimit(endpoints, EJECTION), limit, `${endpoints}`);
  t.equal(ejectionLimit(2, { ...EJECTION, keep: 2 }), 0);
  t.equal(ejectionLimit(10, { ...EJECTION, share: 1 }), 9);
});

test("an ejection is longer each time, up to a bound, and chance adds a fifth at most", async (t) => {
  const seconds = (times: number, random = NEVER) => ejectionMs(times, EJECTION, random) / 1000;
  t.same(
    [1, 2, 3, 9, 10, 11, 1000].map((times) => seconds(times)),
    [30, 60, 90, 270, 300, 300, 300],
  );
  t.ok(Math.abs(seconds(1, { next: () => 0.999_999 }) - 36) < 0.01);
  t.same(
    [0, 29_999, 30_000, 59_999, 60_000, 1e9].map((wellForMs) => heldAgainst(2, wellForMs, EJECTION)),
    [2, 2, 1, 1, 0, 0],
    "one is forgiven for each base time",
  );
});

test("the median of a histogram is within a tenth of the true one", async (t) => {
  const latency = fc.double({ min: 0.3, max: 200_000, noNaN: true });
  const property = fc.property(fc.array(latency, { minLength: 1, maxLength: 200 }), (all) => {
    const histogram = new LatencyHistogram();
    for (const latencyMs of all) histogram.record(latencyMs);
    const median = all.toSorted((one, other) => one - other)[Math.ceil(all.length / 2) - 1]!;
    const ratio = histogram.medianMs() / median;
    histogram.clear();
    return ratio > 0.9 && ratio < 1.1 && histogram.medianMs() === 0;
  });
  t.doesNotThrow(() => fc.assert(property, { seed: 8, numRuns: 500 }));
  const extremes = new LatencyHistogram();
  for (const latencyMs of [0, -1, 1e12]) extremes.record(latencyMs);
  t.ok(extremes.medianMs() < 0.5, "what is beyond is in the outermost bucket");
});
