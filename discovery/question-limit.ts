/**
 * How many questions of a kind are under way at once, in the whole process: probes of endpoints, and first questions to a
 * registry, whose answers are large.
 *
 * Spread and jitter keep checks apart on average. They do not help when hundreds of endpoints stop answering together and every
 * probe lasts as long as it may; then checks become rarer, in turn and the same for all, and the sidecar's sockets
 * stay with the traffic.
 */
export class QuestionLimit {
  readonly #most: number;
  #underWay = 0;
  /** In the order in which they came. */
  readonly #waiting = new Set<() => void>();

  constructor(most = 64) {
    if (!Number.isInteger(most) || most < 1)
      throw new RangeError(`the most questions at once: expected a whole number of at least 1, got ${most}`);
    this.#most = most;
  }

  get underWay(): number {
    return this.#underWay;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Does `work` when it is its turn, and keeps a place until it has settled. Undefined, and the work is not begun, when the
   * signal is aborted while it waits.
   * @throws what `work` throws
   */
  async run<Result>(signal: AbortSignal, work: () => Promise<Result>): Promise<Result | undefined> {
    if (!(await this.#take(signal))) return undefined;
    try {
      // Between the turn and this line others may have run.
      return signal.aborted ? undefined : await work();
    } finally {
      this.#giveBack();
    }
  }

  /** Resolves with true when a place was taken. */
  #take(signal: AbortSignal): Promise<boolean> | boolean {
    if (signal.aborted) return false;
    if (this.#underWay < this.#most) {
      this.#underWay++;
      return true;
    }
    return new Promise((resolve) => {
      const take = () => {
        signal.removeEventListener("abort", leave);
        resolve(true);
      };
      const leave = () => {
        this.#waiting.delete(take);
        resolve(false);
      };
      this.#waiting.add(take);
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  /** A place that somebody waits for is handed over and never free in between, so that nobody can overtake. */
  #giveBack(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#underWay--;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
