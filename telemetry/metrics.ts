/**
 * From plain numbers to Prometheus. prom-client is the registry and the text format; it is asked only when
 * somebody scrapes, and the numbers are brought to it then.
 */
import { Counter, Gauge, Registry } from "prom-client";
import { METRICS, type MetricName } from "./metric-names.ts";
import { DURATION_BUCKETS_S, RequestTally } from "./request-tally.ts";

/** What one upstream has counted since the start. */
export interface UpstreamCounts {
  readonly upstream: string;
  readonly attempts: ReadonlyMap<string, number>;
  readonly retriesRefused: ReadonlyMap<string, number>;
  readonly breakerOpened: number;
  readonly connectionsOpened: number;
  readonly breakers: Readonly<Record<"closed" | "open" | "halfOpen", number>>;
  readonly endpoints: Readonly<Record<"available" | "refused", number>>;
  readonly connections: Readonly<Record<"connecting" | "busy" | "idle", number>>;
  readonly pending: number;
}

/** What the metrics ask for when they are scraped. */
export interface MetricSources {
  upstreams(): Iterable<UpstreamCounts>;
  /** By direction. */
  inFlight(): Readonly<Record<string, number>>;
  /** By direction. */
  connections(): Readonly<Record<string, number>>;
  /** By direction. */
  connectionsRefused(): Readonly<Record<string, number>>;
  droppedLogLines(): number;
}

export class Metrics {
  readonly requests: RequestTally = new RequestTally();
  readonly #registry = new Registry();

  constructor(sources: MetricSources) {
    this.#define("heddle_requests_total", (set) => {
      for (const { count, ...labels } of this.requests.series()) set(labels, count);
    });
    this.#registry.registerMetric(durationHistogram(this.requests) as never);
    this.#define("heddle_requests_in_flight", (set) => perDirection(sources.inFlight(), set));
    this.#define("heddle_connections", (set) => perDirection(sources.connections(), set));
    this.#define("heddle_connections_refused_total", (set) =>
      perDirection(sources.connectionsRefused(), set),
    );
    const each = (set: Set, read: (counts: UpstreamCounts) => Iterable<readonly [Labels, number]>) => {
      for (const counts of sources.upstreams())
        for (const [labels, value] of read(counts)) set({ upstream: counts.upstream, ...labels }, value);
    };
    this.#define("heddle_attempts_total", (set) => each(set, (c) => labelled("outcome", c.attempts)));
    this.#define("heddle_retries_refused_total", (set) =>
      each(set, (c) => labelled("reason", c.retriesRefused)),
    );
    this.#define("heddle_breaker_state", (set) =>
      each(set, (c) => labelled("state", Object.entries(c.breakers))),
    );
    this.#define("heddle_breaker_opened_total", (set) => each(set, (c) => [[{}, c.breakerOpened]]));
    this.#define("heddle_endpoints", (set) =>
      each(set, (c) => labelled("state", Object.entries(c.endpoints))),
    );
    this.#define("heddle_pool_connections", (set) =>
      each(set, (c) => labelled("state", Object.entries(c.connections))),
    );
    this.#define("heddle_pool_opened_total", (set) => each(set, (c) => [[{}, c.connectionsOpened]]));
    this.#define("heddle_pending_requests", (set) => each(set, (c) => [[{}, c.pending]]));
    this.#define("heddle_log_lines_dropped_total", (set) => set({}, sources.droppedLogLines()));
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
  exposition(): Promise<string> {
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
function durationHistogram(requests: RequestTally) {
  const name = "heddle_request_duration_seconds";
  return {
    name,
    get: async () => {
      const values: { metricName: string; labels: Record<string, string | number>; value: number }[] = [];
      for (const scope of requests.scopes()) {
        const labels = { direction: scope.direction, upstream: scope.upstream, route: scope.route };
        let cumulative = 0;
        for (const [i, le] of [...DURATION_BUCKETS_S, "+Inf"].entries()) {
          cumulative += scope.buckets[i]!;
          values.push({ metricName: `${name}_bucket`, labels: { le, ...labels }, value: cumulative });
        }
        values.push({ metricName: `${name}_sum`, labels, value: scope.sumMs / 1000 });
        values.push({ metricName: `${name}_count`, labels, value: scope.count });
      }
      return { name, help: METRICS[name].help, type: "histogram", values, aggregator: "sum" };
    },
  };
}
