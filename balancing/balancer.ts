/**
 * What every balancing algorithm is: a choice among candidates, given chance and time.
 *
 * An algorithm does no I/O and asks no clock; what it knows about a candidate is what the candidate carries. So
 * each one can be tried a million times a second in virtual time.
 */
import type { PeakEwma } from "./latency.ts";
import type { ReplicaLoad } from "./own-load.ts";
import type { PrequalOptions } from "./prequal-options.ts";

/** What an algorithm may know about an endpoint. */
export interface Candidate {
  /** What it is known by, over all changes: `10.0.0.1:8080`. */
  readonly key: string;
  /** Share of traffic relative to its peers; at least 1. */
  readonly weight: number;
  /** Requests that this sidecar has sent there and that have not ended. */
  readonly inFlight: number;
  /** How long its answers take. */
  readonly latency: PeakEwma;
}

export interface Balancer {
  /**
   * Undefined only when there are no candidates.
   * @param candidates the same list, by identity, as long as nothing has changed: what is made from it may be kept with it
   * @param hash of the request, 32 bits without sign, for those that choose by it; undefined for a request that has none
   * @param inFlight the sum over these candidates, for those that bound loads by it; undefined to let them add it up
   */
  pick<C extends Candidate>(
    candidates: readonly C[],
    nowMs: number,
    hash?: number,
    inFlight?: number,
  ): C | undefined;
  /**
   * This list has been replaced and will not come again, so that what was made from it may be given up at once; for those
   * that make much. Whoever is not told leaves it to the collection of garbage.
   */
  forget?(candidates: readonly Candidate[]): void;
}

/** One that goes by what endpoints say of their own load, and has them asked. */
export interface AskingBalancer extends Balancer {
  /**
   * Whom to ask now; to be called with each request.
   * @param candidates all that there are, the same list by identity as long as nothing has changed
   */
  toProbe<C extends Candidate>(candidates: readonly C[]): readonly C[];
  /** A candidate has said how loaded it is. */
  onProbe(key: string, load: ReplicaLoad, nowMs: number): void;
  /** A candidate has answered and said nothing of its load: it is no sidecar, or is about to leave. */
  onSilence(key: string): void;
}

export function isAsking(balancer: Balancer): balancer is AskingBalancer {
  return "toProbe" in balancer;
}

/** The algorithms by the names that the configuration has for them, the default first. */
export const BALANCING_ALGORITHMS = [
  "peakEwma",
  "leastRequest",
  "roundRobin",
  "random",
  "ringHash",
  "maglev",
  "prequal",
] as const;

/** Those of them that go by what a request is known by. */
export const HASHING_ALGORITHMS: ReadonlySet<BalancingAlgorithm> = new Set(["ringHash", "maglev"]);

export type BalancingAlgorithm = (typeof BALANCING_ALGORITHMS)[number];

export interface BalancingOptions {
  readonly algorithm: BalancingAlgorithm;
  /**
   * How many candidates `leastRequest` and `peakEwma` draw to keep the best of: 2 unless told otherwise. From the
   * number of candidates on, it is the best of all.
   */
  readonly choices?: number;
  /**
   * `leastRequest` only, and only where weights differ: choose as Envoy does, by chance in proportion to
   * `weight / (inFlight + 1) ** bias`, instead of by `choices`. Undefined unless told otherwise: under load Envoy's
   * way gives shares of the root of the weight, see least-request.ts.
   */
  readonly bias?: number;
  /**
   * `ringHash` only: how many points of its ring a unit of weight has, so that no ring has fewer; 1024 unless told
   * otherwise.
   */
  readonly minimumRingSize?: number;
  /** `ringHash` only: how many points its ring may have, up to 8,388,608; 262,144 unless told otherwise. */
  readonly maximumRingSize?: number;
  /**
   * `ringHash` and `maglev` only: how many times its share of what is in flight a candidate may carry before it is
   * passed over, above 1. No bound unless told otherwise; see bounded-load.ts.
   */
  readonly loadFactor?: number;
  /** `prequal` only; see prequal.ts. */
  readonly prequal?: Partial<PrequalOptions>;
}
