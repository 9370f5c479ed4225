/**
 * What the balancers go by, measured around one attempt: requests in flight until the body has ended, latency
 * until the head has come, and failures as slowness. It also counts the attempt.
 */
import { asProxyError, type Clock, type Handler, type Layer } from "../../core/index.ts";
import { isEndpointFailure, outcomeOf } from "../../resilience/index.ts";
import type { Upstream, UpstreamEndpoint } from "./upstream.ts";

export function load(upstream: Upstream, endpoint: UpstreamEndpoint, clock: Clock): Layer {
  const ended = () => {
    endpoint.inFlight--;
  };
  return {
    name: "load",
    wrap(next: Handler): Handler {
      return async (exchange) => {
        const startedAtMs = clock.now();
        if (endpoint.inFlight === 0) endpoint.latency.endIdle(startedAtMs);
        endpoint.inFlight++;
        try {
          const response = await next(exchange);
          const failed = isEndpointFailure(response.status);
          const nowMs = clock.now();
          endpoint.latency.observe(nowMs - startedAtMs, failed, nowMs);
          upstream.countAttempt(failed ? "failed_status" : "success");
          response.body.onClosed(ended);
          return response;
        } catch (thrown) {
          ended();
          const nowMs = clock.now();
          if (outcomeOf(thrown) === "failure") endpoint.latency.observe(nowMs - startedAtMs, true, nowMs);
          upstream.countAttempt(asProxyError(thrown).code);
          throw thrown;
        }
      };
    },
  };
}
