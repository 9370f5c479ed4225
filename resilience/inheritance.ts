/**
 * Deadlines through the app: what the app sends while it answers a request need not take longer than that request may.
 *
 * Known by the request id, which apps hand on for their logs, so that nothing has to be changed in them. But an id is no promise: a
 * caller may use one for several requests at the same time. Then the longest of their deadlines is inherited, as it can only be too
 * long. What is remembered is what is being answered, so it is bounded by the connections of the listener.
 *
 * A deadline ends with the head of the answer. What the app sends after that (a stream goes on, a job is left to do) inherits nothing.
 */
import type { Exchange } from "../core/index.ts";
import { mayBeRepeated } from "./retry.ts";

/**
 * Which requests inherit. `repeatable`: those that may be sent twice without harm, so that none that may be in the middle of a
 * payment is cut short by the deadline of somebody else.
 */
export const INHERITING = ["none", "repeatable", "all"] as const;
export type Inheriting = (typeof INHERITING)[number];

export class Inheritance {
  readonly #all: boolean;
  /** By request id; several at the same time are rare. */
  readonly #served = new Map<string, Exchange | Set<Exchange>>();
  /** One for all exchanges, as a closure for each is what this layer would cost the most. */
  readonly #forget = (exchange: Exchange) => this.#remove(exchange);

  constructor(inheriting: Exclude<Inheriting, "none">) {
    this.#all = inheriting === "all";
  }

  /** How many ids are remembered. */
  get size(): number {
    return this.#served.size;
  }

  /** The app is about to be asked this. */
  note(exchange: Exchange): void {
    const { requestId } = exchange;
    const before = this.#served.get(requestId);
    if (before === undefined) this.#served.set(requestId, exchange);
    else if (before instanceof Set) before.add(exchange);
    else this.#served.set(requestId, new Set([before, exchange]));
    exchange.onSettled(this.#forget);
  }

  /** Until when the request may take for which the app sends this one; Infinity when there is none, or none that is known. */
  deadlineFor(exchange: Exchange): number {
    const served = this.#served.get(exchange.requestId);
    if (served === undefined || !(this.#all || mayBeRepeated(exchange))) return Number.POSITIVE_INFINITY;
    if (!(served instanceof Set)) return openDeadlineMs(served);
    let longestMs = Number.NEGATIVE_INFINITY;
    for (const one of served) longestMs = Math.max(longestMs, openDeadlineMs(one));
    return longestMs;
  }

  #remove(exchange: Exchange): void {
    const { requestId } = exchange;
    const served = this.#served.get(requestId);
    if (served instanceof Set && served.size > 1) served.delete(exchange);
    else this.#served.delete(requestId);
  }
}

/** Of a request whose answer has begun there is none any more. */
function openDeadlineMs(served: Exchange): number {
  return served.status === 0 ? served.deadlineMs : Number.POSITIVE_INFINITY;
}
