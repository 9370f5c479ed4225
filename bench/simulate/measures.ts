/**
 * What is read off a run: means with their standard errors, exact percentiles, and how long queues were how long.
 *
 * The error of a mean is taken from batches (batch means; Law and Kelton): the times of jobs that follow each other
 * are alike, so the deviation of single jobs would flatter it tenfold.
 */

/** A value with what chance alone makes of it. */
export interface Estimate {
  readonly value: number;
  readonly standardError: number;
}

/** What is counted or computed and not sampled. */
export function exact(value: number): Estimate {
  return { value, standardError: 0 };
}

/** The mean of a time series after a warm-up, with its error. */
export class BatchMeans {
  readonly #fromMs: number;
  readonly #batchMs: number;
  readonly #sums: Float64Array;
  readonly #counts: Float64Array;

  /** @param fromMs what is earlier is warm-up and not counted */
  constructor(fromMs: number, untilMs: number, batches = 20) {
    this.#fromMs = fromMs;
    this.#batchMs = (untilMs - fromMs) / batches;
    this.#sums = new Float64Array(batches);
    this.#counts = new Float64Array(batches);
  }

  add(atMs: number, value: number): void {
    if (atMs < this.#fromMs) return;
    const batch = Math.min(this.#sums.length - 1, Math.floor((atMs - this.#fromMs) / this.#batchMs));
    this.#sums[batch] = this.#sums[batch]! + value;
    this.#counts[batch] = this.#counts[batch]! + 1;
  }

  get count(): number {
    return this.#counts.reduce((sum, count) => sum + count);
  }

  get mean(): Estimate {
    const means = [...this.#sums].map((sum, i) => sum / this.#counts[i]!);
    const value = this.#sums.reduce((sum, each) => sum + each) / this.count;
    return { value, standardError: meanOf(means).standardError };
  }
}

/** The mean of values that have nothing to do with each other. */
export function meanOf(values: readonly number[]): Estimate {
  const value = values.reduce((sum, each) => sum + each, 0) / values.length;
  const squares = values.reduce((sum, each) => sum + (each - value) ** 2, 0);
  return { value, standardError: Math.sqrt(squares / (values.length - 1) / values.length) };
}

/** The share of `count` draws that something has which each draw has with the chance `share`: its standard error. */
export function binomialError(share: number, count: number): number {
  return Math.sqrt((share * (1 - share)) / count);
}

/** Which part of the time queues were how long, summed over all of them: exact, as it is counted at every change. */
export class Levels {
  readonly #fromMs: number;
  readonly #untilMs: number;
  readonly #batchMs: number;
  /** For each batch, the time at each length. */
  readonly #timeAt: readonly Float64Array[];

  /** @param longest longer queues count as this long */
  constructor(fromMs: number, untilMs: number, batches = 20, longest = 2048) {
    this.#fromMs = fromMs;
    this.#untilMs = untilMs;
    this.#batchMs = (untilMs - fromMs) / batches;
    this.#timeAt = Array.from({ length: batches }, () => new Float64Array(longest + 1));
  }

  /** A queue was this long between two moments; what is outside of the time of the account does not count. */
  add(level: number, sinceMs: number, untilMs: number): void {
    const endMs = untilMs < this.#untilMs ? untilMs : this.#untilMs;
    let fromMs = sinceMs > this.#fromMs ? sinceMs : this.#fromMs;
    const last = this.#timeAt.length - 1;
    let batch = Math.floor((fromMs - this.#fromMs) / this.#batchMs);
    // One step for each batch, and not until `fromMs` has come to the end: a rounding may let it stand still.
    for (; fromMs < endMs; batch++) {
      const toMs = batch >= last ? endMs : Math.min(endMs, this.#fromMs + (batch + 1) * this.#batchMs);
      const timeAt = this.#timeAt[batch < last ? batch : last]!;
      const at = level < timeAt.length ? level : timeAt.length - 1;
      timeAt[at] = timeAt[at]! + toMs - fromMs;
      fromMs = toMs;
    }
  }

  /** P(queue >= level). */
  tail(level: number): Estimate {
    return meanOf(this.#timeAt.map((timeAt) => sum(timeAt.subarray(level)) / sum(timeAt)));
  }
}

function sum(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Every value, so that a percentile is exact. */
export class Samples {
  readonly #values: number[] = [];
  /** Typed, as numbers are sorted without a comparison by a function then: in a fifth of the time. */
  #sorted: Float64Array | undefined;

  add(value: number): void {
    this.#values.push(value);
    this.#sorted = undefined;
  }

  get count(): number {
    return this.#values.length;
  }

  get values(): readonly number[] {
    return this.#values;
  }

  /** The least value that the share of all does not exceed. */
  percentile(share: number): number {
    this.#sorted ??= Float64Array.from(this.#values).sort();
    return this.#sorted[Math.min(this.count - 1, Math.max(0, Math.ceil(share * this.count) - 1))]!;
  }

  /** Which part of all is at most this. */
  shareUpTo(value: number): number {
    return this.#values.reduce((count, each) => count + (each <= value ? 1 : 0), 0) / this.count;
  }
}
