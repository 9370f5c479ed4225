export { Body, type BodySink, type BodySource } from "./body.ts";
export { type Clock, delay, type Timer } from "./clock.ts";
export { COOKIE_NAME, COOKIE_PATH, findCookie } from "./cookie.ts";
export { CRITICALITIES, CRITICALITY_HEADER, type Criticality, criticalityRank } from "./criticality.ts";
export { type Endpoint, endpointKey } from "./endpoint.ts";
export {
  asProxyError,
  ERROR_KINDS,
  type ErrorCode,
  ProxyError,
} from "./errors.ts";
export {
  type Direction,
  Exchange,
  type OnInterim,
  type RequestHead,
  type Wait,
} from "./exchange.ts";
export type { FallbackPolicy, LastGoodOptions } from "./fallback-policy.ts";
export { type HeaderPairs, headerValue, isName, removeHeader, setHeader } from "./headers.ts";
export { identityText, type PeerIdentity } from "./identity.ts";
export { LatestConnections } from "./latest-connections.ts";
export { called, type Handler, type Layer, stack, watch } from "./layer.ts";
export type { Log } from "./log.ts";
export type { Outcome } from "./outcome.ts";
export { below, type Random } from "./random.ts";
export { pathOf, queryParameter } from "./request-target.ts";
export type { ProxyResponse, Tunnel } from "./response.ts";
export { retryAfterMs } from "./retry-after.ts";
export type { HedgeAfter, NamePolicy, RateLimitOptions, RoutedHedge, RoutePolicy } from "./route-policy.ts";
