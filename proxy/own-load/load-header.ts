/**
 * How a sidecar says how loaded its app is: one field, on answers to those who ask for it with the same field, and on an
 * answer of its own to `OPTIONS *`, which asks for nothing else.
 *
 * A field and not a body, so that every answer can carry it. `OPTIONS *` and not a path: a path belongs to the app, and this is
 * sent to peers of which it is not known whether they are sidecars (RFC 9110, 9.3.7: it concerns the server as a whole). A peer
 * that is none answers it like any server, without the field.
 */
import type { ReplicaLoad } from "../../balancing/index.ts";
import { type Exchange, headerValue } from "../../core/index.ts";

/** In lower case, as it is looked for. */
export const LOAD_HEADER = "x-heddle-load";
/** Its value in a request. */
export const ASK = "ask";

/** Whether a request asks for nothing but the load. */
export function asksOnlyForLoad(exchange: Exchange): boolean {
  const { method, target, fault } = exchange;
  return method === "OPTIONS" && target === "*" && fault === undefined && asksForLoad(exchange);
}

/** Whether its answer is to say how loaded the app is. */
export function asksForLoad({ headers }: Exchange): boolean {
  return headerValue(headers, LOAD_HEADER) === ASK;
}

/** `3;12.5`: requests in flight, and milliseconds that the app takes. */
export function loadText({ inFlight, latencyMs }: ReplicaLoad): string {
  return `${inFlight};${Math.round(latencyMs * 1000) / 1000}`;
}

const LOAD = /^(\d{1,7});(\d{1,9}(?:\.\d{1,3})?)$/;

/** Undefined for what is no load: a peer may be of another kind, or of another time. */
export function readLoad(text: string | undefined): ReplicaLoad | undefined {
  const [, inFlight, latencyMs] = LOAD.exec(text ?? "") ?? [];
  return inFlight === undefined ? undefined : { inFlight: Number(inFlight), latencyMs: Number(latencyMs) };
}
