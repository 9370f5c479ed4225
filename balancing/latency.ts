/**
 * Latency that is quick to fear and slow to forgive.
 *
 * A mean over a window notices a stall only after the slow answers have come back. This measure jumps to each
 * peak at once and decays exponentially. (Finagle's Peak EWMA.) On top of Finagle: a failure counts as slow,
 * because an endpoint that fails fast would otherwise look like the best one and draw the traffic.
 */
/** How long an old observation keeps 1/e of its say. */
const DECAY_MS = 10_000;
/**
 * The same while nothing is under way there: silence of an endpoint that is not asked is no sign against it. With the
 * long decay, one slow first answer keeps a replica that came back out of use for half a minute.
 */
const IDLE_DECAY_MS = 1_000;
/** What a failure is taken to have lasted, at least. */
const FAILURE_PENALTY_MS = 1_000;

/** The longest that an endpoint is left alone at its own request: a wrong header must not cost a replica. */
const MOST_HELD_OFF_MS = 30_000;

/** The decaying peak of one endpoint's latency. */
export class PeakEwma {
  #costMs = 0;
  #stampMs = 0;
  #heldOffUntilMs = Number.NEGATIVE_INFINITY;

  /** An answer took this long; a failure counts as at least the penalty. */
  observe(latencyMs: number, failed: boolean, nowMs: number): void {
    const sample = failed ? Math.max(latencyMs, FAILURE_PENALTY_MS) : latencyMs;
    if (sample > this.#costMs) {
      this.#costMs = sample;
    } else {
      const keep = Math.exp(-Math.max(0, nowMs - this.#stampMs) / DECAY_MS);
      this.#costMs = this.#costMs * keep + sample * (1 - keep);
    }
    this.#stampMs = nowMs;
  }

  /** The estimate now: it sinks while nothing is heard, so that an endpoint in disgrace is tried again. */
  estimateMs(nowMs: number, idle = false): number {
    if (this.#costMs === 0) return 0;
    return this.#costMs * Math.exp(-Math.max(0, nowMs - this.#stampMs) / (idle ? IDLE_DECAY_MS : DECAY_MS));
  }

  /** It has asked to be left alone for so long (Retry-After): whoever else there is comes first. */
  holdOff(forMs: number, nowMs: number): void {
    this.#heldOffUntilMs = Math.max(this.#heldOffUntilMs, nowMs + Math.min(forMs, MOST_HELD_OFF_MS));
  }

  /** For how much longer, in milliseconds. */
  heldOffForMs(nowMs: number): number {
    return Math.max(0, this.#heldOffUntilMs - nowMs);
  }

  isHeldOff(nowMs: number): boolean {
    return nowMs < this.#heldOffUntilMs;
  }

  /** An idle endpoint is asked again: what it was forgiven meanwhile stays forgiven. */
  endIdle(nowMs: number): void {
    this.#costMs = this.estimateMs(nowMs, true);
    this.#stampMs = Math.max(this.#stampMs, nowMs);
  }
}
