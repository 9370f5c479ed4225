/**
 * How long a breaker stays open: twice as long each time that it opens again without having been well for long, up to a
 * bound, and up to a quarter longer by chance.
 *
 * Not always as long: what is down for an hour would cost 720 requests at one each five seconds, and what flaps would be taken back
 * every five seconds. By chance, as a hundred sidecars that saw the same endpoint die would else come back to it in the same
 * moment, and be what it dies of the next time. Never less than what was asked for.
 *
 * It has been well for long when it has been closed for as long as it was open last, and at least for a window. Forgotten
 * at once then, and not step by step: the bound is low, so there is little to climb down from.
 */
import type { Random } from "../core/index.ts";
import type { BreakerOptions } from "./breaker-options.ts";

/** How much longer it may be, as a share. */
const JITTER = 0.25;

export class OpenTime {
  readonly #options: BreakerOptions;
  /** How often it has opened since it was well for long. */
  #openings = 0;
  #lastMs = 0;
  /** Undefined until it closes. */
  #closedAtMs: number | undefined = undefined;

  constructor(options: BreakerOptions) {
    this.#options = options;
  }

  /** It opens now: for so many milliseconds. */
  open(nowMs: number, random: Random): number {
    const { openForMs, openForMaxMs, windowMs } = this.#options;
    const closedAtMs = this.#closedAtMs ?? nowMs;
    if (nowMs - closedAtMs >= Math.max(windowMs, this.#lastMs)) this.#openings = 0;
    const grownMs = Math.min(openForMs * 2 ** this.#openings, openForMaxMs);
    this.#openings++;
    this.#closedAtMs = undefined;
    this.#lastMs = grownMs * (1 + JITTER * random.next());
    return this.#lastMs;
  }

  /** It has closed. */
  close(nowMs: number): void {
    this.#closedAtMs = nowMs;
  }
}
