/**
 * How long an endpoint keeps a connection that is not used, as far as that is known. A decision without I/O.
 *
 * The race is an old one: the endpoint closes an unused connection while a request is on its way to it, and nobody can
 * tell whether the request was heard. An endpoint that says how long it waits (Keep-Alive: timeout) is believed, and left
 * before. One that says nothing is in doubt after half a second, and gets no request that must not be sent twice.
 */

/** Shorter than what any common server keeps an unused connection for. */
const DOUBTFUL_AFTER_MS = 500;

export class KeepAlive {
  readonly #mostMs: number;
  #keptMs: number;
  #promised = false;
  #unusedSinceMs = 0;

  /** @param mostMs how long an unused connection is kept whatever the endpoint says */
  constructor(mostMs: number) {
    this.#mostMs = mostMs;
    this.#keptMs = mostMs;
  }

  /** A promise of N seconds is kept from the endpoint's side of the wire; a second is left for the way. */
  learn(promisedMs: number): void {
    this.#promised = true;
    this.#keptMs = Math.min(this.#mostMs, Math.max(promisedMs - 1000, promisedMs / 2));
  }

  /** The connection is unused from now on. @returns until when it may stay so */
  begin(nowMs: number): number {
    this.#unusedSinceMs = nowMs;
    return nowMs + this.#keptMs;
  }

  /** The endpoint may be about to close it; also where a timer that should have closed it is late. */
  doubtful(nowMs: number): boolean {
    return nowMs - this.#unusedSinceMs > (this.#promised ? this.#keptMs : DOUBTFUL_AFTER_MS);
  }
}
