/**
 * Every metric that heddle exposes: name, type, labels, help. To add one: a line here, its values in metric-values.ts,
 * a row in docs/metrics.md (a test compares the page with this table).
 */
export interface MetricDefinition {
  readonly type: "counter" | "gauge" | "histogram";
  readonly labels: readonly string[];
  readonly help: string;
}

export const METRICS = {
  heddle_requests_total: {
    type: "counter",
    labels: ["direction", "upstream", "route", "status", "cause"],
    help: "Requests that were answered, or given up by their caller (status 499)",
  },
  heddle_request_duration_seconds: {
    type: "histogram",
    labels: ["direction", "upstream", "route"],
    help: "Time from the request's head to the last byte of its answer",
  },
  heddle_shadow_refusals_total: {
    type: "counter",
    labels: ["direction", "upstream", "route", "cause"],
    help: "Requests that something in shadow mode would have refused, by the error code that it would have given",
  },
  heddle_requests_in_flight: {
    type: "gauge",
    labels: ["direction"],
    help: "Requests that are not settled yet",
  },
  heddle_connections: {
    type: "gauge",
    labels: ["direction"],
    help: "Open connections from callers",
  },
  heddle_connections_refused_total: {
    type: "counter",
    labels: ["direction"],
    help: "Callers that were hung up on, as there were maxConnections",
  },
  heddle_attempts_total: {
    type: "counter",
    labels: ["upstream", "outcome"],
    help: "Attempts by how they ended: success, failed_status, broken_answer, abandoned, or an error code",
  },
  heddle_retries_refused_total: {
    type: "counter",
    labels: ["upstream", "reason"],
    help: "Retries that the configuration asked for and that were not made",
  },
  heddle_retries_enabled: {
    type: "gauge",
    labels: [],
    help: "0 while all retries and hedges are switched off",
  },
  heddle_hedges_total: {
    type: "counter",
    labels: ["upstream", "outcome"],
    help: "Attempts beside a slow one: won, lost, failed, or why it was not sent",
  },
  heddle_breaker_state: {
    type: "gauge",
    labels: ["upstream", "state"],
    help: "Endpoints by the state of their breaker",
  },
  heddle_breaker_opened_total: {
    type: "counter",
    labels: ["upstream"],
    help: "Times a breaker opened",
  },
  heddle_route_breaker_state: {
    type: "gauge",
    labels: ["route", "state"],
    help: "1 for the state of the breaker of a route, 0 for the others",
  },
  heddle_route_breaker_opened_total: {
    type: "counter",
    labels: ["route"],
    help: "Times the breaker of a route opened",
  },
  heddle_outlier_ejections_total: {
    type: "counter",
    labels: ["upstream", "rule"],
    help: "Endpoints taken out as they did worse than the others, by the rule that found them",
  },
  heddle_outliers_spared_total: {
    type: "counter",
    labels: ["upstream"],
    help: "Outliers that were left in, as many were out as may be",
  },
  heddle_endpoints: {
    type: "gauge",
    labels: ["upstream", "state"],
    help: "Endpoints that discovery names: available, refused by their breaker, or ejected as outliers",
  },
  heddle_pool_connections: {
    type: "gauge",
    labels: ["upstream", "state"],
    help: "Connections to endpoints: connecting, busy, idle",
  },
  heddle_pool_opened_total: {
    type: "counter",
    labels: ["upstream"],
    help: "Connections to endpoints that were begun",
  },
  heddle_pool_resent_total: {
    type: "counter",
    labels: ["upstream"],
    help: "Requests sent again at once, as the endpoint had closed the unused connection on which they were sent",
  },
  heddle_pending_requests: {
    type: "gauge",
    labels: ["upstream"],
    help: "Requests waiting for a permit or a connection",
  },
  heddle_concurrency_limit: {
    type: "gauge",
    labels: ["upstream"],
    help: "Requests that are let through at a time",
  },
  heddle_permits_held: {
    type: "gauge",
    labels: ["upstream"],
    help: "Requests that have been let through and are not over",
  },
  heddle_overload_pressure: {
    type: "gauge",
    labels: ["resource"],
    help: "How short the sidecar is of event_loop and memory, from 0 to 1, where it looks",
  },
  heddle_shed_total: {
    type: "counter",
    labels: ["criticality"],
    help: "Requests refused as the sidecar was overloaded",
  },
  heddle_fallbacks_total: {
    type: "counter",
    labels: ["route", "kind", "cause"],
    help: "Requests that their route answered for itself, as its upstream could not: static or stale",
  },
  heddle_faults_injected_total: {
    type: "counter",
    labels: ["kind"],
    help: "Faults that were injected for testing: delay, abort, reset, slow",
  },
  heddle_tcp_bytes_total: {
    type: "counter",
    labels: ["direction", "upstream", "from"],
    help: "Bytes that TCP connections have carried, by whose they are: caller or endpoint",
  },
  heddle_intercepted_total: {
    type: "counter",
    labels: ["direction", "as", "to"],
    help: "Connections that the kernel has redirected, by what they were taken for and what became of them",
  },
  heddle_discovery_watches: {
    type: "gauge",
    labels: [],
    help: "Questions to the registry that are open; each holds a connection",
  },
  heddle_discovery_questions_total: {
    type: "counter",
    labels: ["outcome"],
    help: "Questions to the registry: answered or failed",
  },
  heddle_discovery_sources: {
    type: "gauge",
    labels: ["state"],
    help: "Sources of endpoints by state: unfollowed, starting, current, doubting, silent, copy, expired",
  },
  heddle_log_lines_dropped_total: {
    type: "counter",
    labels: [],
    help: "Log lines given up because the reader of the log was too slow",
  },
  heddle_timers: {
    type: "gauge",
    labels: [],
    help: "Time limits and waits that are running, of requests, connections and the sidecar itself",
  },
  nodejs_active_resources: {
    type: "gauge",
    labels: ["type"],
    help: "What keeps the event loops busy, by Node's own names: sockets, servers, timers, questions to the system",
  },
  process_cpu_seconds_total: {
    type: "counter",
    labels: [],
    help: "CPU time of the process, user and system",
  },
  process_resident_memory_bytes: { type: "gauge", labels: [], help: "Resident memory of the process" },
} as const satisfies Record<string, MetricDefinition>;

export type MetricName = keyof typeof METRICS;
