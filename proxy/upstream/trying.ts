/**
 * What an upstream keeps for attempts after and beside the first: the budgets, the latencies that hedges go by, and what was
 * counted of them.
 *
 * Apart from the choice of an endpoint (choice.ts): whether there is to be another attempt at all is asked here.
 */
import { type Exchange, ProxyError } from "../../core/index.ts";
import {
  HedgeBudget,
  type HedgeOptions,
  isRetryable,
  RecentLatency,
  RetryBudget,
  type RetryOptions,
  type RetryRefusal,
} from "../../resilience/index.ts";

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
