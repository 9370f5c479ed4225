/**
 * Where the values of each metric come from. A table and no code: the compiler asks for an entry for every name in metric-names.ts,
 * so that none is listed, documented and never there.
 */
import type { Counts, UpstreamCounts } from "./counts.ts";
import type { METRICS, MetricName } from "./metric-names.ts";
import { type CountedSeries, requestSeries, shadowSeries } from "./request-tally.ts";

/** One series: its labels and its value. Those with the same labels are added up. */
export type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

/** Those of one number for each series; a histogram has many. */
export type PlainMetric = {
  [Name in MetricName]: (typeof METRICS)[Name]["type"] extends "histogram" ? never : Name;
}[MetricName];

export const METRIC_VALUES: Readonly<Record<PlainMetric, (counts: Counts) => Iterable<Sample>>> = {
  heddle_requests_total: ({ requests }) => requests.flatMap((counted) => series(requestSeries(counted))),
  heddle_shadow_refusals_total: ({ requests }) =>
    requests.flatMap((counted) => series(shadowSeries(counted))),
  heddle_requests_in_flight: ({ inFlight }) => by("direction", inFlight),
  heddle_connections: ({ connections }) => by("direction", connections),
  heddle_connections_refused_total: ({ connectionsRefused }) => by("direction", connectionsRefused),
  heddle_attempts_total: each(({ attempts }) => byMap("outcome", attempts)),
  heddle_retries_refused_total: each(({ retriesRefused }) => byMap("reason", retriesRefused)),
  heddle_retries_enabled: ({ retriesEnabled }) => one(retriesEnabled ? 1 : 0),
  heddle_hedges_total: each(({ hedges }) => byMap("outcome", hedges)),
  heddle_breaker_state: each(({ breakers }) => by("state", breakers)),
  heddle_breaker_opened_total: each(({ breakerOpened }) => one(breakerOpened)),
  heddle_route_breaker_state: ({ routeBreakers }) =>
    routeBreakers.flatMap(({ route, state }) =>
      ["closed", "open", "halfOpen"].map((each): Sample => [{ route, state: each }, each === state ? 1 : 0]),
    ),
  heddle_route_breaker_opened_total: ({ routeBreakers }) =>
    routeBreakers.map(({ route, opened }): Sample => [{ route }, opened]),
  heddle_outlier_ejections_total: each(({ ejections }) => byMap("rule", ejections)),
  heddle_outliers_spared_total: each(({ outliersSpared }) => one(outliersSpared)),
  heddle_endpoints: each(({ endpoints }) => by("state", endpoints)),
  heddle_pool_connections: each(({ connections }) => by("state", connections)),
  heddle_pool_opened_total: each(({ connectionsOpened }) => one(connectionsOpened)),
  heddle_pool_resent_total: each(({ resent }) => one(resent)),
  heddle_pending_requests: each(({ pending }) => one(pending)),
  heddle_concurrency_limit: each(({ limit }) => one(limit)),
  heddle_permits_held: each(({ held }) => one(held)),
  heddle_overload_pressure: ({ overload }) => by("resource", overload?.pressure ?? {}),
  heddle_shed_total: ({ overload }) => by("criticality", overload?.shed ?? {}),
  heddle_fallbacks_total: ({ fallbacks }) =>
    Object.entries(fallbacks).map(([key, count]): Sample => {
      const [kind, cause, ...route] = key.split(" ");
      return [{ route: route.join(" "), kind: kind!, cause: cause! }, count];
    }),
  heddle_faults_injected_total: ({ faults }) => by("kind", faults),
  heddle_tcp_bytes_total: ({ tcpBytes }) =>
    Object.entries(tcpBytes).map(([key, bytes]): Sample => {
      const [from, direction, ...upstream] = key.split(" ");
      return [{ direction: direction!, upstream: upstream.join(" "), from: from! }, bytes];
    }),
  heddle_intercepted_total: ({ intercepted }) =>
    Object.entries(intercepted).map(([key, count]): Sample => {
      const [direction, as, to] = key.split(" ");
      return [{ direction: direction!, as: as!, to: to! }, count];
    }),
  heddle_discovery_watches: ({ discovery }) => one(discovery.watches),
  heddle_discovery_questions_total: ({ discovery: { answered, failed } }) =>
    by("outcome", { answered, failed }),
  heddle_discovery_sources: ({ discovery }) => by("state", discovery.sources),
  heddle_log_lines_dropped_total: ({ droppedLogLines }) => one(droppedLogLines),
  heddle_timers: ({ timers }) => one(timers),
  nodejs_active_resources: ({ resources }) => by("type", resources),
  process_cpu_seconds_total: () => {
    const { user, system } = process.cpuUsage();
    return one((user + system) / 1e6);
  },
  process_resident_memory_bytes: () => one(process.memoryUsage.rss()),
};

/** Of each upstream, with its name. */
function each(read: (counts: UpstreamCounts) => readonly Sample[]): (counts: Counts) => Sample[] {
  return ({ upstreams }) =>
    upstreams.flatMap((counts) =>
      read(counts).map(([labels, value]): Sample => [{ upstream: counts.upstream, ...labels }, value]),
    );
}

function one(value: number): Sample[] {
  return [[{}, value]];
}

function by(label: string, values: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(values).map(([key, value]) => [{ [label]: key }, value]);
}

function byMap(label: string, values: ReadonlyMap<string, number>): Sample[] {
  return [...values].map(([key, value]) => [{ [label]: key }, value]);
}

function series(counted: Iterable<Omit<CountedSeries, "status">>): Sample[] {
  return Array.from(counted, ({ count, ...labels }) => [labels, count]);
}
