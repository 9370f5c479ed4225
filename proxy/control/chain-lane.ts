/**
 * What a route of a discovery chain asks for on its way to an upstream, beside where it leads: how long it may take, when
 * it is sent again, and what is changed of it. A decision without I/O.
 *
 * Texts of the registry end up on the wire. What would not be one field or one path there is refused here, once and with
 * a warning, and not with each request.
 */
import type { ChainDestination, ChainHeaders, ChainRoute, HeaderEdits } from "../../discovery/index.ts";
import type { RetryCondition, RetryOptions } from "../../resilience/index.ts";
import type { LanePlan } from "../plan.ts";
import type { HeaderChanges, Rewrite } from "../rewrite.layer.ts";

/** Takes what is to be said, in words. */
export type Warn = (warning: string) => void;

/** @param usual the retries of the upstream, which hold where the route says nothing */
export function laneOf(
  upstream: string,
  { destination, match }: ChainRoute,
  headers: ChainHeaders,
  usual: RetryOptions,
  warn: Warn,
): LanePlan {
  const { requestMs, retries } = destination;
  const prefix = prefixOf(destination, match, warn);
  // The split before the route, as in Envoy.
  const request = changes([headers.request, destination.request], warn);
  const response = changes([headers.response, destination.response], warn);
  const rewrite: Rewrite = {
    ...(prefix === undefined ? {} : { prefix }),
    ...(request.length === 0 ? {} : { request }),
    ...(response.length === 0 ? {} : { response }),
  };
  return {
    upstream,
    ...(requestMs === undefined ? {} : { requestMs }),
    ...(retries === undefined ? {} : { retries: { ...usual, ...retriesOf(retries, warn) } }),
    ...(Object.keys(rewrite).length === 0 ? {} : { rewrite }),
  };
}

const ANY_5XX: readonly RetryCondition[] = Array.from({ length: 100 }, (_, i) => 500 + i);
const NO_ANSWER: readonly RetryCondition[] = ["connectFailure", "reset", "timeout"];

/** Envoy's names for what a retry answers to. */
const CONDITIONS: ReadonlyMap<string, readonly RetryCondition[]> = new Map([
  ["connect-failure", ["connectFailure"]],
  // Nothing has been done, which over HTTP/1.1 is known only of connections.
  ["refused-stream", ["connectFailure"]],
  ["reset", NO_ANSWER],
  ["gateway-error", [...NO_ANSWER, 502, 503, 504]],
  ["5xx", [...NO_ANSWER, ...ANY_5XX]],
  ["retriable-4xx", [409]],
  // Says that there are status codes beside it.
  ["retriable-status-codes", []],
]);

function retriesOf(
  { attempts, on }: NonNullable<ChainDestination["retries"]>,
  warn: Warn,
): Partial<Pick<RetryOptions, "attempts" | "on">> {
  // How often, and not on what: what is usual is meant. Envoy would never send it again.
  if (on.length === 0) return { attempts };
  const conditions = on.flatMap((word): readonly RetryCondition[] => {
    const known = typeof word === "number" ? (isFailure(word) ? [word] : undefined) : CONDITIONS.get(word);
    if (known === undefined) warn(`the retry condition ${word} is not understood, and has no effect`);
    return known ?? [];
  });
  return { attempts, on: [...new Set(conditions)] };
}

function isFailure(status: number): boolean {
  return Number.isInteger(status) && status >= 400 && status <= 599;
}

function prefixOf(
  { prefixRewrite: to }: ChainDestination,
  { path, ignoreCase }: ChainRoute["match"],
  warn: Warn,
): Rewrite["prefix"] {
  if (to === undefined) return undefined;
  if (path?.type === "regex") {
    warn("PrefixRewrite needs a path or a prefix that is matched, not a pattern; it has no effect");
    return undefined;
  }
  if (!/^[\x21\x22\x24-\x7e]*$/.test(to)) {
    warn(`expected the beginning of a path as PrefixRewrite, got ${JSON.stringify(to)}; it has no effect`);
    return undefined;
  }
  return { from: path?.value ?? "/", to, ...(ignoreCase ? { ignoreCase } : {}) };
}

function changes(of: readonly (HeaderEdits | undefined)[], warn: Warn): HeaderChanges[] {
  return of.flatMap((edits) => {
    if (edits === undefined) return [];
    const { set, add, remove } = edits;
    const change = {
      remove: remove.filter((name) => isOurs(name, "", warn)),
      add: fields(add, warn),
      set: fields(set, warn),
    };
    const none = change.remove.length + Object.keys(change.add).length + Object.keys(change.set).length === 0;
    return none ? [] : [change];
  });
}

function fields(given: Readonly<Record<string, string>>, warn: Warn): Record<string, string> {
  return Object.fromEntries(
    Object.entries(given).flatMap(([name, text]) => {
      const value = onTheWire(text);
      return isOurs(name, value, warn) ? [[name, value]] : [];
    }),
  );
}

/** A text as fields have it here, one character for each byte of its UTF-8. */
export function onTheWire(text: string): string {
  return Buffer.from(text).toString("latin1");
}

// As core/headers.ts has it, which refuses them with each request.
const FIELD_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** `%REQ(x-id)%` stands for something in Envoy. */
const VARIABLE = /%[A-Z_]+(?:\([^)]*\))?(?::\d+)?%/;
/** What frames a message, or belongs to one connection, or is made by heddle. */
const FRAMING: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "x-request-id",
]);

/** Whether a route may change this field. */
function isOurs(name: string, value: string, warn: Warn): boolean {
  const fault = !FIELD_NAME.test(name)
    ? "expected a field name"
    : !FIELD_VALUE.test(value)
      ? `expected a field value, got ${JSON.stringify(value)}`
      : FRAMING.has(name.toLowerCase())
        ? "it is heddle's own"
        : VARIABLE.test(value)
          ? `the variables of Envoy in ${JSON.stringify(value)} are not understood`
          : undefined;
  if (fault !== undefined) warn(`the field ${JSON.stringify(name)} is not changed: ${fault}`);
  return fault === undefined;
}
