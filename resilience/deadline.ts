/**
 * Whose deadline it was that passed, which decides what is learned from it.
 *
 * An endpoint that lets `timeouts.request` pass is too slow, as whoever wrote the configuration says. One that has not answered
 * within what a caller gives may be as well as ever: if that counted, a caller in a hurry could open the breakers of all others.
 */
import { type Exchange, headerValue, ProxyError, type ProxyResponse } from "../core/index.ts";

/** The detail of `deadline_exceeded` where the time was the caller's own, or that of the request for which it was called. */
export const CALLERS_LIMIT = "callers_limit";

/**
 * @param endpoint the one that has not answered, `address:port`; none while the request waited here. It is not told of where a delay
 *   for testing has used up a part of its time: its endpoint is not to blame.
 */
export function deadlineExceeded(exchange: Exchange, message: string, endpoint?: string): ProxyError {
  const { deadlineMs, waitDeadlineMs } = exchange;
  // While its body arrives a request has no deadline but its caller's, yet may wait here no longer than usual.
  const untilMs = endpoint === undefined ? Math.min(deadlineMs, waitDeadlineMs) : deadlineMs;
  return new ProxyError("deadline_exceeded", message, {
    ...(untilMs === exchange.callersDeadlineMs ? { detail: CALLERS_LIMIT } : {}),
    ...(endpoint === undefined || exchange.injected !== "" ? {} : { endpoint }),
  });
}

/**
 * Whether an answer only says that the caller's time was up, as a peer's sidecar does that was told how much there was. The
 * peer looks at the same deadline, so it may be the first to see it pass.
 */
export function saysTimeIsUp(exchange: Exchange, { status, headers }: ProxyResponse): boolean {
  return (
    status === 504 &&
    Number.isFinite(exchange.callersDeadlineMs) &&
    headerValue(headers, "x-heddle-error") === "deadline_exceeded"
  );
}
