/**
 * From what Consul's health endpoint says to endpoints. A decision without I/O.
 *
 * The query is made without `passing` and judged here: a warning is not a reason to send no traffic, it is a
 * reason to send what `Weights.Warning` says. An entry that cannot be understood is left out and counted, so that
 * one faulty registration does not hide the others.
 */
import { type Endpoint, endpointKey } from "../../core/index.ts";

export interface HealthReading {
  readonly endpoints: readonly Endpoint[];
  /** Instances that are critical or in maintenance. */
  readonly critical: number;
  /** Entries that name no usable address and port. */
  readonly unusable: number;
}

/** @returns undefined when `body` is not a list at all, as when something else answered in Consul's place */
export function readHealthEntries(body: unknown, service: string): HealthReading | undefined {
  if (!Array.isArray(body)) return undefined;
  const endpoints = new Map<string, Endpoint>();
  let critical = 0;
  let unusable = 0;
  for (const entry of body) {
    const health = worstStatus(field(entry, "Checks"));
    if (health === "critical") {
      critical++;
      continue;
    }
    const endpoint = readEndpoint(entry, health, service);
    if (endpoint === undefined) {
      unusable++;
      continue;
    }
    // Two registrations may name one address, as when an instance came back under another id: the heavier counts.
    const key = endpointKey(endpoint);
    if (endpoint.weight > (endpoints.get(key)?.weight ?? 0)) endpoints.set(key, endpoint);
  }
  // Sorted, so that the same set compares equal in whatever order the registry lists it.
  const sorted = [...endpoints.values()].sort((a, b) => (endpointKey(a) < endpointKey(b) ? -1 : 1));
  return { endpoints: sorted, critical, unusable };
}

type Status = "passing" | "warning" | "critical";

function worstStatus(checks: unknown): Status {
  let worst: Status = "passing";
  for (const check of Array.isArray(checks) ? checks : []) {
    const status = field(check, "Status");
    // Maintenance appears as one more critical check; an unknown status is not a reason to trust.
    if (status !== "passing" && status !== "warning") return "critical";
    if (status === "warning") worst = "warning";
  }
  return worst;
}

function readEndpoint(entry: unknown, status: Status, service: string): Endpoint | undefined {
  const registered = field(entry, "Service");
  const address = text(field(registered, "Address")) ?? text(field(field(entry, "Node"), "Address"));
  const port = field(registered, "Port");
  if (
    address === undefined ||
    typeof port !== "number" ||
    !Number.isInteger(port) ||
    port < 1 ||
    port > 65_535
  )
    return undefined;
  const weights = field(registered, "Weights");
  const weight = field(weights, status === "warning" ? "Warning" : "Passing");
  const zone = text(field(field(registered, "Meta"), "zone"));
  return {
    address,
    port,
    weight: typeof weight === "number" && Number.isInteger(weight) && weight >= 0 ? weight : 1,
    source: `consul:${service}`,
    ...(zone === undefined ? {} : { zone }),
  };
}

function field(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
