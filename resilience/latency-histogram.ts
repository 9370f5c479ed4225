/**
 * The median of many latencies without keeping them: a count for each quarter of an octave.
 *
 * Not a mean, which one stalled request moves by more than a thousand good ones. Not the samples themselves: they would
 * have to be kept and sorted for every endpoint, and compared by a factor of three, a median need not be right to a
 * per cent. A bucket is 19 % wide, so the answer is within 10 % of the true one.
 */
const LEAST_MS = 0.25;
const PER_OCTAVE = 4;
/** Twenty octaves: from a quarter of a millisecond to four minutes; what is beyond is in the outermost. */
const BUCKETS = 80;

export class LatencyHistogram {
  readonly #counts = new Uint32Array(BUCKETS);
  #total = 0;

  /** How many latencies there are. */
  get total(): number {
    return this.#total;
  }

  record(latencyMs: number): void {
    const place = latencyMs > LEAST_MS ? Math.floor(Math.log2(latencyMs / LEAST_MS) * PER_OCTAVE) : 0;
    const bucket = place < BUCKETS ? place : BUCKETS - 1;
    this.#counts[bucket] = this.#counts[bucket]! + 1;
    this.#total++;
  }

  /** The geometric middle of the bucket in which the median is; 0 when there is nothing. */
  medianMs(): number {
    if (this.#total === 0) return 0;
    let before = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      before += this.#counts[bucket]!;
      if (before * 2 >= this.#total) return LEAST_MS * 2 ** ((bucket + 0.5) / PER_OCTAVE);
    }
    return 0;
  }

  /**
   * The upper end of the bucket up to which this share of them is, so that no larger share is above it: in milliseconds,
   * 0 when there is nothing.
   * @param other taken together with
   */
  upperMs(share: number, other: LatencyHistogram): number {
    const wanted = share * (this.#total + other.#total);
    if (wanted === 0) return 0;
    let before = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      before += this.#counts[bucket]! + other.#counts[bucket]!;
      if (before >= wanted) return LEAST_MS * 2 ** ((bucket + 1) / PER_OCTAVE);
    }
    return LEAST_MS * 2 ** (BUCKETS / PER_OCTAVE);
  }

  clear(): void {
    if (this.#total > 0) this.#counts.fill(0);
    this.#total = 0;
  }
}
