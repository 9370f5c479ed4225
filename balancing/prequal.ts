/**
 * Prequal: ask a few replicas how they are, before and not when the answer is needed, and send the request to the best
 * of those that have answered lately. (Wydrowski, Kleinberg, Rumble, Archer, "Load is not what you should balance:
 * Introducing Prequal", NSDI 2024, arXiv 2312.10172.)
 *
 * Not by what this sidecar has in flight itself: of a hundred callers each sees a hundredth of a replica's load, and
 * two choices by that are nearly chance. And not by load alone or latency alone: in flight is the early sign of trouble
 * but the same number is quick on one machine and slow on another, and latency tells these apart but comes late. So
 * the rule is lexicographic: a replica with more in flight than most is hot; of those that are not, the quickest; if all
 * are hot, the one with least in flight.
 *
 * Where a list fits into the pool there is no sample that could go stale by being chosen from: nothing is removed then,
 * and answers are used until they are too old or replaced. And the quantile is taken over the replicas as they are in the
 * pool, not over the answers that have come: of three of which one is overrun, a third of the answers are its own, and none
 * of them would ever be more than most.
 *
 * Weights: a candidate is probed with a chance in proportion to its weight, and its load counts per unit of weight. Its
 * latency counts as it is: it already shows what the replica can do.
 *
 * Sinkholes: a replica that fails at once has little in flight and looks quick; the paper leaves it open. Against it
 * stand the failures in the replica's own answer (own-load.ts), and what this sidecar has seen itself (`#trusted`).
 */
import type { Random } from "../core/index.ts";
import type { AskingBalancer, Balancer, Candidate } from "./balancer.ts";
import { leastOfMany } from "./draw.ts";
import { LoadQuantile } from "./load-quantile.ts";
import type { ReplicaLoad } from "./own-load.ts";
import { type PrequalOptions, reuseBudget } from "./prequal-options.ts";
import { type Probe, type ProbeOrder, ProbePool } from "./probe-pool.ts";

/** With fewer answers there is no choice. (The paper's figure.) */
const FEWEST = 2;

export class Prequal implements AskingBalancer {
  readonly #options: PrequalOptions;
  readonly #random: Random;
  readonly #fallback: Balancer;
  readonly #pool: ProbePool;
  readonly #loads: LoadQuantile;
  /** The whole list, and where in it each key is. */
  #list: readonly Candidate[] = [];
  #places: ReadonlyMap<string, number> = new Map();
  /** Keys of those that say nothing of their load. */
  readonly #silent = new Set<string>();
  #uses = 1;
  #oldestIsNext = true;

  /**
   * @param fallback chooses while fewer than two answers are at hand: nobody was asked yet, or nobody answers
   * @param order of the answers, the better first; another one is for experiments
   */
  constructor(options: PrequalOptions, random: Random, fallback: Balancer, order: ProbeOrder = hotColdOrder) {
    this.#options = options;
    this.#random = random;
    this.#fallback = fallback;
    this.#pool = new ProbePool(options.poolSize, options.maxAgeMs, order);
    this.#loads = new LoadQuantile(options.quantile);
  }

  /** Only one of the list is chosen, whoever else has answered: a second attempt hands in those that were not tried. */
  pick<C extends Candidate>(
    candidates: readonly C[],
    nowMs: number,
    hash?: number,
    inFlight?: number,
  ): C | undefined {
    if (candidates.length < 2) return candidates[0];
    const pool = this.#pool;
    if (pool.locate(candidates, nowMs) < FEWEST)
      return this.#fallback.pick(candidates, nowMs, hash, inFlight);
    if (this.#silent.size > 0) {
      // They get what they would get of the fallback: not to be able to speak is no reason to get nothing.
      const seen = this.#fallback.pick(candidates, nowMs, hash, inFlight);
      if (seen !== undefined && this.#silent.has(seen.key)) return seen;
    }
    const hotAbove = this.#fits ? pool.loadAt(this.#options.quantile) : this.#loads.value;
    let best = pool.best(hotAbove)!;
    const { latency } = candidates[best.foundAt]!;
    if (latency.estimateMs(nowMs) >= SUSPICIOUS_MS || latency.isHeldOff(nowMs))
      best = this.#trusted(candidates, nowMs, hotAbove) ?? best;
    const chosen = candidates[best.foundAt];
    pool.use(best);
    this.#removeSome(hotAbove);
    return chosen;
  }

  /**
   * Whom to ask now, to be called for each request, and whenever the caller likes: different ones, drawn by weight.
   * @param candidates all that there are, the same list by identity while nothing changes. When it is a new one, whoever is
   *   not in it is forgotten, so it must not be the short list of a second attempt.
   */
  toProbe<C extends Candidate>(candidates: readonly C[]): readonly C[] {
    if (candidates !== this.#list) this.#follow(candidates);
    const count = this.#rounded(this.#options.probesPerRequest);
    if (count >= candidates.length) return candidates;
    const drawn: C[] = [];
    if (count > 0) leastOfMany(candidates, count, this.#random, (candidate) => drawn.push(candidate));
    return drawn;
  }

  /** A candidate has answered a probe; a key that is not in the list given to `toProbe` last is nobody's. */
  onProbe(key: string, load: ReplicaLoad, nowMs: number): void {
    const place = this.#places.get(key);
    if (place === undefined) return;
    this.#silent.delete(key);
    this.#loads.add(load.inFlight / this.#list[place]!.weight);
    this.#pool.put(this.#list, place, load, this.#rounded(this.#uses), nowMs);
  }

  onSilence(key: string): void {
    if (this.#places.has(key)) this.#silent.add(key);
  }

  /** The pool has room for everybody. */
  get #fits(): boolean {
    return this.#list.length <= this.#options.poolSize;
  }

  #follow(list: readonly Candidate[]): void {
    const places = new Map<string, number>();
    for (let i = 0; i < list.length; i++) places.set(list[i]!.key, i);
    this.#list = list;
    this.#places = places;
    for (const key of this.#silent) if (!places.has(key)) this.#silent.delete(key);
    this.#uses = reuseBudget(this.#options, list.length);
    this.#pool.follow(list, places);
  }

  /** What is chosen from gets worse, as the good ones are used up and the bad ones stay. */
  #removeSome(hotAbove: number): void {
    if (this.#fits) return;
    for (let left = this.#rounded(this.#options.removePerRequest); left > 0; left--) {
      // A request without any choice is worse than one with a poor one.
      if (this.#pool.count <= FEWEST) return;
      if (this.#oldestIsNext) this.#pool.removeOldest();
      else this.#pool.removeWorst(hotAbove);
      this.#oldestIsNext = !this.#oldestIsNext;
    }
  }

  /**
   * The best of those that have not asked to be left alone and are not suspected, for when the best of all may be one of
   * these. Suspected is whoever this sidecar has lately found far slower than is usual among those that answered, by their
   * own words: so are failures, see latency.ts. When fewer than half would be left, suspicion is dropped: it is then the
   * service and not a replica, and a rush on the few others would make it worse. Undefined when all want to be left alone.
   */
  #trusted(candidates: readonly Candidate[], nowMs: number, hotAbove: number): Probe | undefined {
    const located = this.#pool.probes.filter(({ foundAt }) => foundAt >= 0);
    const latencies = located.map(({ latencyMs }) => latencyMs).sort((a, b) => a - b);
    const usualMs = latencies[(latencies.length - 1) >> 1]!;
    const limitMs = Math.max(SUSPICIOUS_MS, SUSPICIOUS_TIMES * usualMs);
    const isFree = ({ foundAt }: Probe) => !candidates[foundAt]!.latency.isHeldOff(nowMs);
    const isTrusted = (probe: Probe) =>
      isFree(probe) && candidates[probe.foundAt]!.latency.estimateMs(nowMs) < limitMs;
    const trusted = located.filter(isTrusted).length;
    return this.#pool.best(hotAbove, 2 * trusted >= located.length ? isTrusted : isFree);
  }

  /** A whole number whose mean is the value, by chance. */
  #rounded(value: number): number {
    const whole = Math.floor(value);
    return value === whole || this.#random.next() >= value - whole ? whole : whole + 1;
  }
}

/**
 * A failure counts as 1 s in `PeakEwma` and is forgiven at half of that, which is after 7 s. Without idle decay, which
 * would forgive in 0.7 s: the next probe puts a sinkhole first again, and each caller would try it once a second.
 */
const SUSPICIOUS_MS = 500;
/**
 * Peaks of a few times the median are usual in good health. Where the usual time is above a quarter of a second a failure
 * does not stand out here; there remain the replica's own word and the breaker.
 */
const SUSPICIOUS_TIMES = 4;

/** Cold before hot; of the cold the quickest, of the hot the least loaded. What ties is told apart by the other. */
export function hotColdOrder(first: Probe, second: Probe, hotAbove: number): number {
  const firstIsHot = first.load > hotAbove;
  if (firstIsHot !== second.load > hotAbove) return firstIsHot ? 1 : -1;
  const byLatency = first.latencyMs - second.latencyMs;
  const byLoad = first.load - second.load;
  return firstIsHot ? byLoad || byLatency : byLatency || byLoad;
}
