/**
 * From EndpointSlices (discovery.k8s.io/v1) to instances. A decision without I/O.
 *
 * A slice is read once, when it arrives, and only what is needed of it is kept: a service of thousands has dozens of
 * slices, and each change of one would otherwise mean reading all of them again. What cannot be understood in a slice
 * is left out and named, so that one odd slice does not hide the others.
 *
 * A slice has labels and its endpoints have none: those of the slice are taken for the metadata of each. Kubernetes copies
 * them from the Service and not from the pods, so they tell versions apart only where each has slices of its own.
 *
 * `hints.forZones` is not used: hints are Kubernetes's choice of endpoints per zone, and choosing is the balancer's here.
 */
import { endpointKey } from "../../core/index.ts";
import { isCallable } from "../address.ts";
import { field, isPort, list, text } from "../json-values.ts";
import type { Instance, Labels } from "../source.ts";

/** What is wanted of each slice. */
export interface Wanted {
  /** A port's name or number in the slices, which are the pods' ports; undefined for the first TCP port. */
  readonly port: string | number | undefined;
  /** The name of the source, which every instance carries. */
  readonly source: string;
  /** The labels of the slices are wanted as well. */
  readonly labelled?: boolean | undefined;
}

export interface SliceReading {
  readonly name: string;
  /** The version of the slice, from which a watch may go on. */
  readonly version: string;
  readonly instances: readonly Instance[];
  /** What was left out of the slice, and why. */
  readonly fault?: string;
}

/** @returns undefined when `object` is not a Kubernetes object at all, as when something else answered */
export function readSlice(object: unknown, wanted: Wanted): SliceReading | undefined {
  const name = text(field(field(object, "metadata"), "name"));
  const version = versionOf(object);
  if (name === undefined || version === undefined) return undefined;
  const leftOut = (why: string): SliceReading => ({
    name,
    version,
    instances: [],
    fault: `slice ${name}: ${why}`,
  });

  const addressType = field(object, "addressType");
  if (addressType !== "IPv4" && addressType !== "IPv6" && addressType !== "FQDN")
    return leftOut(`addresses of type ${JSON.stringify(addressType)} are not known`);
  const endpoints = list(field(object, "endpoints"));
  const port = choosePort(list(field(object, "ports")), wanted.port);
  if (typeof port === "string")
    return endpoints.length === 0 ? { name, version, instances: [] } : leftOut(port);

  const instances: Instance[] = [];
  const labels = wanted.labelled === true ? { labels: labelsOf(object) } : {};
  let unusable = 0;
  for (const endpoint of endpoints) {
    // Of several addresses the API promises that they lead to the same, and that taking the first is right.
    const address = text(list(field(endpoint, "addresses"))[0]);
    if (address === undefined || !isCallable(address)) {
      unusable++;
      continue;
    }
    const zone = text(field(endpoint, "zone"));
    instances.push({
      address,
      port,
      weight: 1,
      source: wanted.source,
      ...(zone === undefined ? {} : { zone }),
      ...judge(field(endpoint, "conditions")),
      ...labels,
    });
  }
  const fault =
    unusable === 0 ? {} : { fault: `slice ${name}: ${unusable} endpoints without a usable address` };
  return { name, version, instances, ...fault };
}

/** The resourceVersion of any Kubernetes object or list; it is opaque, and neither compared nor computed with. */
export function versionOf(object: unknown): string | undefined {
  return text(field(field(object, "metadata"), "resourceVersion"));
}

/**
 * The instances of all slices, of IPv4 and IPv6 alike. While Kubernetes moves endpoints between slices, one may be in two
 * of them, and the older word may be that it is not ready: the better one counts.
 */
export function mergeSlices(slices: Iterable<SliceReading>): Instance[] {
  const merged = new Map<string, Instance>();
  // By name, so that the same slices say the same in whatever order they came.
  for (const { instances } of [...slices].sort((a, b) => (a.name < b.name ? -1 : 1)))
    for (const instance of instances) {
      const key = endpointKey(instance);
      const other = merged.get(key);
      if (other === undefined || rank(instance) > rank(other)) merged.set(key, instance);
    }
  return [...merged].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, instance]) => instance);
}

/**
 * Kubernetes takes a pod that terminates out of `ready`, and says in `serving` whether it still answers: that is not an
 * ill pod but one that leaves, as in maintenance. Absent means ready, and a Service with publishNotReadyAddresses
 * has all of its endpoints `ready` already.
 */
function judge(conditions: unknown): Pick<Instance, "health" | "note"> {
  if (field(conditions, "ready") !== false) return { health: "passing" };
  if (field(conditions, "serving") === true && field(conditions, "terminating") === true)
    return { health: "maintenance", note: "terminating" };
  return { health: "critical", note: "not ready" };
}

/** One object for all endpoints of a slice. */
function labelsOf(slice: unknown): Labels {
  const labels = Object.entries(field(field(slice, "metadata"), "labels") ?? {});
  return { meta: Object.fromEntries(labels.filter(([, value]) => typeof value === "string")) };
}

function rank({ health }: Instance): number {
  return health === "passing" ? 2 : health === "maintenance" ? 1 : 0;
}

/** @returns the number of the port, or why there is none */
function choosePort(ports: readonly unknown[], wanted: string | number | undefined): number | string {
  // A slice without ports, as a headless Service may have, restricts none; so does a port without a number.
  if (ports.length === 0)
    return typeof wanted === "number" ? wanted : "it names no port, and none is given by its number";
  const names: string[] = [];
  for (const entry of ports) {
    const number = field(entry, "port");
    const name = field(entry, "name");
    const protocol = field(entry, "protocol") ?? "TCP";
    if (protocol !== "TCP") continue;
    if (typeof wanted === "number" && (number ?? wanted) === wanted) return wanted;
    if ((wanted === undefined || name === wanted) && isPort(number)) return number;
    names.push(`${text(name) ?? "unnamed"} (${isPort(number) ? number : "no number"})`);
  }
  const sought = wanted === undefined ? "no TCP port with a number" : `no TCP port ${JSON.stringify(wanted)}`;
  return `${sought}; there is ${names.join(", ") || "none"}`;
}
