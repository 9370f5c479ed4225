/**
 * Turns in proportion to weight: at every moment each has had its share of all turns but for less than one.
 *
 * A turn is due from the moment on at which the share of its owner has grown to the turns that he has had, and until
 * it has grown to one more. Of the turns that are due, the one that must come first comes. So weights of 3, 1, 1
 * give A B A C A. Deadlines alone, as Envoy has them in its queue, give A A B C A: whoever is light waits for the end
 * of the cycle, and ten light ones come in a row. Credits (nginx, 2012) spread as well, but every turn changes the credit
 * of everybody; here a turn costs a few steps in two heaps, O(log n). (Stoica and Abdel-Wahab, "Earliest Eligible
 * Virtual Deadline First", 1995. That nobody has to be a whole turn off, whatever the shares: Tijdeman, "The chairman
 * assignment problem", 1980.)
 *
 * Time is counted in turns of all. Whole weights are kept exact: n cycles on, a turn is due exactly n sums of weights
 * later, so that in each cycle everybody has exactly its weight, however long it goes on.
 */
import { below, type Random } from "../core/index.ts";
import { IndexHeap } from "./index-heap.ts";
import type { Turns } from "./rotation.ts";

/**
 * The first turn is one of so many, so that sidecars which start together do not begin with the same. The turns before it
 * are taken for nobody, which is a millisecond at most: then it is in the cycle exactly where it would have come to.
 */
const BEGINNINGS = 4096;

/**
 * Moments are rounded to such parts of a turn, which is more than sums of fractions lose: what is due together must not be
 * put in order by the last digit, which a new list would change. Finer than the turns of weights up to 65,536.
 */
const GRAINS = 2 ** 16;

export class WeightedTurns implements Turns {
  readonly #weights: Float64Array;
  /** The sum of the weights: the turns of one cycle, if they are whole. */
  readonly #cycle: number;
  /** The moment that a candidate's turns are counted from, and how many it has had since: less than its weight, if that is whole. */
  readonly #bases: Float64Array;
  readonly #taken: Float64Array;
  /** From when and until when the next turn of each is due. */
  readonly #starts: Float64Array;
  readonly #deadlines: Float64Array;
  /** Those whose turn is not due yet, the earliest on top; and those whose turn is, the most urgent on top. */
  readonly #waiting: IndexHeap;
  readonly #due: IndexHeap;
  #now = 0;

  /**
   * @param weights each above 0
   * @param phases of those that had turns before; undefined for a beginning
   */
  constructor(weights: Float64Array, phases: Float64Array | undefined, random: Random) {
    const count = weights.length;
    this.#weights = weights;
    this.#cycle = weights.reduce((sum, weight) => sum + weight, 0);
    this.#bases = new Float64Array(count);
    this.#taken = new Float64Array(count);
    this.#starts = new Float64Array(count);
    this.#deadlines = new Float64Array(count);
    this.#waiting = new IndexHeap(this.#starts);
    this.#due = new IndexHeap(this.#deadlines);
    this.#place(phases ?? new Float64Array(count).fill(1 / 2));
    if (phases === undefined) for (let before = below(random, BEGINNINGS); before > 0; before--) this.next();
  }

  next(): number {
    this.#admit(this.#now);
    if (this.#due.size === 0) {
      // Only after a change of the list, when those that were behind their share have gone: nobody waits for them.
      this.#now = Math.ceil(this.#starts[this.#waiting.top]!);
      this.#admit(this.#now);
    }
    const index = this.#due.pop();
    this.#now++;
    this.#take(index);
    this.#await(index);
    return index;
  }

  phases(): Float64Array {
    const phases = new Float64Array(this.#weights.length);
    for (let i = 0; i < phases.length; i++) {
      const wait = this.#momentOf(i, this.#taken[i]!) - this.#now;
      phases[i] = (wait * this.#weights[i]!) / this.#cycle + 1 / 2;
    }
    return phases;
  }

  /** Everybody waits for as much of the time between two of its turns as before. */
  #place(phases: Float64Array): void {
    for (let i = 0; i < phases.length; i++) {
      this.#bases[i] = ((phases[i]! - 1 / 2) * this.#cycle) / this.#weights[i]!;
      this.#plan(i);
      this.#await(i);
    }
  }

  #plan(index: number): void {
    const taken = this.#taken[index]!;
    this.#starts[index] = onGrain(this.#momentOf(index, taken));
    this.#deadlines[index] = onGrain(this.#momentOf(index, taken + 1));
  }

  /** When the share of a candidate has grown to so many turns. The product first: for whole weights it is exact. */
  #momentOf(index: number, turns: number): number {
    return this.#bases[index]! + (turns * this.#cycle) / this.#weights[index]!;
  }

  #take(index: number): void {
    const weight = this.#weights[index]!;
    let taken = this.#taken[index]! + 1;
    if (taken >= weight) {
      taken -= weight;
      this.#bases[index] = this.#bases[index]! + this.#cycle;
    }
    this.#taken[index] = taken;
    this.#plan(index);
  }

  /** A heavy one is often due again at once, and need not go through the other heap. */
  #await(index: number): void {
    if (this.#starts[index]! <= this.#now) this.#due.push(index);
    else this.#waiting.push(index);
  }

  #admit(now: number): void {
    const starts = this.#starts;
    const waiting = this.#waiting;
    while (waiting.size > 0 && starts[waiting.top]! <= now) this.#due.push(waiting.pop());
  }
}

function onGrain(moment: number): number {
  return Math.round(moment * GRAINS) / GRAINS;
}
