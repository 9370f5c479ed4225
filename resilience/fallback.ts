/**
 * When a route answers for itself, and what.
 *
 * Only for methods that change nothing unless others are named: whoever is told that its payment went well, when nobody knows, is
 * worse off than one that is told of an error. Nor for failures that the upstream is right to report, so statuses are named.
 */
import type { ErrorCode, Exchange } from "../core/index.ts";

/** Failures that a fallback may stand in for: those behind the route that are not the caller's. */
export const FALLBACK_CAUSES = [
  "no_endpoint",
  "breaker_open",
  "overflow",
  "queue_timeout",
  "connect_failed",
  "connect_timeout",
  "upstream_reset",
  "bad_response",
  "attempt_timeout",
  "deadline_exceeded",
] as const satisfies readonly ErrorCode[];

/** Which of the two answered. */
export type FallbackKind = "static" | "stale";

/** How often routes have answered for themselves, by route, kind and cause. */
export class FallbackTally {
  readonly #counts = new Map<string, number>();

  record({ fallback, cause, route }: Exchange): void {
    // The name of a route may have blanks; the others have none.
    const key = `${fallback} ${cause} ${route}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  /** By `kind cause route`. */
  counts(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }
}
