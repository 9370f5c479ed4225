/**
 * Why a budget and not only a maximum of retries: a maximum multiplies the load of everyone just when the
 * upstream is failing (3 attempts are 3 times the load, and 9 times through two layers), which keeps it down.
 * A budget bounds all retries together to a share of the requests, so an outage costs the upstream at most that
 * share more. The floor lets a quiet caller retry at all. (Finagle's RetryBudget.)
 */

export interface RetryBudgetOptions {
  /** Retries allowed per request, as a share: 0.2 is 20 %. */
  readonly ratio: number;
  /** Retries per second that are allowed on top of the share, counted over the whole window. */
  readonly minPerSecond: number;
  /** How long a request entitles to its share. */
  readonly windowMs: number;
}

export const DEFAULT_RETRY_BUDGET: RetryBudgetOptions = { ratio: 0.2, minPerSecond: 10, windowMs: 10_000 };

const SLICES = 10;

export class RetryBudget {
  readonly #options: RetryBudgetOptions;
  readonly #sliceMs: number;
  /** Requests, and retries paid for, per slice of the window. */
  readonly #requests = new Float64Array(SLICES);
  readonly #spent = new Float64Array(SLICES);
  #slice = Number.NEGATIVE_INFINITY;

  constructor(options: RetryBudgetOptions) {
    this.#options = options;
    this.#sliceMs = options.windowMs / SLICES;
  }

  /** A request has come, or whatever else earns: it entitles to a share of a retry. */
  deposit(nowMs: number): void {
    this.#advance(nowMs);
    this.#requests[this.#index()]!++;
  }

  /** Pays for one retry, or says that there is nothing left. */
  withdraw(nowMs: number): boolean {
    this.#advance(nowMs);
    if (this.balance(nowMs) < 1) return false;
    this.#spent[this.#index()]!++;
    return true;
  }

  /** Retries that could be paid for now. */
  balance(nowMs: number): number {
    this.#advance(nowMs);
    const floor = (this.#options.minPerSecond * this.#options.windowMs) / 1000;
    return floor + this.#options.ratio * sum(this.#requests) - sum(this.#spent);
  }

  #index(): number {
    return ((this.#slice % SLICES) + SLICES) % SLICES;
  }

  /** Forgets the slices that have left the window. */
  #advance(nowMs: number): void {
    const slice = Math.floor(nowMs / this.#sliceMs);
    if (slice <= this.#slice) return;
    const steps = Math.min(SLICES, slice - this.#slice);
    this.#slice = slice;
    for (let back = 0; back < steps; back++) {
      const index = (((slice - back) % SLICES) + SLICES) % SLICES;
      this.#requests[index] = 0;
      this.#spent[index] = 0;
    }
  }
}

function sum(values: Float64Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
