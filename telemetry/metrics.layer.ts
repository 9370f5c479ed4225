/**
 * One count for every request that was answered or given up, when it is settled and not before: a download that
 * breaks half-way is not a success.
 */
import type { Exchange, Handler, Layer } from "../core/index.ts";
import type { RequestTally } from "./request-tally.ts";

export function metrics(tally: RequestTally): Layer {
  function record(exchange: Exchange): void {
    tally.record(exchange);
  }
  return {
    name: "metrics",
    wrap(next: Handler): Handler {
      return (exchange) => {
        exchange.onSettled(record);
        return next(exchange);
      };
    },
  };
}
