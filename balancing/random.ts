/**
 * Chance in proportion to weight, and nothing else. It needs no memory and no feedback, so it is the yardstick
 * for the others, and the right choice for many callers that each send little.
 */
import type { Random } from "../core/index.ts";
import type { Balancer, Candidate } from "./balancer.ts";
import { drawOne } from "./draw.ts";

export function randomBalancer(random: Random): Balancer {
  return {
    pick<C extends Candidate>(candidates: readonly C[]): C | undefined {
      return candidates.length < 2 ? candidates[0] : candidates[drawOne(candidates, random)];
    },
  };
}
