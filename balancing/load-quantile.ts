/**
 * Which load is high, among the last that were heard of: a quantile over a sliding window.
 *
 * Exact, since the window is small, and not an estimate that learns by steps, which would have to be told how large a
 * step is at every load. The values are kept in order as well as in turn, so that reading costs nothing and adding one
 * shifts a few.
 */
/** Prequal says "recent probes" and no number; with 64 the share below a quantile of 0.84 is known to 5 %. */
const WINDOW = 64;

export class LoadQuantile {
  readonly #quantile: number;
  /** In turn: where the next goes is the oldest. */
  readonly #ring = new Float64Array(WINDOW);
  readonly #ordered = new Float64Array(WINDOW);
  #next = 0;
  #count = 0;

  /** @param quantile in [0, 1]; 0 is the least of the window */
  constructor(quantile: number) {
    if (!(quantile >= 0 && quantile <= 1))
      throw new RangeError(`expected a quantile from 0 to 1, got ${quantile}`);
    this.#quantile = quantile;
  }

  /**
   * The least value that so many of the window do not exceed. Infinite before the first and for a quantile of 1: then
   * nothing that is ever heard is to count as high.
   */
  get value(): number {
    if (this.#count === 0 || this.#quantile === 1) return Number.POSITIVE_INFINITY;
    return this.#ordered[Math.max(0, Math.ceil(this.#quantile * this.#count) - 1)]!;
  }

  add(value: number): void {
    const ordered = this.#ordered;
    // The place that becomes free: of the oldest, or behind the last.
    let place = this.#count < WINDOW ? this.#count++ : ordered.indexOf(this.#ring[this.#next]!);
    for (; place > 0 && ordered[place - 1]! > value; place--) ordered[place] = ordered[place - 1]!;
    for (; place < this.#count - 1 && ordered[place + 1]! < value; place++)
      ordered[place] = ordered[place + 1]!;
    ordered[place] = value;
    this.#ring[this.#next] = value;
    this.#next = (this.#next + 1) % WINDOW;
  }
}
