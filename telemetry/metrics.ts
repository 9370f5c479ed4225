/**
 * From plain numbers to Prometheus. prom-client is the registry and the text format; it is asked only when
 * somebody scrapes, and the numbers are brought to it then.
 */
// Not the index: with its gateway and its cluster registry it brings node:https, node:cluster and 13 MB.
import Counter from "prom-client/lib/counter.js";
import Gauge from "prom-client/lib/gauge.js";
import Registry from "prom-client/lib/registry.js";
import { METRICS, type MetricName } from "./metric-names.ts";
import { type CountedRequests, DURATION_BUCKETS_S, requestSeries, shadowSeries } from "./request-tally.ts";

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

const NOTHING_COUNTED: Counts = {
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

export class Metrics {
  readonly #registry = new Registry();
  readonly #collect: () => Promise<Counts>;
  #counts: Counts = NOTHING_COUNTED;

  /** @param collect asked at each scrape */
  constructor(collect: () => Promise<Counts>) {
    this.#collect = collect;
    this.#define("heddle_requests_total", (set) => {
      for (const counted of this.#counts.requests)
        for (const { count, ...labels } of requestSeries(counted)) set(labels, count);
    });
    this.#registry.registerMetric(durationHistogram(() => this.#counts.requests) as never);
    this.#define("heddle_shadow_refusals_total", (set) => {
      for (const counted of this.#counts.requests)
        for (const { count, ...labels } of shadowSeries(counted)) set(labels, count);
    });
    this.#define("heddle_requests_in_flight", (set) => perDirection(this.#counts.inFlight, set));
    this.#define("heddle_connections", (set) => perDirection(this.#counts.connections, set));
    this.#define("heddle_connections_refused_total", (set) =>
      perDirection(this.#counts.connectionsRefused, set),
    );
    this.#define("heddle_faults_injected_total", (set) => {
      for (const [kind, count] of Object.entries(this.#counts.faults)) set({ kind }, count);
    });
    this.#define("heddle_fallbacks_total", (set) => {
      for (const [key, count] of Object.entries(this.#counts.fallbacks)) {
        const [kind, cause, ...route] = key.split(" ");
        set({ route: route.join(" "), kind: kind!, cause: cause! }, count);
      }
    });
    this.#define("heddle_tcp_bytes_total", (set) => {
      for (const [key, bytes] of Object.entries(this.#counts.tcpBytes)) {
        const [from, direction, ...upstream] = key.split(" ");
        set({ direction: direction!, upstream: upstream.join(" "), from: from! }, bytes);
      }
    });
    this.#define("heddle_intercepted_total", (set) => {
      for (const [key, count] of Object.entries(this.#counts.intercepted)) {
        const [direction, as, to] = key.split(" ");
        set({ direction: direction!, as: as!, to: to! }, count);
      }
    });
    const each = (set: Set, read: (counts: UpstreamCounts) => Iterable<readonly [Labels, number]>) => {
      for (const counts of this.#counts.upstreams)
        for (const [labels, value] of read(counts)) set({ upstream: counts.upstream, ...labels }, value);
    };
    this.#define("heddle_attempts_total", (set) => each(set, (c) => labelled("outcome", c.attempts)));
    this.#define("heddle_retries_refused_total", (set) =>
      each(set, (c) => labelled("reason", c.retriesRefused)),
    );
    this.#define("heddle_retries_enabled", (set) => set({}, this.#counts.retriesEnabled ? 1 : 0));
    this.#define("heddle_hedges_total", (set) => each(set, (c) => labelled("outcome", c.hedges)));
    this.#define("heddle_breaker_state", (set) =>
      each(set, (c) => labelled("state", Object.entries(c.breakers))),
    );
    this.#define("heddle_breaker_opened_total", (set) => each(set, (c) => [[{}, c.breakerOpened]]));
    this.#define("heddle_route_breaker_state", (set) => {
      for (const { route, state } of this.#counts.routeBreakers)
        for (const each of ["closed", "open", "halfOpen"])
          set({ route, state: each }, each === state ? 1 : 0);
    });
    this.#define("heddle_route_breaker_opened_total", (set) => {
      for (const { route, opened } of this.#counts.routeBreakers) set({ route }, opened);
    });
    this.#define("heddle_outlier_ejections_total", (set) => each(set, (c) => labelled("rule", c.ejections)));
    this.#define("heddle_outliers_spared_total", (set) => each(set, (c) => [[{}, c.outliersSpared]]));
    this.#define("heddle_endpoints", (set) =>
      each(set, (c) => labelled("state", Object.entries(c.endpoints))),
    );
    this.#define("heddle_pool_connections", (set) =>
      each(set, (c) => labelled("state", Object.entries(c.connections))),
    );
    this.#define("heddle_pool_opened_total", (set) => each(set, (c) => [[{}, c.connectionsOpened]]));
    this.#define("heddle_pool_resent_total", (set) => each(set, (c) => [[{}, c.resent]]));
    this.#define("heddle_pending_requests", (set) => each(set, (c) => [[{}, c.pending]]));
    this.#define("heddle_concurrency_limit", (set) => each(set, (c) => [[{}, c.limit]]));
    this.#define("heddle_permits_held", (set) => each(set, (c) => [[{}, c.held]]));
    this.#define("heddle_overload_pressure", (set) => {
      for (const [resource, pressure] of Object.entries(this.#counts.overload?.pressure ?? {}))
        set({ resource }, pressure);
    });
    this.#define("heddle_shed_total", (set) => {
      for (const [criticality, count] of Object.entries(this.#counts.overload?.shed ?? {}))
        set({ criticality }, count);
    });
    this.#define("heddle_discovery_watches", (set) => set({}, this.#counts.discovery.watches));
    this.#define("heddle_discovery_questions_total", (set) => {
      const { answered, failed } = this.#counts.discovery;
      set({ outcome: "answered" }, answered);
      set({ outcome: "failed" }, failed);
    });
    this.#define("heddle_discovery_sources", (set) => {
      for (const [state, count] of Object.entries(this.#counts.discovery.sources)) set({ state }, count);
    });
    this.#define("heddle_log_lines_dropped_total", (set) => set({}, this.#counts.droppedLogLines));
    this.#define("heddle_timers", (set) => set({}, this.#counts.timers));
    this.#define("nodejs_active_resources", (set) => {
      for (const [type, count] of Object.entries(this.#counts.resources)) set({ type }, count);
    });
    this.#define("process_cpu_seconds_total", (set) => {
      const { user, system } = process.cpuUsage();
      set({}, (user + system) / 1e6);
    });
    this.#define("process_resident_memory_bytes", (set) => set({}, process.memoryUsage.rss()));
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The exposition in Prometheus' text format. */
  async exposition(): Promise<string> {
    this.#counts = await this.#collect();
    return this.#registry.metrics();
  }

  /** Registers a metric whose values are read anew at each scrape. */
  #define(name: MetricName, read: (set: Set) => void): void {
    const { help, labels, type } = METRICS[name];
    const settings = { name, help, labelNames: [...labels], registers: [this.#registry] };
    if (type === "counter") {
      new Counter({
        ...settings,
        collect() {
          this.reset();
          read((at, value) => this.inc(at, value));
        },
      });
    } else {
      new Gauge({
        ...settings,
        collect() {
          this.reset();
          read((at, value) => this.inc(at, value));
        },
      });
    }
  }
}

type Labels = Record<string, string>;
type Set = (labels: Labels, value: number) => void;

function perDirection(values: Readonly<Record<string, number>>, set: Set): void {
  for (const [direction, value] of Object.entries(values)) set({ direction }, value);
}

function* labelled(
  label: string,
  entries: Iterable<readonly [string, number]>,
): Generator<readonly [Labels, number]> {
  for (const [value, count] of entries) yield [{ [label]: value }, count];
}

/** A histogram from counted buckets: prom-client's own only takes single observations. */
function durationHistogram(requests: () => readonly CountedRequests[]) {
  const name = "heddle_request_duration_seconds";
  return {
    name,
    get: async () => {
      const values: { metricName: string; labels: Record<string, string | number>; value: number }[] = [];
      for (const { labels, buckets, sumMs, count } of durations(requests())) {
        let cumulative = 0;
        for (const [i, le] of [...DURATION_BUCKETS_S, "+Inf"].entries()) {
          cumulative += buckets[i]!;
          values.push({ metricName: `${name}_bucket`, labels: { le, ...labels }, value: cumulative });
        }
        values.push({ metricName: `${name}_sum`, labels, value: sumMs / 1000 });
        values.push({ metricName: `${name}_count`, labels, value: count });
      }
      return { name, help: METRICS[name].help, type: "histogram", values, aggregator: "sum" };
    },
  };
}

interface Durations {
  readonly labels: Labels;
  readonly buckets: Float64Array;
  sumMs: number;
  count: number;
}

/** The durations of each scope, added up over all workers. */
function durations(requests: readonly CountedRequests[]): Iterable<Durations> {
  const found = new Map<string, Durations>();
  for (const { direction, upstream, route, buckets, sumMs, count } of requests.flatMap(
    ({ scopes }) => scopes,
  )) {
    const key = JSON.stringify([direction, upstream, route]);
    const sum = found.get(key);
    if (sum === undefined) {
      found.set(key, { labels: { direction, upstream, route }, buckets: buckets.slice(), sumMs, count });
      continue;
    }
    for (const [i, more] of buckets.entries()) sum.buckets[i]! += more;
    sum.sumMs += sumMs;
    sum.count += count;
  }
  return found.values();
}
