/**
 * What has been counted at one moment, in plain values: they come from several threads, and are brought to prom-client only when
 * somebody scrapes.
 */
import type { CountedRequests } from "./request-tally.ts";

/** What one upstream has counted since the start. */
export interface UpstreamCounts {
  readonly upstream: string;
  readonly attempts: ReadonlyMap<string, number>;
  readonly retriesRefused: ReadonlyMap<string, number>;
  /** Attempts beside others, by what came of them. */
  readonly hedges: ReadonlyMap<string, number>;
  readonly breakerOpened: number;
  /** Endpoints taken out as outliers, by the rule that found them. */
  readonly ejections: ReadonlyMap<string, number>;
  /** Outliers that were left in, as many were out as may be. */
  readonly outliersSpared: number;
  readonly connectionsOpened: number;
  readonly resent: number;
  readonly breakers: Readonly<Record<"closed" | "open" | "halfOpen", number>>;
  readonly endpoints: Readonly<Record<"available" | "refused" | "ejected", number>>;
  readonly connections: Readonly<Record<"connecting" | "busy" | "idle", number>>;
  /** Requests that are let through at a time, as it is now. */
  readonly limit: number;
  /** Of these permits, how many are taken. */
  readonly held: number;
  readonly pending: number;
}

/** What a route's breaker has counted. */
export interface RouteBreakerCounts {
  readonly route: string;
  readonly state: "closed" | "open" | "halfOpen";
  readonly opened: number;
}

/** What discovery has counted. */
export interface DiscoveryCounts {
  /** Questions to the registry that are open. */
  readonly watches: number;
  /** Questions since the start, by what came of them. */
  readonly answered: number;
  readonly failed: number;
  /** Sources by their state. */
  readonly sources: Readonly<Record<string, number>>;
}

/** What has been counted at one moment. */
export interface Counts {
  /** Of each worker. */
  readonly requests: readonly CountedRequests[];
  readonly upstreams: readonly UpstreamCounts[];
  readonly routeBreakers: readonly RouteBreakerCounts[];
  /** By direction, as the next two. */
  readonly inFlight: Readonly<Record<string, number>>;
  readonly connections: Readonly<Record<string, number>>;
  readonly connectionsRefused: Readonly<Record<string, number>>;
  /** Of the sidecar itself, where it looks. */
  readonly overload?:
    | { readonly pressure: Readonly<Record<string, number>>; readonly shed: Readonly<Record<string, number>> }
    | undefined;
  /** Faults injected, by kind. */
  readonly faults: Readonly<Record<string, number>>;
  /** Requests that their route answered for itself, by kind, cause and route, with a blank between. */
  readonly fallbacks: Readonly<Record<string, number>>;
  /** Bytes of TCP connections, by whose they are, direction and upstream, with a blank between. */
  readonly tcpBytes: Readonly<Record<string, number>>;
  /** Connections that were redirected, by direction, what they were taken for, and what became of them. */
  readonly intercepted: Readonly<Record<string, number>>;
  readonly discovery: DiscoveryCounts;
  readonly droppedLogLines: number;
  /** Timers that are running. */
  readonly timers: number;
  /** What Node's event loops have open, by its kind. */
  readonly resources: Readonly<Record<string, number>>;
  /** Whether requests are sent again, and twice, as the configuration says. */
  readonly retriesEnabled: boolean;
}

export const NOTHING_COUNTED: Counts = {
  requests: [],
  upstreams: [],
  routeBreakers: [],
  inFlight: {},
  connections: {},
  connectionsRefused: {},
  faults: {},
  fallbacks: {},
  tcpBytes: {},
  intercepted: {},
  discovery: { watches: 0, answered: 0, failed: 0, sources: {} },
  droppedLogLines: 0,
  timers: 0,
  resources: {},
  retriesEnabled: true,
};
