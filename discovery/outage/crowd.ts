/**
 * How many there were, to hold a loss against.
 *
 * The most that were in use at once within the last moments, and not what is in use now: a service that is taken away in
 * ten small steps is gone all the same. While there is a doubt, time stands still for it: those that were in use when it
 * began stay the measure, or each one that is found dead would make the rest look like less of a loss.
 */

/** Losses within this time count as one. */
const SUDDEN_MS = 10_000;

export class Crowd {
  /** How many were in use, and until when, oldest first. */
  #sizes: { size: number; untilMs: number }[] = [];
  /** Since there is a doubt. */
  #held: number | undefined;
  readonly #doubted = new Set<string>();

  /** Keys of those that have been in doubt since there is a doubt: one that returns has replaced nobody. */
  get doubted(): ReadonlySet<string> {
    return this.#doubted;
  }

  /** @param size how many have been in use until now */
  before(nowMs: number, size: number): number {
    const last = this.#sizes.at(-1);
    if (last?.size === size) last.untilMs = nowMs;
    else this.#sizes.push({ size, untilMs: nowMs });
    this.#sizes = this.#sizes.filter(({ untilMs }) => untilMs > nowMs - SUDDEN_MS);
    return this.#held ?? Math.max(...this.#sizes.map((one) => one.size));
  }

  /** So many went at a word about themselves, which is no loss to be wondered at. */
  dismiss(count: number): void {
    for (const one of this.#sizes) one.size -= count;
    if (this.#held !== undefined) this.#held -= count;
  }

  /** There is a doubt about these, of so many. */
  hold(size: number, keys: readonly string[]): void {
    this.#held ??= size;
    for (const key of keys) this.#doubted.add(key);
  }

  /** There is no doubt any more. */
  release(): void {
    this.#held = undefined;
    this.#doubted.clear();
  }
}
