/**
 * Two different candidates at random, every ordered pair equally likely.
 *
 * Without replacement: drawn with replacement, two candidates would be the same one half of the time, and the
 * busier one of two would be chosen in a quarter of all draws instead of never.
 */
import { below, type Random } from "../core/index.ts";

/** Calls `choose` with two different candidates; with fewer than two, returns what there is. */
export function betterOfTwo<C>(
  candidates: readonly C[],
  random: Random,
  choose: (first: C, second: C) => C,
): C | undefined {
  const count = candidates.length;
  if (count < 2) return candidates[0];
  const i = below(random, count);
  // The second draw is over the others; stepping past `i` leaves no gap and no bias.
  const j = below(random, count - 1);
  return choose(candidates[i]!, candidates[j < i ? j : j + 1]!);
}
