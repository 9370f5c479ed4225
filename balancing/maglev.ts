/**
 * By hash, from a table of 65,537 places: each candidate goes through them in an order of its own, and in turns each
 * takes the next that is free, so that all hold the same number of places but for one.
 *
 * Choose it over a ring where shares must be even at any number of endpoints: on a ring, some of 10,000 have four times
 * what others have. The price is that a change moves more keys than it must, also between candidates that stay: when one
 * goes, its own and a twentieth more of 20, half as many again of 100, and seven times as many of 1000.
 * (Eisenbud and others, "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, listing 1; weights as in
 * Envoy's `maglev`: the heaviest has every turn, one of a third of its weight every third.)
 */
import type { Random } from "../core/index.ts";
import type { Balancer, BalancingOptions, Candidate } from "./balancer.ts";
import { type Circle, circleBalancer } from "./circle.ts";
import { hash32 } from "./hash.ts";
import { inSlices, orderByHash, type Sliced } from "./hash-order.ts";

export type MaglevOptions = Pick<BalancingOptions, "loadFactor">;

/**
 * A prime, so that every step width leads through all places; as in the paper and in Envoy. A hundred places for each
 * candidate keep shares within a hundredth; at 10,000 candidates a place is a sixth of a share.
 */
const SIZE = 65_537;

/** The order in which a candidate goes through the places comes from two hashes of its key. */
const OFFSET_SEED = 0;
const STEP_SEED = 1;

/** How many places are looked at between two breaks; some tenths of a millisecond. */
const LOOKS_IN_A_SLICE = 65_536;

/** @param options `loadFactor` above 1, see bounded-load.ts */
export function maglevBalancer(random: Random, { loadFactor }: MaglevOptions = {}): Balancer {
  return circleBalancer(layTable, random, loadFactor);
}

/** @param candidates at least one; beyond 65,537, the last by hash hold no place */
export function* layTable(candidates: readonly Candidate[]): Sliced<Circle> {
  const count = candidates.length;
  const hashes = new Uint32Array(count);
  const steps = new Uint32Array(count);
  yield* inSlices(count, (from, until) => {
    for (let i = from; i < until; i++) {
      const { key } = candidates[i]!;
      hashes[i] = hash32(key, OFFSET_SEED);
      steps[i] = 1 + (hash32(key, STEP_SEED) % (SIZE - 1));
    }
  });
  // Whose turn comes first must not depend on the order in which discovery happens to list them.
  const { order } = yield* orderByHash(hashes, (one, other) => candidates[one]!.key < candidates[other]!.key);
  const seating = new Seating(candidates, order, hashes, steps);
  yield;
  while (!seating.proceed(LOOKS_IN_A_SLICE)) yield;
  return new Table(seating.table);
}

/** Indices of candidates; half the memory for as many as there ever are. */
type Places = Uint16Array | Uint32Array;

/** Turn by turn, who is due takes its next free place. */
class Seating {
  readonly table: Places;
  readonly #free: number;
  readonly #places: Uint32Array;
  readonly #steps: Uint32Array;
  /** In how many turns each takes part, or every how many: the weight of the heaviest over its own. */
  readonly #intervals: Float64Array;
  readonly #taken: Uint32Array;
  /**
   * Who is due in which turn: for each turn the first and the last of a chain. A light candidate waits without being
   * looked at in every turn, of which there are as many as the heaviest has places.
   */
  readonly #firsts = new Int32Array(SIZE + 1).fill(-1);
  readonly #lasts = new Int32Array(SIZE + 1);
  readonly #nexts: Int32Array;
  #turn = 1;
  #due: number;
  #left = SIZE;

  constructor(candidates: readonly Candidate[], order: Uint32Array, hashes: Uint32Array, steps: Uint32Array) {
    this.table = new (candidates.length < 0xffff ? Uint16Array : Uint32Array)(SIZE).fill(0xffffffff);
    this.#free = this.table[0]!;
    const heaviest = candidates.reduce((most, { weight }) => Math.max(most, weight), 0);
    this.#places = hashes.map((hash) => hash % SIZE);
    this.#steps = steps;
    this.#intervals = new Float64Array(candidates.length);
    for (const [i, { weight }] of candidates.entries()) this.#intervals[i] = heaviest / weight;
    this.#taken = new Uint32Array(candidates.length);
    this.#nexts = new Int32Array(candidates.length).fill(-1);
    this.#due = order[0]!;
    for (let i = 1; i < order.length; i++) this.#nexts[order[i - 1]!] = order[i]!;
  }

  /** Until about so many places have been looked at; true when all are taken. */
  proceed(looks: number): boolean {
    const { table } = this;
    const free = this.#free;
    const places = this.#places;
    const steps = this.#steps;
    const nexts = this.#nexts;
    while (looks > 0) {
      const candidate = this.#due;
      if (candidate < 0) {
        this.#due = this.#firsts[++this.#turn]!;
        looks--;
        continue;
      }
      this.#due = nexts[candidate]!;
      const step = steps[candidate]!;
      let place = places[candidate]!;
      for (; table[place] !== free; looks--) {
        place += step;
        if (place >= SIZE) place -= SIZE;
      }
      table[place] = candidate;
      places[candidate] = place;
      if (--this.#left === 0) return true;
      this.#queue(candidate);
      looks--;
    }
    return false;
  }

  /** With n places taken, it is due in the first turn that is not before n intervals. */
  #queue(candidate: number): void {
    const turn = Math.max(this.#turn + 1, Math.ceil(++this.#taken[candidate]! * this.#intervals[candidate]!));
    if (turn > SIZE) return;
    if (this.#firsts[turn]! < 0) this.#firsts[turn] = candidate;
    else this.#nexts[this.#lasts[turn]!] = candidate;
    this.#lasts[turn] = candidate;
    this.#nexts[candidate] = -1;
  }
}

class Table implements Circle {
  readonly size = SIZE;
  readonly #holders: Places;

  constructor(holders: Places) {
    this.#holders = holders;
  }

  placeOf(hash: number): number {
    return hash % SIZE;
  }

  holderOf(place: number): number {
    return this.#holders[place]!;
  }
}
