/**
 * A place drawn by shares: which caller, which zone, which level.
 *
 * Not a balancer: that is what is tried, and it comes after this.
 */
import type { Random } from "../../core/index.ts";

/** A place, with a chance in proportion to its share; at least one is positive. */
export function placeBy(shares: readonly number[], random: Random): number {
  let ticket = random.next() * total(shares);
  for (const [place, share] of shares.entries()) {
    ticket -= share;
    if (ticket < 0) return place;
  }
  // Sums of fractions in another order may leave a crumb.
  return shares.findLastIndex((share) => share > 0);
}

export function total(values: readonly number[]): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}
