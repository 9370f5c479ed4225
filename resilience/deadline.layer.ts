/**
 * One deadline covers the whole request, all attempts and all waiting between them.
 *
 * A deadline is a number, not a timer: everything that waits further in bounds its wait by it, so a request
 * that is answered in time pays nothing for it. It is the shorter of what is configured and of what the caller gives
 * (caller-deadline.layer.ts). What is configured counts from the end of the request's body, as an upload takes
 * as long as the caller needs; what a caller gives counts from the head, as it is the caller who waits. Both end with
 * the response's head, as a download may take as long as bytes flow.
 */
import type { Clock, Handler, Layer } from "../core/index.ts";
import { deadlineExceeded } from "./deadline.ts";

export interface TimeoutOptions {
  /** To a connection with the endpoint. */
  readonly connectMs: number;
  /** From the last byte of the request sent to the first of the answer, for each attempt. */
  readonly attemptMs: number;
  /** The whole request with all its attempts, until the answer's head. */
  readonly requestMs: number;
  /** Between two pieces of an answer's body. */
  readonly idleMs: number;
  /** How long a connection that was upgraded may carry nothing, either way. */
  readonly tunnelIdleMs: number;
  /** Shorter ones that are tried and end nothing, see shadow-timeout.layer.ts; undefined for none. */
  readonly shadowRequestMs?: number | undefined;
  readonly shadowAttemptMs?: number | undefined;
}

export function deadline(clock: Clock, options: Pick<TimeoutOptions, "requestMs">): Layer {
  return {
    name: "deadline",
    wrap(next: Handler): Handler {
      return (exchange) => {
        const requestMs = exchange.policy?.requestMs ?? options.requestMs;
        const { body, callersDeadlineMs } = exchange;
        const usualMs = exchange.arrivedAtMs + requestMs;
        if (body === undefined || body.complete) {
          exchange.deadlineMs = Math.min(usualMs, callersDeadlineMs);
        } else {
          exchange.deadlineMs = callersDeadlineMs;
          // The body may be held back by us: waiting for a permit or a connection is bounded all the same.
          exchange.waitDeadlineMs = Math.min(usualMs, callersDeadlineMs);
          body.onClosed(() => {
            exchange.deadlineMs = Math.min(clock.now() + requestMs, callersDeadlineMs);
            exchange.waitDeadlineMs = exchange.deadlineMs;
          });
        }
        if (clock.recentMs >= exchange.deadlineMs)
          return Promise.reject(deadlineExceeded(exchange, "the deadline passed before an attempt"));
        return next(exchange);
      };
    },
  };
}
