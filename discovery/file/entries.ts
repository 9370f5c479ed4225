/**
 * From the text of a file to the endpoints in it, or every fault with its place. A decision without I/O.
 *
 * One fault refuses the whole file: to leave out the line that is wrong would take an endpoint away without anybody
 * having said so.
 *
 * JSON is read by JSON.parse, which takes a small part of the time of a YAML parser: such a list is written by
 * machines, may be long, and is read in the thread that carries traffic. Only a file with a fault is read again as
 * YAML, which knows places, and only if it is not long. What is lost is that a key in JSON may then be there twice.
 */
import * as v from "valibot";
import { endpointKey } from "../../core/index.ts";
import { isCallable } from "../address.ts";
import { formatPath, type Path, printed } from "../printed.ts";
import type { Instance } from "../source.ts";
import { type Place, readPlaced } from "./placed.ts";

export interface EntryFault {
  /** From 1. */
  readonly place: Place;
  /** `endpoints[2].weight`; empty for the file as a whole. */
  readonly path: string;
  /** What was expected, and what came. */
  readonly message: string;
}

export type EntriesReading =
  | { readonly instances: readonly Instance[] }
  | { readonly faults: readonly EntryFault[] };

const MOST_WEIGHT = 65_535;
const MOST_PRIORITY = 15;
/** What is longer holds up the traffic for half a second and more while it is read as YAML. */
const MOST_YAML_CHARACTERS = 1024 * 1024;
const HEALTH = ["passing", "warning", "critical", "maintenance"] as const;

const ADDRESS = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/;
const AN_ADDRESS =
  "an address and a port from 1 to 65535, such as 10.0.0.1:8080, db.internal:8080 or [::1]:8080";
const AN_ENTRY =
  "an address such as 10.0.0.1:8080, or { address, weight, zone, priority, health, note, tags, meta }";
const A_LIST = "a list of endpoints";
const A_FILE = "a list of endpoints, or a mapping with one as endpoints";
const A_WEIGHT = `a whole number from 1 to ${MOST_WEIGHT}`;
const A_PRIORITY = `a whole number from 0 to ${MOST_PRIORITY}`;
const A_MAPPING = "a mapping of texts";
const A_TEXT = "a text, in quotes if it looks like a number";

/** `host:port`; the output is both apart. */
const address = v.pipe(
  v.string(AN_ADDRESS),
  v.regex(ADDRESS, AN_ADDRESS),
  // What the pattern lets through and a URL does not: 300.0.0.1, [1::2::3], port 70000.
  v.check((given) => URL.canParse(`http://${given}`), AN_ADDRESS),
  v.check((given) => split(given).port > 0 && isCallable(split(given).host), AN_ADDRESS),
  v.transform(split),
);

const noMapping = v.never(A_MAPPING);
const texts = v.record(v.string(), v.string(A_TEXT), A_MAPPING);

const entry = v.strictObject(
  {
    address,
    weight: v.optional(
      v.pipe(
        v.number(A_WEIGHT),
        v.integer(A_WEIGHT),
        v.minValue(1, A_WEIGHT),
        v.maxValue(MOST_WEIGHT, A_WEIGHT),
      ),
      1,
    ),
    zone: v.optional(text("a zone's name")),
    priority: v.optional(
      v.pipe(
        v.number(A_PRIORITY),
        v.integer(A_PRIORITY),
        v.minValue(0, A_PRIORITY),
        v.maxValue(MOST_PRIORITY, A_PRIORITY),
      ),
      0,
    ),
    health: v.optional(v.picklist(HEALTH, `one of ${HEALTH.join(", ")}`), "passing"),
    note: v.optional(text("a text")),
    tags: v.optional(v.array(text("a tag"), "a list of tags")),
    // To valibot a list is a mapping with the keys 0, 1, 2.
    meta: v.optional(v.lazy((given) => (Array.isArray(given) ? noMapping : texts))),
  },
  AN_ENTRY,
);

const bareAddress = v.pipe(
  address,
  v.transform(
    (at): v.InferOutput<typeof entry> => ({ address: at, weight: 1, priority: 0, health: "passing" }),
  ),
);
// To valibot a list is an object too, and it would be told that it has no address.
const noEntry = v.never(AN_ENTRY);
// By what came and not by trying both: a union's complaint is about neither.
const list = v.array(
  v.lazy((given) => {
    if (typeof given === "string") return bareAddress;
    return Array.isArray(given) ? noEntry : entry;
  }),
  A_LIST,
);
const mapping = v.pipe(
  v.strictObject({ endpoints: list }, A_FILE),
  v.transform(({ endpoints }) => endpoints),
);
const file = v.lazy((given) => (Array.isArray(given) ? list : mapping));

const MEMBERS = Object.keys(entry.entries);

/**
 * @param source for the instances: who named them
 * @param labelled whether their tags and metadata are wanted; they are looked at for faults in any case
 */
export function readEntries(content: string, source: string, labelled = false): EntriesReading {
  // An empty file is what one looks like that is just being written.
  if (content.trim() === "")
    return fault("expected a list of endpoints, got an empty file; [] is a list without any");
  const quick = readJson(content);
  if (quick !== undefined) {
    const reading = believe(quick.value, source, labelled);
    if (reading.complaints.length === 0) return { instances: reading.instances };
  }
  if (content.length > MOST_YAML_CHARACTERS) return longFault(quick?.value, content.length, source);
  const placed = readPlaced(content);
  if ("problems" in placed) return { faults: placed.problems.map((problem) => ({ ...problem, path: "" })) };
  const { instances, complaints } = believe(placed.value, source, labelled);
  if (complaints.length === 0) return { instances };
  const faults = complaints.map(({ path, message, atKey }) => ({
    place: placed.placeOf(path, atKey === true),
    path: formatPath(path),
    message,
  }));
  return { faults: faults.sort((a, b) => a.place.line - b.place.line || a.place.column - b.place.column) };
}

/** Without the place, which only YAML would know. */
function longFault(value: unknown, length: number, source: string): EntriesReading {
  if (value === undefined)
    return fault(
      `expected JSON, as YAML of more than ${MOST_YAML_CHARACTERS} characters takes too long to read, got ${length} characters of something else`,
    );
  const [first] = believe(value, source, false).complaints as [Complaint];
  return {
    faults: [{ place: { line: 1, column: 1 }, path: formatPath(first.path), message: first.message }],
  };
}

interface Complaint {
  readonly path: Path;
  readonly message: string;
  /** Whether it is about the key and not about the value. */
  readonly atKey?: boolean;
}

function believe(
  value: unknown,
  source: string,
  labelled: boolean,
): { readonly instances: readonly Instance[]; readonly complaints: readonly Complaint[] } {
  const result = v.safeParse(file, value, { abortPipeEarly: true });
  if (!result.success) return { instances: [], complaints: result.issues.flatMap(complaintsOf) };
  const base = Array.isArray(value) ? [] : ["endpoints"];
  const complaints: Complaint[] = [];
  const firstAt = new Map<string, number>();
  const instances = result.output.map((given, i): Instance => {
    const { address: at, weight, zone, priority, health, note, tags, meta } = given;
    const key = endpointKey({ address: at.host.toLowerCase(), port: at.port });
    const first = firstAt.get(key);
    if (first === undefined) firstAt.set(key, i);
    else
      complaints.push({
        path: [...base, i],
        message: `expected each address once, got ${key} again, which is ${formatPath([...base, first])} too`,
      });
    return {
      address: at.host,
      port: at.port,
      weight,
      health,
      source,
      ...(zone === undefined ? {} : { zone }),
      ...(priority === 0 ? {} : { priority }),
      ...(note === undefined ? {} : { note }),
      ...(labelled ? { labels: { tags: tags ?? [], meta: meta ?? {} } } : {}),
    };
  });
  // Sorted, so that the same set compares equal in whatever order it is written.
  instances.sort((a, b) => (endpointKey(a) < endpointKey(b) ? -1 : 1));
  return { instances, complaints };
}

function complaintsOf(issue: v.BaseIssue<unknown>): Complaint[] {
  const path = (issue.path ?? []).map((item) => item.key as string | number);
  const last = issue.path?.at(-1);
  if (issue.type === "strict_object" && issue.expected === "never") {
    // valibot names only the first one.
    const known = path.length === 1 ? ["endpoints"] : MEMBERS;
    return Object.keys(last?.input as object)
      .filter((key) => !known.includes(key))
      .map((key) => ({
        path: [...path.slice(0, -1), key],
        message: `expected one of ${known.join(", ")}, got ${printed(key)} as the key`,
        atKey: true,
      }));
  }
  if (issue.type === "strict_object" && last?.origin === "key")
    return [{ path, message: `expected ${last.key === "endpoints" ? A_LIST : AN_ADDRESS}, got nothing` }];
  const remedy = issue.type === "array" && issue.input === null ? "; [] is a list without any" : "";
  return [{ path, message: `expected ${issue.message}, got ${printed(issue.input)}${remedy}` }];
}

function readJson(content: string): { readonly value: unknown } | undefined {
  // Most YAML is told apart by its first character, without reading it twice.
  if (!/^\s*[[{]/.test(content)) return undefined;
  try {
    return { value: JSON.parse(content) };
  } catch {
    return undefined;
  }
}

/** IPv6 in its one short form, so that what is written in two ways is one endpoint, here and across sources. */
function split(given: string): { readonly host: string; readonly port: number } {
  const [, ipv6, host, port] = ADDRESS.exec(given) ?? [];
  const canonical = ipv6 === undefined ? host : new URL(`http://[${ipv6}]`).hostname.slice(1, -1);
  return { host: canonical ?? "", port: Number(port) };
}

function text(expected: string) {
  return v.pipe(v.string(expected), v.minLength(1, expected));
}

function fault(message: string): EntriesReading {
  return { faults: [{ place: { line: 1, column: 1 }, path: "", message }] };
}
