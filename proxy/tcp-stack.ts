/**
 * The order in which a TCP connection meets the proxy. There is no request: nothing stands here that reads one, and nobody is
 * answered, as there is nothing that would be understood. Behind it are the lists of its name, its upstream and its endpoint, as for a request.
 */
import { type Handler, type Layer, ProxyError, type RoutePolicy, stack } from "../core/index.ts";
import { type RateLimitParts, rateLimit } from "../resilience/index.ts";
import { type AccessLogWriter, accessLog, metrics, type RequestTally } from "../telemetry/index.ts";
import type { OverloadMonitor } from "./overload.ts";
import { shed } from "./shed.layer.ts";
import { passOn } from "./tcp/index.ts";

/** Of what all layers are made from, what these are. */
export interface TcpParts extends RateLimitParts {
  readonly tally: RequestTally;
  /** Undefined when the access log is off. */
  readonly writeAccess: AccessLogWriter | undefined;
  /** Undefined when this sidecar does not look after itself. */
  readonly overload?: OverloadMonitor | undefined;
}

/**
 * From a caller whose bytes are carried as they are, to what its port leads to.
 * @param policy what all connections ask for; of that, how fast they may come
 */
export function tcp(parts: TcpParts, names: ReadonlyMap<string, Handler>, policy?: RoutePolicy): Handler {
  const rates = policy?.rateLimits;
  return stack(
    [...tcpLayers(parts), ...(rates === undefined ? [] : [rateLimit(parts, rates)])],
    (exchange) => {
      const name = exchange.boundUpstream ?? "";
      const lead = names.get(name);
      if (lead === undefined)
        return Promise.reject(new ProxyError("no_route", `there is no upstream ${JSON.stringify(name)}`));
      exchange.upstream = name;
      return lead(exchange);
    },
  );
}

/** From a caller whose connection was redirected, to where it was going and nowhere else. */
export function onward(parts: TcpParts): Handler {
  return stack(tcpLayers(parts), passOn(parts.clock));
}

/** The same where that is not allowed. */
export function nowhere(parts: TcpParts): Handler {
  return stack(tcpLayers(parts), ({ authority }) =>
    Promise.reject(new ProxyError("no_route", `nothing is known of ${authority}, and it may not be called`)),
  );
}

export function tcpLayers(parts: TcpParts): Layer[] {
  return [
    // As for requests, and in the same lists.
    ...(parts.writeAccess === undefined ? [] : [accessLog(parts.writeAccess)]),
    metrics(parts.tally),
    // A connection says nothing of how critical it is.
    ...(parts.overload === undefined ? [] : [shed(parts.overload, parts.random)]),
  ];
}
