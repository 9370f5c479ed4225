/**
 * A moment that moves: "close this connection if nothing happens until then".
 *
 * A connection moves it several times per request. Moving it later is only a field write; the timer that is
 * already running looks, when it fires, whether the moment has moved, and sleeps for the rest.
 */
import type { Clock, Timer } from "../core/index.ts";

export class Expiry {
  readonly #clock: Clock;
  readonly #onExpired: () => void;
  #expiresAtMs = Number.POSITIVE_INFINITY;
  #firesAtMs = Number.POSITIVE_INFINITY;
  #timer: Timer | undefined;

  constructor(clock: Clock, onExpired: () => void) {
    this.#clock = clock;
    this.#onExpired = onExpired;
  }

  /** Calls back once when `atMs` (on the clock) has passed, unless it is moved before. */
  moveTo(atMs: number): void {
    this.#expiresAtMs = atMs;
    if (atMs < this.#firesAtMs) this.#arm(atMs, this.#clock.now());
  }

  /** Nothing is waited for now. The timer may still run out unheard. */
  suspend(): void {
    this.#expiresAtMs = Number.POSITIVE_INFINITY;
  }

  /** For good: leaves no timer behind. */
  stop(): void {
    this.suspend();
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#firesAtMs = Number.POSITIVE_INFINITY;
  }

  #arm(atMs: number, nowMs: number): void {
    this.#timer?.cancel();
    this.#firesAtMs = atMs;
    this.#timer = this.#clock.schedule(atMs - nowMs, () => this.#fire());
  }

  #fire(): void {
    this.#timer = undefined;
    this.#firesAtMs = Number.POSITIVE_INFINITY;
    if (this.#expiresAtMs === Number.POSITIVE_INFINITY) return;
    const nowMs = this.#clock.now();
    if (nowMs < this.#expiresAtMs) {
      this.#arm(this.#expiresAtMs, nowMs);
      return;
    }
    this.#expiresAtMs = Number.POSITIVE_INFINITY;
    this.#onExpired();
  }
}
