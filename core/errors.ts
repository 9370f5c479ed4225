/**
 * Every way in which heddle itself answers, as one table, and the one error class that carries an entry of it.
 *
 * An error answers four questions: what (`code`), whose fault (`origin`), may the request be sent again
 * (`resend`), and why (`message`, `detail`, `cause`). The code is what a caller sees in `x-heddle-error`, an
 * operator in the access log, and a dashboard in the label `cause`; docs/errors.md is compared with this table.
 */

/** Whose fault: the caller's, the endpoint's, or heddle's own (its limits and rules included). */
export type Origin = "downstream" | "upstream" | "local";

/**
 * "safe": nothing of the request can have been processed. "idempotent": it may have been, so only a request
 * that may be repeated can be sent again. "never": sending it again would not change the answer.
 */
export type Resend = "safe" | "idempotent" | "never";

export interface ErrorKind {
  readonly status: number;
  readonly origin: Origin;
  readonly resend: Resend;
  readonly meaning: string;
}

const TABLE = {
  bad_request: [
    400,
    "downstream",
    "never",
    "the request is malformed or ambiguous; the connection is closed",
  ],
  request_timeout: [408, "downstream", "never", "the caller took too long to send its request"],
  uri_too_long: [414, "downstream", "never", "the request line is longer than allowed"],
  expectation_failed: [417, "downstream", "never", "an Expect other than 100-continue was asked for"],
  headers_too_large: [431, "downstream", "never", "the request's head or trailers are larger than allowed"],
  not_implemented: [501, "downstream", "never", "a method or transfer coding that heddle does not carry"],
  version_not_supported: [505, "downstream", "never", "an HTTP version other than 1.0 and 1.1"],
  client_closed: [
    499,
    "downstream",
    "never",
    "the caller went away before the answer was complete; never sent",
  ],
  no_route: [404, "local", "never", "no route and no upstream matches the request's host"],
  no_endpoint: [503, "local", "never", "the upstream has no endpoint at all"],
  breaker_open: [
    503,
    "local",
    "never",
    "the breakers of all endpoints are open, or the breaker of the route is",
  ],
  overflow: [
    503,
    "local",
    "never",
    "the upstream's limits are reached and its queue of pending requests is full",
  ],
  rate_limited: [429, "local", "never", "more requests came than a rate limit lets through"],
  queue_timeout: [503, "local", "never", "the request had no turn within limits.queueTimeout; never sent on"],
  overloaded: [503, "local", "never", "this sidecar is overloaded and refuses what is less critical first"],
  connect_failed: [502, "upstream", "safe", "no connection to the endpoint could be made"],
  connect_timeout: [502, "upstream", "safe", "the endpoint did not accept a connection in time"],
  upstream_reset: [
    502,
    "upstream",
    "idempotent",
    "the endpoint closed the connection before its answer was complete",
  ],
  bad_response: [502, "upstream", "idempotent", "the endpoint's answer is malformed or ambiguous"],
  attempt_timeout: [
    504,
    "upstream",
    "idempotent",
    "the endpoint did not begin to answer within timeouts.attempt",
  ],
  response_timeout: [504, "upstream", "never", "the endpoint stopped in the middle of its answer"],
  deadline_exceeded: [
    504,
    "local",
    "never",
    "the request was not answered within timeouts.request, or within what its caller gives it (`callers_limit`)",
  ],
  idle_timeout: [
    504,
    "local",
    "never",
    "a TCP connection carried nothing, either way, for timeouts.tunnelIdle; never sent",
  ],
  hedge_lost: [503, "local", "never", "another attempt of the same request answered first; never sent"],
  shutting_down: [503, "local", "never", "heddle ended before the answer was complete; never sent"],
  fault_injected: [503, "local", "never", "a fault was injected for testing"],
  internal_error: [500, "local", "never", "a fault inside heddle or one of its layers"],
} as const satisfies Record<string, readonly [number, Origin, Resend, string]>;

export type ErrorCode = keyof typeof TABLE;

export const ERROR_KINDS: Readonly<Record<ErrorCode, ErrorKind>> = Object.fromEntries(
  Object.entries(TABLE).map(([code, [status, origin, resend, meaning]]) => [
    code,
    { status, origin, resend, meaning },
  ]),
) as Record<ErrorCode, ErrorKind>;

export interface ErrorContext {
  /** A word that narrows the code down, such as the parser's "bare_line_feed". */
  readonly detail?: string;
  /** The endpoint that was tried, `address:port`. */
  readonly endpoint?: string;
  /** Fields of the answer besides those that every error has, as name, value, name, value. */
  readonly headers?: readonly string[];
  readonly cause?: unknown;
}

export class ProxyError extends Error {
  readonly code: ErrorCode;
  readonly detail: string | undefined;
  readonly endpoint: string | undefined;
  readonly headers: readonly string[] | undefined;

  constructor(code: ErrorCode, message: string, context: ErrorContext = {}) {
    // These are answers, not accidents: in an outage thousands are made each second, and nobody reads their stacks.
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = 0;
    super(message, context.cause === undefined ? undefined : { cause: context.cause });
    Error.stackTraceLimit = limit;
    this.name = "ProxyError";
    this.code = code;
    this.detail = context.detail;
    this.endpoint = context.endpoint;
    this.headers = context.headers;
  }

  get kind(): ErrorKind {
    return ERROR_KINDS[this.code];
  }
}

/** Whatever a layer threw, as a ProxyError: what is not one already is a fault of ours. */
export function asProxyError(thrown: unknown): ProxyError {
  if (thrown instanceof ProxyError) return thrown;
  const message = thrown instanceof Error ? thrown.message : `it threw a ${typeof thrown}`;
  return new ProxyError("internal_error", `a layer failed: ${message}`, { cause: thrown });
}
