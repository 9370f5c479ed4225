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

/** Wraps `last` in `layers`, the first of them outermost. */
export function stack(layers: readonly Layer[], last: Handler): Handler {
  return layers.reduceRight((next, layer) => layer.wrap(next), last);
}
