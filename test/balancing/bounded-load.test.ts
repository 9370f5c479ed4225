import fc from "fast-check";
import { test } from "tap";
import { hash32 } from "../../balancing/hash.ts";
import { whole } from "../../balancing/hash-order.ts";
import { type Candidate, createBalancer, PeakEwma } from "../../balancing/index.ts";
import { layTable } from "../../balancing/maglev.ts";
import { type HashOptions, type Host, hosts, loadsByHash } from "../support/hash-figures.ts";
import { seededRandom } from "../support/seeded-random.ts";

const ALGORITHMS = ["ringHash", "maglev"] as const;

const SPREAD = Array.from({ length: 500 }, (_, i) => hash32(`request ${i}`));

/** The bound as the paper has it, in whole numbers. */
function isWithin(chosen: Host, among: readonly Host[], factor: number): boolean {
  const weight = among.reduce((sum, host) => sum + host.weight, 0);
  const inFlight = among.reduce((sum, host) => sum + host.inFlight, 0);
  const bound = Math.ceil((Math.round(factor * 1000) * (inFlight + 1) * chosen.weight) / (1000 * weight));
  return chosen.inFlight + 1 <= bound;
}

const BUSY = fc.array(
  fc.record({
    weight: fc.integer({ min: 1, max: 20 }),
    inFlight: fc.oneof(fc.nat(5), fc.nat(200)),
  }),
  { minLength: 2, maxLength: 30 },
);

test("with bounded loads nobody ever gets more than the factor times its share, rounded up", async () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...ALGORITHMS),
      fc.constantFrom(1.001, 1.1, 1.25, 2),
      BUSY,
      fc.array(fc.nat(0xffffffff), { minLength: 30, maxLength: 30 }),
      (algorithm, loadFactor, busy, hashes) => {
        const among = hosts(busy.length, (i) => busy[i]!.weight);
        for (const [i, { inFlight }] of busy.entries()) among[i]!.inFlight = inFlight;
        const balancer = createBalancer({ algorithm, loadFactor }, seededRandom(1));
        return hashes.every((hash, i) => {
          // By its own circle, by the one before and after a change: always.
          const list = i % 3 === 0 ? among : i % 3 === 1 ? [...among] : among.slice(1);
          const chosen = balancer.pick(list, 0, hash)!;
          const within = list.length === 1 || isWithin(chosen, list, loadFactor);
          chosen.inFlight++;
          return within;
        });
      },
    ),
    { numRuns: 60 },
  );
});

test("whether the caller has counted what is in flight or it is added up, the choice is the same", async () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...ALGORITHMS),
      fc.constantFrom(1.001, 1.25, 2),
      BUSY,
      fc.array(fc.nat(0xffffffff), { minLength: 20, maxLength: 20 }),
      (algorithm, loadFactor, busy, hashes) => {
        const among = hosts(busy.length, (i) => busy[i]!.weight);
        for (const [i, { inFlight }] of busy.entries()) among[i]!.inFlight = inFlight;
        const counted = createBalancer({ algorithm, loadFactor }, seededRandom(1));
        const adding = createBalancer({ algorithm, loadFactor }, seededRandom(1));
        let inFlight = busy.reduce((sum, host) => sum + host.inFlight, 0);
        return hashes.every((hash) => {
          const chosen = counted.pick(among, 0, hash, inFlight)!;
          const same = chosen === adding.pick(among, 0, hash);
          chosen.inFlight++;
          inFlight++;
          return same;
        });
      },
    ),
  );
});

test("if it has been counted, a bound looks at those alone that it lets pass or passes over", async (t) => {
  let looks = 0;
  class Watched implements Candidate {
    readonly key: string;
    readonly weight = 1;
    readonly latency: PeakEwma = new PeakEwma();

    constructor(key: string) {
      this.key = key;
    }

    get inFlight(): number {
      looks++;
      return 10;
    }
  }
  const among = Array.from({ length: 1000 }, (_, i) => new Watched(`${i}`));
  const balancer = createBalancer({ algorithm: "maglev", loadFactor: 1.25 }, seededRandom(1));
  for (const hash of SPREAD) balancer.pick(among, 0, hash, 10_000);
  t.equal(looks, SPREAD.length);
});

test("a bound changes nothing for whom it does not pass over, and who is passed over is so for the same other", async (t) => {
  const among = hosts(20);
  for (const algorithm of ALGORITHMS) {
    const free = createBalancer({ algorithm }, seededRandom(1));
    const bounded = createBalancer({ algorithm, loadFactor: 1.25 }, seededRandom(2));
    for (const host of among) host.inFlight = 10;
    t.ok(SPREAD.every((hash) => free.pick(among, 0, hash) === bounded.pick(among, 0, hash)));
    const hot = free.pick(among, 0, 7)!;
    hot.inFlight = 20;
    const next = bounded.pick(among, 0, 7)!;
    t.not(next, hot);
    for (let i = 0; i < 5; i++) t.equal(bounded.pick(among, 0, 7), next);
    const byOthers = SPREAD.filter((hash) => free.pick(among, 0, hash) !== hot);
    t.ok(byOthers.every((hash) => free.pick(among, 0, hash) === bounded.pick(among, 0, hash)));
    for (const host of among) host.inFlight = 0;
  }
});

test("with popular keys, the bound holds what a hash alone lets grow to several times the mean", async (t) => {
  const popularity = { keys: 1000, exponent: 1 };
  for (const algorithm of ALGORITHMS) {
    const figures = (loadFactor?: number) => {
      const options: HashOptions = loadFactor === undefined ? { algorithm } : { algorithm, loadFactor };
      return loadsByHash(options, hosts(20), 200, 20_000, popularity, seededRandom(3));
    };
    t.ok(figures().most > 3, `${algorithm}: ${figures().most}`);
    t.same(figures().passedOn, 0);
    // A mean of ten: the bounds are 13 and 11.
    t.equal(figures(1.25).most, 1.3);
    t.equal(figures(1.1).most, 1.1);
    t.ok(figures(1.25).passedOn < 0.45, `${algorithm}: ${figures(1.25).passedOn}`);
  }
});

test("whoever holds no place, of more endpoints than there are places, is found when all others are full", async (t) => {
  const among = hosts(70_000);
  const circle = whole(layTable(among));
  for (let place = 0; place < circle.size; place++) among[circle.holderOf(place)]!.inFlight = 2;
  const bounded = createBalancer({ algorithm: "maglev", loadFactor: 1.001 }, seededRandom(1));
  t.equal(bounded.pick(among, 0, 99)!.inFlight, 0);
});

test("a load factor of one or less is refused", async (t) => {
  for (const loadFactor of [1, 0.5, 0, -2, Number.NaN, Infinity])
    for (const algorithm of ALGORITHMS)
      t.throws(() => createBalancer({ algorithm, loadFactor }, seededRandom(1)), /above 1/);
});
