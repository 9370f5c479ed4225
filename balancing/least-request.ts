/**
 * Power of two choices: draw two endpoints at random (or more), keep the one with the fewest requests in flight.
 *
 * Not "the least loaded of all": every sidecar would find the same minimum and rush it, and two draws cost the
 * same at three endpoints as at three thousand. The step from one choice to two is the large one: at 90 % load
 * the mean time in an M/M/1 farm falls from 10 service times to 2.6. (Mitzenmacher, "The power of two choices in
 * randomized load balancing", 2001.)
 */
import type { Random } from "../core/index.ts";
import type { Balancer, BalancingOptions, Candidate } from "./balancer.ts";
import { betterOfTwo, leastOfMany, weightsDiffer } from "./draw.ts";

export function leastRequestBalancer(
  random: Random,
  { choices = 2, bias }: Pick<BalancingOptions, "choices" | "bias"> = {},
): Balancer {
  const fewer = <C extends Candidate>(first: C, second: C): C =>
    relativeLoad(second) < relativeLoad(first) ? second : first;
  // Two is what nearly everybody has: its way is chosen here and not at every request.
  const least: Balancer["pick"] =
    choices === 2
      ? (candidates) => betterOfTwo(candidates, random, fewer)
      : (candidates) => leastOfMany(candidates, choices, random, relativeLoad);
  if (bias === undefined) return { pick: least };
  return {
    pick: (candidates, nowMs) =>
      weightsDiffer(candidates) ? byBiasedWeight(candidates, bias, random) : least(candidates, nowMs),
  };
}

/** Per unit of weight: an endpoint of weight 3 may carry three times as much. */
function relativeLoad(candidate: Candidate): number {
  return candidate.inFlight / candidate.weight;
}

/**
 * By chance, in proportion to `weight / (inFlight + 1) ** bias` (Envoy's least request for unequal weights; it takes
 * them in turns by a schedule, which needs a queue where this needs one pass). With a bias of 0 the shares are
 * those of the weights. With 1, an endpoint that is busy never loses all of its traffic, and where many are in
 * flight everywhere the shares are those of the root of the weight: the rate r settles where r ~ weight / (r * time).
 */
function byBiasedWeight<C extends Candidate>(candidates: readonly C[], bias: number, random: Random): C {
  let total = 0;
  for (const { weight, inFlight } of candidates) total += weight / (inFlight + 1) ** bias;
  let ticket = random.next() * total;
  for (const candidate of candidates) {
    ticket -= candidate.weight / (candidate.inFlight + 1) ** bias;
    if (ticket < 0) return candidate;
  }
  // Sums of fractions in another order may leave a crumb.
  return candidates[candidates.length - 1]!;
}
