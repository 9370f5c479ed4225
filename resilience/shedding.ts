/**
 * Which requests are refused when the sidecar itself is short of something: a share that grows with the pressure, of
 * the sheddable ones first, then of the others, and of the critical ones last.
 *
 * Not all or nothing at a threshold: that is what flaps. A share leaves as much as can be done, and the pressure settles
 * where what is left fits. Pressure rises as it is measured and falls slowly, so that a moment of relief, which the
 * refusals have brought, does not let everybody in again.
 */
import type { Random } from "../core/index.ts";

/** How much pressure falls in a second at most. */
const FALL_PER_SECOND = 0.5;
/** A delay counts when so many looks in a row have found it: one pause is no overload. */
const LOOKS = 4;

/** The share that is refused of each rank of criticality: none up to the beginning of its third, all from its end on. */
export function shedShare(pressure: number, rank: number): number {
  const third = 2 - rank;
  return Math.min(1, Math.max(0, 3 * pressure - third));
}

/** Whether a request is refused. Chance is asked only where it decides. */
export function isShed(pressure: number, rank: number, random: Random): boolean {
  const share = shedShare(pressure, rank);
  return share > 0 && (share >= 1 || random.next() < share);
}

/** How far a value is from where pressure begins to where there is no room left, in [0, 1]. */
export function pressureOf(value: number, begins: number, full: number): number {
  return Math.min(1, Math.max(0, (value - begins) / (full - begins)));
}

/** The pressure of one resource, over time. */
export class Pressure {
  #value = 0;
  #atMs = Number.NEGATIVE_INFINITY;

  /** In [0, 1]. */
  get value(): number {
    return this.#value;
  }

  /** @param measured in [0, 1] */
  measure(measured: number, nowMs: number): void {
    const fallen = this.#value - (FALL_PER_SECOND * (nowMs - this.#atMs)) / 1000;
    this.#value = Math.max(measured, fallen, 0);
    this.#atMs = nowMs;
  }
}

/** The least of the last few delays: what has lasted. */
export class LastingDelay {
  readonly #delaysMs = new Float64Array(LOOKS);
  #next = 0;

  /** @returns milliseconds that each of the last looks has found at least */
  look(delayMs: number): number {
    this.#delaysMs[this.#next] = delayMs;
    this.#next = (this.#next + 1) % LOOKS;
    return Math.min(...this.#delaysMs);
  }
}
