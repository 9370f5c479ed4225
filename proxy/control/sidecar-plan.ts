/**
 * From the definition of a sidecar in Consul to listeners and names. A decision without I/O.
 *
 * An upstream is found by the port that its definition gives it, as `consul connect proxy` does it, and by its name as a
 * host besides, as everywhere in heddle. What the file says about an upstream of that name holds where the definition
 * says nothing.
 */
import { type Config, usualUpstream } from "../../config/index.ts";
import {
  NO_LIMIT_MS,
  type SidecarDefinition,
  type SidecarUpstream,
  type UpstreamTuning,
} from "../../discovery/index.ts";
import { appKey } from "../app-key.ts";
import { own } from "../own.ts";
import { type Destination, type ListenerPlan, plainDestination } from "../plan.ts";
import { type NameSpec, NOT_CARRIED, type Origin, tuned } from "./name-spec.ts";

/** What central configuration says about calls of this service. */
export interface CentralTuning {
  /** `proxy-defaults/global`. */
  readonly everyone: UpstreamTuning | undefined;
  /** `service-defaults` of this service, for all its upstreams. */
  readonly defaults: UpstreamTuning | undefined;
  /** The same for single ones, by their names. */
  readonly overrides: Readonly<Record<string, UpstreamTuning>>;
}

export const NO_TUNING: CentralTuning = { everyone: undefined, defaults: undefined, overrides: {} };

export interface SidecarPlan {
  readonly listeners: Readonly<Record<string, ListenerPlan>>;
  readonly names: readonly NameSpec[];
  /** Undefined when the definition names no app. */
  readonly app:
    | {
        readonly key: string;
        readonly destination: Destination;
        readonly address: string;
        readonly port: number;
      }
    | undefined;
  readonly warnings: readonly string[];
}

export function planOfSidecar(
  definition: SidecarDefinition,
  central: CentralTuning,
  config: Config,
): SidecarPlan {
  const warnings = [...definition.warnings];
  const listeners: Record<string, ListenerPlan> = {};
  const names: NameSpec[] = [];
  const app = appOf(definition, config, warnings);
  if (app !== undefined) listeners["inbound"] = inboundListener(definition, config, app.key);
  const taken = new Set<string>();
  // First those of here: the plain name is theirs, in whatever order they are written.
  for (const upstream of definition.upstreams.toSorted((a, b) => placesOf(a).length - placesOf(b).length)) {
    const tuning = merged([
      upstream,
      own(central.overrides, upstream.name),
      central.defaults,
      // What everybody's protocol is says nothing of this one's: the chain knows it.
      central.everyone && { ...central.everyone, protocol: undefined },
    ]);
    if (tuning.protocol !== undefined && NOT_CARRIED.has(tuning.protocol)) {
      warnings.push(
        `upstream ${upstream.name}: the protocol ${tuning.protocol} is not built; it is left out`,
      );
      continue;
    }
    const name = nameOf(upstream, taken);
    // As in a file: it cannot be a key of a record.
    if (name === "__proto__") {
      warnings.push(`upstream ${upstream.name}: expected a plain name; it is left out`);
      continue;
    }
    taken.add(name);
    names.push(specOf(name, upstream, tuning, config));
    listeners[`local:${upstream.key}`] = {
      direction: "outbound",
      options: {
        ...config.outbound.listener,
        listen: { host: upstream.listen.address, port: upstream.listen.port },
      },
      leadsTo: name,
      protocol: names.at(-1)!.options.protocol,
    };
  }
  return { listeners, names, app, warnings };
}

/** Where an upstream is, if not here. */
function placesOf({ datacenter, namespace, partition, peer }: SidecarUpstream): readonly string[] {
  return [datacenter, namespace, partition, peer].filter((place) => place !== undefined);
}

/** As a host is written: without regard to case, and with its place only where the plain name is another's. */
function nameOf(upstream: SidecarUpstream, taken: ReadonlySet<string>): string {
  const service = upstream.name.toLowerCase();
  const full = [service, placesOf(upstream).join(".")].filter((part) => part !== "").join("@");
  return [service, full].find((candidate) => !taken.has(candidate)) ?? upstream.key;
}

function specOf(name: string, upstream: SidecarUpstream, tuning: UpstreamTuning, config: Config): NameSpec {
  const said = own(config.upstreams, upstream.name.toLowerCase()) ?? usualUpstream;
  return {
    name,
    origin: originOf(upstream, tuning, config),
    subset: said.subset,
    options: tuned(said.options, tuning),
    healthCheck: said.healthCheck,
    follow: said.follow,
  };
}

function originOf(
  { type, name, datacenter, namespace, partition, peer }: SidecarUpstream,
  { connectMs }: UpstreamTuning,
  config: Config,
): Origin {
  const stale = config.discovery.consul?.stale === true;
  const at = {
    ...(datacenter === undefined ? {} : { datacenter }),
    ...(namespace === undefined ? {} : { namespace }),
  };
  if (type === "query")
    return { type: "sources", from: [{ kind: "query", query: name, connect: true, ...at }], merge: "union" };
  if (partition !== undefined || peer !== undefined)
    return {
      type: "sources",
      from: [
        {
          kind: "consul",
          service: name,
          connect: true,
          stale,
          ...at,
          ...(partition === undefined ? {} : { partition }),
          ...(peer === undefined ? {} : { peer }),
        },
      ],
      merge: "union",
    };
  return {
    type: "chain",
    service: name,
    connect: true,
    stale,
    ...at,
    ...(connectMs === undefined ? {} : { connectMs }),
  };
}

function inboundListener(definition: SidecarDefinition, config: Config, leadsTo: string): ListenerPlan {
  const { listener, policy } = config.inbound;
  const { protocol } = definition;
  return {
    direction: "inbound",
    options: {
      ...listener,
      listen: { host: definition.inbound.address ?? "0.0.0.0", port: definition.inbound.port },
      maxConnections: definition.maxInboundConnections ?? listener.maxConnections,
    },
    leadsTo,
    ...(protocol === "tcp" ? { protocol } : {}),
    ...(policy === undefined ? {} : { policy }),
  };
}

function appOf(definition: SidecarDefinition, config: Config, warnings: string[]): SidecarPlan["app"] {
  const { app, destination, localConnectMs, localRequestMs, protocol } = definition;
  if (app === undefined) {
    warnings.push("expected the port of the service in local_service_port, got none; nothing comes in");
    return undefined;
  }
  if (protocol !== undefined && NOT_CARRIED.has(protocol))
    warnings.push(`proxy.config.protocol ${protocol} is not built; heddle expects HTTP/1.1 from peers`);
  const options = config.inbound.app;
  const requestMs =
    localRequestMs === undefined
      ? options.timeouts.requestMs
      : localRequestMs === 0
        ? NO_LIMIT_MS
        : localRequestMs;
  const key = appKey({ name: destination.service });
  return {
    key,
    ...app,
    destination: plainDestination(key, {
      name: destination.service,
      options: {
        ...options,
        ...(protocol === "tcp" ? { protocol } : {}),
        timeouts: {
          ...options.timeouts,
          requestMs,
          attemptMs: localRequestMs === undefined ? options.timeouts.attemptMs : requestMs,
          connectMs: Math.min(localConnectMs ?? options.timeouts.connectMs, requestMs),
        },
      },
    }),
  };
}

/** The first word about each thing counts. */
function merged(tunings: readonly (UpstreamTuning | undefined)[]): UpstreamTuning {
  const first = <K extends keyof UpstreamTuning>(key: K): UpstreamTuning[K] | undefined =>
    tunings.find((tuning) => tuning?.[key] !== undefined)?.[key];
  return {
    protocol: first("protocol"),
    connectMs: first("connectMs"),
    maxConnections: first("maxConnections"),
    maxPending: first("maxPending"),
    maxRequests: first("maxRequests"),
    passiveHealth: first("passiveHealth"),
  };
}
