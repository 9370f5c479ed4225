import fc from "fast-check";
import { test } from "tap";
import { DEFAULT_ZONES, type ZoneCapacity, zoneShares } from "../../balancing/index.ts";

/** `zones({ a: 3, b: 2 })`: so many endpoints of weight 1, all of them well. */
const zones = (counts: Readonly<Record<string, number>>): ZoneCapacity[] =>
  Object.entries(counts).map(([zone, endpoints]) => ({ zone, endpoints, weight: endpoints }));

const STRICT = { ...DEFAULT_ZONES, tolerance: 1 };
const sum = (numbers: readonly number[]) => numbers.reduce((all, number) => all + number, 0);

function close(
  t: { ok(value: unknown, message: string): unknown },
  found: readonly number[],
  expected: readonly number[],
  message: string,
) {
  t.ok(
    expected.every((share, place) => Math.abs(found[place]! - share) < 1e-6),
    `${message}: expected ${expected}, got ${found}`,
  );
}

test("with a tolerance of 1 shares are those of Envoy's zone aware routing", async (t) => {
  // By hand, from the text of Envoy's "Zone aware routing": callers and endpoints by zone, seen from a.
  const rows: [callers: Record<string, number>, endpoints: Record<string, number>, shares: number[]][] = [
    // As many callers as capacity: nothing leaves.
    [{ a: 1, b: 1, c: 1 }, { a: 2, b: 2, c: 2 }, [1, 0, 0]],
    // More capacity than callers here: nothing leaves.
    [{ a: 1, b: 1, c: 1 }, { a: 4, b: 1, c: 1 }, [1, 0, 0]],
    // A fifth of the capacity for a third of the callers: three fifths stay, the rest goes to what is left over.
    [{ a: 1, b: 1, c: 1 }, { a: 2, b: 4, c: 4 }, [0.6, 0.2, 0.2]],
    [{ a: 1, b: 1, c: 1 }, { a: 2, b: 3, c: 5 }, [0.6, 0, 0.4]],
    // Nobody here.
    [{ a: 1, b: 1 }, { b: 6 }, [1]],
    [{ a: 2, b: 1, c: 1 }, { b: 3, c: 3 }, [0.5, 0.5]],
    // All callers here: as everybody is, each endpoint gets the same.
    [{ a: 5 }, { a: 2, b: 4, c: 2 }, [0.25, 0.5, 0.25]],
  ];
  for (const [callers, endpoints, shares] of rows)
    close(
      t,
      zoneShares(zones(endpoints), "a", STRICT, new Map(Object.entries(callers))),
      shares,
      JSON.stringify({ callers, endpoints }),
    );
});

test("without a word about the callers there are as many in each zone", async (t) => {
  close(t, zoneShares(zones({ a: 2, b: 4, c: 4 }), "a", STRICT), [0.6, 0.2, 0.2], "strictly");
  // The endpoints of a may get 1.4 times the mean: 1.4 * 2 of 10 for a third of the callers.
  close(t, zoneShares(zones({ a: 2, b: 4, c: 4 }), "a"), [0.84, 0.08, 0.08], "with the tolerance");
  close(
    t,
    zoneShares(zones({ a: 3, b: 3, c: 4 }), "a"),
    [1, 0, 0],
    "one endpoint less than its part is no reason",
  );
  close(t, zoneShares(zones({ b: 3, c: 3 }), "a"), [0.5, 0.5], "nobody here");
});

test("a zone loses its requests by and by as its endpoints fail", async (t) => {
  // Three zones of ten endpoints, so many of a well.
  const rows: [well: number, kept: number][] = [
    [10, 1],
    [8, 1],
    [7, 1],
    [6, 0.969],
    [5, 0.84],
    [3, 0.548],
    [1, 0.2],
    [0, 0],
  ];
  for (const [well, kept] of rows) {
    const some = zones({ a: 10, b: 10, c: 10 });
    some[0] = { ...some[0]!, weight: well };
    t.equal(Number(zoneShares(some, "a")[0]!.toFixed(3)), kept, `${well} of 10`);
  }
});

test("zones are not looked at when the own is unknown or there are few endpoints", async (t) => {
  close(t, zoneShares(zones({ a: 2, b: 4 }), undefined), [1 / 3, 2 / 3], "unknown");
  close(t, zoneShares(zones({ a: 2, b: 3 }), "a"), [0.4, 0.6], "five");
  close(t, zoneShares(zones({ a: 3, b: 3 }), "a"), [1, 0], "six");
  close(
    t,
    zoneShares(zones({ a: 3, b: 3 }), "a", DEFAULT_ZONES, new Map([["b", 3]])),
    [0.5, 0.5],
    "not counted",
  );
});

test("a zone does not come and go with an endpoint that flaps", async (t) => {
  const some = zones({ a: 3, b: 3 });
  some[1] = { ...some[1]!, weight: 1 };
  close(t, zoneShares(some, "a"), [1, 0], "six endpoints, four of them well");
});

test("endpoints that are nowhere known are nobody's own zone and take what is left over", async (t) => {
  close(t, zoneShares(zones({ a: 1, "": 9 }), "a"), [0.14, 0.86], "one here");
  close(
    t,
    zoneShares(zones({ "": 9, b: 3 }), ""),
    [0.75, 0.25],
    "nor does a sidecar without a zone have one",
  );
});

test("nobody has no share", async (t) => {
  t.same(zoneShares([], "a"), []);
  t.same(zoneShares([{ zone: "a", endpoints: 9, weight: 0 }], "a"), [0]);
});

const NAMES = ["a", "b", "c", "d"];
const someZones = fc
  .array(fc.tuple(fc.nat(20), fc.nat(30)), { minLength: 1, maxLength: NAMES.length })
  .map((all) => all.map(([endpoints, weight], place) => ({ zone: NAMES[place]!, endpoints, weight })));
const someCallers = fc.array(fc.nat(9), { minLength: NAMES.length, maxLength: NAMES.length });
const someOptions = fc.record({
  minimumEndpoints: fc.constant(0),
  tolerance: fc.double({ min: 1, max: 3, noNaN: true }),
});

test("shares are not negative and add up to exactly 1, and nobody without weight has one", async (t) => {
  const property = fc.property(
    someZones,
    fc.constantFrom(undefined, ...NAMES),
    someOptions,
    fc.option(someCallers, { nil: undefined }),
    (some, own, options, counts) => {
      const callers = counts && new Map(counts.map((count, place) => [NAMES[place]!, count]));
      const shares = zoneShares(some, own, options, callers);
      return (
        shares.every((share, place) => share >= 0 && (share === 0 || some[place]!.weight > 0)) &&
        sum(shares) === (some.some(({ weight }) => weight > 0) ? 1 : 0)
      );
    },
  );
  t.doesNotThrow(() => fc.assert(property, { seed: 5, numRuns: 3000 }));
});

test("where the callers are where they are said to be, nobody gets more than the tolerance", async (t) => {
  const property = fc.property(someZones, someOptions, someCallers, (some, options, counts) => {
    const total = sum(some.map(({ weight }) => weight));
    if (total === 0 || sum(counts) === 0) return true;
    const callers = new Map(counts.map((count, place) => [NAMES[place]!, count]));
    const loads = some.map(() => 0);
    for (const [own, count] of callers)
      for (const [place, share] of zoneShares(some, own, options, callers).entries())
        loads[place]! += (share * count) / sum(counts);
    return loads.every((load, place) => load <= options.tolerance * (some[place]!.weight / total) + 1e-6);
  });
  t.doesNotThrow(() => fc.assert(property, { seed: 6, numRuns: 3000 }));
});

test("the own zone never gets less because one of its endpoints has recovered", async (t) => {
  const property = fc.property(someZones, someOptions, (some, options) => {
    const better = some.with(0, { ...some[0]!, weight: some[0]!.weight + 1 });
    return zoneShares(better, "a", options)[0]! >= zoneShares(some, "a", options)[0]! - 1e-8;
  });
  t.doesNotThrow(() => fc.assert(property, { seed: 7, numRuns: 2000 }));
});
