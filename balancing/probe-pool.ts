/**
 * The answers to probes that may still be believed: at most one of each candidate, each for a short time and for so many
 * uses. Which of them is better is an order that is handed in.
 *
 * Not one answer for each candidate of the list: of thousands, nearly all would be too old to be worth anything, and
 * every sidecar would run to the same best one. A pool of 16 is a sample, and each sidecar has another.
 *
 * The places are made once and filled again, so that a request makes no garbage. Each remembers where in which list its
 * candidate was found. Of other lists than the whole one, one that is met again (a zone, a priority level) is kept with
 * where everybody is; one that is made for a single request (without those that were tried) is searched.
 */
import type { Candidate } from "./balancer.ts";
import type { ReplicaLoad } from "./own-load.ts";

/** An answer as the pool keeps it. */
export interface Probe {
  /** Requests in flight there, those included that were sent by this answer, per unit of the candidate's weight. */
  readonly load: number;
  /** What it says of its latency. */
  readonly latencyMs: number;
  /** Where the candidate is in the list that was located last; -1 if it is not in it. */
  readonly foundAt: number;
}

/**
 * Below 0 if the first is the better choice, above 0 if the second is.
 * @param hotAbove a candidate of a greater load counts as hot
 */
export type ProbeOrder = (first: Probe, second: Probe, hotAbove: number) => number;

class Place implements Probe {
  candidate: Candidate | undefined = undefined;
  load = 0;
  latencyMs = 0;
  foundAt = -1;
  /** The list in which it was found there, or not found. */
  list: readonly Candidate[] | undefined = undefined;
  atMs = 0;
  usesLeft = 0;
}

export class ProbePool {
  readonly #order: ProbeOrder;
  readonly #maxAgeMs: number;
  /** The first `#count` are filled. */
  readonly #places: Place[];
  #count = 0;
  /** Room to work in. */
  readonly #loads: Float64Array;
  /** Of lists that were met again, where everybody is. */
  readonly #known = new WeakMap<readonly Candidate[], ReadonlyMap<Candidate, number> | undefined>();

  /**
   * @param size the most answers that are kept; one more drives out the oldest
   * @param maxAgeMs how long an answer is believed
   */
  constructor(size: number, maxAgeMs: number, order: ProbeOrder) {
    this.#order = order;
    this.#maxAgeMs = maxAgeMs;
    this.#loads = new Float64Array(size);
    this.#places = Array.from({ length: size }, () => new Place());
  }

  get count(): number {
    return this.#count;
  }

  /** Those that are in it, in no order. */
  get probes(): readonly Probe[] {
    return this.#places.slice(0, this.#count);
  }

  /**
   * Takes an answer, in place of an earlier one of the same candidate.
   * @param list the whole one
   * @param at where in it the candidate is
   * @param uses for how many requests it may be the choice
   */
  put(list: readonly Candidate[], at: number, answer: ReplicaLoad, uses: number, nowMs: number): void {
    const candidate = list[at]!;
    const place = this.#placeFor(candidate);
    place.load = answer.inFlight / candidate.weight;
    place.latencyMs = answer.latencyMs;
    place.atMs = nowMs;
    place.usesLeft = uses;
    place.list = list;
    place.foundAt = at;
  }

  /** The whole list is another one: who is not in it leaves. */
  follow(list: readonly Candidate[], places: ReadonlyMap<string, number>): void {
    for (let i = this.#count - 1; i >= 0; i--) {
      const place = this.#places[i]!;
      place.list = list;
      place.foundAt = places.get(place.candidate!.key) ?? -1;
      if (list[place.foundAt] !== place.candidate) this.#remove(i);
    }
  }

  /**
   * Forgets what is too old and finds the others in this list, for `best`.
   * @returns how many of them are in it
   */
  locate(list: readonly Candidate[], nowMs: number): number {
    const oldestMs = nowMs - this.#maxAgeMs;
    let known: ReadonlyMap<Candidate, number> | undefined;
    let found = 0;
    for (let i = this.#count - 1; i >= 0; i--) {
      const place = this.#places[i]!;
      if (place.atMs < oldestMs) {
        this.#remove(i);
        continue;
      }
      if (place.list !== list) {
        known ??= this.#placesIn(list);
        place.foundAt =
          known?.get(place.candidate!) ?? (known === undefined ? list.indexOf(place.candidate!) : -1);
        place.list = list;
      }
      if (place.foundAt >= 0) found++;
    }
    return found;
  }

  /**
   * The load that so many of those that were located do not exceed, but never the greatest: whatever the share, there is
   * one of a few that may be more loaded than the others. At least one must have been located.
   */
  loadAt(quantile: number): number {
    if (quantile === 1) return Number.POSITIVE_INFINITY;
    const loads = this.#loads;
    let count = 0;
    for (let i = 0; i < this.#count; i++) {
      const { load, foundAt } = this.#places[i]!;
      if (foundAt < 0) continue;
      let place = count++;
      for (; place > 0 && loads[place - 1]! > load; place--) loads[place] = loads[place - 1]!;
      loads[place] = load;
    }
    return loads[Math.max(0, Math.min(Math.ceil(quantile * count) - 1, count - 2))]!;
  }

  /**
   * The best of those that were located.
   * @param admits whether this one may be chosen; all may if left out
   */
  best(hotAbove: number, admits?: (probe: Probe) => boolean): Probe | undefined {
    let best: Place | undefined;
    for (let i = 0; i < this.#count; i++) {
      const place = this.#places[i]!;
      if (place.foundAt < 0 || admits?.(place) === false) continue;
      if (best === undefined || this.#order(place, best, hotAbove) < 0) best = place;
    }
    return best;
  }

  /** A request goes by this answer: it counts as one more in flight, and may be the last for which it is used. */
  use(probe: Probe): void {
    const i = this.#places.indexOf(probe as Place);
    const place = this.#places[i]!;
    place.load += 1 / place.candidate!.weight;
    place.usesLeft--;
    if (place.usesLeft <= 0) this.#remove(i);
  }

  /** That which came first of all. */
  removeOldest(): void {
    let oldest = 0;
    for (let i = 1; i < this.#count; i++) if (this.#places[i]!.atMs < this.#places[oldest]!.atMs) oldest = i;
    this.#remove(oldest);
  }

  /** The last by the order. */
  removeWorst(hotAbove: number): void {
    let worst = 0;
    for (let i = 1; i < this.#count; i++)
      if (this.#order(this.#places[worst]!, this.#places[i]!, hotAbove) < 0) worst = i;
    this.#remove(worst);
  }

  /** Undefined for a list that is met for the first time: it may be the only one. */
  #placesIn(list: readonly Candidate[]): ReadonlyMap<Candidate, number> | undefined {
    let known = this.#known.get(list);
    if (known === undefined) {
      if (this.#known.has(list)) known = new Map(list.map((candidate, i) => [candidate, i]));
      this.#known.set(list, known);
    }
    return known;
  }

  /** That of the candidate, or one that is free. */
  #placeFor(candidate: Candidate): Place {
    for (let i = 0; i < this.#count; i++)
      if (this.#places[i]!.candidate === candidate) return this.#places[i]!;
    if (this.#count === this.#places.length) this.removeOldest();
    const place = this.#places[this.#count++]!;
    place.candidate = candidate;
    return place;
  }

  /** The last one moves up, and the place is kept for another. */
  #remove(i: number): void {
    if (i >= this.#count) return;
    const removed = this.#places[i]!;
    this.#places[i] = this.#places[--this.#count]!;
    this.#places[this.#count] = removed;
    removed.candidate = undefined;
    removed.list = undefined;
  }
}
