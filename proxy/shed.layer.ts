/**
 * Refuses a share of the requests when the sidecar itself is overloaded, the least critical ones first. A refusal is answered
 * at once, on a connection that stays: it costs half or more of what it costs to carry a small request (`npm run bench:overload`), and a
 * new connection costs more than both.
 */
import {
  CRITICALITIES,
  criticalityRank,
  type Handler,
  type Layer,
  ProxyError,
  type Random,
} from "../core/index.ts";
import { isShed } from "../resilience/index.ts";
import type { OverloadMonitor } from "./overload.ts";

/** How long a caller is asked to leave this sidecar alone, in seconds: pressure does not fall sooner. */
const RETRY_AFTER_S = 1;

export function shed(monitor: OverloadMonitor, random: Random): Layer {
  return {
    name: "shed",
    wrap(next: Handler): Handler {
      return (exchange) => {
        // Who is taken for dead for being busy leaves its work to the others, who are busy as well.
        if (monitor.pressure === 0 || exchange.asksForHealth) return next(exchange);
        const rank = criticalityRank(exchange);
        if (!isShed(monitor.pressure, rank, random)) return next(exchange);
        const criticality = CRITICALITIES[rank]!;
        monitor.shed[criticality]++;
        return Promise.reject(
          new ProxyError("overloaded", `the sidecar is overloaded, and the request is ${criticality}`, {
            detail: criticality,
            headers: ["Retry-After", String(RETRY_AFTER_S)],
          }),
        );
      };
    },
  };
}
