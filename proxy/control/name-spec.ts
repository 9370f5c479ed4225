/**
 * What is known of a name before anybody has been asked: where its endpoints are looked for, and how it is called.
 */
import type { UpstreamConfig } from "../../config/index.ts";
import type { Merge, SourceOptions, Subset, UpstreamTuning } from "../../discovery/index.ts";
import type { UpstreamOptions } from "../upstream/index.ts";

/** Protocols that Consul may say a service speaks and that are not built. */
export const NOT_CARRIED: ReadonlySet<string> = new Set(["grpc", "http2"]);

/** Where the endpoints of a name come from. */
export type Origin =
  | { readonly type: "sources"; readonly from: readonly SourceOptions[]; readonly merge: Merge }
  /** A service in Consul, with all that its discovery chain makes of a call. */
  | {
      readonly type: "chain";
      readonly service: string;
      readonly datacenter?: string | undefined;
      readonly namespace?: string | undefined;
      /** Its sidecars instead of its apps. */
      readonly connect: boolean;
      readonly stale: boolean;
      /** Said by whoever calls, which counts for more than what the chain says. */
      readonly connectMs?: number | undefined;
    };

export interface NameSpec {
  readonly name: string;
  readonly origin: Origin;
  /** Which instances are meant; of a chain, of each of its targets. Undefined for all. */
  readonly subset?: Subset | undefined;
  readonly options: UpstreamOptions;
  readonly healthCheck: UpstreamConfig["healthCheck"];
  readonly follow: "called" | "always";
}

/**
 * The sources of an upstream as its configuration names them.
 * @param consul what holds for every question to Consul
 */
export function originOf(
  name: string,
  { endpoints, service, from, merge }: UpstreamConfig,
  consul: { readonly chain: boolean; readonly stale: boolean } | undefined,
): Origin {
  if (endpoints !== undefined)
    return { type: "sources", from: [{ kind: "static", endpoints }], merge: "union" };
  const stale = consul?.stale === true;
  if (from !== undefined)
    return { type: "sources", merge, from: from.map((origin) => sourceOf(name, origin, stale)) };
  if (consul?.chain === true) return { type: "chain", service: service ?? name, connect: false, stale };
  return {
    type: "sources",
    from: [{ kind: "consul", service: service ?? name, stale }],
    merge: "union",
  };
}

function sourceOf(
  name: string,
  origin: NonNullable<UpstreamConfig["from"]>[number],
  stale: boolean,
): SourceOptions {
  const { endpoints, consul, file, dns, kubernetes } = origin;
  if (endpoints !== undefined) return { kind: "static", endpoints };
  if (file !== undefined) return { kind: "file", path: file };
  if (dns !== undefined) return { kind: "dns", ...dns };
  if (kubernetes !== undefined) return { kind: "kubernetes", ...kubernetes };
  const { service, query, ...rest } = consul!;
  if (query !== undefined) return { kind: "query", query, ...rest };
  return { kind: "consul", service: service ?? name, stale, ...rest };
}

/** The options of an upstream with what Consul says about calls to it. */
export function tuned(options: UpstreamOptions, tuning: UpstreamTuning): UpstreamOptions {
  const { protocol, connectMs, maxConnections, maxPending, maxRequests, passiveHealth } = tuning;
  const { timeouts, limits, breaker } = options;
  return {
    ...options,
    // Any other is HTTP to us, as far as it is carried at all.
    protocol: protocol === undefined ? options.protocol : protocol === "tcp" ? "tcp" : "http",
    timeouts: { ...timeouts, connectMs: Math.min(connectMs ?? timeouts.connectMs, timeouts.requestMs) },
    limits: {
      ...limits,
      connections: maxConnections ?? limits.connections,
      pending: maxPending ?? limits.pending,
      requests: maxRequests ?? limits.requests,
    },
    breaker: passiveHealth === undefined ? breaker : breakerFor(breaker, passiveHealth),
  };
}

/** Who has written it down wants it, whatever the file says. */
function breakerFor(
  usual: UpstreamOptions["breaker"],
  { maxFailures, baseEjectionMs }: NonNullable<UpstreamTuning["passiveHealth"]>,
): UpstreamOptions["breaker"] {
  return {
    ...usual,
    mode: "enforce",
    consecutiveFailures: maxFailures ?? usual.consecutiveFailures,
    openForMs: baseEjectionMs ?? usual.openForMs,
    openForMaxMs: Math.max(baseEjectionMs ?? 0, usual.openForMaxMs),
  };
}
