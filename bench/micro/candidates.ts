/**
 * Endpoints as algorithms see them, for the micro benchmarks: addresses as a cluster has them, in a state as under load.
 */
import { type Candidate, PeakEwma } from "../../balancing/index.ts";
import type { Random } from "../../core/index.ts";

export class Replica implements Candidate {
  readonly key: string;
  readonly weight: number;
  readonly latency: PeakEwma = new PeakEwma();
  inFlight = 0;

  constructor(key: string, weight: number) {
    this.key = key;
    this.weight = weight;
  }
}

/** Weights of 1 to 5 where they are unequal. */
export function replicas(count: number, weights: "equal" | "unequal" = "equal"): Replica[] {
  return Array.from(
    { length: count },
    (_, i) => new Replica(`10.1.${i >> 8}.${i & 255}:8080`, weights === "equal" ? 1 : 1 + (i % 5)),
  );
}

/** Up to ten requests in flight at each, and answers that took 1 to 50 ms. Returns how many are in flight at all. */
export function makeBusy(candidates: readonly Replica[], nowMs: number, random: Random): number {
  let inFlight = 0;
  for (const candidate of candidates) {
    candidate.inFlight = Math.floor(random.next() * 11);
    candidate.latency.observe(1 + 49 * random.next(), false, nowMs);
    inFlight += candidate.inFlight;
  }
  return inFlight;
}
