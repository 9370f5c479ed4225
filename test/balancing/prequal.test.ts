import fc from "fast-check";
import { test } from "tap";
import { type Balancer, type Candidate, createBalancer, PeakEwma } from "../../balancing/index.ts";
import { LoadQuantile } from "../../balancing/load-quantile.ts";
import type { ReplicaLoad } from "../../balancing/own-load.ts";
import { hotColdOrder, Prequal } from "../../balancing/prequal.ts";
import { DEFAULT_PREQUAL, type PrequalOptions, reuseBudget } from "../../balancing/prequal-options.ts";
import { type Probe, ProbePool } from "../../balancing/probe-pool.ts";
import { below } from "../../core/index.ts";
import { seededRandom } from "../support/seeded-random.ts";

class Replica implements Candidate {
  readonly key: string;
  readonly weight: number;
  inFlight = 0;
  readonly latency: PeakEwma = new PeakEwma();

  constructor(key: string, weight = 1) {
    this.key = key;
    this.weight = weight;
  }
}

function replicas(count: number): Replica[] {
  return Array.from({ length: count }, (_, i) => new Replica(`r${i}`));
}

/** Says that it was asked. */
const FALLBACK: Balancer = { pick: () => undefined };

/** Nothing is removed and answers are used again and again, so that each step of a test is the only one. */
const KEEPING: Partial<PrequalOptions> = { removePerRequest: 0, probesPerRequest: 0 };

function prequalOf(
  among: readonly Replica[],
  options: Partial<PrequalOptions> = {},
  fallback = FALLBACK,
): Prequal {
  const prequal = new Prequal({ ...DEFAULT_PREQUAL, ...options }, seededRandom(1), fallback);
  prequal.toProbe(among);
  return prequal;
}

function answers(
  prequal: Prequal,
  loads: Readonly<Record<string, readonly [inFlight: number, latencyMs: number]>>,
  nowMs = 0,
): void {
  for (const [key, [inFlight, latencyMs]] of Object.entries(loads))
    prequal.onProbe(key, { inFlight, latencyMs }, nowMs);
}

function keys(prequal: Prequal, among: readonly Replica[], count: number, nowMs = 0): string {
  return Array.from({ length: count }, () => prequal.pick(among, nowMs)?.key ?? "-").join(" ");
}

// --- figures

test("an answer is used as often as the paper's formula says", async (t) => {
  const budget = (probesPerRequest: number, removePerRequest: number, candidates = 100) =>
    reuseBudget({ ...DEFAULT_PREQUAL, probesPerRequest, removePerRequest }, candidates);
  t.match(budget(3, 1).toFixed(3), "1.316");
  t.match(budget(1, 0.25).toFixed(3), "3.390");
  t.match(budget(0.5, 0.25).toFixed(2), "11.76");
  t.equal(budget(10, 0), 1, "and never less than once");
  t.equal(budget(1, 1), Number.POSITIVE_INFINITY, "where the pool would empty, only age ends it");
  t.equal(budget(3, 0, 16), Number.POSITIVE_INFINITY, "and where it holds all");
});

test("a budget between two numbers is rounded by chance, to the right mean", async (t) => {
  const among = replicas(100);
  let uses = 0;
  const answered = 20_000;
  const prequal = prequalOf(among, { removePerRequest: 1 });
  // Removal would hide it: the two that are there are the fewest that are kept.
  for (let i = 0; i < answered; i++) {
    answers(prequal, { r0: [0, 1], r1: [1_000, 1] });
    while (prequal.pick(among, 0) === among[0]) uses++;
  }
  // The last one of each round falls to the fallback, as r1 is alone then. Uses are 1 or 2 with a deviation of 0.46.
  const error = 0.46 / Math.sqrt(answered);
  t.ok(Math.abs(uses / answered - 1.316) < 5 * error, `${uses / answered}`);
});

// --- hot and cold

test("of the cold the quickest, of the hot the least loaded, and cold before hot", async (t) => {
  const probe = (load: number, latencyMs: number): Probe => ({ load, latencyMs, foundAt: 0 });
  const isBetter = (one: Probe, other: Probe) =>
    hotColdOrder(one, other, 5) < 0 && hotColdOrder(other, one, 5) > 0;
  t.ok(isBetter(probe(5, 10), probe(0, 20)), "both are cold");
  t.ok(isBetter(probe(6, 900), probe(7, 1)), "both are hot");
  t.ok(isBetter(probe(5, 900), probe(6, 1)), "one is hot");
  t.ok(isBetter(probe(1, 10), probe(2, 10)), "as quick: the less loaded");
  t.ok(isBetter(probe(6, 10), probe(6, 20)), "as loaded: the quicker");
});

test("who is hot is decided by the quantile of the answers", async (t) => {
  const among = replicas(10);
  const loads = Object.fromEntries(among.map(({ key }, i) => [key, [i, 100 - i] as const]));
  const firstOf = (quantile: number) => {
    const prequal = prequalOf(among, { ...KEEPING, quantile });
    answers(prequal, loads);
    return prequal.pick(among, 0)!.key;
  };
  t.equal(firstOf(0), "r0", "by load");
  t.equal(firstOf(0.5), "r4", "up to 4 in flight are cold, and the fifth is the quickest of them");
  t.equal(firstOf(DEFAULT_PREQUAL.quantile), "r8");
  t.equal(firstOf(1), "r9", "by latency");
});

test("one of three that is overrun is hot, though a third of the answers are its own", async (t) => {
  const among = replicas(3);
  const prequal = new Prequal(DEFAULT_PREQUAL, seededRandom(1), FALLBACK);
  prequal.toProbe(among);
  for (let nowMs = 0; nowMs < 100; nowMs++)
    for (const [i, { key }] of among.entries())
      prequal.onProbe(key, i === 0 ? { inFlight: 30, latencyMs: 1 } : { inFlight: 0, latencyMs: 50 }, nowMs);
  for (let i = 0; i < 20; i++) t.not(prequal.pick(among, 100), among[0]);
});

test("with a quantile of 1 nobody ever becomes hot, however many are sent", async (t) => {
  const among = replicas(3);
  const prequal = prequalOf(among, { ...KEEPING, quantile: 1 });
  answers(prequal, { r0: [0, 10], r1: [0, 20], r2: [0, 30] });
  t.equal(keys(prequal, among, 5), "r0 r0 r0 r0 r0");
});

test("the window forgets what was heard before the last 64 answers, and is exact", async (t) => {
  const property = fc.property(
    fc.array(fc.nat(9), { minLength: 1, maxLength: 200, size: "max" }),
    fc.double({ min: 0, max: 0.99, noNaN: true }),
    (values, quantile) => {
      const window = new LoadQuantile(quantile);
      for (const value of values) window.add(value);
      const ordered = values.slice(-64).sort((a, b) => a - b);
      return window.value === ordered[Math.max(0, Math.ceil(quantile * ordered.length) - 1)];
    },
  );
  t.doesNotThrow(() => fc.assert(property, { seed: 1 }));
  t.equal(new LoadQuantile(0.5).value, Number.POSITIVE_INFINITY, "before the first nobody is hot");
  t.throws(() => new LoadQuantile(1.1), /expected a quantile from 0 to 1, got 1.1/);
});

// --- use and age

test("each use counts as one more in flight there, until the next answer", async (t) => {
  const among = replicas(3);
  const prequal = prequalOf(among, { ...KEEPING, quantile: 0 });
  answers(prequal, { r0: [0, 10], r1: [2, 10], r2: [9, 10] });
  t.equal(keys(prequal, among, 6), "r0 r0 r0 r1 r0 r1");
  answers(prequal, { r0: [0, 10] });
  t.equal(keys(prequal, among, 4), "r0 r0 r0 r0");
});

test("an answer counts until it is too old, and then the fallback chooses", async (t) => {
  const among = replicas(3);
  const prequal = prequalOf(among, KEEPING);
  answers(prequal, { r0: [0, 10], r1: [0, 20] }, 0);
  answers(prequal, { r2: [0, 30] }, 500);
  t.equal(keys(prequal, among, 1, 1000), "r0");
  t.equal(keys(prequal, among, 1, 1001), "-", "only one is left");
  answers(prequal, { r1: [0, 20] }, 1200);
  t.equal(keys(prequal, among, 1, 1300), "r1");
});

test("an answer is used up, and one alone is no choice", async (t) => {
  const among = replicas(100);
  const prequal = prequalOf(among, { probesPerRequest: 10, removePerRequest: 0 });
  answers(prequal, { r0: [0, 10], r1: [0, 20], r2: [0, 30] });
  t.equal(keys(prequal, among, 4), "r0 r1 - -");
});

test("one candidate needs no answers, none is nobody", async (t) => {
  const among = replicas(1);
  const prequal = prequalOf(among);
  t.equal(keys(prequal, among, 2), "r0 r0");
  t.equal(prequal.pick([], 0), undefined);
});

test("while nobody answers, requests are spread as the fallback does it", async (t) => {
  const among = replicas(10);
  const prequal = prequalOf(among, {}, createBalancer({ algorithm: "roundRobin" }, seededRandom(1)));
  const chosen = new Set(Array.from({ length: 10 }, () => prequal.pick(among, 0)));
  t.equal(chosen.size, 10);
});

// --- removal

test("a full pool gives up its oldest answer, and an answer replaces that of the same candidate", async (t) => {
  const among = replicas(20);
  const pool = new ProbePool(3, 1000, hotColdOrder);
  const put = (at: number, inFlight: number, nowMs: number) =>
    pool.put(among, at, { inFlight, latencyMs: at }, 1, nowMs);
  put(0, 0, 0);
  put(1, 0, 1);
  put(2, 0, 2);
  put(0, 7, 3);
  t.equal(pool.count, 3);
  put(3, 0, 4);
  pool.locate(among, 4);
  t.same(pool.probes.map(({ foundAt }) => foundAt).sort(), [0, 2, 3]);
  t.equal(pool.probes.find(({ foundAt }) => foundAt === 0)!.load, 7);
});

test("the worst is the hottest, or the slowest when all are cold", async (t) => {
  const among = replicas(4);
  const pool = new ProbePool(16, 1000, hotColdOrder);
  const loads = [
    [1, 900],
    [8, 10],
    [9, 5],
    [2, 20],
  ] as const;
  for (const [at, [inFlight, latencyMs]] of loads.entries())
    pool.put(among, at, { inFlight, latencyMs }, 9, 0);
  const left = () => {
    pool.locate(among, 0);
    return pool.probes.map(({ foundAt }) => foundAt).sort();
  };
  pool.removeWorst(5);
  t.same(left(), [0, 1, 3]);
  pool.removeWorst(5);
  t.same(left(), [0, 3]);
  pool.removeWorst(5);
  t.same(left(), [3]);
});

test("with each request the oldest and the worst are removed in turns, and two are always left", async (t) => {
  const among = replicas(100);
  // So many probes that an answer is used once. The quickest are the oldest here.
  const prequal = prequalOf(among, { probesPerRequest: 10, removePerRequest: 1, quantile: 1 });
  for (let i = 0; i < 10; i++) answers(prequal, { [`r${i}`]: [0, 10 + i] }, i);
  // Removed in between: r1 as the oldest, r9 as the worst, r4, r8; r7 is alone at the end.
  t.equal(keys(prequal, among, 6, 20), "r0 r2 r3 r5 r6 -");
});

test("where all fit into the pool nothing is removed", async (t) => {
  const among = replicas(16);
  const prequal = prequalOf(among, { removePerRequest: 5, quantile: 0 });
  answers(prequal, Object.fromEntries(among.map(({ key }) => [key, [0, 10] as const])));
  const chosen = new Set(Array.from({ length: 16 }, () => prequal.pick(among, 0)));
  t.equal(chosen.size, 16, "and each use makes the next one better");
});

// --- who may be chosen

test("only those of the list are chosen, as in a second attempt, and the others stay in the pool", async (t) => {
  const among = replicas(4);
  const prequal = prequalOf(among, { ...KEEPING, quantile: 1 });
  answers(prequal, { r0: [0, 10], r1: [0, 20], r2: [0, 30] });
  const second = among.slice(1);
  t.equal(keys(prequal, second, 2), "r1 r1");
  t.equal(keys(prequal, second.toReversed(), 2), "r1 r1", "in any order");
  t.equal(keys(prequal, among.slice(2), 1), "-", "one answer is no choice");
  t.equal(keys(prequal, among, 1), "r0");
});

test("lists that take turns, as those of zones, are answered rightly each time", async (t) => {
  const among = replicas(6);
  const even = among.filter((_, i) => i % 2 === 0);
  const odd = among.filter((_, i) => i % 2 === 1);
  const prequal = prequalOf(among, { ...KEEPING, quantile: 1 });
  answers(prequal, Object.fromEntries(among.map(({ key }, i) => [key, [0, i + 1] as const])));
  for (let i = 0; i < 5; i++) {
    t.equal(keys(prequal, even, 1), "r0");
    t.equal(keys(prequal, odd, 1), "r1");
    t.equal(keys(prequal, odd.slice(1), 1), "r3");
  }
});

test("who leaves, leaves the pool, and an answer that comes after is nobody's", async (t) => {
  const before = replicas(4);
  const prequal = prequalOf(before, { ...KEEPING, quantile: 1 });
  answers(prequal, { r0: [0, 10], r1: [0, 20], r2: [0, 30] });
  const after = before.slice(1);
  prequal.toProbe(after);
  answers(prequal, { r0: [0, 5] });
  t.equal(keys(prequal, before, 1), "r1", "even for a list that still has it");
  t.equal(keys(prequal, after, 1), "r1");
});

test("whoever comes back under its key is another one", async (t) => {
  const before = replicas(3);
  const prequal = prequalOf(before, { ...KEEPING, quantile: 1 });
  answers(prequal, { r0: [0, 10], r1: [0, 20], r2: [0, 30] });
  const after = [new Replica("r0"), ...before.slice(1)];
  prequal.toProbe(after);
  t.equal(keys(prequal, after, 1), "r1");
});

// --- whom to probe

test("so many different ones are probed for a request, each as often", async (t) => {
  const among = replicas(20);
  const counts = new Map<Replica, number>();
  const prequal = prequalOf(among);
  for (let i = 0; i < 20_000; i++) {
    const drawn = prequal.toProbe(among);
    if (new Set(drawn).size !== 3) t.fail(`${drawn.length} drawn`);
    for (const one of drawn) counts.set(one, (counts.get(one) ?? 0) + 1);
  }
  // 3000 are expected of each, with a deviation of 50.
  for (const replica of among) t.ok(Math.abs(counts.get(replica)! - 3000) < 250, `${counts.get(replica)}`);
});

test("a part of a probe is one by chance, and few candidates are all probed", async (t) => {
  const among = replicas(20);
  const prequal = prequalOf(among, { probesPerRequest: 1.25 });
  let probes = 0;
  for (let i = 0; i < 20_000; i++) probes += prequal.toProbe(among).length;
  // The deviation of the sum is 61.
  t.ok(Math.abs(probes - 25_000) < 310, `${probes}`);
  t.same(prequalOf(among, { probesPerRequest: 0 }).toProbe(among), []);
  const two = replicas(2);
  t.same(prequalOf(two).toProbe(two), two);
});

test("a heavy candidate is probed as its weight says, and bears as much more", async (t) => {
  const among = [new Replica("light", 1), new Replica("heavy", 3), ...replicas(4)];
  const prequal = prequalOf(among, { probesPerRequest: 1, quantile: 0 });
  let heavy = 0;
  for (let i = 0; i < 20_000; i++) if (prequal.toProbe(among)[0]!.key === "heavy") heavy++;
  // 3 of 8: the deviation is 68.
  t.ok(Math.abs(heavy - 7500) < 340, `${heavy}`);
  answers(prequal, { light: [2, 10], heavy: [1, 10] });
  t.equal(keys(prequal, among, 4), "heavy heavy heavy heavy", "1 to 4 of 3 are less than 2 of 1");
  const other = prequalOf(among, { ...KEEPING, quantile: 0.5 });
  answers(other, { light: [3, 1], heavy: [6, 10] });
  t.equal(keys(other, among, 1), "heavy", "3 of 1 are hot where 6 of 3 are not");
});

// --- sinkholes

test("one that fails at once is not believed by whoever has seen it fail, and is tried again later", async (t) => {
  const among = replicas(5);
  const prequal = prequalOf(among, { ...KEEPING, maxAgeMs: 60_000, quantile: 1 });
  answers(prequal, { r0: [0, 1], r1: [3, 40], r2: [3, 50], r3: [3, 60], r4: [3, 70] });
  t.equal(keys(prequal, among, 1), "r0", "it looks best");
  among[0]!.latency.observe(1, true, 0);
  t.equal(keys(prequal, among, 1), "r1");
  t.equal(keys(prequal, among, 1, 6_900), "r1", "a failure counts as 1 s, and is forgiven at half of that");
  t.equal(keys(prequal, among, 1, 7_000), "r0");
});

test("slowness that all have is no sign against one, and when most fail none is singled out", async (t) => {
  const among = replicas(4);
  const prequal = prequalOf(among, { ...KEEPING, quantile: 1 });
  answers(prequal, { r0: [0, 400], r1: [0, 500], r2: [0, 600], r3: [0, 700] });
  among[0]!.latency.observe(1900, false, 0);
  t.equal(keys(prequal, among, 1), "r0", "less than four times what is usual");
  for (const replica of among.slice(0, 3)) replica.latency.observe(9000, true, 0);
  t.equal(keys(prequal, among, 1), "r0");
  const [first] = replicas(1);
  t.equal(keys(prequalOf([first!]), [first!], 1), "r0");
});

test("whoever has asked to be left alone is, while there are others", async (t) => {
  const among = replicas(3);
  const prequal = prequalOf(among, { ...KEEPING, quantile: 1 });
  answers(prequal, { r0: [0, 10], r1: [0, 20], r2: [0, 30] });
  among[0]!.latency.holdOff(500, 0);
  t.equal(keys(prequal, among, 1, 499), "r1");
  for (const { latency } of among.slice(0, 2)) latency.holdOff(600, 0);
  t.equal(keys(prequal, among, 1, 599), "r2", "even if most have");
  among[2]!.latency.holdOff(600, 0);
  t.equal(keys(prequal, among, 1, 599), "r0", "if all have, the best of all");
  t.equal(keys(prequal, among, 1, 600), "r0");
});

// --- as a whole

test("those that say nothing of their load get what the fallback gives them, until they speak or have left", async (t) => {
  const among = replicas(4);
  const [speaking, silent] = [among.slice(0, 2), among.slice(2)];
  let turn = 0;
  const inTurn: Balancer = { pick: (candidates) => candidates[turn++ % candidates.length] };
  const prequal = prequalOf(among, { ...KEEPING, maxAgeMs: 1e9 }, inTurn);
  const counts = () => {
    const all = new Map(among.map(({ key }) => [key, 0]));
    for (let i = 0; i < 400; i++) {
      answers(prequal, { r0: [0, 10], r1: [0, 20] });
      const { key } = prequal.pick(among, 0)!;
      all.set(key, all.get(key)! + 1);
    }
    return [...all.values()];
  };
  t.same(counts(), [400, 0, 0, 0], "nobody has asked them yet");
  for (const { key } of silent) prequal.onSilence(key);
  t.same(counts(), [200, 0, 100, 100], "a quarter each, and of what is left the answers decide");
  answers(prequal, { r2: [0, 900] });
  t.same(counts(), [300, 0, 0, 100], "one has spoken");
  prequal.toProbe(speaking);
  prequal.toProbe(among);
  t.same(counts(), [400, 0, 0, 0], "whoever comes back is another one");
  prequal.onSilence("r9");
  t.same(counts(), [400, 0, 0, 0], "and somebody who is not there is nobody");
});

test("of fifty replicas that all look alike none gets many more requests than another", async (t) => {
  const random = seededRandom(7);
  const among = replicas(50);
  const fallback = createBalancer({ algorithm: "random" }, random);
  const prequal = new Prequal(DEFAULT_PREQUAL, random, fallback);
  const inside = among.map(() => 0);
  const loadOf = (i: number): ReplicaLoad => ({ inFlight: inside[i]!, latencyMs: 10 * (1 + inside[i]!) });
  let most = 0;
  // One comes and one goes at each step; two hundred are inside, four at each in the mean.
  for (let step = 0; step < 20_000; step++) {
    const chosen = among.indexOf(prequal.pick(among, step)!);
    inside[chosen] = inside[chosen]! + 1;
    for (const one of prequal.toProbe(among)) {
      const i = among.indexOf(one);
      prequal.onProbe(one.key, loadOf(i), step);
    }
    if (step < 200) continue;
    let leaving = below(random, 50);
    while (inside[leaving] === 0) leaving = below(random, 50);
    inside[leaving] = inside[leaving]! - 1;
    if (step > 1000) most = Math.max(most, ...inside);
  }
  // By chance alone one would have had over twenty.
  t.ok(most <= 8, `${most}`);
});
