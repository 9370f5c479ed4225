/**
 * So many at a time, and so many more may wait for a while; the critical ones in front.
 *
 * Not "refuse at once when full": a short queue turns a burst into a short wait. Not an endless queue either:
 * behind a slow upstream it would only make everyone late. What does not fit is refused before any work is done.
 *
 * First come, first served, as long as the queue is that of a burst. A queue that has not been empty for half of the
 * time that one may wait is no burst: who stands in front has waited longest, and is the next to give up, so that an
 * upstream which is asked for twice what it can do would work for those who have gone. From then on the newest go first
 * ("adaptive LIFO", Maurer, "Fail at scale", 2015), and what comes to a full queue takes the place of the oldest. Not CoDel, which
 * drops from the front by the time spent waiting: its two constants would be two more settings, where here the one that
 * bounds the wait is enough.
 */
import { CRITICALITIES, type Random } from "../core/index.ts";
import { AdaptiveLimit, type AdaptiveOptions } from "./adaptive-limit.ts";
import { type Turn, TurnQueue } from "./turn-queue.ts";

export interface ConcurrencyOptions {
  readonly requests: number;
  readonly pending: number;
  /** How long one may wait for its turn. */
  readonly queueMs: number;
  /** In shadow all are let through, and those that would have been refused are noted. */
  readonly mode?: "enforce" | "shadow" | undefined;
  /** Undefined where `requests` is the limit; else it is the most that the limit may become. */
  readonly adaptive?: AdaptiveOptions | undefined;
}

/** A queue that stands for this part of the time that one may wait is no burst. */
const STANDING = 0.5;

export class ConcurrencyLimit {
  readonly options: ConcurrencyOptions;
  readonly adaptive: AdaptiveLimit | undefined;
  readonly #queue = new TurnQueue(CRITICALITIES.length);
  #held = 0;
  /** Since when somebody has been waiting; means something while anybody does. */
  #standsSinceMs = 0;

  constructor(options: ConcurrencyOptions, random: Random) {
    this.options = options;
    this.adaptive =
      options.adaptive === undefined
        ? undefined
        : new AdaptiveLimit(options.adaptive, options.requests, random);
  }

  /** How many are let through at a time, as it is now. */
  get limit(): number {
    return this.adaptive === undefined ? this.options.requests : this.adaptive.limit;
  }

  get held(): number {
    return this.#held;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  /** Takes a permit if one is free. */
  tryAcquire(nowMs: number): boolean {
    if (this.#held >= this.limit) return false;
    this.#held++;
    this.adaptive?.noteInFlight(this.#held, nowMs);
    return true;
  }

  /**
   * Queues up, if need be in the place of one that would have its turn later: a less critical one, or, in a queue that
   * stands, the oldest. False when there is no place.
   */
  tryQueue(turn: Turn, nowMs: number): boolean {
    const { pending } = this.options;
    if (pending === 0) return false;
    if (this.#queue.size === 0) this.#standsSinceMs = nowMs;
    if (this.#queue.size >= pending) {
      const standing = this.#stands(nowMs);
      const last = this.#queue.takeLast(standing ? "oldest" : "newest", standing ? turn.rank : turn.rank + 1);
      if (last === undefined) return false;
      last.refused();
    }
    this.#queue.add(turn);
    return true;
  }

  /** Leaves the queue before the turn has come. */
  leave(turn: Turn): void {
    this.#queue.remove(turn);
  }

  /** Gives a permit back; it goes straight to whoever is next. */
  release(nowMs: number): void {
    this.#held--;
    this.adaptive?.noteInFlight(this.#held, nowMs);
    this.#admit(nowMs);
  }

  /** How long a request took until the head of its answer, for a limit that goes by it. */
  observe(latencyMs: number, nowMs: number): void {
    this.adaptive?.observe(latencyMs, nowMs);
    this.#admit(nowMs);
  }

  /** How long a request has waited for an answer that did not come in time. */
  observeLate(waitedMs: number, nowMs: number): void {
    this.adaptive?.observeLate(waitedMs, nowMs);
    this.#admit(nowMs);
  }

  #admit(nowMs: number): void {
    if (this.#queue.size === 0) return;
    const next = this.#stands(nowMs) ? "newest" : "oldest";
    while (this.#held < this.limit) {
      const turn = this.#queue.takeFirst(next);
      if (turn === undefined) return;
      this.#held++;
      this.adaptive?.noteInFlight(this.#held, nowMs);
      turn.granted();
    }
  }

  #stands(nowMs: number): boolean {
    return nowMs - this.#standsSinceMs > STANDING * this.options.queueMs;
  }
}
