/**
 * By when which share of an upstream's first attempts has been answered lately: the time after which a hedge is sent.
 *
 * Two histograms in turn, the older of which is forgotten as a whole, and not one that fades: what lies back further
 * than the window says nothing, and between half of a window and all of it is recent enough. An attempt that was given
 * up as another was faster counts with the time it had taken: it would have taken longer, so it is above the
 * percentile as it must be. Left out, the slow would be missed among the answers, the percentile fall, and more and
 * more requests be sent twice.
 */
import { LatencyHistogram } from "./latency-histogram.ts";

/** So many slower ones must have been seen before a percentile is believed: 100 requests for p95. */
const SLOWER_SEEN = 5;
/** How often the percentile is worked out anew, in parts of the window. */
const READINGS = 100;

export class RecentLatency {
  readonly #halfMs: number;
  readonly #readingMs: number;
  #newer = new LatencyHistogram();
  #older = new LatencyHistogram();
  #turnAtMs = Number.NEGATIVE_INFINITY;
  readonly #readings = new Map<number, { afterMs: number; untilMs: number }>();

  /** @param windowMs how far back latencies count at the most */
  constructor(windowMs: number) {
    this.#halfMs = windowMs / 2;
    this.#readingMs = windowMs / READINGS;
  }

  record(latencyMs: number, nowMs: number): void {
    this.#turn(nowMs);
    this.#newer.record(latencyMs);
  }

  /** In milliseconds, rounded up by at most 19 %; undefined while too few have been seen. */
  percentileMs(share: number, nowMs: number): number | undefined {
    const before = this.#readings.get(share);
    if (before !== undefined && nowMs < before.untilMs) return before.afterMs;
    this.#turn(nowMs);
    if ((this.#newer.total + this.#older.total) * (1 - share) < SLOWER_SEEN - 1e-9) return undefined;
    const afterMs = this.#newer.upperMs(share, this.#older);
    this.#readings.set(share, { afterMs, untilMs: nowMs + this.#readingMs });
    return afterMs;
  }

  #turn(nowMs: number): void {
    if (nowMs < this.#turnAtMs) return;
    const isLongAgo = nowMs >= this.#turnAtMs + this.#halfMs;
    [this.#newer, this.#older] = [this.#older, this.#newer];
    this.#newer.clear();
    if (isLongAgo) this.#older.clear();
    this.#turnAtMs = nowMs + this.#halfMs;
  }
}
