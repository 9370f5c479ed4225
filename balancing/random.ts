/**
 * Chance in proportion to weight, and nothing else. It needs no memory and no feedback, so it is the yardstick
 * for the others, and the right choice for many callers that each send little.
 */
import { below, type Random } from "../core/index.ts";
import type { Balancer, Candidate } from "./balancer.ts";

export function randomBalancer(random: Random): Balancer {
  return {
    pick<C extends Candidate>(candidates: readonly C[]): C | undefined {
      let total = 0;
      let even = true;
      for (const candidate of candidates) {
        total += candidate.weight;
        if (candidate.weight !== candidates[0]!.weight) even = false;
      }
      if (even) return candidates.length < 2 ? candidates[0] : candidates[below(random, candidates.length)];
      let ticket = random.next() * total;
      for (const candidate of candidates) {
        ticket -= candidate.weight;
        if (ticket < 0) return candidate;
      }
      return candidates[candidates.length - 1];
    },
  };
}
