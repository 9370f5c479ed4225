/**
 * Which upstream is a request for? Routes in the order written, the first match wins; without a match the host
 * names the upstream. A decision without I/O: chance for the weights is handed in.
 *
 * Not a walk along the list: a mesh has a thousand routes, and nearly all are told apart by their host or path. Those two
 * are looked up; what is left is compared in the order written.
 */
import type { Exchange, Handler, Random, RoutePolicy } from "../core/index.ts";
import { headerValue, pathOf } from "../core/index.ts";
import type { BreakerOptions } from "../resilience/index.ts";
import { type Condition, holds } from "./route-condition.ts";

export interface RouteMatch {
  readonly host?: string | undefined;
  /** A prefix that ends at a `/` boundary: /v2 matches /v2 and /v2/x, not /v20. */
  readonly pathPrefix?: string | undefined;
  readonly path?: string | undefined;
  /** Any other test of path, fields or query, such as those of Consul's router. */
  readonly conditions?: readonly Condition[] | undefined;
  readonly methods?: readonly string[] | undefined;
  /** Names in lower case; values are compared exactly. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

export interface RouteOptions {
  readonly name: string;
  readonly match: RouteMatch;
  readonly to: readonly { readonly upstream: string; readonly weight: number }[];
  /** What it asks for in place of what is usual for the upstream. */
  readonly policy?: RoutePolicy | undefined;
  /** A breaker of its own, judged by what its callers get. */
  readonly breaker?: BreakerOptions | undefined;
  /** Its own layers in front of what it leads to, as they stand; without any there is no stack of its own. */
  readonly way?: Handler | undefined;
}

/** The destination of a request: the upstream's name, and the route's if one matched. */
export interface RouteChoice {
  readonly upstream: string;
  readonly route: string;
  readonly policy?: RoutePolicy | undefined;
  readonly way?: Handler | undefined;
}

export class RouteTable {
  readonly #byHost = new Map<string, PathIndex>();
  readonly #anyHost = new PathIndex();
  readonly #empty: boolean;

  /** @param routes in the order in which they are tried */
  constructor(routes: readonly RouteOptions[]) {
    this.#empty = routes.length === 0;
    for (const [order, options] of routes.entries()) {
      const { host } = options.match;
      let index = this.#anyHost;
      if (host !== undefined) {
        index = this.#byHost.get(host.toLowerCase()) ?? new PathIndex();
        this.#byHost.set(host.toLowerCase(), index);
      }
      index.add(new IndexedRoute(order, options));
    }
  }

  /** Where a request goes: where its listener leads, where a route does, or to what its host names. */
  choose(exchange: Exchange, random: Random): RouteChoice {
    if (exchange.boundUpstream !== undefined) return { upstream: exchange.boundUpstream, route: "" };
    const matched = this.#empty ? undefined : this.match(exchange, random);
    return matched ?? { upstream: hostOf(exchange.authority), route: "" };
  }

  /** Where a route leads; undefined when none matches. */
  match(exchange: Exchange, random: Random): RouteChoice | undefined {
    const path = pathOf(exchange.target);
    const forHost =
      this.#byHost.size === 0
        ? undefined
        : this.#byHost.get(hostOf(exchange.authority))?.first(path, exchange, undefined);
    const found = this.#anyHost.first(path, exchange, forHost);
    if (found === undefined) return undefined;
    const { to, name, policy, way } = found.options;
    return { upstream: weightedUpstream(to, random), route: name, policy, way };
  }
}

/** A route, with what is left to compare when its host and its path have been looked up. */
class IndexedRoute {
  readonly order: number;
  readonly options: RouteOptions;
  readonly #headers: readonly (readonly [string, string])[];
  readonly #conditions: readonly Condition[];

  constructor(order: number, options: RouteOptions) {
    this.order = order;
    this.options = options;
    this.#headers = Object.entries(options.match.headers ?? {});
    this.#conditions = options.match.conditions ?? [];
  }

  matches(exchange: Exchange): boolean {
    const { methods } = this.options.match;
    if (methods !== undefined && !methods.includes(exchange.method)) return false;
    for (const [name, value] of this.#headers)
      if (headerValue(exchange.headers, name) !== value) return false;
    for (const condition of this.#conditions) if (!holds(condition, exchange)) return false;
    return true;
  }
}

/**
 * Routes by their paths. A request's path is looked up as a whole and up to each of its boundaries, so the effort goes
 * with the depth of the path and not with the number of routes.
 */
class PathIndex {
  readonly #anyPath: IndexedRoute[] = [];
  readonly #byPath = new Map<string, IndexedRoute[]>();
  readonly #byPrefix = new Map<string, IndexedRoute[]>();
  #longestPrefix = 0;

  add(route: IndexedRoute): void {
    const { path, pathPrefix } = route.options.match;
    // With both, the prefix adds nothing that can be looked up: it holds for the path or the route is dead.
    if (path !== undefined) {
      if (pathPrefix === undefined || hasPrefix(path, pathPrefix)) put(this.#byPath, path, route);
    } else if (pathPrefix !== undefined) {
      put(this.#byPrefix, pathPrefix, route);
      this.#longestPrefix = Math.max(this.#longestPrefix, pathPrefix.length);
    } else {
      this.#anyPath.push(route);
    }
  }

  /** The first route that matches, in the order written, or `best` if that stands before all of them. */
  first(path: string, exchange: Exchange, best: IndexedRoute | undefined): IndexedRoute | undefined {
    let found = earliest(this.#anyPath, exchange, best);
    if (this.#byPath.size > 0) found = earliest(this.#byPath.get(path), exchange, found);
    if (this.#longestPrefix === 0) return found;
    for (let end = 1; end <= Math.min(path.length, this.#longestPrefix); end++) {
      // /v2 ends at a boundary of /v2/x, and so does /v2/.
      if (end === path.length || path.charAt(end) === "/" || path.charAt(end - 1) === "/")
        found = earliest(this.#byPrefix.get(path.slice(0, end)), exchange, found);
    }
    return found;
  }
}

function put(index: Map<string, IndexedRoute[]>, key: string, route: IndexedRoute): void {
  const routes = index.get(key);
  if (routes === undefined) index.set(key, [route]);
  else routes.push(route);
}

/** @param routes in the order written */
function earliest(
  routes: readonly IndexedRoute[] | undefined,
  exchange: Exchange,
  best: IndexedRoute | undefined,
): IndexedRoute | undefined {
  if (routes === undefined) return best;
  for (const route of routes) {
    if (best !== undefined && route.order > best.order) return best;
    if (route.matches(exchange)) return route;
  }
  return best;
}

/** The host of an authority: without its port, in lower case. */
export function hostOf(authority: string): string {
  const lower = authority.toLowerCase();
  if (lower.startsWith("[")) return lower.slice(0, lower.indexOf("]") + 1);
  const colon = lower.indexOf(":");
  return colon === -1 ? lower : lower.slice(0, colon);
}

function hasPrefix(path: string, prefix: string): boolean {
  if (!path.startsWith(prefix)) return false;
  return path.length === prefix.length || prefix.endsWith("/") || path.charAt(prefix.length) === "/";
}

function weightedUpstream(to: RouteOptions["to"], random: Random): string {
  if (to.length === 1) return to[0]!.upstream;
  let ticket = random.next() * to.reduce((total, { weight }) => total + weight, 0);
  for (const { upstream, weight } of to) {
    ticket -= weight;
    if (ticket < 0) return upstream;
  }
  return to[to.length - 1]!.upstream;
}
