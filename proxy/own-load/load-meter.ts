/**
 * How loaded the app is, over all workers of this sidecar.
 *
 * What is in flight is counted over all of them, as the app does not know which worker sent it a request; each writes into a
 * place of its own, so that nobody waits for anybody, and a worker that is lost takes its count along. How long requests take
 * each worker knows from its own, which are a sample of all.
 */
import { OwnLoad, type ReplicaLoad } from "../../balancing/index.ts";

/** The places of so many workers, which they share. */
export function sharedCounts(workers: number): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(workers * Int32Array.BYTES_PER_ELEMENT));
}

export class LoadMeter {
  readonly #own = new OwnLoad();
  readonly #counts: Int32Array;
  readonly #place: number;
  /** Nobody has asked yet: nothing is measured, and costs nothing. */
  isAsked = false;

  /** @param place of this worker among the counts; what its predecessor left there is gone */
  constructor(counts: Int32Array = sharedCounts(1), place = 0) {
    this.#counts = counts;
    this.#place = place;
    counts[place] = 0;
  }

  /** @returns what `completed` wants to know of it */
  arrived(): number {
    this.#counts[this.#place]!++;
    return this.#own.arrived();
  }

  completed(inFlight: number, latencyMs: number, failed: boolean, nowMs: number): void {
    this.#counts[this.#place]!--;
    this.#own.completed(inFlight, latencyMs, failed, nowMs);
  }

  /** It ended, and how long it took says nothing. */
  abandoned(): void {
    this.#counts[this.#place]!--;
    this.#own.abandoned();
  }

  answer(nowMs: number): ReplicaLoad {
    let inFlight = 0;
    for (const count of this.#counts) inFlight += count;
    return { inFlight, latencyMs: this.#own.answer(nowMs).latencyMs };
  }
}
