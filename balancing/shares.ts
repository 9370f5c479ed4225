/**
 * From weights to shares that add up to 1: exactly, and in whatever order they are added.
 *
 * Not the weights divided by their sum: what is lost in rounding leaves a ticket in [0, 1) that belongs to nobody, and
 * whoever draws needs a rule for it. Here shares are whole numbers of grains, which a double adds without rounding;
 * the few grains that remain go to the largest share, where they are noticed least.
 */
const GRAINS = 2 ** 30;

/** All 0 when no weight is positive: there is nobody to get a share. A share of less than half a grain is none. */
export function exactShares(weights: readonly number[]): number[] {
  let total = 0;
  for (const weight of weights) total += weight;
  if (!(total > 0)) return weights.map(() => 0);
  const grains = weights.map((weight) => Math.round((weight / total) * GRAINS));
  let left = GRAINS;
  let largest = 0;
  for (const [place, count] of grains.entries()) {
    left -= count;
    if (count > grains[largest]!) largest = place;
  }
  grains[largest] = grains[largest]! + left;
  return grains.map((count) => count / GRAINS);
}
