/**
 * How long to wait before the next attempt: full jitter, uniform in [0, (2^n - 1) * base), capped.
 *
 * Not a fixed or merely growing delay: callers that failed together would come back together. Full jitter
 * spreads them over the whole interval. (Brooker, "Exponential backoff and jitter", 2015; Envoy uses the same.)
 */
import type { Random } from "../core/index.ts";

export interface BackoffOptions {
  readonly baseMs: number;
  readonly maxMs: number;
}

/** @param retry 1 for the first retry */
export function backoffMs(options: BackoffOptions, retry: number, random: Random): number {
  const ceiling = Math.min(options.maxMs, (2 ** Math.min(retry, 30) - 1) * options.baseMs);
  return random.next() * ceiling;
}
