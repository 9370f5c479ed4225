/**
 * Two different candidates at random, every ordered pair equally likely.
 *
 * Without replacement: drawn with replacement, two candidates would be the same one half of the time, and the
 * busier one of two would be chosen in a quarter of all draws instead of never.
 */
import { below, type Random } from "../core/index.ts";

interface Weighted {
  readonly weight: number;
}

/**
 * Calls `choose` with two different candidates, each drawn by its weight; with fewer than two, returns what there
 * is. The share of a candidate is decided here, by the draw, so that `choose` compares loads per unit of weight
 * and a tie goes to the first: divided by weight, an idle light endpoint would lose every comparison.
 */
export function betterOfTwo<C extends Weighted>(
  candidates: readonly C[],
  random: Random,
  choose: (first: C, second: C) => C,
): C | undefined {
  const count = candidates.length;
  if (count < 2) return candidates[0];
  const sums = weightSums(candidates);
  if (sums !== undefined) return betterOfTwoByWeight(candidates, sums, random, choose);
  const i = below(random, count);
  // The second draw is over the others; stepping past `i` leaves no gap and no bias.
  const j = below(random, count - 1);
  return choose(candidates[i]!, candidates[j < i ? j : j + 1]!);
}

function betterOfTwoByWeight<C extends Weighted>(
  candidates: readonly C[],
  sums: readonly number[],
  random: Random,
  choose: (first: C, second: C) => C,
): C {
  const total = sums[sums.length - 1]!;
  const first = indexOf(sums, random.next() * total);
  const weight = candidates[first]!.weight;
  // Again over the others: the first one's part is cut out of the line.
  const ticket = random.next() * (total - weight);
  const second = indexOf(sums, ticket < sums[first]! - weight ? ticket : ticket + weight);
  return choose(candidates[first]!, candidates[second]!);
}

/** A list is made anew whenever endpoints change, so its sums are made once. */
const SUMS = new WeakMap<readonly Weighted[], readonly number[] | typeof EVEN>();
const EVEN = Symbol("all weights are equal");

function weightSums(candidates: readonly Weighted[]): readonly number[] | undefined {
  let known = SUMS.get(candidates);
  if (known === undefined) {
    const weight = candidates[0]!.weight;
    let total = 0;
    known = candidates.every((candidate) => candidate.weight === weight)
      ? EVEN
      : candidates.map((candidate) => (total += candidate.weight));
    SUMS.set(candidates, known);
  }
  return known === EVEN ? undefined : (known as readonly number[]);
}

/** The first place whose sum is greater than the ticket. */
function indexOf(sums: readonly number[], ticket: number): number {
  let low = 0;
  let high = sums.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sums[middle]! > ticket) high = middle;
    else low = middle + 1;
  }
  return low;
}
