/**
 * What every balancing algorithm is: a choice among candidates, given chance and time.
 *
 * An algorithm does no I/O and asks no clock; what it knows about a candidate is what the candidate carries. So
 * each one can be tried a million times a second in virtual time.
 */
import type { PeakEwma } from "./latency.ts";

/** What an algorithm may know about an endpoint. */
export interface Candidate {
  /** Share of traffic relative to its peers; at least 1. */
  readonly weight: number;
  /** Requests that this sidecar has sent there and that have not ended. */
  readonly inFlight: number;
  /** How long its answers take. */
  readonly latency: PeakEwma;
}

export interface Balancer {
  /** Undefined only when there are no candidates. */
  pick<C extends Candidate>(candidates: readonly C[], nowMs: number): C | undefined;
}

/** The algorithms by the names that the configuration has for them, the default first. */
export const BALANCING_ALGORITHMS = ["peakEwma", "leastRequest", "roundRobin", "random"] as const;

export type BalancingAlgorithm = (typeof BALANCING_ALGORITHMS)[number];

export interface BalancingOptions {
  readonly algorithm: BalancingAlgorithm;
}
