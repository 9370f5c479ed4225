/**
 * Leads a request to the stack of its upstream. The stacks are prepared; here is only a look-up.
 */
import { type Handler, ProxyError, type Random } from "../core/index.ts";
import { type RouteOptions, RouteTable } from "./route.ts";

/** @param upstreams the prepared stack of each upstream, by its name in lower case */
export function route(
  routes: readonly RouteOptions[],
  upstreams: ReadonlyMap<string, Handler>,
  random: Random,
): Handler {
  const table = new RouteTable(routes);
  return (exchange) => {
    const destination = table.choose(exchange, random);
    const handle = upstreams.get(destination.upstream);
    if (handle === undefined)
      return Promise.reject(
        new ProxyError("no_route", `no route and no upstream for host ${JSON.stringify(exchange.authority)}`),
      );
    exchange.route = destination.route;
    exchange.upstream = destination.upstream;
    return handle(exchange);
  };
}
