/**
 * So many at a time, and so many more may wait in the order in which they came.
 *
 * Not "refuse at once when full": a short queue turns a burst into a short wait. Not an endless queue either:
 * behind a slow upstream it would only make everyone late. What does not fit is refused before any work is done.
 */

export interface ConcurrencyOptions {
  readonly requests: number;
  readonly pending: number;
}

/** One that waits for its turn. */
export interface Turn {
  /** Called when the turn has come; the permit is then held. */
  readonly granted: () => void;
}

export class ConcurrencyLimit {
  readonly #options: ConcurrencyOptions;
  // A Set keeps the order of arrival and lets one in the middle leave.
  readonly #waiting = new Set<Turn>();
  #held = 0;

  constructor(options: ConcurrencyOptions) {
    this.#options = options;
  }

  get held(): number {
    return this.#held;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Takes a permit if one is free. */
  tryAcquire(): boolean {
    if (this.#held >= this.#options.requests) return false;
    this.#held++;
    return true;
  }

  /** Queues up; false when the queue is full. */
  tryQueue(turn: Turn): boolean {
    if (this.#waiting.size >= this.#options.pending) return false;
    this.#waiting.add(turn);
    return true;
  }

  /** Leaves the queue before the turn has come. */
  leave(turn: Turn): void {
    this.#waiting.delete(turn);
  }

  /** Gives a permit back; it goes straight to the first in the queue. */
  release(): void {
    for (const turn of this.#waiting) {
      this.#waiting.delete(turn);
      turn.granted();
      return;
    }
    this.#held--;
  }
}
