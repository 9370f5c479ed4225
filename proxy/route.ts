/**
 * Which upstream is a request for? Routes in the order written, the first match wins; without a match the host
 * names the upstream. A decision without I/O: chance for the weights is handed in.
 */
import type { Exchange, Random } from "../core/index.ts";
import { headerValue } from "../core/index.ts";

export interface RouteMatch {
  readonly host?: string | undefined;
  /** A prefix that ends at a `/` boundary: /v2 matches /v2 and /v2/x, not /v20. */
  readonly pathPrefix?: string | undefined;
  readonly path?: string | undefined;
  readonly methods?: readonly string[] | undefined;
  /** Names in lower case; values are compared exactly. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

export interface RouteOptions {
  readonly name: string;
  readonly match: RouteMatch;
  readonly to: readonly { readonly upstream: string; readonly weight: number }[];
}

/** The destination of a request: the upstream's name, and the route's if one matched. */
export interface Destination {
  readonly upstream: string;
  readonly route: string;
}

export function chooseDestination(
  routes: readonly RouteOptions[],
  exchange: Exchange,
  random: Random,
): Destination {
  if (exchange.boundUpstream !== undefined) return { upstream: exchange.boundUpstream, route: "" };
  const host = hostOf(exchange.authority);
  for (const route of routes) {
    if (matches(route.match, exchange, host))
      return { upstream: weightedUpstream(route.to, random), route: route.name };
  }
  return { upstream: host, route: "" };
}

/** The host of an authority: without its port, in lower case. */
export function hostOf(authority: string): string {
  const lower = authority.toLowerCase();
  if (lower.startsWith("[")) return lower.slice(0, lower.indexOf("]") + 1);
  const colon = lower.indexOf(":");
  return colon === -1 ? lower : lower.slice(0, colon);
}

function matches(match: RouteMatch, exchange: Exchange, host: string): boolean {
  if (match.host !== undefined && match.host.toLowerCase() !== host) return false;
  if (match.methods !== undefined && !match.methods.includes(exchange.method)) return false;
  if (match.path !== undefined && pathOf(exchange.target) !== match.path) return false;
  if (match.pathPrefix !== undefined && !hasPrefix(pathOf(exchange.target), match.pathPrefix)) return false;
  for (const [name, value] of Object.entries(match.headers ?? {}))
    if (headerValue(exchange.headers, name) !== value) return false;
  return true;
}

function hasPrefix(path: string, prefix: string): boolean {
  if (!path.startsWith(prefix)) return false;
  return path.length === prefix.length || prefix.endsWith("/") || path.charAt(prefix.length) === "/";
}

function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query === -1 ? target : target.slice(0, query);
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
