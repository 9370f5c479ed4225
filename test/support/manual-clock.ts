/**
 * Time that stands still until a test moves it.
 */
import type { Clock, Timer } from "../../core/index.ts";

interface Waiting {
  readonly dueMs: number;
  readonly callback: () => void;
}

export class ManualClock implements Clock {
  #nowMs: number;
  readonly #waiting = new Set<Waiting>();

  constructor(startMs = 1_000) {
    this.#nowMs = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  get recentMs(): number {
    return this.#nowMs;
  }

  get pending(): number {
    return this.#waiting.size;
  }

  schedule(delayMs: number, callback: () => void): Timer {
    const waiting = { dueMs: this.#nowMs + Math.max(0, delayMs), callback };
    this.#waiting.add(waiting);
    return { cancel: () => this.#waiting.delete(waiting) };
  }

  /** Moves time on; what is due on the way is called in order, each at its own time. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      let next: Waiting | undefined;
      for (const waiting of this.#waiting)
        if (waiting.dueMs <= untilMs && (next === undefined || waiting.dueMs < next.dueMs)) next = waiting;
      if (next === undefined) break;
      this.#waiting.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.callback();
    }
    this.#nowMs = untilMs;
  }

  /** As advance, but lets promises run between the calls. */
  async pass(ms: number): Promise<void> {
    await settled();
    for (let left = ms; left > 0; left -= 1) {
      this.advance(Math.min(1, left));
      if (left % 10 < 1) await settled();
    }
    await settled();
  }
}

/** Lets everything run that only waits for promises. */
export async function settled(): Promise<void> {
  await new Promise<void>((resolve) => {
    setImmediate(resolve);
  });
}
