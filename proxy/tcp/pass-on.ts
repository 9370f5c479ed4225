/**
 * The way of a connection that is none of the mesh's: to where it was going, with the limits that an operating system would have and
 * no others. Nothing chooses, tries again or judges: there is one destination, and nobody here knows it.
 */
import type { Clock, Exchange, Handler } from "../../core/index.ts";
import { openTcp } from "./endpoint-connection.ts";

/** In the log and in metrics: a name for each stranger would be a series for each. */
const PASSED = "passthrough";
const CONNECT_MS = 10_000;
/** As for tunnels, unless told otherwise. */
const IDLE_MS = 3_600_000;

export function passOn(clock: Clock): Handler {
  return (exchange) => {
    exchange.upstream = PASSED;
    const endpoint = { ...destinationOf(exchange), weight: 1, source: PASSED };
    exchange.beginAttempt(exchange.pinnedTo);
    return openTcp({ endpoint, clock, connectMs: CONNECT_MS, idleMs: IDLE_MS, onClosed: () => {} }, exchange);
  };
}

function destinationOf({ pinnedTo }: Exchange): { readonly address: string; readonly port: number } {
  const colon = pinnedTo.lastIndexOf(":");
  const address = pinnedTo.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  return { address, port: Number(pinnedTo.slice(colon + 1)) };
}
