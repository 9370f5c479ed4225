/**
 * From plain numbers to Prometheus. prom-client is the registry and the text format; it is asked only when
 * somebody scrapes, and the numbers are brought to it then.
 */
// Not the index: with its gateway and its cluster registry it brings node:https, node:cluster and 13 MB.
import Counter from "prom-client/lib/counter.js";
import Gauge from "prom-client/lib/gauge.js";
import Registry from "prom-client/lib/registry.js";
import { type Counts, NOTHING_COUNTED } from "./counts.ts";
import { METRICS } from "./metric-names.ts";
import { METRIC_VALUES, type PlainMetric, type Sample } from "./metric-values.ts";
import { type CountedRequests, DURATION_BUCKETS_S } from "./request-tally.ts";

export class Metrics {
  readonly #registry = new Registry();
  readonly #collect: () => Promise<Counts>;
  #counts: Counts = NOTHING_COUNTED;

  /** @param collect asked at each scrape */
  constructor(collect: () => Promise<Counts>) {
    this.#collect = collect;
    for (const name of Object.keys(METRIC_VALUES) as PlainMetric[]) this.#define(name, METRIC_VALUES[name]);
    this.#registry.registerMetric(durationHistogram(() => this.#counts.requests) as never);
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
  #define(name: PlainMetric, valuesOf: (counts: Counts) => Iterable<Sample>): void {
    const { help, labels, type } = METRICS[name];
    const counts = () => this.#counts;
    new (type === "counter" ? Counter : Gauge)({
      name,
      help,
      labelNames: [...labels],
      registers: [this.#registry],
      collect() {
        this.reset();
        for (const [at, value] of valuesOf(counts())) this.inc(at, value);
      },
    });
  }
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
  readonly labels: Readonly<Record<string, string>>;
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
