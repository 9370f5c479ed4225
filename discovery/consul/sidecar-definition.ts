/**
 * A sidecar as Consul's agent describes it, for `heddle run --sidecar-for`: what was written for `consul connect proxy` or
 * for Envoy is read as it stands.
 *
 * What cannot be done is said and never silently ignored: an operator who has set a limit believes that it holds.
 */
import { field, isPort, list, text } from "../json-values.ts";
import { atLeast, bounded, count, durationMs, entries, number, whole } from "./values.ts";
import type { ConsulQuery } from "./watch.ts";

export interface SidecarDefinition {
  /** Of the proxy itself. */
  readonly id: string;
  readonly service: string;
  /** The service that it stands beside. */
  readonly destination: { readonly service: string; readonly id: string | undefined };
  /** Where it listens for peers; the address is undefined for every one of the machine. */
  readonly inbound: { readonly address: string | undefined; readonly port: number };
  readonly app: { readonly address: string; readonly port: number } | undefined;
  readonly protocol: string | undefined;
  readonly localConnectMs: number | undefined;
  /** 0 for none. */
  readonly localRequestMs: number | undefined;
  readonly maxInboundConnections: number | undefined;
  readonly upstreams: readonly SidecarUpstream[];
  /** What is in the definition and not done, in words. */
  readonly warnings: readonly string[];
}

export interface SidecarUpstream extends UpstreamTuning {
  /** What tells it from the others: `service orders@dc2 on 127.0.0.1:9190`. */
  readonly key: string;
  readonly type: "service" | "query";
  readonly name: string;
  readonly datacenter: string | undefined;
  readonly namespace: string | undefined;
  readonly partition: string | undefined;
  readonly peer: string | undefined;
  readonly listen: { readonly address: string; readonly port: number };
}

/** What the definition of an upstream, or central configuration, says about calls to it. */
export interface UpstreamTuning {
  readonly protocol: string | undefined;
  readonly connectMs: number | undefined;
  readonly maxConnections: number | undefined;
  readonly maxPending: number | undefined;
  readonly maxRequests: number | undefined;
  readonly passiveHealth: PassiveHealth | undefined;
}

/** How often an upstream is looked at (`interval`) is not asked: a breaker acts with the failure itself. */
export interface PassiveHealth {
  /** In a row; 0 for a breaker that does not count them. */
  readonly maxFailures: number | undefined;
  /** For how long an endpoint is left alone at first. */
  readonly baseEjectionMs: number | undefined;
}

/** The definition of a proxy by its id, followed by the hash of its content. */
export function sidecarQuery(proxyId: string): ConsulQuery<SidecarDefinition | "absent"> {
  return {
    name: `consul:sidecar:${proxyId}`,
    path: "/agent/service/{id}",
    params: { id: proxyId },
    blocks: "hash",
    absent: "absent",
    read: readSidecarDefinition,
  };
}

/**
 * The proxies that stand beside a service instance.
 * @param services the answer of /v1/agent/services
 * @returns their ids; undefined when the answer is not what it should be
 */
export function proxiesFor(services: unknown, serviceId: string): readonly string[] | undefined {
  if (typeof services !== "object" || services === null || Array.isArray(services)) return undefined;
  return entries(services)
    .filter(
      ([, service]) =>
        field(service, "Kind") === "connect-proxy" &&
        field(field(service, "Proxy"), "DestinationServiceID") === serviceId,
    )
    .map(([id, service]) => text(field(service, "ID")) ?? id);
}

/** @returns undefined when this is no definition of a sidecar */
export function readSidecarDefinition(body: unknown): SidecarDefinition | undefined {
  const proxy = field(body, "Proxy");
  const id = text(field(body, "ID"));
  const service = text(field(proxy, "DestinationServiceName"));
  if (field(body, "Kind") !== "connect-proxy" || id === undefined || service === undefined) return undefined;
  const warnings: string[] = [];
  const config = new Settings(field(proxy, "Config"), "proxy.config", warnings);
  const port = config.take("bind_port", readPort, PORT) ?? number(field(body, "Port"));
  if (!isPort(port)) return undefined;
  // There is no handshake without TLS.
  config.take("handshake_timeout_ms", whole, WHOLE);
  const definition: SidecarDefinition = {
    id,
    service: text(field(body, "Service")) ?? `${service}-sidecar-proxy`,
    destination: { service, id: text(field(proxy, "DestinationServiceID")) },
    inbound: { address: config.take("bind_address", text, TEXT) ?? text(field(body, "Address")), port },
    app: config.take("local_service_address", readAddress, "host:port") ?? readApp(proxy),
    protocol: config.take("protocol", text, TEXT)?.toLowerCase(),
    localConnectMs: config.take("local_connect_timeout_ms", (value) => bounded(count(value)), COUNT),
    localRequestMs: config.take("local_request_timeout_ms", (value) => bounded(whole(value)), WHOLE),
    maxInboundConnections: config.take("max_inbound_connections", count, COUNT),
    upstreams: readUpstreams(field(proxy, "Upstreams"), warnings),
    warnings,
  };
  config.warnOfRest();
  warnOfUnbuilt(proxy, warnings);
  return definition;
}

function warnOfUnbuilt(proxy: unknown, warnings: string[]): void {
  const expose = field(proxy, "Expose");
  if (list(field(expose, "Paths")).length > 0 || field(expose, "Checks") === true)
    warnings.push(
      "proxy.expose: there is no TLS yet, so every path is reachable; no further listeners are opened",
    );
  if (field(proxy, "Mode") === "transparent")
    warnings.push(
      "proxy.mode transparent: traffic is not redirected by heddle; the upstreams are listened for",
    );
  if (text(field(proxy, "LocalServiceSocketPath")) !== undefined)
    warnings.push("proxy.local_service_socket_path: an app on a unix socket is not built");
  if (list(field(proxy, "EnvoyExtensions")).length > 0)
    warnings.push("proxy.envoy_extensions are not understood, and have no effect");
}

const PORT = "a port from 1 to 65535";
const WHOLE = "a whole number, or 0";
const COUNT = "a whole number above 0";
const TEXT = "a text";

function readPort(value: unknown): number | undefined {
  const port = number(value);
  return isPort(port) ? port : undefined;
}

function readAddress(value: unknown): SidecarDefinition["app"] {
  const [, host, port] = /^(.*):(\d+)$/.exec(text(value) ?? "") ?? [];
  if (host === undefined || !isPort(Number(port))) return undefined;
  return { address: host.replace(/^\[(.*)\]$/, "$1") || "127.0.0.1", port: Number(port) };
}

function readApp(proxy: unknown): SidecarDefinition["app"] {
  const port = number(field(proxy, "LocalServicePort"));
  if (!isPort(port)) return undefined;
  return { address: text(field(proxy, "LocalServiceAddress")) ?? "127.0.0.1", port };
}

function readUpstreams(value: unknown, warnings: string[]): SidecarUpstream[] {
  const upstreams: SidecarUpstream[] = [];
  const taken = new Set<string>();
  for (const [i, item] of list(value).entries()) {
    const name = text(field(item, "DestinationName"));
    const address = text(field(item, "LocalBindAddress")) ?? "127.0.0.1";
    const port = number(field(item, "LocalBindPort"));
    const at = `${address}:${port}`;
    const leftOut = (why: string) => warnings.push(`upstream ${name ?? `[${i}]`}: ${why}; it is left out`);
    if (name === undefined) leftOut("expected a destination_name, got none");
    else if (text(field(item, "LocalBindSocketPath")) !== undefined)
      leftOut("listening on a unix socket is not built");
    else if (!isPort(port))
      leftOut(`expected ${PORT} as local_bind_port, got ${JSON.stringify(port ?? null)}`);
    else if (taken.has(at)) leftOut(`expected a port of its own, got ${at}, which another one has`);
    else {
      taken.add(at);
      upstreams.push(readUpstream(item, name, { address, port }, warnings));
    }
  }
  return upstreams;
}

function readUpstream(
  item: unknown,
  name: string,
  listen: SidecarUpstream["listen"],
  warnings: string[],
): SidecarUpstream {
  const type = field(item, "DestinationType") === "prepared_query" ? "query" : "service";
  const datacenter = text(field(item, "Datacenter"));
  const where = datacenter === undefined ? "" : `@${datacenter}`;
  return {
    key: `${type} ${name}${where} on ${listen.address}:${listen.port}`,
    type,
    name,
    datacenter,
    namespace: text(field(item, "DestinationNamespace")),
    partition: text(field(item, "DestinationPartition")),
    peer: text(field(item, "DestinationPeer")),
    listen,
    ...readTuning(field(item, "Config"), `upstream ${name}: config`, warnings),
  };
}

/** @param warnings what cannot be read is said there */
export function readTuning(config: unknown, where = "", warnings: string[] = []): UpstreamTuning {
  const settings = new Settings(config, where, warnings);
  const limits = settings.section("limits");
  const passive = settings.section("passive_health_check");
  // The chain says where there is one.
  settings.section("mesh_gateway")?.take("mode", text, TEXT);
  const tuning: UpstreamTuning = {
    protocol: settings.take("protocol", text, TEXT)?.toLowerCase(),
    connectMs: settings.take("connect_timeout_ms", (value) => bounded(count(value)), COUNT),
    maxConnections: limits?.take("max_connections", count, COUNT),
    maxPending: limits?.take("max_pending_requests", whole, WHOLE),
    maxRequests: limits?.take("max_concurrent_requests", count, COUNT),
    passiveHealth: passive === undefined ? undefined : readPassiveHealth(passive),
  };
  for (const part of [settings, limits, passive]) part?.warnOfRest();
  return tuning;
}

function readPassiveHealth(settings: Settings): PassiveHealth {
  settings.take("interval", durationMs, DURATION);
  const maxFailures = settings.take("max_failures", count, COUNT);
  // In per cent of the cases in which there is a reason for it.
  const enforcing = settings.take(
    "enforcing_consecutive_5xx",
    (value) => [0, 100].find((percent) => percent === number(value)),
    "100, or 0 for never",
  );
  return {
    maxFailures: enforcing === 0 ? 0 : maxFailures,
    baseEjectionMs: settings.take(
      "base_ejection_time",
      (value) => bounded(atLeast(1, durationMs(value))),
      DURATION,
    ),
  };
}

const DURATION = "a duration such as 30s";

/**
 * Settings in either spelling: opaque configuration has snake_case, config entries have CamelCase. Whoever has written
 * one that is not asked for here, or not like this, is told: it would otherwise be believed to hold.
 */
class Settings {
  readonly #where: string;
  readonly #warnings: string[];
  readonly #rest = new Map<string, readonly [name: string, value: unknown]>();

  constructor(holder: unknown, where: string, warnings: string[]) {
    this.#where = where;
    this.#warnings = warnings;
    // What nobody has set, as an agent writes it that puts central configuration in.
    for (const [name, value] of entries(holder))
      if (value !== null && value !== "" && !isEmptyObject(value)) this.#rest.set(plain(name), [name, value]);
  }

  take<T>(key: string, read: (value: unknown) => T | undefined, expected: string): T | undefined {
    const found = this.#found(key);
    if (found === undefined) return undefined;
    const [name, value] = found;
    const taken = read(value);
    if (taken === undefined)
      this.#warnings.push(
        `${this.#where}.${name}: expected ${expected}, got ${JSON.stringify(value)}; it has no effect`,
      );
    return taken;
  }

  section(key: string): Settings | undefined {
    const found = this.#found(key);
    return found && new Settings(found[1], `${this.#where}.${found[0]}`, this.#warnings);
  }

  /** To be asked when everything has been taken. */
  warnOfRest(): void {
    for (const [name] of this.#rest.values())
      this.#warnings.push(`${this.#where}.${name} is not understood, and has no effect`);
  }

  #found(key: string): readonly [name: string, value: unknown] | undefined {
    const found = this.#rest.get(plain(key));
    this.#rest.delete(plain(key));
    return found;
  }
}

function plain(name: string): string {
  return name.replaceAll("_", "").toLowerCase();
}

function isEmptyObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}
