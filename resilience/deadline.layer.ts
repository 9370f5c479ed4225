/**
 * One deadline covers the whole request, all attempts and all waiting between them.
 *
 * A deadline is a number, not a timer: everything that waits further in bounds its wait by it, so a request
 * that is answered in time pays nothing for it. It counts from the end of the request's body, as an upload takes
 * as long as the caller needs; and it ends with the response's head, as a download may take as long as bytes flow.
 */
import { type Clock, type Handler, type Layer, ProxyError } from "../core/index.ts";

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
}

export function deadline(clock: Clock, options: Pick<TimeoutOptions, "requestMs">): Layer {
  return {
    name: "deadline",
    wrap(next: Handler): Handler {
      return (exchange) => {
        const requestMs = exchange.policy?.requestMs ?? options.requestMs;
        const body = exchange.body;
        if (body === undefined || body.complete) {
          exchange.deadlineMs = exchange.arrivedAtMs + requestMs;
          if (clock.recentMs >= exchange.deadlineMs)
            return Promise.reject(
              new ProxyError("deadline_exceeded", "the deadline passed before an attempt"),
            );
        } else {
          // The body may be held back by us: waiting for a permit or a connection is bounded all the same.
          exchange.waitDeadlineMs = exchange.arrivedAtMs + requestMs;
          body.onClosed(() => {
            exchange.deadlineMs = clock.now() + requestMs;
            exchange.waitDeadlineMs = exchange.deadlineMs;
          });
        }
        return next(exchange);
      };
    },
  };
}
