import fc from "fast-check";
import { test } from "tap";
import { hash32 } from "../../balancing/hash.ts";
import { whole } from "../../balancing/hash-order.ts";
import { createBalancer } from "../../balancing/index.ts";
import { layTable } from "../../balancing/maglev.ts";
import { layRing } from "../../balancing/ring-hash.ts";
import { disruptionByHash, Host, hosts, sharesByHash } from "../support/hash-figures.ts";
import { seededRandom } from "../support/seeded-random.ts";

const ALGORITHMS = ["ringHash", "maglev"] as const;
const SAMPLES = 2 ** 16;
/** More than any circle here takes to be laid. */
const PICKS_UNTIL_LAID = 60;

// --- Maglev

function placesOf(candidates: readonly Host[]): number[] {
  const circle = whole(layTable(candidates));
  const counts = candidates.map(() => 0);
  for (let place = 0; place < circle.size; place++) counts[circle.holderOf(place)]!++;
  return counts;
}

test("Maglev: of 65,537 places a hundred endpoints hold the same number but for one", async (t) => {
  const counts = placesOf(hosts(100));
  t.same([Math.min(...counts), Math.max(...counts)], [655, 656]);
  const thousands = placesOf(hosts(10_000));
  t.same([Math.min(...thousands), Math.max(...thousands)], [6, 7]);
});

test("Maglev: weights of 1 and 2 give the places that Envoy documents", async (t) => {
  t.same(placesOf([new Host("a", 1), new Host("b", 2)]), [21_846, 43_691]);
  t.same(placesOf([new Host("b", 20), new Host("a", 10)]), [43_691, 21_846]);
});

test("Maglev: whatever the weights, each has its share of places but for as many as there are others", async () => {
  const weights = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 2, maxLength: 60 });
  fc.assert(
    fc.property(weights, (list) => {
      const total = list.reduce((sum, weight) => sum + weight);
      const counts = placesOf(hosts(list.length, (i) => list[i]!));
      return counts.every(
        (count, i) => count >= 1 && Math.abs(count - (65_537 * list[i]!) / total) <= list.length,
      );
    }),
    { numRuns: 30 },
  );
});

test("Maglev: more endpoints than places leave some without, and one that outweighs all leaves each a place", async (t) => {
  const counts = placesOf(hosts(70_000));
  t.equal(counts.filter((count) => count === 1).length, 65_537);
  const beside = placesOf(hosts(1000, (i) => (i === 0 ? 1_000_000 : 1)));
  t.equal(Math.min(...beside), 1);
  t.equal(beside[0], 65_537 - 999);
});

test("Maglev: one of a hundred less moves between one and two and a half hundredths", async (t) => {
  const all = hosts(100);
  for (const gone of [0, 17, 99]) {
    const { moved } = disruptionByHash({ algorithm: "maglev" }, all, all.toSpliced(gone, 1), SAMPLES);
    t.ok(moved >= 0.0099 && moved <= 0.025, `${moved}`);
  }
});

// --- ring

test("ring: one endpoint less moves its own keys and no others, one more takes only what it gets", async (t) => {
  const all = hosts(100);
  for (const gone of [0, 17, 99]) {
    const rest = all.toSpliced(gone, 1);
    const less = disruptionByHash({ algorithm: "ringHash" }, all, rest, SAMPLES);
    const more = disruptionByHash({ algorithm: "ringHash" }, rest, all, SAMPLES);
    t.same([less.needless, more.needless], [0, 0]);
    t.equal(less.moved, more.moved);
    t.ok(less.moved > 0.004 && less.moved < 0.02, `${less.moved}`);
  }
});

test("ring: each unit of weight has as many points as the least ring, up to the greatest", async (t) => {
  const pointsOf = (list: readonly Host[], least = 1024, most = 262_144) => {
    const ring = whole(layRing(list, least, most));
    const counts = list.map(() => 0);
    for (let place = 0; place < ring.size; place++) counts[ring.holderOf(place)]!++;
    return counts;
  };
  t.same(pointsOf(hosts(1)), [1024]);
  t.same(pointsOf(hosts(3, (i) => 1 + i)), [1024, 2048, 3072]);
  const many = pointsOf(hosts(10_000));
  t.same([...new Set(many)].sort(), [26, 27], "26.2 for each");
  const size = many.reduce((sum, count) => sum + count);
  t.ok(Math.abs(size - 262_144) < 300, `${size}`);
  const light = pointsOf(
    hosts(4, (i) => (i === 0 ? 1 : 10_000)),
    1,
    500,
  );
  t.ok(light[0] === 1 && light.slice(1).every((count) => count === 166 || count === 167), `${light}`);
  t.same(new Set(pointsOf(hosts(100), 8, 8)), new Set([1]), "each has a point, whatever is allowed");
});

test("ring: at its greatest size, too, a change moves little between those that stay", async (t) => {
  const all = hosts(600);
  for (const count of [600, 513, 500, 257]) {
    const before = all.slice(0, count);
    const { needless } = disruptionByHash({ algorithm: "ringHash" }, before, before.slice(1), SAMPLES);
    t.ok(needless < 1.5 / count, `${needless} for one of ${count}`);
  }
});

test("ring: sizes that make no sense are refused", async (t) => {
  for (const options of [
    { minimumRingSize: 0 },
    { minimumRingSize: 2048, maximumRingSize: 1024 },
    { maximumRingSize: 8_388_609 },
    { minimumRingSize: Number.NaN },
  ])
    t.throws(() => createBalancer({ algorithm: "ringHash", ...options }, seededRandom(1)), /RingSize/);
  t.doesNotThrow(() => createBalancer({ algorithm: "ringHash", maximumRingSize: 512 }, seededRandom(1)));
});

// --- both

test("shares follow weights: Maglev within a hundredth, a ring within a tenth", async (t) => {
  const among = hosts(10, (i) => i + 1);
  const maglev = sharesByHash({ algorithm: "maglev" }, among);
  t.ok(maglev.least > 0.99 && maglev.most < 1.01, JSON.stringify(maglev));
  const ring = sharesByHash({ algorithm: "ringHash" }, among);
  t.ok(ring.least > 0.9 && ring.most < 1.1, JSON.stringify(ring));
  const large = sharesByHash(
    { algorithm: "ringHash", minimumRingSize: 16_384, maximumRingSize: 1_048_576 },
    among,
  );
  t.ok(large.least > 0.98 && large.most < 1.02, JSON.stringify(large));
});

test("when one of twenty goes, 95 % of the keys stay", async (t) => {
  const all = hosts(20);
  for (const [algorithm, mean] of [
    ["ringHash", 0.05],
    // What Maglev moves between those that stay comes on top.
    ["maglev", 0.055],
  ] as const) {
    let sum = 0;
    for (let gone = 0; gone < 20; gone++) {
      const { moved } = disruptionByHash({ algorithm }, all, all.toSpliced(gone, 1), SAMPLES);
      t.ok(moved < 0.08, `${algorithm}: ${moved}`);
      sum += moved;
    }
    t.ok(sum / 20 < mean + 0.0001, `${algorithm}: ${sum / 20} on average over who goes`);
  }
});

test("the order in which candidates are listed changes nothing", async () => {
  const list = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12 }), { minLength: 2, maxLength: 40 });
  fc.assert(
    fc.property(list, fc.array(fc.nat(0xffffffff), { minLength: 20 }), fc.nat(), (keys, hashes, seed) => {
      const random = seededRandom(seed);
      const ordered = keys.map((key, i) => new Host(key, 1 + (i % 3)));
      const shuffled = ordered
        .map((host) => [random.next(), host] as const)
        .sort(([a], [b]) => a - b)
        .map(([, host]) => host);
      return ALGORITHMS.every((algorithm) => {
        const [one, other] = [createBalancer({ algorithm }, random), createBalancer({ algorithm }, random)];
        return hashes.every((hash) => one.pick(ordered, 0, hash) === other.pick(shuffled, 0, hash));
      });
    }),
    { numRuns: 30 },
  );
});

test("of none there is none to choose, and of one it is that one", async (t) => {
  for (const algorithm of ALGORITHMS) {
    const balancer = createBalancer({ algorithm, loadFactor: 1.25 }, seededRandom(1));
    const only = new Host("a");
    only.inFlight = 1000;
    t.equal(balancer.pick([], 0, 5), undefined);
    t.equal(balancer.pick([only], 0, 5), only);
    t.equal(balancer.pick([only], 0), only);
  }
});

test("a request without a hash is chosen by chance, in the shares of the circle", async (t) => {
  const among = hosts(4, (i) => 1 + i);
  for (const algorithm of ALGORITHMS) {
    const balancer = createBalancer({ algorithm }, seededRandom(9));
    const counts = new Map<Host, number>(among.map((host) => [host, 0]));
    for (let i = 0; i < 40_000; i++) {
      const host = balancer.pick(among, 0)!;
      counts.set(host, counts.get(host)! + 1);
    }
    for (const [{ weight }, count] of counts)
      t.ok(Math.abs(count / 40_000 - weight / 10) < 0.04, `${algorithm}: ${count} for ${weight}`);
  }
});

// --- lists that come and go

const SPREAD = Array.from({ length: 500 }, (_, i) => hash32(`request ${i}`));

test("while a new circle is laid, the one before serves: keys stay, who has gone gets nothing, who is new his share", async (t) => {
  const all = hosts(21);
  const before = all.slice(0, 20);
  const after = all.slice(1);
  for (const algorithm of ALGORITHMS) {
    const balancer = createBalancer({ algorithm }, seededRandom(1));
    const owners = SPREAD.map((hash) => balancer.pick(before, 0, hash)!);
    // A copy of the list each time: none of them is ever seen again.
    const now = SPREAD.map((hash) => balancer.pick([...after], 0, hash)!);
    t.notOk(now.includes(all[0]!), algorithm);
    const newcomers = now.filter((host) => host === all[20]).length;
    t.ok(newcomers > 10 && newcomers < 45, `${algorithm}: ${newcomers} of 500 for one of twenty`);
    const stayed = now.filter((host, i) => host === owners[i]).length;
    t.ok(stayed > 430, `${algorithm}: ${stayed} of 500`);
  }
});

test("a list that lasts gets a circle of its own, after some picks, and that is the one a new sidecar has", async () => {
  const pool = hosts(12, (i) => 1 + (i % 4));
  const subset = fc.subarray(pool, { minLength: 2 });
  const change = fc.record({ list: subset, lasts: fc.boolean(), bounded: fc.boolean() });
  fc.assert(
    fc.property(
      fc.constantFrom(...ALGORITHMS),
      fc.array(change, { minLength: 1, maxLength: 6 }),
      fc.nat(0xffffffff),
      (algorithm, changes, hash) => {
        const random = seededRandom(hash);
        const balancer = createBalancer({ algorithm }, random);
        return changes.every(({ list, lasts }) => {
          for (let i = 0; i < (lasts ? PICKS_UNTIL_LAID : 1); i++)
            if (!list.includes(balancer.pick(list, 0, hash + i)!)) return false;
          if (!lasts) return true;
          const fresh = createBalancer({ algorithm }, random);
          return SPREAD.every((of) => balancer.pick(list, 0, of) === fresh.pick(list, 0, of));
        });
      },
    ),
    { numRuns: 20 },
  );
});

test("a list that was in use before is in use again at once", async (t) => {
  const all = hosts(20);
  const fewer = all.slice(1);
  for (const algorithm of ALGORITHMS) {
    const balancer = createBalancer({ algorithm }, seededRandom(1));
    const owners = SPREAD.map((hash) => balancer.pick(all, 0, hash));
    for (let i = 0; i < PICKS_UNTIL_LAID; i++) balancer.pick(fewer, 0, i);
    const again = SPREAD.map((hash) => balancer.pick(all, 0, hash));
    t.ok(
      owners.every((host, i) => host === again[i]),
      algorithm,
    );
  }
});

test("a circle that is laid in the memory of one that was replaced is the one a new sidecar has", async (t) => {
  const random = seededRandom(7);
  for (const algorithm of ALGORITHMS) {
    const balancer = createBalancer({ algorithm }, random);
    const all = hosts(260, (i) => 1 + (i % 3));
    // In use beside the others all the time, and never replaced.
    const beside = hosts(90);
    let list: readonly Host[] = all.slice(0, 200);
    for (let change = 0; change < 40; change++) {
      // Some are replaced before they are laid, some before they are seen for the second time.
      const picks = Math.floor(random.next() * 2 * PICKS_UNTIL_LAID);
      for (let i = 0; i < picks; i++) {
        const chosen = balancer.pick(list, 0, hash32(`${change} ${i}`))!;
        if (!list.includes(chosen)) t.fail(`${chosen.key} is not in the list`);
        if (random.next() < 0.3) balancer.pick(beside, 0, hash32(`${i}`));
      }
      balancer.forget!(list);
      if (random.next() < 0.2) balancer.pick(list, 0, 1);
      list = all.filter(() => random.next() < 0.8);
    }
    for (const lasting of [list, beside]) {
      const fresh = createBalancer({ algorithm }, random);
      for (let i = 0; i < 2 * PICKS_UNTIL_LAID; i++) balancer.pick(lasting, 0, 1);
      const asked = Array.from({ length: 5000 }, (_, i) => hash32(`key ${i}`));
      t.same(
        asked.map((hash) => balancer.pick(lasting, 0, hash)!.key),
        asked.map((hash) => fresh.pick(lasting, 0, hash)!.key),
        algorithm,
      );
    }
  }
});

test("when all are new ones, they are chosen evenly from the first request on", async (t) => {
  const all = hosts(40);
  for (const algorithm of ALGORITHMS) {
    const balancer = createBalancer({ algorithm }, seededRandom(1));
    balancer.pick(all.slice(0, 20), 0, 1);
    const counts = new Map<Host, number>();
    for (const hash of SPREAD) {
      const host = balancer.pick(all.slice(20), 0, hash)!;
      counts.set(host, (counts.get(host) ?? 0) + 1);
    }
    t.equal(counts.size, 20, algorithm);
    t.ok(
      Math.max(...counts.values()) < 50,
      `${algorithm}: ${Math.max(...counts.values())} of 500 for one of 20`,
    );
  }
});
