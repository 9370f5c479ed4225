/**
 * May this request be sent again? A decision without waiting and without I/O, and a reason for every no.
 *
 * Safe by default: what may have been processed is repeated only when the method is idempotent or the caller
 * vouches for it with Idempotency-Key. Retries that were on by default and blind to this have doubled payments.
 *
 * There are two kinds, with a budget each (Finagle's distinction). A *requeue* follows an attempt of which nothing was
 * sent: the request has not been made yet, so it goes elsewhere at once. A *retry* follows one that may have been
 * worked on: it waits, as what has failed is mostly busy. With one budget for both, a restart of some endpoints would
 * use up what is needed against failures.
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
  /** Undefined where requeues are retries like any other. */
  readonly requeues?: RequeueOptions | undefined;
}

export interface RequeueOptions {
  /** How often a request is sent elsewhere that could not be sent; undefined is as often as it is retried. */
  readonly attempts?: number | undefined;
  readonly budget: RetryBudgetOptions;
}

/** Turns everything off that sends a request again or twice; one for all upstreams of a data plane. */
export interface RetrySwitch {
  enabled: boolean;
}

/** What there is for another attempt of a request. */
export interface Prospect {
  /** An endpoint that has not been tried and has not asked to be left alone. */
  readonly another: boolean;
  /** One that has not been tried, whatever it has asked for. */
  readonly untried: boolean;
  /** How long all that could be taken have asked to be left alone; 0 for not at all. */
  readonly waitMs: number;
}

/** Nothing is known of endpoints: as if there was always another. */
export const ANYWHERE: Prospect = { another: true, untried: true, waitMs: 0 };

/** The most that a request waits because of a Retry-After: a caller should rather be told than be held. */
export const MOST_RETRY_AFTER_MS = 1_000;

/** Why a failed attempt was not repeated; the label values of heddle_retries_refused_total. */
export const RETRY_REFUSALS = [
  "attempts",
  "method",
  "body",
  "deadline",
  "budget",
  "caller_gone",
  "retry_after",
  "response_started",
  "switched_off",
] as const;
export type RetryRefusal = (typeof RETRY_REFUSALS)[number];

const CONDITIONS: Partial<Record<ErrorCode, RetryCondition>> = {
  connect_failed: "connectFailure",
  connect_timeout: "connectFailure",
  upstream_reset: "reset",
  bad_response: "reset",
  attempt_timeout: "timeout",
};

// A field without a key in it vouches for nothing: whoever is to know the request again takes it for one that has none. The
// second is the empty string as draft-ietf-httpapi-idempotency-key-header writes it.
const NO_KEY: ReadonlySet<string | undefined> = new Set([undefined, "", '""']);

// RFC 9110, 9.2.2.
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"]);

/** Whether the configuration asks for a retry after this failure, may it be possible or not. */
export function isRetryable(options: Pick<RetryOptions, "on">, failure: ProxyError | number): boolean {
  const condition = typeof failure === "number" ? failure : CONDITIONS[failure.code];
  return condition !== undefined && options.on.includes(condition);
}

/**
 * Whether what was sent, and lost before an answer, may be sent again at all. Also where that is no retry: when a pooled
 * connection was lost, nobody knows what became of the request on it, and that is what whoever leaves out `reset` does not risk.
 */
export function mayResend(attempts: number, on: readonly (string | number)[]): boolean {
  return attempts > 0 && on.includes("reset");
}

/** Whether nothing of the request was sent, so that sending it is no second time. */
export function isRequeue(failure: ProxyError | number): boolean {
  return typeof failure !== "number" && failure.kind.resend === "safe";
}

/** Whether it may be sent twice at a time: for two of the same Idempotency-Key together, many answer with a conflict. */
export function mayBeDoubled({ method }: Exchange): boolean {
  return IDEMPOTENT.has(method);
}

/** Whether the same request may be delivered twice without harm. */
export function mayBeRepeated({ method, headers }: Exchange): boolean {
  return IDEMPOTENT.has(method) || !NO_KEY.has(headerValue(headers, "idempotency-key"));
}

/**
 * Everything but the endpoints and the budget, which is asked last because asking spends it.
 * @param isUsedUp whether it has had all the attempts that it may have
 * @param nextMs when it would be sent again
 * @returns the reason against another attempt, or undefined
 */
export function retryRefusal(
  exchange: Exchange,
  failure: ProxyError | number,
  isUsedUp: boolean,
  nextMs: number,
): RetryRefusal | undefined {
  if (exchange.aborted !== undefined) return "caller_gone";
  if (isUsedUp) return "attempts";
  if (!isRequeue(failure) && !mayBeRepeated(exchange)) return "method";
  if (exchange.body !== undefined && !exchange.body.rewindable) return "body";
  if (nextMs >= exchange.deadlineMs) return "deadline";
  return undefined;
}
