/**
 * The endpoints that the configuration names: known at once, and for ever.
 */
import type { Endpoint } from "../core/index.ts";
import type { Source } from "./source.ts";

export function staticSource(endpoints: readonly Endpoint[]): Source {
  return {
    name: "static",
    start: (onEndpoints) => onEndpoints(endpoints),
    stop() {},
  };
}
