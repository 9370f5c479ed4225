/**
 * How long a service takes: distributions that closed forms exist for, each with the moments that those ask for.
 *
 * Not recorded latencies: with them a simulation can be shown to the eye but not be proven.
 */
import type { Random } from "../../core/index.ts";

export interface Distribution {
  readonly meanMs: number;
  /** The second moment, E[S²], in ms². */
  readonly squareMs2: number;
  draw(random: Random): number;
}

/** The same each time. */
export function constant(ms: number): Distribution {
  return { meanMs: ms, squareMs2: ms * ms, draw: () => ms };
}

export function exponential(meanMs: number): Distribution {
  // Of the complement, as a draw may be 0 but never 1.
  return { meanMs, squareMs2: 2 * meanMs * meanMs, draw: (random) => -meanMs * Math.log(1 - random.next()) };
}

/** Never below zero: keep the mean at several deviations, or the moments are not those stated. */
export function normal(meanMs: number, deviationMs: number): Distribution {
  return {
    meanMs,
    squareMs2: meanMs * meanMs + deviationMs * deviationMs,
    // Box and Muller's transform, one of its two values: the other one would be state.
    draw: (random) =>
      Math.max(
        0,
        meanMs +
          deviationMs * Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next()),
      ),
  };
}

/** Mostly `usualMs`, and with the chance `share` it is `slowMs`: a pause, a cold cache, a lost packet. */
export function twoMode(usualMs: number, slowMs: number, share: number): Distribution {
  return {
    meanMs: usualMs * (1 - share) + slowMs * share,
    squareMs2: usualMs ** 2 * (1 - share) + slowMs ** 2 * share,
    draw: (random) => (random.next() < share ? slowMs : usualMs),
  };
}
