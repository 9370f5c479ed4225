/**
 * One route of a discovery chain: which requests it is for, and what becomes of them.
 *
 * A test that is not understood must not be read as one that always holds: the route would take requests that are meant
 * for those after it. So whatever is not known in a match leaves the route out, and what is not known in a destination is
 * said, while the route stands.
 */
import { field, list, text } from "../json-values.ts";
import { readPattern } from "./pattern.ts";
import { count, entries, limitMs, texts } from "./values.ts";

export interface ValueMatch {
  readonly name: string;
  readonly type: "present" | "exact" | "prefix" | "suffix" | "contains" | "regex";
  /** A pattern is one of JavaScript's, for the whole value. */
  readonly value: string;
  readonly invert: boolean;
  readonly ignoreCase: boolean;
}

export interface ChainMatch {
  readonly path: { readonly type: "exact" | "prefix" | "regex"; readonly value: string } | undefined;
  readonly ignoreCase: boolean;
  readonly headers: readonly ValueMatch[];
  readonly query: readonly ValueMatch[];
  /** Empty for any. */
  readonly methods: readonly string[];
}

export interface HeaderEdits {
  readonly add: Readonly<Record<string, string>>;
  readonly set: Readonly<Record<string, string>>;
  /** In lower case. */
  readonly remove: readonly string[];
}

export interface ChainHeaders {
  readonly request: HeaderEdits | undefined;
  readonly response: HeaderEdits | undefined;
}

export interface ChainDestination extends ChainHeaders {
  readonly prefixRewrite: string | undefined;
  /** The whole request with its retries; undefined for the usual. */
  readonly requestMs: number | undefined;
  /** Undefined when the route says nothing of retries; without `on` it says only how many. */
  readonly retries: { readonly attempts: number; readonly on: readonly (string | number)[] } | undefined;
}

/** Takes what is to be said, in words. */
export type Warn = (warning: string) => void;

export const NO_HEADERS: ChainHeaders = { request: undefined, response: undefined };

export const EVERY_REQUEST: ChainMatch = {
  path: undefined,
  ignoreCase: false,
  headers: [],
  query: [],
  methods: [],
};

export const NOTHING_SPECIAL: ChainDestination = {
  ...NO_HEADERS,
  prefixRewrite: undefined,
  requestMs: undefined,
  retries: undefined,
};

/** @returns undefined when it asks for what cannot be compared, after a warning */
export function readMatch(match: unknown, warn: Warn): ChainMatch | undefined {
  try {
    const http = known(match, ["HTTP"])["HTTP"];
    return isNothing(http) ? EVERY_REQUEST : readHttp(http);
  } catch (thrown) {
    if (!(thrown instanceof NotUnderstood)) throw thrown;
    warn(`${thrown.message}; it is left out`);
    return undefined;
  }
}

class NotUnderstood extends Error {}

const PATHS = { PathExact: "exact", PathPrefix: "prefix", PathRegex: "regex" } as const;

function readHttp(value: unknown): ChainMatch {
  const http = known(value, [...Object.keys(PATHS), "CaseInsensitive", "Header", "QueryParam", "Methods"]);
  const paths = Object.entries(PATHS).flatMap(([key, type]) => {
    const path = wantedText(http[key], key);
    return path === undefined ? [] : [{ type, value: path }];
  });
  if (paths.length > 1) throw new NotUnderstood("its match has more than one path");
  const [path] = paths;
  const common = {
    headers: wantedList(http["Header"], "Header").map(readValueMatch),
    query: wantedList(http["QueryParam"], "QueryParam").map(readValueMatch),
    methods: wantedList(http["Methods"], "Methods").map((method) => wantedText(method, "Methods") ?? ""),
  };
  // As in Envoy, a pattern says by itself whether letters are of any case.
  if (path?.type !== "regex") return { ...common, path, ignoreCase: http["CaseInsensitive"] === true };
  const { source, ignoreCase } = wantedPattern(path.value);
  return { ...common, path: { type: "regex", value: source }, ignoreCase };
}

const TESTS = ["Exact", "Prefix", "Suffix", "Contains", "Regex"] as const;

function readValueMatch(value: unknown): ValueMatch {
  const match = known(value, ["Name", "Present", "Invert", "IgnoreCase", ...TESTS]);
  const name = text(match["Name"]);
  // Envoy's `:path` and its like are not fields.
  if (name === undefined || name.startsWith(":"))
    throw new NotUnderstood(`its match names the field ${JSON.stringify(match["Name"] ?? null)}`);
  const common = { name, invert: match["Invert"] === true };
  const ignoreCase = match["IgnoreCase"] === true;
  const found: ValueMatch[] = [];
  for (const test of TESTS) {
    const wanted = wantedText(match[test], test);
    if (wanted === undefined) continue;
    if (test === "Regex") {
      const { source, ignoreCase: own } = wantedPattern(wanted);
      found.push({ ...common, type: "regex", value: source, ignoreCase: own });
    } else
      found.push({
        ...common,
        type: test.toLowerCase() as Lowercase<typeof test>,
        value: wanted,
        ignoreCase,
      });
  }
  if (match["Present"] === true) found.push({ ...common, type: "present", value: "", ignoreCase });
  const [only] = found;
  if (only === undefined || found.length > 1)
    throw new NotUnderstood(`its match of ${name} has ${found.length === 0 ? "no test" : "several tests"}`);
  return only;
}

/** The members of an object that has no others; none of it if there is nothing. */
function known(value: unknown, keys: readonly string[]): Readonly<Record<string, unknown>> {
  if (isNothing(value)) return {};
  if (typeof value !== "object" || Array.isArray(value))
    throw new NotUnderstood(`its match has ${JSON.stringify(value)} in place of an object`);
  for (const [key, member] of entries(value))
    if (!keys.includes(key) && !isEmpty(member))
      throw new NotUnderstood(`its match has ${JSON.stringify(key)}, which is not understood`);
  return Object.fromEntries(entries(value));
}

function wantedText(value: unknown, key: string): string | undefined {
  if (isNothing(value) || value === "") return undefined;
  if (typeof value !== "string")
    throw new NotUnderstood(`its match has no text as ${key}, but ${JSON.stringify(value)}`);
  return value;
}

function wantedList(value: unknown, key: string): readonly unknown[] {
  if (isNothing(value)) return [];
  if (!Array.isArray(value) || value.some(isEmpty))
    throw new NotUnderstood(`its match has no list as ${key}, but ${JSON.stringify(value)}`);
  return value;
}

function wantedPattern(pattern: string): { readonly source: string; readonly ignoreCase: boolean } {
  const read = readPattern(pattern);
  if ("fault" in read) throw new NotUnderstood(`its pattern ${JSON.stringify(pattern)}: ${read.fault}`);
  return read;
}

function isNothing(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}

/** What Consul writes for a member that nobody has set. */
function isEmpty(value: unknown): boolean {
  if (isNothing(value) || value === "" || value === false || value === 0) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

const DESTINATION = new Set([
  "Service",
  "ServiceSubset",
  "Namespace",
  "Partition",
  "PrefixRewrite",
  "RequestTimeout",
  "NumRetries",
  "RetryOnConnectFailure",
  "RetryOn",
  "RetryOnStatusCodes",
  "RequestHeaders",
  "ResponseHeaders",
]);

/** Where it leads is not read here: the next node says it. */
export function readDestination(destination: unknown, warn: Warn): ChainDestination {
  for (const [key, value] of entries(destination))
    if (!DESTINATION.has(key) && !isEmpty(value)) warn(`${key} of its destination has no effect`);
  const statuses = list(field(destination, "RetryOnStatusCodes")).filter((code) => typeof code === "number");
  const onConnect = field(destination, "RetryOnConnectFailure") === true;
  const on = [
    ...(onConnect ? ["connect-failure"] : []),
    ...texts(field(destination, "RetryOn")),
    ...statuses,
  ];
  const attempts = count(field(destination, "NumRetries"));
  return {
    prefixRewrite: text(field(destination, "PrefixRewrite")),
    requestMs: limitMs(field(destination, "RequestTimeout")),
    retries: on.length > 0 || attempts !== undefined ? { attempts: attempts ?? 1, on } : undefined,
    request: readEdits(field(destination, "RequestHeaders")),
    response: readEdits(field(destination, "ResponseHeaders")),
  };
}

export function readEdits(value: unknown): HeaderEdits | undefined {
  if (isEmpty(value) || typeof value !== "object") return undefined;
  const pairs = (of: unknown) =>
    Object.fromEntries(entries(of).flatMap(([name, to]) => (typeof to === "string" ? [[name, to]] : [])));
  return {
    add: pairs(field(value, "Add")),
    set: pairs(field(value, "Set")),
    remove: texts(field(value, "Remove")).map((name) => name.toLowerCase()),
  };
}

/** What two splitters one behind the other ask for, as Consul puts it together: `last` has the last word. */
export function mergedEdits(
  first: HeaderEdits | undefined,
  last: HeaderEdits | undefined,
): HeaderEdits | undefined {
  if (first === undefined || last === undefined) return first ?? last;
  return {
    add: { ...first.add, ...last.add },
    set: { ...first.set, ...last.set },
    remove: [...new Set([...first.remove, ...last.remove])],
  };
}
