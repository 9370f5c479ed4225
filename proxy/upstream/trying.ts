/**
 * What an upstream keeps for attempts after and beside the first: the budgets, the latencies that hedges go by, what was
 * counted of them, and what there is to send another attempt to.
 *
 * Apart from the upstream, which chooses an endpoint for an attempt: whether there is to be one is asked here.
 */
import { type Exchange, ProxyError } from "../../core/index.ts";
import {
  HedgeBudget,
  type HedgeOptions,
  isRetryable,
  type Prospect,
  RecentLatency,
  RetryBudget,
  type RetryOptions,
  type RetryRefusal,
} from "../../resilience/index.ts";
import type { UpstreamEndpoint } from "./endpoint.ts";

const BROKEN = new ProxyError("upstream_reset", "the answer broke");

export class Trying {
  /** For all that is sent again or beside, requeues apart. */
  readonly budget: RetryBudget;
  readonly requeueBudget: RetryBudget | undefined;
  /** Undefined where no request is sent twice at a time. */
  readonly hedging: { readonly budget: HedgeBudget; readonly latency: RecentLatency } | undefined;
  readonly retriesRefused = new Map<string, number>();
  /** Attempts beside others, by what came of them. */
  readonly hedges = new Map<string, number>();
  readonly #retries: RetryOptions;

  constructor(retries: RetryOptions, hedge: HedgeOptions | undefined) {
    this.#retries = retries;
    this.budget = new RetryBudget(retries.budget);
    this.requeueBudget =
      retries.requeues === undefined ? undefined : new RetryBudget(retries.requeues.budget);
    this.hedging =
      hedge === undefined
        ? undefined
        : { budget: new HedgeBudget(hedge.ratio, this.budget), latency: new RecentLatency(hedge.windowMs) };
  }

  countRefused(reason: RetryRefusal): void {
    this.retriesRefused.set(reason, (this.retriesRefused.get(reason) ?? 0) + 1);
  }

  countHedge(outcome: string): void {
    this.hedges.set(outcome, (this.hedges.get(outcome) ?? 0) + 1);
  }

  /** An answer broke after its head had gone out: nothing can be sent again, where it would have been before. */
  answerBroke(exchange: Exchange): void {
    const { attempts, on = this.#retries.on } = exchange.policy?.retries ?? this.#retries;
    if (attempts === 0 || !isRetryable({ on: on as RetryOptions["on"] }, BROKEN)) return;
    exchange.retryRefused = "response_started";
    this.countRefused("response_started");
  }
}

/**
 * Those that a further attempt should go to: not tried and not to be left alone, of the request's own part of the
 * traffic, or else of any, in reserve or used.
 * @param parts from the request's own to everybody
 */
export function othersOf(
  parts: readonly (readonly UpstreamEndpoint[])[],
  exchange: Exchange,
  nowMs: number,
): readonly UpstreamEndpoint[] {
  for (const part of parts) {
    const others = part.filter((endpoint) => isOther(endpoint, exchange, nowMs));
    if (others.length > 0) return others;
  }
  return [];
}

/** Whether it has not been tried for this request and nobody was told to leave it alone. */
export function isOther({ key, latency }: UpstreamEndpoint, exchange: Exchange, nowMs: number): boolean {
  return !exchange.hasTried(key) && !latency.isHeldOff(nowMs);
}

/** @param endpoints all that a further attempt may go to */
export function prospectAmong(
  endpoints: readonly UpstreamEndpoint[],
  exchange: Exchange,
  nowMs: number,
): Prospect {
  let waitMs = Number.POSITIVE_INFINITY;
  let another = false;
  for (const endpoint of endpoints) {
    waitMs = Math.min(waitMs, endpoint.latency.heldOffForMs(nowMs));
    another ||= isOther(endpoint, exchange, nowMs);
  }
  return { another, waitMs: endpoints.length === 0 ? 0 : waitMs };
}

/** Those that have not asked to be left alone; all of them where all have. */
export function leftInPeace(
  endpoints: readonly UpstreamEndpoint[],
  nowMs: number,
): readonly UpstreamEndpoint[] {
  const others = endpoints.filter(({ latency }) => !latency.isHeldOff(nowMs));
  return others.length === 0 ? endpoints : others;
}
