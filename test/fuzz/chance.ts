/**
 * The dice of one case. Each case has its own, made from the seed and its number alone, so that a case can be
 * repeated without those before it and two processes may share one seed.
 */
import { seededRandom } from "../support/seeded-random.ts";

export interface Dice {
  /** A whole number from 0 up to but not including `bound`. */
  below(bound: number): number;
  one<Item>(items: readonly Item[]): Item;
  /** True `share` of the times. */
  chance(share: number): boolean;
}

export function diceOf(seed: number, caseNumber: number): Dice {
  const random = seededRandom(scattered(Math.imul(scattered(seed), 0x9e3779b1) + caseNumber));
  const below = (bound: number) => Math.floor(random.next() * bound);
  return {
    below,
    // No list of this folder is empty.
    one: (items) => items[below(items.length)]!,
    chance: (share) => random.next() < share,
  };
}

/** The finalizer of MurmurHash3: one to one over 32 bits, so no two cases of a seed begin alike. */
function scattered(value: number): number {
  let mixed = value >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
