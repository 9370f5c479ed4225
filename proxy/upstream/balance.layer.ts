/**
 * Where an attempt gets its endpoint. Innermost of the upstream's stack and inside the retries, so that every
 * attempt chooses anew over the endpoints as they are now, and a cookie names the one whose answer the caller gets.
 */
import type { Handler } from "../../core/index.ts";
import type { Upstream } from "./upstream.ts";

/** @param mayRetry whether a failed attempt may be followed by another */
export function balance(upstream: Upstream, mayRetry: boolean): Handler {
  const { choice } = upstream;
  const attempt: Handler = (exchange) => {
    const routed = exchange.policy?.retries;
    const chosen = choice.endpointFor(exchange, routed === undefined ? mayRetry : routed.attempts > 0);
    exchange.beginAttempt(chosen.key);
    return chosen.handle(exchange);
  };
  const { remember } = choice;
  // Decided here and not per request: without cookies nothing stands between the endpoint's answer and the retries.
  if (remember === undefined) return attempt;
  return (exchange) => attempt(exchange).then((response) => remember(exchange, response));
}
