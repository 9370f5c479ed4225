/**
 * One line for each request, written after its answer: what was asked, who answered, how long the proxy itself
 * took as against all it waited for, and the cause of everything that is not a plain success.
 *
 * The query is left out: that is where tokens are. Zero values are left out, too, as a line is read by people.
 * The line is put together here and not by a serializer that looks at an object it has never seen: the fields are
 * known, and this is a third of the cost (docs/decisions/0011).
 */
import { type Exchange, type Handler, type Layer, pathOf, type Wait } from "../core/index.ts";
import { KEYS } from "./access-log-fields.ts";

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

/** Every wait has a field: what has none would be counted as the proxy's own time. */
const KEY_OF: Readonly<Record<Wait, string>> = {
  discovery: KEYS.discoveryMs,
  queue: KEYS.queueMs,
  connection: KEYS.connectMs,
  response: KEYS.upstreamMs,
  backoff: KEYS.backoffMs,
  transfer: KEYS.transferMs,
  layer: KEYS.layerMs,
};
const WAIT_KEYS = Object.entries(KEY_OF) as readonly (readonly [Wait, string])[];
/** No comma stands before the first of them. */
const FIRST_KEY = KEYS.direction.slice(1);

/**
 * The record of an exchange that is settled, as JSON members. Times are in milliseconds, sizes in bytes. `proxyMs` is
 * the time in which the request's coroutine was running.
 */
export function accessMembers(exchange: Exchange): string {
  const { durationMs, waitedMs } = exchange;
  let allWaitsMs = 0;
  let members = `${FIRST_KEY}"${exchange.direction}"${KEYS.method}${quoted(exchange.method)}`;
  members += `${KEYS.authority}${quoted(exchange.authority)}${KEYS.path}${quoted(pathOf(exchange.target))}`;
  members += `${KEYS.status}${exchange.status}${KEYS.durationMs}${milliseconds(durationMs)}`;
  for (const [wait, key] of WAIT_KEYS) {
    const ms = waitedMs[wait];
    if (ms === 0) continue;
    allWaitsMs += ms;
    members += key + milliseconds(ms);
  }
  members += `${KEYS.proxyMs}${milliseconds(durationMs - allWaitsMs)}`;
  members += member(KEYS.cause, exchange.cause) + member(KEYS.detail, exchange.detail);
  members += member(KEYS.reason, exchange.causeMessage) + member(KEYS.shadow, exchange.shadow);
  members += member(KEYS.route, exchange.route) + member(KEYS.upstream, exchange.upstream);
  members += `${member(KEYS.endpoint, exchange.endpoint)}${KEYS.attempts}${exchange.attempts}`;
  if (exchange.hedges > 0) members += `${KEYS.hedged}${exchange.hedges}`;
  if (exchange.triedBefore.length > 0) members += KEYS.triedBefore + JSON.stringify(exchange.triedBefore);
  members += member(KEYS.retryRefused, exchange.retryRefused);
  members += member(KEYS.fault, exchange.injected) + member(KEYS.fallback, exchange.fallback);
  members += `${KEYS.requestBytes}${exchange.body?.pushedBytes ?? exchange.callerBytes}${KEYS.responseBytes}${exchange.responseBytes}`;
  return `${members}${KEYS.requestId}${quoted(exchange.requestId)}${KEYS.client}"${exchange.clientAddress}"`;
}

function member(key: string, value: string): string {
  return value === "" ? "" : key + quoted(value);
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
