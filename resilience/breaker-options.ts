/**
 * What may be said of a breaker, of an endpoint's and of a route's alike.
 *
 * The three modes are apart from the numbers: whoever does not trust a breaker yet lets it run in shadow, with the numbers
 * that it would have, and reads from metrics what it would have refused.
 */

/** `shadow`: judged and counted, and nothing is refused. `off`: not even judged. */
export const BREAKER_MODES = ["enforce", "shadow", "off"] as const;

/** What ends badly, by its class; `5xx` are the statuses that blame the server: all but 501 and 505. */
export const FAILURE_CLASSES = ["connect", "timeout", "reset", "5xx"] as const;

/** A class, or a single status. */
export type FailureKind = (typeof FAILURE_CLASSES)[number] | number;

export interface BreakerOptions {
  readonly mode: (typeof BREAKER_MODES)[number];
  /** Share of failures in the window that opens the breaker, in (0, 1]. */
  readonly errorRate: number;
  /** Requests that the window must hold before the rate is looked at. */
  readonly minimumRequests: number;
  readonly windowMs: number;
  /** Failures in a row that open the breaker whatever the rate; 0 turns this off. */
  readonly consecutiveFailures: number;
  /** What counts as a failure. */
  readonly failures: readonly FailureKind[];
  /** How long it refuses, the first time. */
  readonly openForMs: number;
  /** What that grows to, see open-time.ts. */
  readonly openForMaxMs: number;
  /** Probes in a row that must be good before it closes; one at a time. */
  readonly probes: number;
}
