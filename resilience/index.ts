export { backoffMs } from "./backoff.ts";
export { breakerLayer, routeBreaker } from "./breaker.layer.ts";
export {
  Breaker,
  type BreakerChange,
  type BreakerState,
  type Forced,
  type Opening,
} from "./breaker.ts";
export { FailureRules, isEndpointFailure, outcomeOf } from "./breaker-failures.ts";
export {
  BREAKER_MODES,
  type BreakerOptions,
  FAILURE_CLASSES,
  type FailureKind,
} from "./breaker-options.ts";
export { BreakerRotation } from "./breaker-rotation.ts";
export { callerDeadline } from "./caller-deadline.layer.ts";
export { ENVOY_TIMEOUT_FIELD, GRPC_TIMEOUT_FIELD, grpcTimeout, TIMEOUT_FIELD } from "./callers-limit.ts";
export { concurrencyLimit } from "./concurrency-limit.layer.ts";
export { ConcurrencyLimit, type ConcurrencyOptions } from "./concurrency-limit.ts";
export { deadline, type TimeoutOptions } from "./deadline.layer.ts";
export { CALLERS_LIMIT, deadlineExceeded, saysTimeIsUp } from "./deadline.ts";
export { fallback } from "./fallback.layer.ts";
export { FALLBACK_CAUSES, FallbackTally } from "./fallback.ts";
export {
  FAULT_KINDS,
  type Fault,
  type FaultEffect,
  type FaultMatch,
  Faults,
  type RunningFault,
} from "./fault.ts";
export { FAULT_HEADER, injectFaults, postponedFaults } from "./faults.layer.ts";
export { hedge } from "./hedge.layer.ts";
export { HedgeBudget, type HedgeOptions } from "./hedge.ts";
export { INHERITING, Inheritance, type Inheriting } from "./inheritance.ts";
export { OutlierDetection } from "./outlier-detection.ts";
export { DEFAULT_OUTLIERS, type OutlierOptions } from "./outlier-options.ts";
export type { Standing } from "./outlier-standing.ts";
export { rateCounts } from "./rate-buckets.ts";
export { keysOf, type RateLimitParts, rateLimit } from "./rate-limit.layer.ts";
export { RecentLatency } from "./recent-latency.ts";
export { retry } from "./retry.layer.ts";
export {
  isRetryable,
  mayBeRepeated,
  type Prospect,
  RETRY_REFUSALS,
  type RetryCondition,
  type RetryOptions,
  type RetryRefusal,
  type RetrySwitch,
} from "./retry.ts";
export { DEFAULT_RETRY_BUDGET, RetryBudget } from "./retry-budget.ts";
export { shadowTimeout } from "./shadow-timeout.layer.ts";
export { sharedChanges } from "./shared-changes.ts";
export { isShed, LastingDelay, Pressure, pressureOf } from "./shedding.ts";
export { waitFor } from "./wait.ts";
export type { Ending, WatchedEndpoint } from "./watched-endpoint.ts";
