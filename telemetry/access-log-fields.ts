/**
 * The fields of a line of the access log, in the order in which they are written, and what docs/access-log.md says of each.
 *
 * A line is put together from the keys that are made of this table, so that no field can be written that is not in it, nor stand on the
 * page without being written.
 */

interface AccessLogField {
  readonly unit?: "ms" | "bytes";
  /** When a line has it; absent for every line. */
  readonly when?: string;
  readonly what: string;
}

const FIELDS = {
  level: { what: "`info`, whatever `telemetry.logLevel` is" },
  time: { what: "when the request was settled, in UTC, such as `2026-01-31T12:00:00.000Z`" },
  direction: { what: "`outbound` for what the app asks of others, `inbound` for what others ask of the app" },
  method: {
    what: "the method; `TCP` for a connection that is carried as it is, `-` where the request could not be read",
  },
  authority: {
    what: "the Host, or the authority of the target; for a redirected connection where it was going",
  },
  path: { what: "the path of the target, without its query" },
  status: {
    what: "the status of the answer; 499 where its caller had gone before there was one, 101 for a tunnel",
  },
  durationMs: { unit: "ms", what: "from the request's head to the last byte of its answer" },
  discoveryMs: {
    unit: "ms",
    when: "it waited for that",
    what: "for the first word of discovery on a name that was not followed yet",
  },
  queueMs: { unit: "ms", when: "it waited for that", what: "for a permit of `limits`" },
  connectMs: { unit: "ms", when: "it waited for that", what: "for a connection with an endpoint" },
  upstreamMs: { unit: "ms", when: "it waited for that", what: "for the endpoint to begin its answer" },
  backoffMs: { unit: "ms", when: "it waited for that", what: "between attempts" },
  transferMs: {
    unit: "ms",
    when: "it waited for that",
    what: "for the rest of the answer to pass, at the pace of the slower side",
  },
  layerMs: {
    unit: "ms",
    when: "it waited for that",
    what: "in a layer of your own, or for a delay that was injected for testing",
  },
  proxyMs: { unit: "ms", what: "heddle's own: what is left of `durationMs` without all waits" },
  cause: {
    when: "it is no plain success",
    what: "an [error code](errors.md), or `upstream_status` for a status from 500 on that is the endpoint's own",
  },
  detail: { when: "the code has one", what: "what exactly, such as the rule that a message breaks" },
  reason: { when: "heddle knows one", what: "the `cause` in a sentence" },
  shadow: {
    when: "something in shadow mode would have refused it",
    what: "the codes that it would have had, joined by commas",
  },
  route: {
    when: "it took a route",
    what: "the route's name, or its place as in `routes[0]`; where a second one led on, both with a slash between",
  },
  upstream: { when: "it was led to one", what: "the upstream" },
  endpoint: { when: "an attempt was made", what: "the endpoint of the last attempt, `address:port`" },
  attempts: { what: "how many times it was sent, or tried to be sent, to an endpoint" },
  hedged: { when: "above 0", what: "how many of these were sent beside another" },
  triedBefore: {
    when: "`attempts` is above 1",
    what: "the endpoints of the attempts before the last, in order",
  },
  retryRefused: {
    when: "an attempt failed and no other was made",
    what: "why, in the words of `heddle_retries_refused_total` in [metrics.md](metrics.md)",
  },
  fault: {
    when: "a fault was injected",
    what: "the kinds of the faults that were injected for testing, joined by commas ([faults.md](faults.md))",
  },
  fallback: {
    when: "something answered in place of the upstream",
    what: "`static` or `stale` ([fallbacks.md](fallbacks.md))",
  },
  requestBytes: { unit: "bytes", what: "of the request's body, as far as it came" },
  responseBytes: { unit: "bytes", what: "of the answer's body, as far as it passed" },
  requestId: { what: "the `X-Request-Id` that the endpoint gets: the caller's, or one made here" },
  client: { what: "the caller's address, without its port" },
  msg: { what: "`request`, by which these lines are told from others" },
} as const satisfies Readonly<Record<string, AccessLogField>>;

type AccessLogName = keyof typeof FIELDS;

export const ACCESS_LOG_FIELDS: Readonly<Record<AccessLogName, AccessLogField>> = FIELDS;

/** `,"status":`, by its name: what stands in a line before a value. */
export const KEYS = Object.fromEntries(Object.keys(FIELDS).map((name) => [name, `,"${name}":`])) as Readonly<
  Record<AccessLogName, string>
>;
