import fc from "fast-check";
import { test } from "tap";
import { aperture, placeAmong, placeOfId } from "../../balancing/index.ts";
import { apertureFigures, type Host, hosts } from "../support/hash-figures.ts";

const places = (count: number) => Array.from({ length: count }, (_, index) => ({ index, count }));

test("all endpoints get the same load from all clients, exactly, by weight, whatever their numbers", async () => {
  const weights = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 80 });
  fc.assert(
    fc.property(
      weights,
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 1, max: 30 }),
      (list, count, size) => {
        const { least, most } = apertureFigures(
          hosts(list.length, (i) => list[i]!),
          places(count),
          size,
        );
        return Math.abs(least - 1) < 1e-9 && Math.abs(most - 1) < 1e-9;
      },
    ),
  );
});

test("a subset is as large as asked and longer by less than a client's part, or is everybody", async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 300 }),
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 1, max: 30 }),
      fc.nat(),
      (endpoints, count, size, index) => {
        const slices = aperture(hosts(endpoints), { index: index % count, count }, size);
        const whole = slices.reduce((sum, { share }) => sum + share, 0);
        if (slices.some(({ share }) => share <= 0 || share > 1)) return false;
        if (endpoints <= size) return slices.length === endpoints && whole === endpoints;
        // One more than its length, for it may begin and end within an endpoint.
        return (
          whole >= size - 1e-9 &&
          whole < size + endpoints / count + 1e-9 &&
          slices.length <= Math.ceil(whole - 1e-9) + 1
        );
      },
    ),
  );
});

test("a hundred clients at twenty of a thousand: each has twenty, each endpoint two", async (t) => {
  t.same(apertureFigures(hosts(1000), places(100), 20), { least: 1, most: 1, smallest: 20, largest: 20 });
});

test("one endpoint more or less changes, besides itself, two of a subset at the most", async () => {
  const sizes = fc.record({
    endpoints: fc.integer({ min: 30, max: 300 }),
    count: fc.integer({ min: 1, max: 60 }),
    index: fc.nat(),
    gone: fc.nat(),
  });
  fc.assert(
    fc.property(sizes, ({ endpoints, count, index, gone }) => {
      // The length of the arc in parts of the clients must be the same before and after.
      fc.pre(Math.ceil((12 * count) / endpoints) === Math.ceil((12 * count) / (endpoints - 1)));
      const all = hosts(endpoints);
      const left = all.toSpliced(gone % endpoints, 1);
      const place = { index: index % count, count };
      const keysOf = (list: readonly Host[]) =>
        new Set(aperture(list, place).map(({ candidate }) => candidate.key));
      const removed = all[gone % endpoints]!.key;
      const [before, after] = [keysOf(all), keysOf(left)];
      const lost = [...before.difference(after)].filter((key) => key !== removed);
      const won = [...after.difference(before)];
      return lost.length <= 2 && won.length <= 2;
    }),
  );
});

test("the order in which endpoints are listed changes nothing, nor do those after it that are not asked for", async (t) => {
  const all = hosts(50, (i) => 1 + (i % 3));
  const place = { index: 3, count: 7 };
  t.same(aperture(all.toReversed(), place), aperture(all, place));
  t.same(aperture([], place), []);
});

test("an arc that begins and ends in the same endpoint has both parts of it", async (t) => {
  // Two of three thirds, from the second on: all of the ring but for the middle of one of two.
  const slices = aperture(hosts(2), { index: 1, count: 4 }, 1.5);
  t.same(
    slices.map(({ share }) => share),
    [0.5, 1],
  );
});

test("a client finds its place among its peers, whether or not they list it", async (t) => {
  t.same(placeAmong("b", ["c", "a", "b"]), { index: 1, count: 3 });
  t.same(placeAmong("b", ["c", "a"]), { index: 1, count: 3 });
  t.same(placeAmong("b", ["b", "b"]), { index: 0, count: 1 });
});

test("a client that knows only itself has a place all the same, with loads that are even only by chance", async (t) => {
  const byId = Array.from({ length: 1000 }, (_, i) => placeOfId(`client-${i}`));
  t.ok(byId.every(({ index, count }) => index >= 0 && index < count));
  t.same(placeOfId("client-0"), byId[0]);
  const { least, most, largest } = apertureFigures(hosts(100), byId);
  t.ok(least > 0.5 && most < 1.6, `${least} to ${most} of the mean, at 120 clients for each endpoint`);
  t.ok(largest <= 14);
});

test("a place that is none is refused", async (t) => {
  for (const place of [
    { index: 3, count: 3 },
    { index: -1, count: 3 },
    { index: 0.5, count: 3 },
    { index: 0, count: 0 },
  ])
    t.throws(() => aperture(hosts(3), place), /place among peers/);
});
