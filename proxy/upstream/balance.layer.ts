/**
 * Where an attempt gets its endpoint. Innermost of the upstream's stack and inside the retries, so that every
 * attempt chooses anew over the endpoints as they are now.
 */
import type { Handler } from "../../core/index.ts";
import type { Upstream } from "./upstream.ts";

export function balance(upstream: Upstream): Handler {
  return (exchange) => {
    const chosen = upstream.choose(exchange);
    exchange.beginAttempt(chosen.key);
    return chosen.handle(exchange);
  };
}
