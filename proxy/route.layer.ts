/**
 * Leads a request to what its name leads to: the stack of an upstream, further routes, or the wait for what is not known yet.
 * All of them are prepared; here is only a look-up.
 *
 * A route that asks for layers has a stack of its own in front, made once with the routes and shared by all upstreams that it
 * leads to: its innermost handler looks up the name that the request has been given. Routes without any have none.
 */
import { type Exchange, type Handler, type Layer, ProxyError, type Random, stack } from "../core/index.ts";
import { type RouteOptions, RouteTable } from "./route.ts";

/**
 * @param names what each name leads to, by the name in lower case
 * @param layersOf the layers that a route has for itself, outermost first
 */
export function route(
  routes: readonly RouteOptions[],
  names: ReadonlyMap<string, Handler>,
  random: Random,
  layersOf: (route: RouteOptions) => readonly Layer[] = () => [],
): Handler {
  const lead: Handler = (exchange) => names.get(exchange.upstream)?.(exchange) ?? leadsNowhere(exchange);
  const table = new RouteTable(
    routes.map((options) => {
      const layers = layersOf(options);
      return layers.length === 0 ? options : { ...options, way: stack(layers, lead) };
    }),
  );
  return (exchange) => {
    const destination = table.choose(exchange, random);
    const handle = names.get(destination.upstream);
    // Before the exchange is told: a name that is not known must not become a label of metrics.
    if (handle === undefined) return leadsNowhere(exchange);
    exchange.route = destination.route;
    exchange.upstream = destination.upstream;
    exchange.policy = destination.policy;
    return (destination.way ?? handle)(exchange);
  };
}

function leadsNowhere({ authority }: Exchange): Promise<never> {
  return Promise.reject(
    new ProxyError("no_route", `no route and no upstream for host ${JSON.stringify(authority)}`),
  );
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
