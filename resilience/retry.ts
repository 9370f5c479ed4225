/**
 * May this request be sent again? A decision without waiting and without I/O, and a reason for every no.
 *
 * Safe by default: what may have been processed is repeated only when the method is idempotent or the caller
 * vouches for it with Idempotency-Key. Retries that were on by default and blind to this have doubled payments.
 */
import { type ErrorCode, type Exchange, headerValue, type ProxyError } from "../core/index.ts";
import type { BackoffOptions } from "./backoff.ts";
import type { RetryBudgetOptions } from "./retry-budget.ts";

/** What a retry can answer to: a class of failures, or a status. */
export type RetryCondition = "connectFailure" | "reset" | "timeout" | number;

export interface RetryOptions {
  /** Further attempts after the first; 0 turns retries off. */
  readonly attempts: number;
  readonly on: readonly RetryCondition[];
  readonly backoff: BackoffOptions;
  readonly budget: RetryBudgetOptions;
  /** A request body up to this size is kept, so that it can be sent again. */
  readonly replayBytes: number;
}

/** Why a failed attempt was not repeated; the label values of heddle_retries_refused_total. */
export type RetryRefusal = "attempts" | "method" | "body" | "deadline" | "budget" | "caller_gone";

export const RETRY_REFUSALS: readonly RetryRefusal[] = [
  "attempts",
  "method",
  "body",
  "deadline",
  "budget",
  "caller_gone",
];

const CONDITIONS: Partial<Record<ErrorCode, RetryCondition>> = {
  connect_failed: "connectFailure",
  connect_timeout: "connectFailure",
  upstream_reset: "reset",
  bad_response: "reset",
  attempt_timeout: "timeout",
};

// RFC 9110, 9.2.2.
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"]);

/** Whether the configuration asks for a retry after this failure, may it be possible or not. */
export function isRetryable(options: RetryOptions, failure: ProxyError | number): boolean {
  const condition = typeof failure === "number" ? failure : CONDITIONS[failure.code];
  return condition !== undefined && options.on.includes(condition);
}

/** Whether the same request may be delivered twice without harm. */
export function mayBeRepeated(exchange: Exchange): boolean {
  return IDEMPOTENT.has(exchange.method) || headerValue(exchange.headers, "idempotency-key") !== undefined;
}

/**
 * Everything but the budget, which is asked last because asking spends it.
 * @param nextMs when it would be sent again
 * @returns the reason against another attempt, or undefined
 */
export function retryRefusal(
  options: RetryOptions,
  exchange: Exchange,
  failure: ProxyError | number,
  nextMs: number,
): RetryRefusal | undefined {
  if (exchange.aborted !== undefined) return "caller_gone";
  if (exchange.attempts > options.attempts) return "attempts";
  const untouched = typeof failure !== "number" && failure.kind.resend === "safe";
  if (!untouched && !mayBeRepeated(exchange)) return "method";
  if (exchange.body !== undefined && !exchange.body.rewindable) return "body";
  if (nextMs >= exchange.deadlineMs) return "deadline";
  return undefined;
}
