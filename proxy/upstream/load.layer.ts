/**
 * What is learned about an endpoint from one attempt: for balancers, requests in flight until the body has ended, latency
 * until the head has come, and failures as slowness; for outlier detection, how it ended. It also counts the attempt.
 */
import {
  asProxyError,
  type Clock,
  type Handler,
  type Layer,
  type Outcome,
  type ProxyResponse,
  retryAfterMs,
  watch,
} from "../../core/index.ts";
import { type Ending, isEndpointFailure, outcomeOf, saysTimeIsUp } from "../../resilience/index.ts";
import type { UpstreamEndpoint } from "./endpoint.ts";
import type { Upstream } from "./upstream.ts";

/** How an attempt whose head was fine is counted when its body has closed. */
const ENDINGS: Readonly<Record<Outcome, string>> = {
  success: "success",
  failure: "broken_answer",
  ignored: "abandoned",
};

export function load(upstream: Upstream, endpoint: UpstreamEndpoint, clock: Clock): Layer {
  const ended = (status: number, outcome: Outcome, latencyMs: number, startedAtMs: number) => {
    endpoint.end();
    const failed = isEndpointFailure(status);
    upstream.countAttempt(failed ? "failed_status" : ENDINGS[outcome]);
    endpoint.watched?.observe(failed ? failureOf(status) : outcome, latencyMs, startedAtMs, clock.recentMs);
  };
  return {
    name: "load",
    wrap(next: Handler): Handler {
      return (exchange) => {
        const startedAtMs = clock.recentMs;
        if (endpoint.inFlight === 0) endpoint.latency.endIdle(startedAtMs);
        endpoint.begin();
        return watch(
          next,
          exchange,
          (response) => {
            const { status, body } = response;
            const nowMs = clock.recentMs;
            const latencyMs = nowMs - startedAtMs;
            // Its caller's time was up, and the endpoint has only said so first.
            const isLate = saysTimeIsUp(exchange, response);
            if (!isLate) endpoint.latency.observe(latencyMs, isEndpointFailure(status), nowMs);
            if (status === 503 || status === 429) heedRetryAfter(endpoint, response, nowMs);
            if (status === 101 || exchange.opaque) {
              // A tunnel may last for days: the endpoint has done what was asked when it has switched, or taken the connection.
              endpoint.watched?.observe("success", latencyMs, startedAtMs, nowMs);
              body.onClosed((outcome) => {
                endpoint.end();
                upstream.countAttempt(ENDINGS[outcome]);
              });
            } else if (isLate) {
              endpoint.end();
              upstream.countAttempt("deadline_exceeded");
              endpoint.watched?.observe("ignored", latencyMs, startedAtMs, nowMs);
            } else if (body.complete) ended(status, "success", latencyMs, startedAtMs);
            else {
              if (!isEndpointFailure(status)) endpoint.watched?.answers(latencyMs, startedAtMs);
              body.onClosed((outcome) => {
                ended(status, outcome, latencyMs, startedAtMs);
                if (outcome === "failure") upstream.trying.answerBroke(exchange);
              });
            }
          },
          (thrown) => {
            endpoint.end();
            const nowMs = clock.now();
            const latencyMs = nowMs - startedAtMs;
            const failed = outcomeOf(thrown) === "failure";
            if (failed) endpoint.latency.observe(latencyMs, true, nowMs);
            upstream.countAttempt(asProxyError(thrown).code);
            endpoint.watched?.observe(failed ? "gatewayFailure" : "ignored", latencyMs, startedAtMs, nowMs);
          },
        );
      };
    },
  };
}

/** 502, 503 and 504 are said for somebody behind the endpoint; the others are its own. */
function failureOf(status: number): Ending {
  return status === 502 || status === 503 || status === 504 ? "gatewayFailure" : "failure";
}

function heedRetryAfter(endpoint: UpstreamEndpoint, { headers }: ProxyResponse, nowMs: number): void {
  const forMs = retryAfterMs(headers);
  if (forMs !== undefined) endpoint.latency.holdOff(forMs, nowMs);
}
