/**
 * Candidates at random, each by its weight: one, or two or more different ones.
 *
 * The sums of the weights are kept with the list, so that a draw is a search among them and not a walk through all.
 * Two are drawn without replacement: drawn with replacement, two candidates would be the same one half of the time, and the
 * busier one of two would be chosen in a quarter of all draws instead of never.
 */
import { below, type Random } from "../core/index.ts";

interface Weighted {
  readonly weight: number;
}

/**
 * The place of one that is drawn by its weight.
 * @param candidates at least one
 */
export function drawOne(candidates: readonly Weighted[], random: Random): number {
  const sums = weightSums(candidates);
  if (sums === undefined) return below(random, candidates.length);
  return indexOf(sums, random.next() * sums[sums.length - 1]!);
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

/**
 * Of `choices` different candidates, each drawn by its weight, the one of the least load; a tie goes to the one that
 * was drawn first. Apart from `betterOfTwo`, which needs no memory of what was drawn and is asked far more often.
 */
export function leastOfMany<C extends Weighted>(
  candidates: readonly C[],
  choices: number,
  random: Random,
  loadOf: (candidate: C) => number,
): C | undefined {
  const count = candidates.length;
  if (choices >= count) return leastOfAll(candidates, random, loadOf);
  const sums = weightSums(candidates);
  let weightLeft = sums?.[count - 1] ?? count;
  /** Places, in ascending order. */
  const drawn: number[] = [];
  let least: C | undefined;
  let leastLoad = Number.POSITIVE_INFINITY;
  for (let i = 0; i < choices; i++) {
    // As in a draw of two: each one drawn before leaves a hole in the line, and the ticket steps over it.
    let ticket = random.next() * weightLeft;
    if (sums === undefined) {
      ticket = Math.floor(ticket);
      for (const place of drawn) if (ticket >= place) ticket++;
    } else {
      for (const place of drawn)
        if (ticket >= sums[place]! - candidates[place]!.weight) ticket += candidates[place]!.weight;
    }
    const place = sums === undefined ? ticket : indexOf(sums, ticket);
    const candidate = candidates[place]!;
    const load = loadOf(candidate);
    if (least === undefined || load < leastLoad) {
      least = candidate;
      leastLoad = load;
    }
    weightLeft -= sums === undefined ? 1 : candidate.weight;
    let end = drawn.length;
    for (; end > 0 && drawn[end - 1]! > place; end--) drawn[end] = drawn[end - 1]!;
    drawn[end] = place;
  }
  return least;
}

/**
 * The same when all of them would be drawn, in one pass. Of those that tie, each is kept with a chance in proportion to
 * its weight, as the first one drawn would be: always the first of the list, and every sidecar would rush the same.
 */
function leastOfAll<C extends Weighted>(
  candidates: readonly C[],
  random: Random,
  loadOf: (candidate: C) => number,
): C | undefined {
  let least: C | undefined;
  let leastLoad = Number.POSITIVE_INFINITY;
  let tied = 0;
  for (const candidate of candidates) {
    const load = loadOf(candidate);
    if (least !== undefined && load > leastLoad) continue;
    tied = load === leastLoad ? tied + candidate.weight : candidate.weight;
    if (load < leastLoad || random.next() * tied < candidate.weight) least = candidate;
    leastLoad = load;
  }
  return least;
}

/** Their shares shall differ: a list of equals is answered from memory. */
export function weightsDiffer(candidates: readonly Weighted[]): boolean {
  return candidates.length > 1 && weightSums(candidates) !== undefined;
}

/** @param candidates at least one */
export function weightOfAll(candidates: readonly Weighted[]): number {
  const sums = weightSums(candidates);
  return sums === undefined ? candidates.length * candidates[0]!.weight : sums[sums.length - 1]!;
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
