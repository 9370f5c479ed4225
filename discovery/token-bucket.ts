/**
 * A bound on how often a registry is asked: a blocking query that does not block, for whatever reason, must not
 * become a busy loop.
 */
export class TokenBucket {
  readonly #burst: number;
  readonly #perSecond: number;
  #tokens: number;
  #stampMs: number;

  constructor(burst: number, perSecond: number, nowMs: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#tokens = burst;
    this.#stampMs = nowMs;
  }

  /** Takes a token, and returns how long to wait before using it. */
  take(nowMs: number): number {
    const earned = ((nowMs - this.#stampMs) / 1000) * this.#perSecond;
    this.#tokens = Math.min(this.#burst, this.#tokens + earned) - 1;
    this.#stampMs = nowMs;
    return this.#tokens >= 0 ? 0 : (-this.#tokens / this.#perSecond) * 1000;
  }
}
