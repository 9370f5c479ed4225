/**
 * One line for each request, written after its answer: what was asked, who answered, how long the proxy itself
 * took as against all it waited for, and the cause of everything that is not a plain success.
 *
 * The query is left out: that is where tokens are. Zero values are left out, too, as a line is read by people.
 */
import type { Exchange, Handler, Layer, Wait } from "../core/index.ts";

/** Writes one access log record. */
export type AccessLogWriter = (record: object) => void;

export function accessLog(write: AccessLogWriter): Layer {
  const record = (exchange: Exchange) => write(accessRecord(exchange));
  return {
    name: "access-log",
    wrap(next: Handler): Handler {
      return (exchange) => {
        exchange.onSettled(record);
        return next(exchange);
      };
    },
  };
}

/** Times in milliseconds, sizes in bytes. `proxyMs` is the time in which the request's coroutine was running. */
export function accessRecord(exchange: Exchange): Record<string, unknown> {
  const durationMs = exchange.settledAtMs - exchange.arrivedAtMs;
  let waitedMs = 0;
  const record: Record<string, unknown> = {
    direction: exchange.direction,
    method: exchange.method,
    authority: exchange.authority,
    path: withoutQuery(exchange.target),
    status: exchange.status,
    durationMs: rounded(durationMs),
  };
  for (const [wait, ms] of Object.entries(exchange.waitedMs) as [Wait, number][]) {
    waitedMs += ms;
    if (ms > 0) record[WAIT_FIELDS[wait]] = rounded(ms);
  }
  record["proxyMs"] = rounded(Math.max(0, durationMs - waitedMs));
  if (exchange.cause !== "") {
    record["cause"] = exchange.cause;
    if (exchange.detail !== "") record["detail"] = exchange.detail;
    if (exchange.causeMessage !== "") record["reason"] = exchange.causeMessage;
  }
  if (exchange.route !== "") record["route"] = exchange.route;
  if (exchange.upstream !== "") record["upstream"] = exchange.upstream;
  if (exchange.endpoint !== "") record["endpoint"] = exchange.endpoint;
  record["attempts"] = exchange.attempts;
  if (exchange.triedBefore.length > 0) record["triedBefore"] = exchange.triedBefore;
  if (exchange.retryRefused !== "") record["retryRefused"] = exchange.retryRefused;
  record["requestBytes"] = exchange.body?.pushedBytes ?? 0;
  record["responseBytes"] = exchange.responseBytes;
  record["requestId"] = exchange.requestId;
  record["client"] = exchange.clientAddress;
  return record;
}

/** `upstreamMs` is what the endpoint took to begin its answer; `transferMs` what the body then took to pass. */
const WAIT_FIELDS: Readonly<Record<Wait, string>> = {
  queue: "queueMs",
  connection: "connectMs",
  response: "upstreamMs",
  backoff: "backoffMs",
  transfer: "transferMs",
  layer: "layerMs",
};

function withoutQuery(target: string): string {
  const query = target.indexOf("?");
  return query === -1 ? target : target.slice(0, query);
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
