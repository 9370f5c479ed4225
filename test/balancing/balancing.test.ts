import { test } from "tap";
import { betterOfTwo, leastOfMany } from "../../balancing/draw.ts";
import {
  type Balancer,
  type BalancingAlgorithm,
  type Candidate,
  createBalancer,
  PeakEwma,
} from "../../balancing/index.ts";
import type { Random } from "../../core/index.ts";
import { seededRandom } from "../support/seeded-random.ts";

const ALGORITHMS: readonly BalancingAlgorithm[] = ["roundRobin", "leastRequest", "peakEwma", "random"];

/** An endpoint as the proxy keeps it: what is in flight changes. */
class Replica implements Candidate {
  readonly name: string;
  weight: number;
  inFlight = 0;
  readonly latency: PeakEwma = new PeakEwma();

  constructor(name: string, weight = 1) {
    this.name = name;
    this.weight = weight;
  }

  get key(): string {
    return this.name;
  }
}

function replicas(...weights: number[]): Replica[] {
  return weights.map((weight, i) => new Replica(String.fromCharCode(65 + i), weight));
}

function picks(balancer: Balancer, among: readonly Replica[], count: number, nowMs = 0): Replica[] {
  return Array.from({ length: count }, () => balancer.pick(among, nowMs)!);
}

function names(chosen: readonly Replica[]): string {
  return chosen.map(({ name }) => name).join("");
}

function sharesOf(chosen: readonly Replica[], among: readonly Replica[]): number[] {
  return among.map((replica) => chosen.filter((one) => one === replica).length / chosen.length);
}

test("without candidates nothing is chosen, and a single one always", async (t) => {
  for (const algorithm of ALGORITHMS) {
    const balancer = createBalancer({ algorithm }, seededRandom(1));
    const only = new Replica("A");
    only.inFlight = 1000;
    only.latency.observe(5000, true, 0);
    t.equal(balancer.pick([], 0), undefined, algorithm);
    t.equal(names(picks(balancer, [only], 5)), "AAAAA", algorithm);
  }
});

// --- random

test("random gives shares by weight", async (t) => {
  for (const weights of [
    [1, 1, 1, 1],
    [1, 2, 7],
  ]) {
    const among = replicas(...weights);
    const total = weights.reduce((sum, weight) => sum + weight);
    const chosen = picks(createBalancer({ algorithm: "random" }, seededRandom(5)), among, 100_000);
    // One percentage point is more than six standard deviations.
    for (const [i, share] of sharesOf(chosen, among).entries())
      t.ok(Math.abs(share - weights[i]! / total) < 0.01, `${share} for ${weights[i]} of ${total}`);
  }
});

test("random reaches the first and the last, and never past the last", async (t) => {
  const among = replicas(1, 2, 7);
  const lowest: Random = { next: () => 0 };
  const highest: Random = { next: () => 1 - 2 ** -53 };
  t.equal(createBalancer({ algorithm: "random" }, lowest).pick(among, 0), among[0]);
  t.equal(createBalancer({ algorithm: "random" }, highest).pick(among, 0), among[2]);
});

// --- the power of two choices

test("two are drawn without replacement, every ordered pair equally likely", async (t) => {
  const random = seededRandom(9);
  const among = replicas(1, 1, 1, 1, 1);
  const counts = new Map<string, number>();
  for (let i = 0; i < 200_000; i++)
    betterOfTwo(among, random, (first, second) => {
      const pair = first.name + second.name;
      counts.set(pair, (counts.get(pair) ?? 0) + 1);
      return first;
    });
  t.equal(counts.size, 20, "five times four pairs, none of them of one with itself");
  // 10,000 are expected of each; 5 % are five standard deviations.
  for (const [pair, count] of counts) t.ok(Math.abs(count - 10_000) < 500, `${pair}: ${count}`);
});

test("of two endpoints the busier is never chosen", async (t) => {
  for (const algorithm of ["leastRequest", "peakEwma"] as const) {
    const among = replicas(1, 1) as [Replica, Replica];
    for (const replica of among) replica.latency.observe(10, false, 0);
    among[0].inFlight = 4;
    among[1].inFlight = 3;
    const chosen = picks(createBalancer({ algorithm }, seededRandom(2)), among, 1000);
    t.same(sharesOf(chosen, among), [0, 1], algorithm);
  }
});

test("an endpoint of three times the weight may carry three times as much", async (t) => {
  const among = replicas(3, 1) as [Replica, Replica];
  for (const replica of among) replica.latency.observe(10, false, 0);
  for (const algorithm of ["leastRequest", "peakEwma"] as const) {
    const balancer = createBalancer({ algorithm }, seededRandom(2));
    among[1].inFlight = 1;
    among[0].inFlight = 2;
    t.same(sharesOf(picks(balancer, among, 100), among), [1, 0], `${algorithm}: twice as much is little`);
    among[0].inFlight = 6;
    t.same(
      sharesOf(picks(balancer, among, 100), among),
      [0, 1],
      `${algorithm}: six times as much is too much`,
    );
  }
});

test("between equals chance decides evenly", async (t) => {
  for (const algorithm of ["leastRequest", "peakEwma"] as const) {
    const among = replicas(1, 1, 1, 1);
    const chosen = picks(createBalancer({ algorithm }, seededRandom(4)), among, 40_000);
    for (const share of sharesOf(chosen, among))
      t.ok(Math.abs(share - 0.25) < 0.015, `${algorithm}: ${share}`);
  }
});

// --- latency

test("latency jumps to a peak at once, and decays to 1/e in ten seconds", async (t) => {
  const latency = new PeakEwma();
  t.equal(latency.estimateMs(0), 0, "nothing is known");
  latency.observe(10, false, 1000);
  t.equal(latency.estimateMs(1000), 10);
  latency.observe(400, false, 1001);
  t.equal(latency.estimateMs(1001), 400);
  const close = (actual: number, expected: number) => t.ok(Math.abs(actual - expected) < 1e-9, `${actual}`);
  close(latency.estimateMs(11_001), 400 / Math.E);
  close(latency.estimateMs(21_001), 400 / Math.E ** 2);
  t.equal(latency.estimateMs(500), 400, "a clock that went back changes nothing");
  // A quicker answer after ten seconds: the peak keeps 1/e of its say.
  latency.observe(10, false, 11_001);
  close(latency.estimateMs(11_001), 400 / Math.E + 10 * (1 - 1 / Math.E));
});

test("asking for the estimate does not change it", async (t) => {
  const asked = new PeakEwma();
  const unasked = new PeakEwma();
  for (const latency of [asked, unasked]) latency.observe(100, false, 0);
  for (let nowMs = 0; nowMs < 10_000; nowMs += 100) asked.estimateMs(nowMs);
  t.equal(asked.estimateMs(10_000), unasked.estimateMs(10_000));
});

test("a failure counts as a second at least, however fast it was", async (t) => {
  const latency = new PeakEwma();
  latency.observe(1, true, 0);
  t.equal(latency.estimateMs(0), 1000);
  latency.observe(3000, true, 0);
  t.equal(latency.estimateMs(0), 3000);
});

test("an endpoint nobody has heard of gets one request and no rush, and one in disgrace is tried again", async (t) => {
  const balancer = createBalancer({ algorithm: "peakEwma" }, seededRandom(8));
  const [known, fresh] = replicas(1, 1) as [Replica, Replica];
  known.latency.observe(100, false, 0);
  known.inFlight = 50;
  t.equal(balancer.pick([known, fresh], 0), fresh);
  fresh.inFlight = 1;
  t.equal(names(picks(balancer, [known, fresh], 50)), "A".repeat(50));
  fresh.latency.observe(1, true, 0);
  fresh.inFlight = 0;
  known.inFlight = 0;
  t.equal(names(picks(balancer, [known, fresh], 50)), "A".repeat(50), "it failed");
  known.latency.observe(100, false, 60_000);
  t.equal(
    names(picks(balancer, [known, fresh], 50, 60_000)),
    "B".repeat(50),
    "a minute later it is forgiven",
  );
});

// --- in virtual time

/** A heap of what will happen, soonest first. */
class Agenda {
  readonly #heap: { readonly atMs: number; readonly happen: (atMs: number) => void }[] = [];

  add(atMs: number, happen: (atMs: number) => void): void {
    const heap = this.#heap;
    let i = heap.length;
    const entry = { atMs, happen };
    heap.push(entry);
    for (let parent = (i - 1) >> 1; i > 0 && heap[parent]!.atMs > atMs; i = parent, parent = (i - 1) >> 1)
      heap[i] = heap[parent]!;
    heap[i] = entry;
  }

  /** Lets happen what is due until then. */
  runUntil(untilMs: number): void {
    const heap = this.#heap;
    while (heap.length > 0 && heap[0]!.atMs <= untilMs) {
      const next = heap[0]!;
      const last = heap.pop()!;
      if (heap.length > 0) {
        let i = 0;
        for (;;) {
          let child = 2 * i + 1;
          if (child >= heap.length) break;
          if (child + 1 < heap.length && heap[child + 1]!.atMs < heap[child]!.atMs) child++;
          if (heap[child]!.atMs >= last.atMs) break;
          heap[i] = heap[child]!;
          i = child;
        }
        heap[i] = last;
      }
      next.happen(next.atMs);
    }
  }
}

function exponential(random: Random, mean: number): number {
  return -mean * Math.log(1 - random.next());
}

interface Behaviour {
  /** How long an answer takes; undefined never comes. */
  readonly answerMs: (atMs: number) => number | undefined;
  readonly fails: boolean;
  readonly weight?: number;
}

/** The share of the first endpoint from `fromMs` to `untilMs`, of a request about every `everyMs`. */
function shareOfTheFirst(
  algorithm: BalancingAlgorithm,
  behaviours: readonly Behaviour[],
  fromMs: number,
  untilMs: number,
  everyMs = 1,
): number {
  const random = seededRandom(21);
  const balancer = createBalancer({ algorithm }, random);
  const among = behaviours.map(({ weight }, i) => new Replica(`${i}`, weight));
  const agenda = new Agenda();
  let first = 0;
  let all = 0;
  for (let nowMs = exponential(random, everyMs); nowMs < untilMs; nowMs += exponential(random, everyMs)) {
    agenda.runUntil(nowMs);
    const chosen = balancer.pick(among, nowMs)!;
    if (nowMs >= fromMs) all++;
    if (nowMs >= fromMs && chosen === among[0]) first++;
    const { answerMs, fails } = behaviours[among.indexOf(chosen)]!;
    const tookMs = answerMs(nowMs);
    chosen.inFlight++;
    if (tookMs === undefined) continue;
    agenda.add(nowMs + tookMs, (atMs) => {
      chosen.inFlight--;
      chosen.latency.observe(tookMs, fails, atMs);
    });
  }
  return first / all;
}

const GOOD: Behaviour = { answerMs: () => 20, fails: false };

test("an endpoint that fails fast loses its traffic within a second instead of drawing it all", async (t) => {
  const behaviours = [{ answerMs: () => 1, fails: true }, ...new Array<Behaviour>(9).fill(GOOD)];
  const share = shareOfTheFirst("peakEwma", behaviours, 0, 1000);
  t.ok(share < 1 / 30, `${share} of all, and a third of its part is ${1 / 30}`);
  const lured = shareOfTheFirst("leastRequest", behaviours, 0, 1000);
  t.ok(lured > 1 / 10, `${lured}: whoever goes by what is in flight is drawn to it`);
});

test("an endpoint that falls silent becomes expensive before it has answered", async (t) => {
  const silent: Behaviour = { answerMs: (atMs) => (atMs < 2000 ? 20 : undefined), fails: false };
  const behaviours = [silent, ...new Array<Behaviour>(4).fill(GOOD)];
  const before = shareOfTheFirst("peakEwma", behaviours, 1000, 2000);
  t.ok(Math.abs(before - 0.2) < 0.05, `${before} while it answers`);
  const after = shareOfTheFirst("peakEwma", behaviours, 2000, 3000);
  t.ok(after < 0.2 / 3, `${after} in the second after it fell silent`);
});

test("a slow endpoint gets less than the others, but is not starved", async (t) => {
  const behaviours = [{ answerMs: () => 200, fails: false }, ...new Array<Behaviour>(4).fill(GOOD)];
  const share = shareOfTheFirst("peakEwma", behaviours, 1000, 6000);
  t.ok(share > 0 && share < 0.2 / 3, `${share}`);
});

test("a light endpoint beside one of three times its weight gets a quarter of busy traffic, and is not starved of quiet traffic", async (t) => {
  const random = seededRandom(22);
  const answerMs = () => 15 + 10 * random.next();
  const behaviours = [
    { answerMs, fails: false, weight: 1 },
    { answerMs, fails: false, weight: 3 },
  ];
  for (const algorithm of ALGORITHMS) {
    const busy = shareOfTheFirst(algorithm, behaviours, 0, 20_000);
    t.ok(Math.abs(busy - 0.25) < 0.03, `${algorithm}: ${busy} of a thousand requests a second`);
    const quiet = shareOfTheFirst(algorithm, behaviours, 0, 200_000, 100);
    t.ok(quiet > 0.125, `${algorithm}: ${quiet} of ten a second, when nearly nothing is in flight`);
  }
});

/** The mean time of a job in a farm of single servers with exponential times of mean 1, at this load. */
function meanTimeInFarm(algorithm: BalancingAlgorithm, servers: number, load: number, jobs: number): number {
  const random = seededRandom(33);
  const balancer = createBalancer({ algorithm }, random);
  const farm = Array.from({ length: servers }, (_, i) => ({ replica: new Replica(`${i}`), freeAt: 0 }));
  const among = farm.map(({ replica }) => replica);
  const byReplica = new Map(farm.map((server) => [server.replica, server]));
  const agenda = new Agenda();
  const warmUp = jobs / 3;
  let total = 0;
  let now = 0;
  for (let job = 0; job < jobs; job++) {
    now += exponential(random, 1 / (servers * load));
    agenda.runUntil(now);
    const chosen = balancer.pick(among, now)!;
    const server = byReplica.get(chosen)!;
    server.freeAt = Math.max(now, server.freeAt) + exponential(random, 1);
    chosen.inFlight++;
    agenda.add(server.freeAt, () => {
      chosen.inFlight--;
    });
    if (job >= warmUp) total += server.freeAt - now;
  }
  return total / (jobs - warmUp);
}

test("two choices at 90 % load: the mean time is the supermarket model's 2.6141, and not 10 as with one", async (t) => {
  const two = meanTimeInFarm("leastRequest", 200, 0.9, 300_000);
  t.ok(Math.abs(two - 2.6141) < 0.26, `${two}`);
  const one = meanTimeInFarm("random", 200, 0.9, 300_000);
  t.ok(one > 7 && one < 13, `${one}`);
});

test("a replica with one slow first answer is in use again within seconds", async (t) => {
  const random = seededRandom(20);
  const balancer = createBalancer({ algorithm: "peakEwma" }, random);
  const endpoints = [0, 1, 2].map((i) => ({ key: `${i}`, weight: 1, inFlight: 0, latency: new PeakEwma() }));
  for (const { latency } of endpoints) latency.observe(1, false, 0);
  // It came back cold: its first answer took 60 ms, all others take 1 ms.
  endpoints[0]!.latency.observe(60, false, 0);
  const served = [0, 0, 0];
  for (let nowMs = 5; nowMs <= 20_000; nowMs += 5) {
    const chosen = balancer.pick(endpoints, nowMs)!;
    chosen.latency.endIdle(nowMs);
    chosen.latency.observe(1, false, nowMs + 1);
    if (nowMs > 10_000) served[endpoints.indexOf(chosen)]!++;
  }
  t.ok(served[0]! >= 200, `it had ${served[0]} of 2000 requests after 10 s`);
});

// --- more than two choices, and Envoy's law

test("of three drawn, every set is equally likely, and none is drawn twice", async (t) => {
  const random = seededRandom(12);
  const among = replicas(1, 1, 1, 1, 1);
  const counts = new Map<string, number>();
  for (let i = 0; i < 100_000; i++) {
    let set = "";
    leastOfMany(among, 3, random, ({ name }) => {
      set += name;
      return 0;
    });
    counts.set(set, (counts.get(set) ?? 0) + 1);
  }
  t.equal(counts.size, 60, "five times four times three orders");
  // 1,667 are expected of each; 15 % are six standard deviations.
  for (const [set, count] of counts) t.ok(Math.abs(count - 1667) < 250, `${set}: ${count}`);
});

test("of three drawn by weight, the first is so by its weight and the others by what is left", async (t) => {
  const random = seededRandom(13);
  const among = replicas(1, 2, 3, 4);
  const counts = new Map<string, number>();
  for (let i = 0; i < 200_000; i++) {
    let set = "";
    leastOfMany(among, 3, random, ({ name }) => {
      set += name;
      return 0;
    });
    counts.set(set, (counts.get(set) ?? 0) + 1);
  }
  t.equal(counts.size, 24);
  for (const [set, count] of counts) {
    const [first, second, third] = [...set].map((name) => among.find((one) => one.name === name)!.weight);
    const share = ((first! / 10) * second! * third!) / (10 - first!) / (10 - first! - second!);
    const deviation = Math.sqrt(share * (1 - share) * 200_000);
    t.ok(Math.abs(count - share * 200_000) < 5 * deviation, `${set}: ${count}, expected ${share * 200_000}`);
  }
});

test("more choices find the least loaded more often, and as many as there are always do", async (t) => {
  for (const algorithm of ["leastRequest", "peakEwma"] as const) {
    const among = replicas(1, 1, 1, 1, 1, 1);
    for (const [i, replica] of among.entries()) {
      replica.latency.observe(10, false, 0);
      replica.inFlight = i + 1;
    }
    const shareOfLeast = (choices: number) =>
      sharesOf(picks(createBalancer({ algorithm, choices }, seededRandom(2)), among, 30_000), among)[0]!;
    for (const choices of [1, 2, 3, 5])
      t.ok(
        Math.abs(shareOfLeast(choices) - choices / 6) < 0.015,
        `${algorithm} of ${choices}: ${shareOfLeast(choices)}`,
      );
    for (const choices of [6, 100]) t.equal(shareOfLeast(choices), 1, `${algorithm} of ${choices}`);
  }
});

test("among all that tie chance decides by weight", async (t) => {
  const among = replicas(1, 2, 7);
  const balancer = createBalancer({ algorithm: "leastRequest", choices: 3 }, seededRandom(6));
  for (const [i, share] of sharesOf(picks(balancer, among, 100_000), among).entries())
    t.ok(Math.abs(share - [0.1, 0.2, 0.7][i]!) < 0.01, `${share}`);
});

test("with a bias and different weights, chance is as weight / (in flight + 1) ** bias", async (t) => {
  const among = replicas(1, 2, 4);
  for (const [i, inFlight] of [0, 3, 1].entries()) among[i]!.inFlight = inFlight;
  const shares = (bias: number) =>
    sharesOf(
      picks(createBalancer({ algorithm: "leastRequest", bias }, seededRandom(7)), among, 100_000),
      among,
    );
  for (const [bias, scores] of [
    [0, [1, 2, 4]],
    [1, [1, 1 / 2, 2]],
    [2, [1, 1 / 8, 1]],
  ] as const) {
    const total = scores[0] + scores[1] + scores[2];
    for (const [i, share] of shares(bias).entries())
      t.ok(Math.abs(share - scores[i]! / total) < 0.01, `bias ${bias}: ${share}`);
  }
});

test("with a bias and equal weights, the less loaded of two is chosen as without", async (t) => {
  const among = replicas(2, 2);
  among[0]!.inFlight = 1;
  const balancer = createBalancer({ algorithm: "leastRequest", bias: 1 }, seededRandom(7));
  t.equal(names(picks(balancer, among, 20)), "B".repeat(20));
});
