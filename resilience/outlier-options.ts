/**
 * The settings of outlier detection, each with its unit, and where its default differs from Envoy's, why.
 *
 * What an endpoint fails by itself is the breaker's business, so the rules that look at one endpoint alone are off: two
 * judges with the same evidence and different sentences are what nobody understands at night. See docs/outliers.md.
 */
export interface OutlierOptions {
  /** How often endpoints are compared, in milliseconds. Envoy: 10 s. */
  readonly intervalMs: number;
  /** Requests that an endpoint must have ended in the window to be compared. Envoy: 100. */
  readonly minimumRequests: number;
  /** Endpoints with so many requests that there must be for a comparison; at least 2. Envoy: 5. */
  readonly minimumEndpoints: number;
  /** How many standard deviations of the others' success rates below their mean an endpoint must be; 0 turns the rule off. Envoy: 1.9. */
  readonly successRateFactor: number;
  /** How far below the others' mean it must be at least, in (0, 1]. Envoy has none. */
  readonly successRateMargin: number;
  /** The share of failures, in (0, 1], at which an endpoint is ejected whatever the others do; 0 turns the rule off. Envoy: 0.85, not enforced. */
  readonly failureShare: number;
  /** How many times the median latency of the others an endpoint's own must be; 0 turns the rule off. Envoy has none. */
  readonly latencyFactor: number;
  /** The median latency, in milliseconds, below which no endpoint is slow, whatever the others are. */
  readonly latencyFloorMs: number;
  /** Failures in a row that eject at once; 0 turns the rule off. Envoy: 5. */
  readonly consecutiveFailures: number;
  /** The same for 502, 503, 504, no connection and no answer in time; 0 turns the rule off. Envoy: 5, not enforced. */
  readonly consecutiveGatewayFailures: number;
  readonly ejection: EjectionOptions;
  /** Successes in a row, one request at a time, that bring an ejected endpoint back; at least 1. Envoy: none, time is enough. */
  readonly probes: number;
}

export interface EjectionOptions {
  /** How long the first ejection lasts, in milliseconds; each one after it so much longer. Envoy: 30 s. */
  readonly baseMs: number;
  /** What no ejection exceeds but for the jitter. Envoy: 300 s. */
  readonly maxMs: number;
  /** The share of the endpoints, in (0, 1], that may be out at the same time; one always may. Envoy: 0.1. */
  readonly share: number;
  /** How many endpoints must be left; at least 1. */
  readonly keep: number;
}

export const DEFAULT_OUTLIERS: OutlierOptions = {
  intervalMs: 10_000,
  // A sidecar sends a fraction of what a gateway does; what chance can do to so few is part of the rule.
  minimumRequests: 20,
  // Of two that differ nobody can say which is the odd one, and the one that is left would carry twice its load.
  minimumEndpoints: 3,
  successRateFactor: 1.9,
  successRateMargin: 0.1,
  failureShare: 0,
  // Off: where requests differ by endpoint (affinity, hot keys) a slow endpoint may only have the harder work.
  latencyFactor: 0,
  latencyFloorMs: 100,
  consecutiveFailures: 0,
  consecutiveGatewayFailures: 0,
  // 30 %: those that are left then carry 1.43 times their load, which is what priorities take them to be built for (1.4).
  ejection: { baseMs: 30_000, maxMs: 300_000, share: 0.3, keep: 1 },
  probes: 3,
};
