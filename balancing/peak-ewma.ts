/**
 * By expected cost: latency times the requests in flight, the cheaper of two drawn at random.
 *
 * Not latency alone: an endpoint that has fallen silent becomes expensive here before it has answered, because
 * its requests pile up. (Finagle's Peak EWMA load metric with power of two choices.)
 */
import type { Random } from "../core/index.ts";
import type { Balancer, BalancingOptions, Candidate } from "./balancer.ts";
import { betterOfTwo, leastOfMany } from "./draw.ts";

/** The cost of an endpoint nobody has heard of yet but that is already busy: one probe, not a rush. */
const UNKNOWN_BUSY_COST = 1e9;
/** On top for one that has asked to be left alone: it comes after all that have not. */
const HELD_OFF_COST = 1e12;

export function peakEwmaBalancer(
  random: Random,
  { choices = 2 }: Pick<BalancingOptions, "choices"> = {},
): Balancer {
  if (choices !== 2)
    return {
      pick: (candidates, nowMs) =>
        leastOfMany(candidates, choices, random, (candidate) => cost(candidate, nowMs)),
    };
  return {
    pick<C extends Candidate>(candidates: readonly C[], nowMs: number): C | undefined {
      return betterOfTwo(candidates, random, (first, second) =>
        cost(second, nowMs) < cost(first, nowMs) ? second : first,
      );
    },
  };
}

function cost({ latency, inFlight, weight }: Candidate, nowMs: number): number {
  const heldOff = latency.isHeldOff(nowMs) ? HELD_OFF_COST : 0;
  const latencyMs = latency.estimateMs(nowMs, inFlight === 0);
  if (latencyMs === 0 && inFlight > 0) return heldOff + UNKNOWN_BUSY_COST + inFlight;
  return heldOff + latencyMs * (inFlight / weight + 1);
}
