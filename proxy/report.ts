/**
 * What a data plane reports, as plain values: the same whether it runs in this thread or in another. And how the reports
 * of several become one: a sidecar with four workers is one sidecar to whoever looks at it.
 */
import type { ReplicaLoad } from "../balancing/index.ts";
import { type Exchange, identityText, pathOf } from "../core/index.ts";
import type { Standing } from "../resilience/index.ts";
import type { CountedRequests, UpstreamCounts } from "../telemetry/index.ts";
import { type BreakerView, breakerView, mergedBreaker } from "./breaker-view.ts";
import type { OverloadReport } from "./overload.ts";
import { own } from "./own.ts";
import type { RouteBreakerView } from "./route-breakers.ts";
import type { ThreadUse } from "./thread-use.ts";
import type { Upstream } from "./upstream/index.ts";

/** One endpoint as the admin port shows it. Times in milliseconds. */
export interface EndpointView extends BreakerView {
  readonly address: string;
  readonly source: string;
  readonly weight: number;
  readonly zone?: string | undefined;
  /** Who it is said to be. */
  readonly identity?: string;
  /** 0, which is preferred, is left out. */
  readonly priority?: number;
  /** Discovery has something against it: it is used only in panic. */
  readonly unwell?: boolean;
  /** Where outliers are looked for: whether it is one. */
  readonly outlier?: Standing["is"];
  /** Until it is probed. */
  readonly ejectedForMs?: number;
  /** What its own sidecar has said last of its load, where the algorithm asks. */
  readonly says?: ReplicaLoad;
  /** How much of its weight it gets as it is new; all of it is left out. */
  readonly warmth?: number;
  readonly inFlight: number;
  readonly latencyMs: number;
}

/** One request in flight as the admin port shows it. */
export interface RequestView {
  readonly requestId: string;
  readonly direction: string;
  readonly request: string;
  readonly state: string;
  readonly on?: string;
  readonly forMs?: number;
  readonly ageMs: number;
  readonly upstream: string;
  readonly endpoint: string;
  readonly attempts: number;
}

export interface PlaneReport {
  readonly upstreams: readonly UpstreamCounts[];
  /** By the key of the upstream. */
  readonly endpoints: Readonly<Record<string, readonly EndpointView[]>>;
  readonly routeBreakers: readonly RouteBreakerView[];
  /** How often each name has been called. */
  readonly calls: Readonly<Record<string, number>>;
  readonly requests: readonly RequestView[];
  /** By direction, as the next two. */
  readonly inFlight: Readonly<Record<string, number>>;
  readonly connections: Readonly<Record<string, number>>;
  readonly connectionsRefused: Readonly<Record<string, number>>;
  readonly tally: CountedRequests;
  /** Undefined where the sidecar does not look after itself. */
  readonly overload?: OverloadReport | undefined;
  /** Faults that were injected, by kind. */
  readonly faults: Readonly<Record<string, number>>;
  /** Requests that their route answered for itself, by kind, cause and route. */
  readonly fallbacks: Readonly<Record<string, number>>;
  readonly thread: ThreadUse;
  /** That TCP connections have carried, by whose they are, direction and upstream. */
  readonly tcpBytes: Readonly<Record<string, number>>;
  /** Connections that were redirected, by direction, how it was known what they speak, and what became of them. */
  readonly intercepted: Readonly<Record<string, number>>;
}

export function endpointViews(upstream: Upstream, nowMs: number): EndpointView[] {
  return upstream.endpoints.map((of) => ({
    address: of.key,
    source: of.endpoint.source,
    weight: of.endpoint.weight,
    zone: of.endpoint.zone,
    ...(of.endpoint.identity === undefined ? {} : { identity: identityText(of.endpoint.identity) }),
    ...(of.endpoint.priority === undefined ? {} : { priority: of.endpoint.priority }),
    ...(of.endpoint.unwell === undefined ? {} : { unwell: of.endpoint.unwell }),
    ...(upstream.options.outliers === undefined ? {} : standingView(of.standing, nowMs)),
    ...warmthView(upstream.warmth(of.key)),
    ...saidView(upstream.choice.loadProbes?.lastOf(of)),
    ...breakerView(of.ownBreaker, upstream.options.breaker.mode, nowMs),
    inFlight: of.inFlight,
    latencyMs: thousandths(of.latency.estimateMs(nowMs, of.inFlight === 0)),
  }));
}

function standingView(
  standing: Standing | undefined,
  nowMs: number,
): Pick<EndpointView, "outlier" | "ejectedForMs"> {
  if (standing?.is !== "ejected") return { outlier: standing?.is ?? "in" };
  return { outlier: standing.is, ejectedForMs: Math.max(0, Math.round(standing.untilMs - nowMs)) };
}

function warmthView(warmth: number): Pick<EndpointView, "warmth"> {
  return warmth === 1 ? {} : { warmth: thousandths(warmth) };
}

function saidView(says: ReplicaLoad | undefined): Pick<EndpointView, "says"> {
  return says === undefined ? {} : { says };
}

export function requestViews(exchanges: Iterable<Exchange>, nowMs: number): RequestView[] {
  return Array.from(exchanges, (exchange) => ({
    requestId: exchange.requestId,
    direction: exchange.direction,
    request: `${exchange.method} ${exchange.authority}${pathOf(exchange.target)}`,
    state: exchange.state,
    ...(exchange.state === "suspended"
      ? { on: exchange.suspendedOn, forMs: Math.round(nowMs - exchange.suspendedAtMs) }
      : {}),
    ageMs: Math.round(nowMs - exchange.arrivedAtMs),
    upstream: exchange.upstream,
    endpoint: exchange.endpoint,
    attempts: exchange.attempts,
  }));
}

/** The endpoints of all planes: those of one, with what each plane has learned about them put together. */
export function mergedEndpoints(reports: readonly PlaneReport[]): Record<string, EndpointView[]> {
  const [first, ...others] = reports;
  return Object.fromEntries(
    Object.entries(first?.endpoints ?? {}).map(([key, views]) => [
      key,
      views.map((view) =>
        mergedView(view, [
          view,
          ...others.flatMap(
            ({ endpoints }) => own(endpoints, key)?.filter(({ address }) => address === view.address) ?? [],
          ),
        ]),
      ),
    ]),
  );
}

/** Worst breaker, sum of requests, mean of latencies that have been measured. */
function mergedView(view: EndpointView, of: readonly EndpointView[]): EndpointView {
  const outlier = of.reduce((a, b) => (STANDING[b.outlier ?? "in"] > STANDING[a.outlier ?? "in"] ? b : a));
  const measured = of.map(({ latencyMs }) => latencyMs).filter((ms) => ms > 0);
  return {
    ...view,
    ...mergedBreaker(of),
    ...(outlier.outlier === undefined ? {} : { outlier: outlier.outlier }),
    ...(outlier.ejectedForMs === undefined ? {} : { ejectedForMs: outlier.ejectedForMs }),
    inFlight: of.reduce((sum, { inFlight }) => sum + inFlight, 0),
    latencyMs: thousandths(measured.reduce((sum, ms) => sum + ms, 0) / Math.max(1, measured.length)),
  };
}

const STANDING: Readonly<Record<Standing["is"], number>> = { in: 0, probing: 1, ejected: 2 };

/** The breakers of routes of all planes. */
export function mergedRouteBreakers(reports: readonly PlaneReport[]): RouteBreakerView[] {
  const byRoute = Map.groupBy(
    reports.flatMap(({ routeBreakers }) => routeBreakers),
    ({ route }) => route,
  );
  return [...byRoute].map(([route, of]) => ({
    route,
    ...mergedBreaker(of),
  }));
}

/**
 * The counts of all planes. What happened is added up; endpoints and breakers are the same ones for all of them, and count
 * as the plane sees them that has the most trouble with them.
 */
export function mergedCounts(reports: readonly PlaneReport[]): UpstreamCounts[] {
  const byName = new Map<string, UpstreamCounts>();
  for (const counts of reports.flatMap(({ upstreams }) => upstreams)) {
    const other = byName.get(counts.upstream);
    byName.set(counts.upstream, other === undefined ? counts : addedCounts(other, counts));
  }
  return [...byName.values()];
}

/** Two counts of the same upstream as one. */
export function addedCounts(a: UpstreamCounts, b: UpstreamCounts): UpstreamCounts {
  const trouble = ({ breakers, endpoints }: UpstreamCounts) =>
    breakers.open + breakers.halfOpen + endpoints.ejected;
  const troubled = trouble(b) > trouble(a) ? b : a;
  return {
    upstream: a.upstream,
    attempts: addedMaps(a.attempts, b.attempts),
    retriesRefused: addedMaps(a.retriesRefused, b.retriesRefused),
    hedges: addedMaps(a.hedges, b.hedges),
    breakerOpened: a.breakerOpened + b.breakerOpened,
    ejections: addedMaps(a.ejections, b.ejections),
    outliersSpared: a.outliersSpared + b.outliersSpared,
    connectionsOpened: a.connectionsOpened + b.connectionsOpened,
    breakers: troubled.breakers,
    endpoints: troubled.endpoints,
    resent: a.resent + b.resent,
    connections: {
      connecting: a.connections.connecting + b.connections.connecting,
      busy: a.connections.busy + b.connections.busy,
      idle: a.connections.idle + b.connections.idle,
    },
    limit: a.limit + b.limit,
    held: a.held + b.held,
    pending: a.pending + b.pending,
  };
}

/** Of counts what has happened, without what is. */
export function pastCounts(counts: UpstreamCounts): UpstreamCounts {
  return {
    ...counts,
    breakers: { closed: 0, open: 0, halfOpen: 0 },
    endpoints: { available: 0, refused: 0, ejected: 0 },
    connections: { connecting: 0, busy: 0, idle: 0 },
    limit: 0,
    held: 0,
    pending: 0,
  };
}

function addedMaps(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): Map<string, number> {
  const sum = new Map(a);
  for (const [key, count] of b) sum.set(key, (sum.get(key) ?? 0) + count);
  return sum;
}

/** Of counts by direction, or by name. */
export function summed(of: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const counts of of)
    for (const [key, count] of Object.entries(counts)) sums[key] = (own(sums, key) ?? 0) + count;
  return sums;
}

function thousandths(value: number): number {
  return Math.round(value * 1000) / 1000;
}
