/**
 * Refuses what the codec could not read. It stands inside the telemetry, so that a malformed request is counted
 * and logged like any other, and before anything that would look at its fields.
 */
import type { Handler, Layer } from "../core/index.ts";

export function wellFormed(): Layer {
  return {
    name: "well-formed",
    wrap(next: Handler): Handler {
      return (exchange) => (exchange.fault === undefined ? next(exchange) : Promise.reject(exchange.fault));
    },
  };
}
