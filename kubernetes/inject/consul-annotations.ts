/**
 * Consul's annotations as heddle's, for those who migrate: what can be followed becomes the annotation of ours that means the same,
 * and what cannot is told.
 *
 * Followed and not only documented: a fleet is not annotated anew in one day, and a pod must mean the same in both meshes while
 * it lasts. What heddle's own annotations say goes first. Nothing of Consul's is a fault, since Consul may know what heddle does not.
 */
import { type AnnotationName, readAnnotation, type Said } from "./annotations.ts";
import { cut, told } from "./fields.ts";
import { entriesOf, port, truth, type WantedUpstream } from "./values.ts";

export const CONSUL_PREFIX = "consul.hashicorp.com/";

type Mutable = { -readonly [Name in keyof Said]: Said[Name] };

/** Those that say the same in the same words. */
const SAME: Readonly<Record<string, AnnotationName>> = {
  "transparent-proxy-exclude-inbound-ports": "exclude-inbound-ports",
  "transparent-proxy-exclude-outbound-ports": "exclude-outbound-ports",
  "transparent-proxy-exclude-outbound-cidrs": "exclude-outbound-cidrs",
  "transparent-proxy-exclude-uids": "exclude-uids",
  "sidecar-proxy-cpu-request": "cpu-request",
  "sidecar-proxy-cpu-limit": "cpu-limit",
  "sidecar-proxy-memory-request": "memory-request",
  "sidecar-proxy-memory-limit": "memory-limit",
  "service-tags": "service-tags",
};

/** Those that are true or false, with the words that this is in ours. */
const SWITCHES: Readonly<Record<string, readonly [AnnotationName, yes: string, no: string]>> = {
  "connect-inject": ["inject", "enabled", "disabled"],
  "transparent-proxy": ["mode", "transparent", "explicit"],
  "transparent-proxy-overwrite-probes": ["rewrite-probes", "enabled", "disabled"],
  "enable-consul-dataplane-as-sidecar": ["sidecar", "native", "classic"],
};

/** Those that ask for what heddle does anyway. */
const GIVEN = new Set(["connect-inject-status", "enable-metrics", "use-proxy-health-check"]);

const META = "service-meta-";

export const CONSUL_FOLLOWED: readonly string[] = [
  ...Object.keys(SWITCHES),
  "connect-service",
  "connect-service-port",
  "connect-service-upstreams",
  ...Object.keys(SAME),
  `${META}*`,
];

export interface ConsulSaid {
  readonly said: Said;
  readonly warnings: readonly string[];
}

/** @param annotations all of the pod, of which only texts with Consul's prefix are looked at */
export function readConsulAnnotations(annotations: Readonly<Record<string, unknown>>): ConsulSaid {
  const said: Mutable = {};
  const warnings: string[] = [];
  const meta: Record<string, string> = {};
  for (const [key, given] of Object.entries(annotations)) {
    if (!key.startsWith(CONSUL_PREFIX) || typeof given !== "string") continue;
    const name = key.slice(CONSUL_PREFIX.length);
    const text = given.trim();
    const cannot = (why: string) => warnings.push(`${cut(key)} cannot be followed: ${why}`);
    const follow = (to: AnnotationName, value: string) => {
      const read = readAnnotation(to, value);
      if ("expected" in read) cannot(`expected ${read.expected}, got ${told(given)}`);
      else Object.assign(said, { [to]: read.value });
    };
    if (Object.hasOwn(SAME, name)) follow(SAME[name]!, text);
    else if (Object.hasOwn(SWITCHES, name)) {
      const [to, yes, no] = SWITCHES[name]!;
      const value = truth.read(text);
      if (value === undefined) cannot(`expected ${truth.expected}, got ${told(given)}`);
      else follow(to, value ? yes : no);
    } else if (name === "connect-service" || name === "connect-service-port") {
      const [first = "", ...rest] = entriesOf(text);
      if (rest.length > 0)
        warnings.push(`${key}: a pod with heddle is one service, so only ${cut(first)} of it is followed`);
      follow(name === "connect-service" ? "service" : "port", first);
    } else if (name === "connect-service-upstreams") {
      said.upstreams = entriesOf(text).flatMap((entry) => {
        const upstream = upstreamOf(entry);
        if (typeof upstream !== "string") return [upstream];
        cannot(`${upstream}, got ${told(entry)}`);
        return [];
      });
    } else if (name.startsWith(META)) Object.assign(meta, { [name.slice(META.length)]: given });
    else if (!GIVEN.has(name)) cannot("heddle has nothing that it would mean");
  }
  if (Object.keys(meta).length > 0) said["service-meta"] = meta;
  if (said.inject === "enabled")
    warnings.push(
      `${CONSUL_PREFIX}connect-inject is heeded by Consul's own injector as well: turn that off for these pods, or say heddle.dev/inject instead`,
    );
  return { said, warnings };
}

/** `orders:9190`, `orders:9190:dc2`, `orders.svc:9190` or `prepared_query:name:9190`; else why not. */
function upstreamOf(entry: string): WantedUpstream | string {
  const parts = entry.split(":").map((part) => part.trim());
  const isQuery = parts[0] === "prepared_query";
  if (isQuery) parts.shift();
  const [whole = "", number = "", datacenter, ...rest] = parts;
  const localPort = port.read(number);
  if (localPort === undefined || rest.length > 0)
    return "expected name:port, name:port:datacenter or prepared_query:name:port";
  const [name = "", kind, ...labels] = whole.split(".");
  if ((kind !== undefined && kind !== "svc") || labels.length > 0)
    return "namespaces, partitions and peers of Consul are not known to heddle";
  return {
    name,
    localPort,
    ...(isQuery ? { query: name } : {}),
    ...(datacenter === undefined || datacenter === "" ? {} : { datacenter }),
  };
}

/** The metadata that is said in both ways together; ours goes first. */
export function mergedMeta(ours: Said["service-meta"], consuls: Said["service-meta"]): Said["service-meta"] {
  return ours === undefined && consuls === undefined ? undefined : { ...consuls, ...ours };
}
