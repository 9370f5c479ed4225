/**
 * Asks with each request how loaded the endpoint is, and hears it from the answer. Only for balancers that go by it.
 *
 * The field is no end-to-end one: what an endpoint says of itself is meant for this sidecar, and taken out.
 */
import {
  type Clock,
  type Handler,
  headerValue,
  type Layer,
  type ProxyResponse,
  removeHeader,
  watch,
} from "../../core/index.ts";
import { ASK, LOAD_HEADER, readLoad } from "../own-load/index.ts";
import type { UpstreamEndpoint } from "./endpoint.ts";
import type { LoadProbes } from "./load-probes.ts";

export function heardLoad(probes: LoadProbes, endpoint: UpstreamEndpoint, clock: Clock): Layer {
  const hear = ({ headers }: ProxyResponse) => {
    const text = headerValue(headers, LOAD_HEADER);
    if (text === undefined) return;
    removeHeader(headers, LOAD_HEADER);
    probes.heard(endpoint, readLoad(text), clock.recentMs);
  };
  // Failures are what the load layer tells the balancer of.
  const ignore = () => {};
  return {
    name: "heard-load",
    wrap(next: Handler): Handler {
      return (exchange) => {
        // A further attempt has it already.
        if (headerValue(exchange.headers, LOAD_HEADER) !== ASK) {
          removeHeader(exchange.headers, LOAD_HEADER);
          exchange.headers.push(LOAD_HEADER, ASK);
        }
        return watch(next, exchange, hear, ignore);
      };
    },
  };
}
