/**
 * Turns among equals: around and around in one order, which costs the same for three as for ten thousand.
 *
 * It begins anywhere: many sidecars start at the same moment, and from the first of the list on they would walk through
 * the endpoints as one crowd.
 */
import { below, type Random } from "../core/index.ts";
import { orderByHash, whole } from "./hash-order.ts";

/** Who comes next, by place in a list. */
export interface Turns {
  next(): number;
  /**
   * By place, how long each still waits, in parts of the time between two of its turns: near 0 it is next, near 1 it was
   * just served, and a half is the mean of all. Between -1 and 2: by weight, some are ahead of their share, or behind.
   */
  phases(): Float64Array;
}

export class Rotation implements Turns {
  /** Undefined for the order of the list. */
  readonly #order: Uint32Array | undefined;
  readonly #count: number;
  #at: number;

  /** @param phases of those that had turns before; undefined for a beginning */
  constructor(count: number, phases: Float64Array | undefined, random: Random) {
    this.#count = count;
    this.#order = phases === undefined ? undefined : byPhase(phases);
    this.#at = phases === undefined ? below(random, count) : 0;
  }

  next(): number {
    const at = this.#at;
    this.#at = at + 1 === this.#count ? 0 : at + 1;
    return this.#order === undefined ? at : this.#order[at]!;
  }

  phases(): Float64Array {
    const count = this.#count;
    const phases = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      const at = (this.#at + i) % count;
      phases[this.#order === undefined ? at : this.#order[at]!] = i / count;
    }
    return phases;
  }
}

function byPhase(phases: Float64Array): Uint32Array {
  const scaled = new Uint32Array(phases.length);
  for (let i = 0; i < scaled.length; i++)
    scaled[i] = Math.min(1, Math.max(0, (phases[i]! + 1) / 3)) * 0xffffffff;
  return whole(orderByHash(scaled, (one, other) => one < other)).order;
}
