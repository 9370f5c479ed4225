/**
 * When a second attempt is made beside one that is slow, and when it is not.
 *
 * Hedging trades load for the tail: what is slow for one endpoint's own reason (a pause, a cold cache) is quick at
 * another. What is slow because all are busy becomes slower by it. So it is off unless asked for, it is only for
 * requests that may be sent twice at a time, only to another endpoint, and it is paid for twice over: from the budget
 * of the retries, as both load an upstream that is in trouble, and from its own share of the requests, since a time
 * that is fixed is exceeded by everybody when everybody is slow. (Dean and Barroso, "The tail at scale", CACM 2013.)
 */
import type { Exchange, HedgeAfter } from "../core/index.ts";
import { mayBeDoubled } from "./retry.ts";
import { RetryBudget } from "./retry-budget.ts";

export interface HedgeOptions {
  /** Whether requests are hedged whose route says nothing. */
  readonly enabled: boolean;
  readonly after: HedgeAfter;
  /** How far back latencies count, in milliseconds. */
  readonly windowMs: number;
  /** Attempts beside the first, one after the other. */
  readonly attempts: number;
  /** The most that may be sent beside the requests, as a share of them. */
  readonly ratio: number;
}

/** Why an attempt was not sent beside a slow one. */
export type HedgeRefusal = "budget" | "no_other" | "body" | "switched_off";
/** How an attempt ended that was sent: its answer was taken, another's was, or it failed. */
export type HedgeOutcome = "won" | "lost" | "failed";

/** Over how long the share of the requests is counted, in milliseconds. */
const SHARE_WINDOW_MS = 10_000;

/** The two purses that a hedge is paid from, or not at all. */
export class HedgeBudget {
  readonly #own: RetryBudget;
  readonly #shared: RetryBudget;

  /** @param shared that of the retries; whoever counts its requests does so for both */
  constructor(ratio: number, shared: RetryBudget) {
    this.#own = new RetryBudget({ ratio, minPerSecond: 0, windowMs: SHARE_WINDOW_MS });
    this.#shared = shared;
  }

  /** A request has come that may be hedged. */
  deposit(nowMs: number): void {
    this.#own.deposit(nowMs);
  }

  withdraw(nowMs: number): boolean {
    // Nothing is taken out of the one purse where the other is empty.
    return this.#own.balance(nowMs) >= 1 && this.#shared.withdraw(nowMs) && this.#own.withdraw(nowMs);
  }
}

/** Whether a second attempt may be made at all; what it takes besides is looked at when its time has come. */
export function mayBeHedged(exchange: Exchange): boolean {
  // What is said while it arrives (100 Continue, a change of protocol) is said by one endpoint.
  return mayBeDoubled(exchange) && exchange.upgrade === "" && !exchange.expectsContinue;
}
