/**
 * What turns the windows of many breakers: one timer for all of an upstream, and none while nobody listens.
 *
 * Not opossum's own: two intervals per breaker would cost a fifth of a core at 10,000.
 */
import { EventEmitter } from "node:events";
import type { Clock, Timer } from "../core/index.ts";

/** The parts of a window. */
export const BUCKETS = 10;

export class BreakerRotation {
  readonly #clock: Clock;
  readonly #bucketMs: number;
  /** What opossum is turned by. */
  readonly events: EventEmitter = new EventEmitter().setMaxListeners(0);
  #timer: Timer | undefined;

  constructor(clock: Clock, windowMs: number) {
    this.#clock = clock;
    this.#bucketMs = windowMs / BUCKETS;
  }

  /** Which bucket of time is being filled. */
  get bucket(): number {
    return Math.floor(this.#clock.recentMs / this.#bucketMs);
  }

  /** Turns, as long as somebody listens. */
  begin(): void {
    this.#timer ??= this.#clock.schedule(this.#bucketMs, () => this.#rotate());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #rotate(): void {
    this.#timer = undefined;
    this.events.emit("rotate");
    if (this.events.listenerCount("rotate") > 0) this.begin();
  }
}
