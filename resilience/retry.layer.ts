/**
 * Attempts inside the deadline, each further one argued for by retry.ts, paid for from a budget, and made on
 * another endpoint (the balance layer sees which were tried).
 *
 * A requeue goes at once where there is another endpoint, and waits like a retry where there is none: to knock at the
 * same door again without a pause is to be refused again. Where everybody who could be asked has said Retry-After, a
 * retry waits for the first of them, unless that is longer than a caller should be held. A requeue does not wait for who has not
 * been tried: of this request nothing was sent, so that it goes there as any first attempt does, and the answer is from there.
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
import {
  ANYWHERE,
  isRequeue,
  isRetryable,
  MOST_RETRY_AFTER_MS,
  mayResend,
  type Prospect,
  type RetryOptions,
  type RetryRefusal,
  type RetrySwitch,
  retryRefusal,
} from "./retry.ts";
import type { RetryBudget } from "./retry-budget.ts";
import { pause } from "./wait.ts";

export interface RetryParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly budget: RetryBudget;
  /**
   * Earned by answers, and not by requests: another endpoint is worth a try as long as some can be reached at all, and where
   * none can, requests knock once. Undefined where requeues are retries like any other.
   */
  readonly requeueBudget?: RetryBudget | undefined;
  /** Undefined where nothing turns retries off. */
  readonly switch?: RetrySwitch | undefined;
  /** Asked after a failure; undefined where nothing is known of endpoints. */
  readonly prospect?: ((exchange: Exchange, nowMs: number) => Prospect) | undefined;
  /** Whether others pay from the budget of requests that are not retried. */
  readonly budgetIsShared?: boolean | undefined;
  /** Called for every retry that was asked for and not made. */
  readonly onRefused: (exchange: Exchange, reason: RetryRefusal) => void;
}

/** What has been done for a request so far. */
interface Made {
  readonly retries: number;
  readonly requeues: number;
}

const NOTHING_MADE: Made = { retries: 0, requeues: 0 };

export function retry(parts: RetryParts, options: RetryOptions): Layer {
  const { clock, random, budget, requeueBudget, onRefused } = parts;
  const prospectOf = parts.prospect ?? (() => ANYWHERE);

  /** Why there is no further attempt; undefined pays for it. */
  function refusalOf(
    exchange: Exchange,
    made: Made,
    failure: ProxyError | number,
    requeues: RetryBudget | undefined,
    pauseMs: number,
    waitMs: number,
  ): RetryRefusal | undefined {
    const nowMs = clock.now();
    const { attempts } = optionsOf(exchange);
    const isUsedUp =
      requeues === undefined
        ? made.retries >= attempts
        : made.requeues >= (options.requeues?.attempts ?? attempts);
    const refusal = retryRefusal(exchange, failure, isUsedUp, nowMs + pauseMs);
    if (refusal !== undefined) return refusal;
    if (parts.switch?.enabled === false) return "switched_off";
    if (waitMs > 0 && (waitMs > MOST_RETRY_AFTER_MS || nowMs + waitMs >= exchange.deadlineMs))
      return "retry_after";
    return (requeues ?? budget).withdraw(nowMs) ? undefined : "budget";
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
      function attempt(exchange: Exchange, made: Made): Promise<ProxyResponse> {
        return called(next, exchange).then(
          (response) => {
            requeueBudget?.deposit(clock.recentMs);
            const after = isRetryable(optionsOf(exchange), response.status)
              ? again(exchange, made, response.status)
              : undefined;
            if (after !== undefined) {
              response.body.cancel(new ProxyError("upstream_reset", "the answer was discarded for a retry"));
              return after();
            }
            exchange.body?.forget();
            return response;
          },
          (thrown) => {
            const failure = asProxyError(thrown);
            const after = isRetryable(optionsOf(exchange), failure)
              ? again(exchange, made, failure)
              : undefined;
            if (after !== undefined) return after();
            exchange.body?.forget();
            throw failure;
          },
        );
      }

      /** Makes the next attempt, which has been paid for; undefined, and the reason noted, where there is none. */
      function again(
        exchange: Exchange,
        made: Made,
        failure: ProxyError | number,
      ): (() => Promise<ProxyResponse>) | undefined {
        const requeues = isRequeue(failure) ? requeueBudget : undefined;
        const prospect = prospectOf(exchange, clock.recentMs);
        const isAtOnce = requeues !== undefined && prospect.untried;
        const waitMs = isAtOnce ? 0 : prospect.waitMs;
        const count = requeues === undefined ? made.retries + 1 : made.retries + made.requeues + 1;
        const pauseMs = isAtOnce ? 0 : backoffMs(options.backoff, count, random);
        const refusal = refusalOf(exchange, made, failure, requeues, pauseMs, waitMs);
        if (refusal !== undefined) {
          exchange.retryRefused = refusal;
          onRefused(exchange, refusal);
          return undefined;
        }
        const next =
          requeues === undefined
            ? { ...made, retries: made.retries + 1 }
            : { ...made, requeues: made.requeues + 1 };
        exchange.requeued = requeues !== undefined;
        return async () => {
          exchange.body?.rewind();
          if (!isAtOnce) await pause(exchange, clock, "backoff", Math.max(pauseMs, waitMs));
          // Timers are late: what cannot be answered in time any more is not sent.
          if (clock.now() >= exchange.deadlineMs)
            throw deadlineExceeded(exchange, "the deadline passed while waiting for backoff");
          return attempt(exchange, next);
        };
      }

      return (exchange) => {
        const { attempts, on = options.on } = exchange.policy?.retries ?? options;
        if (!mayResend(attempts, on)) exchange.sendOnce = true;
        const isRetried = attempts > 0 || mayRequeue(exchange);
        if (isRetried || parts.budgetIsShared === true) budget.deposit(clock.recentMs);
        if (!isRetried) return next(exchange);
        exchange.body?.remember(options.replayBytes);
        return attempt(exchange, NOTHING_MADE);
      };
    },
  };

  /** A route that has no retries has no requeues either, whatever its upstream has. */
  function mayRequeue({ policy }: Exchange): boolean {
    return policy?.retries === undefined && (options.requeues?.attempts ?? 0) > 0;
  }
}
