/**
 * Attempts inside the deadline, each further one argued for by retry.ts, paid for from the budget, and made on
 * another endpoint (the balance layer sees which were tried).
 */
import {
  asProxyError,
  type Clock,
  called,
  type Exchange,
  type Handler,
  type Layer,
  ProxyError,
  type ProxyResponse,
  type Random,
} from "../core/index.ts";
import { backoffMs } from "./backoff.ts";
import { deadlineExceeded } from "./deadline.ts";
import { isRetryable, type RetryOptions, type RetryRefusal, retryRefusal } from "./retry.ts";
import type { RetryBudget } from "./retry-budget.ts";
import { pause } from "./wait.ts";

export interface RetryParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly budget: RetryBudget;
  /** Called for every retry that was asked for and not made. */
  readonly onRefused: (exchange: Exchange, reason: RetryRefusal) => void;
}

export function retry(parts: RetryParts, options: RetryOptions): Layer {
  const { clock, random, budget, onRefused } = parts;

  /** After how long another attempt may be made; undefined when none may, and the refusal is noted. */
  function grant(exchange: Exchange, attempt: number, failure: ProxyError | number): number | undefined {
    const nowMs = clock.now();
    const granted = optionsOf(exchange);
    const delayMs = backoffMs(options.backoff, attempt, random);
    const refusal =
      retryRefusal(granted, exchange, failure, nowMs + delayMs) ??
      // Counted here, too: a layer further in may fail before an endpoint is chosen.
      (attempt > granted.attempts ? "attempts" : budget.withdraw(nowMs) ? undefined : "budget");
    if (refusal === undefined) return delayMs;
    exchange.retryRefused = refusal;
    onRefused(exchange, refusal);
    return undefined;
  }

  /** What is retried, and how often: as the route says, or as is usual. */
  function optionsOf({ policy }: Exchange): RetryOptions {
    const routed = policy?.retries;
    if (routed === undefined) return options;
    return { ...options, attempts: routed.attempts, on: (routed.on as RetryOptions["on"]) ?? options.on };
  }

  return {
    name: "retry",
    wrap(next: Handler): Handler {
      /** Not an async loop: nearly every request needs one attempt, and a frame for it would be its dearest layer. */
      function attempt(exchange: Exchange, count: number): Promise<ProxyResponse> {
        return called(next, exchange).then(
          (response) => {
            const delayMs = isRetryable(optionsOf(exchange), response.status)
              ? grant(exchange, count, response.status)
              : undefined;
            if (delayMs !== undefined) {
              response.body.cancel(new ProxyError("upstream_reset", "the answer was discarded for a retry"));
              return again(exchange, count, delayMs);
            }
            exchange.body?.forget();
            return response;
          },
          (thrown) => {
            const failure = asProxyError(thrown);
            const delayMs = isRetryable(optionsOf(exchange), failure)
              ? grant(exchange, count, failure)
              : undefined;
            if (delayMs !== undefined) return again(exchange, count, delayMs);
            exchange.body?.forget();
            throw failure;
          },
        );
      }

      async function again(exchange: Exchange, count: number, delayMs: number): Promise<ProxyResponse> {
        exchange.body?.rewind();
        await pause(exchange, clock, delayMs);
        // Timers are late: what cannot be answered in time any more is not sent.
        if (clock.now() >= exchange.deadlineMs)
          throw deadlineExceeded(exchange, "the deadline passed while waiting for backoff");
        return attempt(exchange, count + 1);
      }

      return (exchange) => {
        if ((exchange.policy?.retries?.attempts ?? options.attempts) === 0) return next(exchange);
        budget.deposit(clock.recentMs);
        exchange.body?.remember(options.replayBytes);
        return attempt(exchange, 1);
      };
    },
  };
}
