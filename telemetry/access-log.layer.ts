/**
 * One line for each request, written after its answer: what was asked, who answered, how long the proxy itself
 * took as against all it waited for, and the cause of everything that is not a plain success.
 *
 * The query is left out: that is where tokens are. Zero values are left out, too, as a line is read by people.
 * The line is put together here and not by a serializer that looks at an object it has never seen: the fields are
 * known, and this is a third of the cost (docs/decisions/0011).
 */
import { type Exchange, type Handler, type Layer, pathOf, type Wait } from "../core/index.ts";

/** Writes one access log record, given as the members of a JSON object, without its braces. */
export type AccessLogWriter = (members: string) => void;

export function accessLog(write: AccessLogWriter): Layer {
  const record = (exchange: Exchange) => write(accessMembers(exchange));
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

/** `upstreamMs` is what the endpoint took to begin its answer; `transferMs` what the body then took to pass. */
const FIELD_OF: Readonly<Record<Wait, string>> = {
  discovery: "discoveryMs",
  queue: "queueMs",
  connection: "connectMs",
  response: "upstreamMs",
  backoff: "backoffMs",
  transfer: "transferMs",
  layer: "layerMs",
};
// Every wait has one: what has none would be counted as the proxy's own time.
const WAIT_FIELDS = Object.entries(FIELD_OF) as readonly (readonly [Wait, string])[];

/**
 * The record of an exchange that is settled, as JSON members. Times are in milliseconds, sizes in bytes. `proxyMs` is
 * the time in which the request's coroutine was running.
 */
export function accessMembers(exchange: Exchange): string {
  const { durationMs, waitedMs } = exchange;
  let allWaitsMs = 0;
  let members = `"direction":"${exchange.direction}","method":${quoted(exchange.method)}`;
  members += `,"authority":${quoted(exchange.authority)},"path":${quoted(pathOf(exchange.target))}`;
  members += `,"status":${exchange.status},"durationMs":${milliseconds(durationMs)}`;
  for (const [wait, field] of WAIT_FIELDS) {
    const ms = waitedMs[wait];
    if (ms === 0) continue;
    allWaitsMs += ms;
    members += `,"${field}":${milliseconds(ms)}`;
  }
  members += `,"proxyMs":${milliseconds(durationMs - allWaitsMs)}`;
  if (exchange.cause !== "") members += member("cause", exchange.cause);
  if (exchange.detail !== "") members += member("detail", exchange.detail);
  if (exchange.causeMessage !== "") members += member("reason", exchange.causeMessage);
  if (exchange.shadow !== "") members += member("shadow", exchange.shadow);
  members += member("route", exchange.route) + member("upstream", exchange.upstream);
  members += `${member("endpoint", exchange.endpoint)},"attempts":${exchange.attempts}`;
  if (exchange.hedges > 0) members += `,"hedged":${exchange.hedges}`;
  if (exchange.triedBefore.length > 0) members += `,"triedBefore":${JSON.stringify(exchange.triedBefore)}`;
  members += member("retryRefused", exchange.retryRefused);
  members += member("fault", exchange.injected) + member("fallback", exchange.fallback);
  members += `,"requestBytes":${exchange.body?.pushedBytes ?? exchange.callerBytes},"responseBytes":${exchange.responseBytes}`;
  return `${members},"requestId":${quoted(exchange.requestId)},"client":"${exchange.clientAddress}"`;
}

function member(name: string, value: string): string {
  return value === "" ? "" : `,"${name}":${quoted(value)}`;
}

const QUOTE = 34;
const BACKSLASH = 92;

/** As JSON.stringify, at a tenth of the cost for text that needs no escape. */
function quoted(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 32 || code > 126 || code === QUOTE || code === BACKSLASH) return JSON.stringify(text);
  }
  return `"${text}"`;
}

/** ".000" to ".999". */
const THOUSANDTHS = Array.from({ length: 1000 }, (_, n) => (n === 0 ? "" : `.${String(n).padStart(3, "0")}`));

/** With three decimals: an integer and a table, as printing a fraction is the dearest part of a record. */
function milliseconds(ms: number): string {
  const micros = Math.round(Math.max(0, ms) * 1000);
  const whole = Math.floor(micros / 1000);
  return `${whole}${THOUSANDTHS[micros - whole * 1000]!}`;
}
