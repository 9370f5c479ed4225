/**
 * The onion: a request meets the first layer first, its response meets that layer last.
 *
 * A stack is built when configuration or endpoints change, never while a request is in flight, so a layer may
 * do slow work in `wrap` and none in the handler it returns. A layer that only passes through hands back
 * `next`'s promise instead of awaiting it: an await costs, a return does not.
 */
import type { Exchange } from "./exchange.ts";
import type { ProxyResponse } from "./response.ts";

/** Answers one exchange. It rejects only with what the rescue layer can turn into a response. */
export type Handler = (exchange: Exchange) => Promise<ProxyResponse>;

export interface Layer {
  /** Printed by the admin port at /stack; the order of names is compared with ARCHITECTURE.md by a test. */
  readonly name: string;
  wrap(next: Handler): Handler;
}

/**
 * For a layer that only watches: calls `next`, calls back with what becomes of it, and hands the same promise on, so
 * that an answer is not held up by a turn of the promise queue for every layer that looks at it. Watchers further in are
 * told first. They must not throw.
 */
export function watch(
  next: Handler,
  exchange: Exchange,
  onResponse: (response: ProxyResponse) => void,
  onFailure: (thrown: unknown) => void,
): Promise<ProxyResponse> {
  const answer = called(next, exchange);
  answer.then(onResponse, onFailure);
  return answer;
}

/** A handler that throws instead of rejecting is treated as one that rejects. */
export function called(next: Handler, exchange: Exchange): Promise<ProxyResponse> {
  try {
    return next(exchange);
  } catch (thrown) {
    return Promise.reject(thrown);
  }
}

/** Wraps `last` in `layers`, the first of them outermost. */
export function stack(layers: readonly Layer[], last: Handler): Handler {
  return layers.reduceRight((next, layer) => layer.wrap(next), last);
}
