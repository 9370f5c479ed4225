/**
 * The breaker's place on the way to one endpoint: a permit before the attempt, its outcome after the body.
 *
 * What counts as a failure of the endpoint: no connection, no answer in time, a broken answer, and the statuses
 * that say so. 501 and 505 judge the request, not the endpoint; a caller that hung up judges nothing.
 */
import { asProxyError, type Handler, type Layer, type Outcome, ProxyError, watch } from "../core/index.ts";
import type { EndpointBreaker } from "./breaker.ts";
import { CALLERS_LIMIT, saysTimeIsUp } from "./deadline.ts";

export function breakerLayer(breaker: EndpointBreaker, endpoint: string): Layer {
  return {
    name: "breaker",
    wrap(next: Handler): Handler {
      return (exchange) => {
        const permit = breaker.admit();
        if (permit === undefined)
          return Promise.reject(
            new ProxyError("breaker_open", `the breaker of ${endpoint} is open`, { endpoint }),
          );
        return watch(
          next,
          exchange,
          (response) => {
            if (isEndpointFailure(response.status))
              breaker.settle(permit, saysTimeIsUp(exchange, response) ? "ignored" : "failure");
            // A tunnel may last for days, and a probe must not: the endpoint has done what was asked when it has switched.
            else if (response.body.complete || response.status === 101) breaker.settle(permit, "success");
            else response.body.onClosed((outcome) => breaker.settle(permit, outcome));
          },
          (thrown) => breaker.settle(permit, outcomeOf(thrown)),
        );
      };
    },
  };
}

/** Whether a status says that the endpoint is failing. */
export function isEndpointFailure(status: number): boolean {
  return status >= 500 && status !== 501 && status !== 505;
}

/** What a failed attempt says about the endpoint. */
export function outcomeOf(thrown: unknown): Outcome {
  const { code, detail, endpoint, kind } = asProxyError(thrown);
  // The deadline is ours, but an endpoint that let it pass was too slow for it. The caller's says nothing of the endpoint.
  if (code === "deadline_exceeded")
    return endpoint === undefined || detail === CALLERS_LIMIT ? "ignored" : "failure";
  return kind.origin === "upstream" ? "failure" : "ignored";
}
