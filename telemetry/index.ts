export { type AccessLogWriter, accessLog, accessMembers } from "./access-log.layer.ts";
export { ACCESS_LOG_FIELDS } from "./access-log-fields.ts";
export type { Counts, DiscoveryCounts, UpstreamCounts } from "./counts.ts";
export { LOG_LEVELS, type LogLevel, type ProcessLog, processLog } from "./logger.ts";
export { METRICS, type MetricDefinition, type MetricName } from "./metric-names.ts";
export { metrics } from "./metrics.layer.ts";
export { Metrics } from "./metrics.ts";
export { type LogRelay, relayedLog } from "./relayed-log.ts";
export {
  type CountedRequests,
  DURATION_BUCKETS_S,
  MAX_REQUEST_SERIES,
  OVERFLOW,
  RequestTally,
  requestSeries,
} from "./request-tally.ts";
