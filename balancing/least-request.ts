/**
 * Power of two choices: draw two endpoints at random, keep the one with fewer requests in flight.
 *
 * Not "the least loaded of all": every sidecar would find the same minimum and rush it, and two draws cost the
 * same at three endpoints as at three thousand. The step from one choice to two is the large one: at 90 % load
 * the mean time in an M/M/1 farm falls from 10 service times to 2.6. (Mitzenmacher, "The power of two choices in
 * randomized load balancing", 2001.)
 */
import type { Random } from "../core/index.ts";
import type { Balancer, Candidate } from "./balancer.ts";
import { betterOfTwo } from "./draw.ts";

export function leastRequestBalancer(random: Random): Balancer {
  const fewer = <C extends Candidate>(first: C, second: C): C =>
    relativeLoad(second) < relativeLoad(first) ? second : first;
  return {
    pick: (candidates) => betterOfTwo(candidates, random, fewer),
  };
}

/** Per unit of weight: an endpoint of weight 3 may carry three times as much. */
function relativeLoad(candidate: Candidate): number {
  return candidate.inFlight / candidate.weight;
}
