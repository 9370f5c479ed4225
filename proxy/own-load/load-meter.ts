/**
 * How loaded the app is, over all workers of this sidecar.
 *
 * What is in flight is counted over all of them, as the app does not know which worker sent it a request; each writes into a
 * place of its own, so that nobody waits for anybody, and a worker that is lost takes its count along. How long requests take
 * each worker knows from its own, which are a sample of all.
 */
import { OwnLoad, type ReplicaLoad } from "../../balancing/index.ts";

/** A place for each of so many workers, which they share, and one that is not 0 when anybody has been asked. */
export function sharedCounts(workers: number): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer((workers + 1) * Int32Array.BYTES_PER_ELEMENT));
}

export class LoadMeter {
  readonly #own = new OwnLoad();
  readonly #counts: Int32Array;
  readonly #place: number;
  /** It says nothing any more, so that callers look elsewhere. */
  isLeaving = false;

  /** @param place of this worker among the counts; what its predecessor left there is gone */
  constructor(counts: Int32Array = sharedCounts(1), place = 0) {
    this.#counts = counts;
    this.#place = place;
    counts[place] = 0;
  }

  /** As long as nobody has asked any of the workers, nothing is measured, and costs nothing. */
  get isAsked(): boolean {
    return this.#counts[this.#counts.length - 1] !== 0;
  }

  noteAsked(): void {
    this.#counts[this.#counts.length - 1] = 1;
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

  /** Its caller has hung up: how long it would have taken is only known when that is longer than usual already. */
  givenUp(inFlight: number, latencyMs: number, nowMs: number): void {
    if (latencyMs > this.#own.answer(nowMs).latencyMs) this.completed(inFlight, latencyMs, false, nowMs);
    else this.abandoned();
  }

  /** It ended, and how long it took says nothing. */
  abandoned(): void {
    this.#counts[this.#place]!--;
    this.#own.abandoned();
  }

  answer(nowMs: number): ReplicaLoad {
    let inFlight = 0;
    for (let place = 0; place < this.#counts.length - 1; place++) inFlight += this.#counts[place]!;
    return { inFlight, latencyMs: this.#own.answer(nowMs).latencyMs };
  }
}
