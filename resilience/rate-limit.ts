/**
 * How fast requests may come: a bucket that holds `burst` of them and is filled by `requests` every `perMs`, evenly.
 *
 * The generic cell rate algorithm (ITU-T I.371, annex A, in the form of virtual scheduling). All that is kept of a bucket is one
 * number: when it will be full again. So nothing has to be filled by a timer, a fraction of a request is not lost however often it
 * is looked at, and a bucket whose time has come is like one that has never been used and can be forgotten without anybody noticing.
 * Not counts per window, which let twice as many through around the turn of a window, and not a list of past requests, which is
 * as long as the limit is high.
 *
 * Of any stretch of `t` milliseconds, however it is chosen, at most `burst + requests * t / perMs` are admitted, and a thousandth
 * of one more: sums of fractions are not exact, and without that grace the last of a burst would now and then be refused.
 */

/** In requests. */
const GRACE = 0.001;
/**
 * How far ahead of its time a bucket may be before that is no truth: threads of a process read their clocks at moments that
 * are milliseconds apart. What is further ahead is from before the clock went back, and must not refuse for as long.
 */
const SKEW_MS = 1_000;

export interface Rate {
  readonly requests: number;
  /** In milliseconds. */
  readonly perMs: number;
  /** At least 1. */
  readonly burst: number;
}

export class RateLimit {
  /** Between two requests that come evenly. */
  readonly #intervalMs: number;
  /** From empty to full. */
  readonly #fillMs: number;

  constructor({ requests, perMs, burst }: Rate) {
    this.#intervalMs = perMs / requests;
    this.#fillMs = this.#intervalMs * burst;
  }

  /** When the bucket will be full, as far as it can be believed; now or earlier for one that is full. */
  believed(fullAtMs: number, nowMs: number): number {
    return fullAtMs > nowMs + this.#fillMs + SKEW_MS ? nowMs + this.#fillMs : fullAtMs;
  }

  admits(fullAtMs: number, nowMs: number): boolean {
    return this.untilFullMs(fullAtMs, nowMs) + this.#intervalMs * (1 - GRACE) <= this.#fillMs;
  }

  /** When the bucket will be full, with one request taken out of it. */
  taken(fullAtMs: number, nowMs: number): number {
    return Math.max(fullAtMs, nowMs) + this.#intervalMs;
  }

  /** The same with one put back. */
  givenBack(fullAtMs: number): number {
    return fullAtMs - this.#intervalMs;
  }

  /** Whole requests that could come at once. */
  left(fullAtMs: number, nowMs: number): number {
    const room = this.#fillMs - this.untilFullMs(fullAtMs, nowMs);
    return Math.max(0, Math.floor(room / this.#intervalMs + GRACE));
  }

  /** Until the next request is admitted, in milliseconds; 0 when it is now. */
  waitMs(fullAtMs: number, nowMs: number): number {
    return Math.max(0, this.untilFullMs(fullAtMs, nowMs) + this.#intervalMs - this.#fillMs);
  }

  /** Until the bucket is full, in milliseconds. */
  untilFullMs(fullAtMs: number, nowMs: number): number {
    return Math.max(0, fullAtMs - nowMs);
  }
}
