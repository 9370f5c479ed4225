import fc from "fast-check";
import { test } from "tap";
import { endpointKey } from "../../core/index.ts";
import { Crowd } from "../../discovery/outage/crowd.ts";
import { type Evidence, judge, mayServe } from "../../discovery/outage/judgement.ts";
import type { Instance } from "../../discovery/source.ts";
import { said } from "../support/guarded.ts";

const keys = (text: string) => new Set(said(text).map(endpointKey));
const ports = (instances: readonly Instance[]) => instances.map(({ port }) => port).join(" ");

/** What follows from `before` being in use and `after` being listed. */
function judged(before: string, after: string, given: Partial<Evidence> = {}) {
  const { usable, leaving, lastResort, dismissed } = judge({
    listed: said(after),
    serving: said(before),
    known: keys(before),
    before: said(before).length,
    doubted: new Set(),
    suspiciousShare: 0.5,
    ...given,
  });
  return [ports(usable), ports(leaving), ports(lastResort), dismissed];
}

test("passing and warning are used, and nothing else is by the source's word", async (t) => {
  t.same(judged("", "1 2w 3c 4m 5u 6o"), ["1 2", "", "", 0]);
});

test("more than the share that is absent or unreachable is asked, and not what is said of itself to be unwell", async (t) => {
  t.same(judged("1 2 3 4", "1 2"), ["1 2", "", "", 0], "half is not more than half");
  t.same(judged("1 2 3 4", "1"), ["1", "2 3 4", "", 0]);
  t.same(judged("1 2 3 4", "1 2u 3u"), ["1", "2 3 4", "", 0]);
  t.same(judged("1 2 3 4", "1 2c 3m"), ["1", "", "", 2], "one of the two of whom nothing is said");
  t.same(judged("1 2 3 4", "2c 3m"), ["", "1 4", "2", 1]);
  t.same(judged("1 2 3 4", "1o 2o 3o 4"), ["4", "", "", 3], "nor what is known to stand outside");
  t.same(judged("1 2 3 4", "1o 2o 3o"), ["", "4", "", 3]);
});

test("who comes makes up for who goes, unless it comes back from doubt", async (t) => {
  t.same(judged("1 2 3 4", "5 6"), ["5 6", "", "", 0]);
  t.same(judged("1 2 3 4", "5"), ["5", "1 2 3 4", "", 0]);
  t.same(judged("1 2 3 4", "1 2", { doubted: keys("1 2 3 4") }), ["1 2", "3 4", "", 0]);
});

test("a loss is measured against what was there a moment ago", async (t) => {
  t.same(judged("1 2", "1", { before: 3 }), ["1", "2", "", 0]);
  t.same(judged("1 2", "1", { before: 2 }), ["1", "", "", 0]);
});

test("a last resort is who has been well, and only when nobody is", async (t) => {
  t.same(judged("1", "1c 2c 3u", { known: keys("2") }), ["", "", "1 2", 0]);
  t.same(judged("1", "1c 2 3u", { known: keys("1 3") }), ["2", "", "", 1]);
  t.same(judged("1", "1c 2c 3u 4m", { known: keys("2 3 4") }), ["", "3", "1 2", 0]);
});

test("every instance in use is used, asked, dismissed or one of a few, whatever is listed", async (t) => {
  const word = fc.constantFrom("", "w", "c", "m", "u", "o");
  const some = fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 9 }), word), { selector: ([port]) => port });
  const asText = (of: readonly (readonly [number, string])[]) => of.map((one) => one.join("")).join(" ");
  fc.assert(
    fc.property(
      some,
      some,
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (before, after, suspiciousShare) => {
        const serving = said(asText(before));
        const listed = said(asText(after));
        const { usable, leaving, lastResort, dismissed } = judge({
          listed,
          serving,
          known: new Set(serving.map(endpointKey)),
          before: serving.length,
          doubted: new Set(),
          suspiciousShare,
        });
        const all = [...usable, ...leaving, ...lastResort].map(endpointKey);
        if (new Set(all).size !== all.length) throw new Error("one is named twice");
        if (!usable.every(mayServe)) throw new Error("an unwell one is usable");
        if (lastResort.some(({ health }) => health !== "critical"))
          throw new Error("a last resort is not critical");
        if (lastResort.length > 0 && usable.length > 0)
          throw new Error("a last resort beside one that is well");
        const without = serving.filter((instance) => !all.includes(endpointKey(instance))).length - dismissed;
        if (leaving.length > 0 && without > 0) throw new Error("some are asked, and others are not");
        if (without > 0 && without > suspiciousShare * serving.length + 1e-9 && usable.length === 0)
          throw new Error("too many left at once");
      },
    ),
    { numRuns: 1_000 },
  );
  t.pass();
});

test("a crowd is the most of the last 10 s, and stands still in a doubt", async (t) => {
  const crowd = new Crowd();
  t.equal(crowd.before(0, 10), 10);
  t.equal(crowd.before(5_000, 4), 10);
  t.equal(crowd.before(9_999, 3), 10);
  t.equal(crowd.before(10_000, 3), 4);
  crowd.dismiss(1);
  t.equal(crowd.before(10_001, 2), 3);
  crowd.hold(3, ["a", "b"]);
  crowd.hold(2, ["c"]);
  t.equal(crowd.before(60_000, 1), 3);
  crowd.dismiss(1);
  t.equal(crowd.before(120_000, 1), 2);
  t.same([...crowd.doubted], ["a", "b", "c"]);
  crowd.release();
  t.equal(crowd.before(130_000, 1), 1);
  t.equal(crowd.doubted.size, 0);
});

test("a crowd that changes for hours does not grow in memory", async (t) => {
  const crowd = new Crowd();
  const started = process.memoryUsage().heapUsed;
  for (let nowMs = 0; nowMs < 20 * 3_600_000; nowMs += 100) crowd.before(nowMs, nowMs % 7);
  t.ok(process.memoryUsage().heapUsed - started < 50_000_000);
});
