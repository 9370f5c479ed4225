/**
 * What Prequal can be told, with the figures of its authors, and what follows from it: how often an answer is used.
 *
 * Apart from prequal.ts, since the options of all balancers are said in one place (balancer.ts), which the balancers import.
 */
export interface PrequalOptions {
  /** The most answers that are kept. */
  readonly poolSize: number;
  /** How many candidates are probed for a request; of 0.5, one for every other request. */
  readonly probesPerRequest: number;
  /** How many answers are removed for a request, beyond those that are used up: in turns the oldest and the worst. */
  readonly removePerRequest: number;
  /** Whoever has more in flight than so many of those that answered lately is hot: from 0, by load, to 1, by latency. */
  readonly quantile: number;
  /** How long an answer is believed, in milliseconds. */
  readonly maxAgeMs: number;
  /** How much longer than the pool needs answers are used, so that it rather fills than empties. */
  readonly delta: number;
}

/** Those of the paper's experiments. */
export const DEFAULT_PREQUAL: PrequalOptions = {
  poolSize: 16,
  probesPerRequest: 3,
  removePerRequest: 1,
  quantile: 2 ** -0.25,
  maxAgeMs: 1_000,
  delta: 1,
};

/**
 * For how many requests an answer is used, in the mean: as often as it takes for the pool to neither fill nor empty, and
 * `delta` more. Of the probes, a part of `poolSize / candidates` only renews what is there. Infinite where the pool would
 * empty even so, or holds all: then age is the limit.
 * @returns at least 1
 */
export function reuseBudget(
  { poolSize, probesPerRequest, removePerRequest, delta }: PrequalOptions,
  candidates: number,
): number {
  const gained = (1 - poolSize / candidates) * probesPerRequest - removePerRequest;
  return gained > 0 ? Math.max(1, (1 + delta) / gained) : Number.POSITIVE_INFINITY;
}
