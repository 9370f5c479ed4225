/**
 * Leads a request to what its name leads to: the stack of an upstream, further routes, or the wait for what is not known yet.
 * All of them are prepared; here is only a look-up.
 */
import { type Handler, ProxyError, type Random } from "../core/index.ts";
import { type RouteOptions, RouteTable } from "./route.ts";

/** @param names what each name leads to, by the name in lower case */
export function route(
  routes: readonly RouteOptions[],
  names: ReadonlyMap<string, Handler>,
  random: Random,
): Handler {
  const table = new RouteTable(routes);
  return (exchange) => {
    const destination = table.choose(exchange, random);
    const handle = names.get(destination.upstream);
    if (handle === undefined)
      return Promise.reject(
        new ProxyError("no_route", `no route and no upstream for host ${JSON.stringify(exchange.authority)}`),
      );
    exchange.route = destination.route;
    exchange.upstream = destination.upstream;
    exchange.policy = destination.policy;
    return handle(exchange);
  };
}

/**
 * The same behind a name that has routes of its own, as a service in Consul may have.
 * @param lanes the prepared stacks that the routes lead to
 */
export function routeWithin(
  routes: readonly RouteOptions[],
  lanes: ReadonlyMap<string, Handler>,
  random: Random,
): Handler {
  const table = new RouteTable(routes);
  return (exchange) => {
    const destination = table.match(exchange, random);
    const handle = destination === undefined ? undefined : lanes.get(destination.upstream);
    if (destination === undefined || handle === undefined)
      return Promise.reject(
        new ProxyError("no_route", `no route of ${exchange.upstream} matches the request`),
      );
    exchange.route = exchange.route === "" ? destination.route : `${exchange.route}/${destination.route}`;
    return handle(exchange);
  };
}
