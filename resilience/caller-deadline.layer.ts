/**
 * Notes until when a request's caller waits for it: by what it says, and by how long the request may still take for which the app
 * calls out. The deadline layer of the upstream then takes the shorter of this and of what is configured.
 *
 * In the stack of the listener, and so before the route: a request may wait for discovery before it has an upstream.
 * Not a part of the deadline layer either because of the inbound side, whose requests must be known before the app calls out.
 */
import type { Exchange, Handler, Layer } from "../core/index.ts";
import { callersLimitMs } from "./callers-limit.ts";
import type { Inheritance } from "./inheritance.ts";

/** @param inheritance undefined where nothing is inherited */
export function callerDeadline(inheritance: Inheritance | undefined): Layer {
  const notes = (exchange: Exchange) => {
    const limitMs = callersLimitMs(exchange.headers);
    if (limitMs !== Number.POSITIVE_INFINITY) shorten(exchange, exchange.arrivedAtMs + limitMs);
  };
  return {
    name: "caller-deadline",
    wrap(next: Handler): Handler {
      // Decided here and not per request: who inherits nothing looks nothing up.
      if (inheritance === undefined)
        return (exchange) => {
          notes(exchange);
          return next(exchange);
        };
      return (exchange) => {
        notes(exchange);
        if (exchange.direction === "inbound") inheritance.note(exchange);
        else {
          const untilMs = inheritance.deadlineFor(exchange);
          if (untilMs !== Number.POSITIVE_INFINITY) shorten(exchange, untilMs);
        }
        return next(exchange);
      };
    },
  };
}

function shorten(exchange: Exchange, untilMs: number): void {
  exchange.callersDeadlineMs = Math.min(exchange.callersDeadlineMs, untilMs);
  // Also what waits before there is an upstream is bounded by it.
  exchange.deadlineMs = Math.min(exchange.deadlineMs, exchange.callersDeadlineMs);
}
