/**
 * How many requests at a time, found out instead of configured: the gradient of Envoy's adaptive concurrency.
 *
 * After each window: limit' = gradient x limit + sqrt(limit), where gradient = baseline x (1 + tolerance) / latency, from
 * 0.5 to 2, and the baseline is the latency when nobody waits inside the upstream. With c servers of time S behind it the
 * latency is S x max(1, limit / c), so the limit settles where L - sqrt(L) = c (1 + tolerance): a little more than
 * keeps all servers busy, whatever c is. `npm run simulate` shows it.
 *
 * The baseline must be measured anew, as upstreams change, and not while they are full. Envoy lowers the limit to its
 * minimum for that, and refuses what does not fit. Netflix's Gradient2 takes a long mean instead, which a long overload
 * drags along until there is no limit. Here the limit goes to four fifths of (L - sqrt(L)) / (1 + tolerance), which is c where the
 * baseline is right: the upstream has no queue then and is hardly idle, and the few requests that do not fit wait a
 * moment. Where the baseline was too high, each measurement brings it four fifths of the way, and the next comes soon.
 * One that is too low shows in a limit that falls: a limit that has halved or doubled is a reason to measure, too.
 */
import type { Random } from "../core/index.ts";

export interface AdaptiveOptions {
  /** The least that the limit becomes. */
  readonly minimum: number;
  /** How much longer than the baseline requests may take, as a share of it. */
  readonly tolerance: number;
  /** How long latencies are collected before the limit is changed. */
  readonly windowMs: number;
  /** Which latency of a window counts, in (0, 1). */
  readonly percentile: number;
  /** How often the baseline is measured. */
  readonly measureMs: number;
}

/** Of what the upstream can do when nobody waits in it, so much is let in to measure the baseline. */
const MEASURING_SHARE = 0.8;
/** How many latencies make a baseline, and the first one, for which everybody waits. */
const BASELINE_SAMPLES = 50;
const FIRST_SAMPLES = 10;
/** A window ends with fewer only when there are none to come. */
const WINDOW_SAMPLES = 10;
/** More in a window say nothing more. */
const MOST_SAMPLES = 1024;
const [LEAST_GRADIENT, MOST_GRADIENT] = [0.5, 2];
/** By how much the times between measurements differ, so that many callers do not measure together. */
const JITTER = 0.15;
/** A baseline that has fallen to less than this part was too high, and may still be. */
const FELL = 0.85;
/** The next measurement is so many windows away at least, and no further where the baseline was wrong. */
const SOON_WINDOWS = 10;

export class AdaptiveLimit {
  readonly #options: AdaptiveOptions;
  readonly #maximum: number;
  readonly #random: Random;
  readonly #samples = new Float64Array(MOST_SAMPLES);
  #count = 0;
  #settled: number;
  #baselineMs = 0;
  #inFlight = 0;
  /** Most in flight since the limit was changed. */
  #peak = 0;
  /** What began earlier has seen another limit. */
  #changedAtMs = 0;
  /** The limit while the baseline is being measured. */
  #level: number | undefined;
  /** Since when no more than that have been in flight. */
  #quietSinceMs: number | undefined;
  #measuredAtMs = 0;
  #measureAtMs = 0;
  /** The limit when the baseline was measured. */
  #settledThen: number;

  /** @param maximum what the limit never exceeds */
  constructor(options: AdaptiveOptions, maximum: number, random: Random) {
    this.#options = options;
    this.#maximum = maximum;
    this.#random = random;
    this.#settled = Math.min(options.minimum, maximum);
    this.#settledThen = this.#settled;
    this.#level = this.#settled;
    this.#quietSinceMs = Number.NEGATIVE_INFINITY;
  }

  /** How many are let through at a time now. */
  get limit(): number {
    return Math.round(this.#level ?? this.#settled);
  }

  /** The same but for measurements, as a real number. */
  get settled(): number {
    return this.#settled;
  }

  /** The latency when nobody waits inside the upstream; 0 while it is not known. */
  get baselineMs(): number {
    return this.#baselineMs;
  }

  /** To be told whenever it changes. */
  noteInFlight(inFlight: number, nowMs: number): void {
    this.#inFlight = inFlight;
    if (inFlight > this.#peak) this.#peak = inFlight;
    if (this.#level !== undefined && this.#quietSinceMs === undefined && inFlight <= this.#level)
      this.#quietSinceMs = nowMs;
  }

  /** How long a request took that has just been answered, from its permit to the head of the answer. */
  observe(latencyMs: number, nowMs: number): void {
    this.#observe(latencyMs, latencyMs, nowMs);
  }

  /**
   * How long a request has waited in vain for its answer, which would have taken longer: how much longer nobody knows. With a time that is
   * shorter than an answer takes when nobody waits it says nothing. Else it is slow: if it counted as what it waited, callers who all give
   * up a little above the baseline would look as if all were well, and the limit would rise while nobody is answered any more.
   */
  observeLate(waitedMs: number, nowMs: number): void {
    if (this.#baselineMs === 0 || waitedMs < this.#baselineMs) return;
    const slowMs = (this.#baselineMs * (1 + this.#options.tolerance)) / LEAST_GRADIENT;
    const isMeasuring = this.#level !== undefined;
    this.#observe(waitedMs, isMeasuring ? waitedMs : Math.max(waitedMs, slowMs), nowMs);
  }

  /** @param sampleMs what counts, of a request that began `tookMs` ago */
  #observe(tookMs: number, sampleMs: number, nowMs: number): void {
    const sinceMs = this.#level === undefined ? this.#changedAtMs : this.#quietSinceMs;
    if (sinceMs === undefined || nowMs - tookMs < sinceMs) return;
    if (this.#count < MOST_SAMPLES) this.#samples[this.#count++] = sampleMs;
    if (this.#level === undefined) this.#adapt(nowMs);
    else if (this.#count >= (this.#baselineMs === 0 ? FIRST_SAMPLES : BASELINE_SAMPLES))
      this.#measured(nowMs);
  }

  #adapt(nowMs: number): void {
    const { minimum, tolerance, windowMs } = this.#options;
    if (this.#count < WINDOW_SAMPLES || nowMs - this.#changedAtMs < windowMs) return;
    const before = this.#settled;
    const gradient = (this.#baselineMs * (1 + tolerance)) / Math.max(this.#sampled(), Number.MIN_VALUE);
    const bounded = Math.min(MOST_GRADIENT, Math.max(LEAST_GRADIENT, gradient));
    const wanted = bounded * before + Math.sqrt(before);
    // Where the limit was not in the way, nothing is known of a higher one.
    if (wanted < before || 2 * this.#peak >= before)
      this.#settled = Math.min(this.#maximum, Math.max(Math.min(minimum, this.#maximum), wanted));
    this.#newWindow(nowMs);
    if (this.#mustMeasure(gradient, nowMs)) this.#measure(nowMs);
  }

  #mustMeasure(gradient: number, nowMs: number): boolean {
    if (nowMs >= this.#measureAtMs) return true;
    if (nowMs - this.#measuredAtMs < SOON_WINDOWS * this.#options.windowMs) return false;
    const share = this.#settled / this.#settledThen;
    return share <= 0.5 || share >= 2 || (this.#settled <= this.#options.minimum && gradient < 1);
  }

  #measure(nowMs: number): void {
    const { minimum, tolerance } = this.#options;
    const busy = (this.#settled - Math.sqrt(this.#settled)) / (1 + tolerance);
    this.#level = Math.min(this.#settled, Math.max(minimum, MEASURING_SHARE * busy));
    this.#quietSinceMs = this.#inFlight <= this.#level ? nowMs : undefined;
  }

  #measured(nowMs: number): void {
    const beforeMs = this.#baselineMs;
    this.#baselineMs = this.#sampled();
    const { measureMs, windowMs } = this.#options;
    const soon = this.#baselineMs < FELL * beforeMs;
    const inMs = soon ? SOON_WINDOWS * windowMs : measureMs * (1 + JITTER * this.#random.next());
    this.#measuredAtMs = nowMs;
    this.#measureAtMs = nowMs + inMs;
    this.#settledThen = this.#settled;
    this.#level = undefined;
    this.#quietSinceMs = undefined;
    this.#newWindow(nowMs);
  }

  #newWindow(nowMs: number): void {
    this.#count = 0;
    this.#peak = this.#inFlight;
    this.#changedAtMs = nowMs;
  }

  #sampled(): number {
    const sorted = this.#samples.subarray(0, this.#count).sort();
    return sorted[Math.min(this.#count - 1, Math.floor(this.#options.percentile * this.#count))]!;
  }
}
