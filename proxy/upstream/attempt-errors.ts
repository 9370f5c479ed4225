/**
 * How a connection to an endpoint ends in words, by what it was doing. Apart from the connection, as it is decided from that alone.
 */
import { type ErrorCode, type Exchange, ProxyError } from "../../core/index.ts";
import { deadlineExceeded } from "../../resilience/index.ts";

/** What a connection does: it is being made, unused, sent on and not answered yet, answering, or no more. */
export type ConnectionState = "connecting" | "idle" | "sending" | "answering" | "closed";

/** An error that names the endpoint. @param key `address:port` */
export function endpointError(
  key: string,
  code: ErrorCode,
  message: string,
  detail?: string,
  cause?: Error,
): ProxyError {
  return new ProxyError(code, message, {
    endpoint: key,
    ...(detail === undefined ? {} : { detail }),
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The endpoint, or the network before it, has ended the connection. */
export function lostError(key: string, state: ConnectionState, cause: Error | undefined): ProxyError {
  const why = cause === undefined ? "closed the connection" : cause.message;
  if (state === "connecting")
    return endpointError(key, "connect_failed", `no connection to ${key}: ${why}`, undefined, cause);
  const when = state === "answering" ? "before its answer was complete" : "before it answered";
  return endpointError(key, "upstream_reset", `${key} was lost ${when}: ${why}`, undefined, cause);
}

/** The time for what it does is up. @param exchange the one that it serves, which while it is sent on there always is */
export function lateError(
  key: string,
  state: ConnectionState,
  exchange: Exchange | undefined,
  nowMs: number,
): ProxyError {
  switch (state) {
    case "connecting":
      return endpointError(key, "connect_timeout", `no connection to ${key} in time`);
    case "sending":
      if (nowMs >= exchange!.deadlineMs)
        return deadlineExceeded(exchange!, `no answer from ${key} in time`, key);
      return endpointError(key, "attempt_timeout", `${key} did not begin to answer in time`);
    case "answering":
      return endpointError(key, "response_timeout", `${key} stopped in the middle of its answer`);
    default:
      return endpointError(key, "upstream_reset", "unused for long enough");
  }
}
