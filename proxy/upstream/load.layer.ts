/**
 * What the balancers go by, measured around one attempt: requests in flight until the body has ended, latency
 * until the head has come, and failures as slowness. It also counts the attempt.
 */
import { asProxyError, type Clock, type Handler, type Layer, type Outcome, watch } from "../../core/index.ts";
import { isEndpointFailure, outcomeOf } from "../../resilience/index.ts";
import type { UpstreamEndpoint } from "./endpoint.ts";
import type { Upstream } from "./upstream.ts";

/** How an attempt whose head was fine is counted when its body has closed. */
const ENDINGS: Readonly<Record<Outcome, string>> = {
  success: "success",
  failure: "broken_answer",
  ignored: "abandoned",
};

export function load(upstream: Upstream, endpoint: UpstreamEndpoint, clock: Clock): Layer {
  const ended = (failed: boolean, outcome: Outcome) => {
    endpoint.inFlight--;
    upstream.countAttempt(failed ? "failed_status" : ENDINGS[outcome]);
  };
  return {
    name: "load",
    wrap(next: Handler): Handler {
      return (exchange) => {
        const startedAtMs = clock.recentMs;
        if (endpoint.inFlight === 0) endpoint.latency.endIdle(startedAtMs);
        endpoint.inFlight++;
        return watch(
          next,
          exchange,
          (response) => {
            const failed = isEndpointFailure(response.status);
            const nowMs = clock.recentMs;
            endpoint.latency.observe(nowMs - startedAtMs, failed, nowMs);
            if (response.body.complete) ended(failed, "success");
            else response.body.onClosed((outcome) => ended(failed, outcome));
          },
          (thrown) => {
            endpoint.inFlight--;
            const nowMs = clock.now();
            if (outcomeOf(thrown) === "failure") endpoint.latency.observe(nowMs - startedAtMs, true, nowMs);
            upstream.countAttempt(asProxyError(thrown).code);
          },
        );
      };
    },
  };
}
