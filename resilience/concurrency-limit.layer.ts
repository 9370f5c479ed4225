/**
 * Admission to an upstream. The permit is held until the answer has been handed over to its last byte: a slow
 * download occupies the upstream just as a slow computation does.
 */
import {
  type Clock,
  type Exchange,
  type Handler,
  type Layer,
  ProxyError,
  type ProxyResponse,
} from "../core/index.ts";
import type { ConcurrencyLimit, Turn } from "./concurrency-limit.ts";
import { waitFor } from "./wait.ts";

export function concurrencyLimit(clock: Clock, limit: ConcurrencyLimit): Layer {
  const release = () => limit.release();

  function turn(exchange: Exchange): Promise<void> {
    return waitFor<void>(exchange, clock, "queue", (done, fail) => {
      const mine: Turn = { granted: () => done() };
      if (!limit.tryQueue(mine))
        fail(new ProxyError("overflow", "the upstream's limits are reached and its queue is full"));
      return () => limit.leave(mine);
    });
  }

  return {
    name: "limit",
    wrap(next: Handler): Handler {
      async function queued(exchange: Exchange): Promise<ProxyResponse> {
        await turn(exchange);
        exchange.onSettled(release);
        return next(exchange);
      }
      return (exchange) => {
        if (!limit.tryAcquire()) return queued(exchange);
        exchange.onSettled(release);
        return next(exchange);
      };
    },
  };
}
