/**
 * What carries the traffic: listeners, the stacks behind them, and the upstreams at their end.
 *
 * Apart from the sidecar, so that there can be several: one in each worker thread, all of them told by one sidecar where
 * endpoints are and when to drain. It knows neither registry nor admin port, and what it reports is plain values, which
 * can cross from one thread to another.
 */
import type { Config } from "../config/index.ts";
import type { Endpoint, Handler } from "../core/index.ts";
import { type ProcessLog, RequestTally } from "../telemetry/index.ts";
import { type ListenAddress, Listener, type ListenerOptions } from "./downstream/index.ts";
import { drain } from "./drain.ts";
import { endpointViews, type PlaneReport, requestViews } from "./report.ts";
import type { RouteOptions } from "./route.ts";
import * as stacks from "./stack.ts";
import { newRequestId, systemClock, systemRandom } from "./system.ts";
import { Upstream, type UpstreamOptions } from "./upstream/index.ts";

/** Where the ports for traffic are. */
export interface PlaneAddresses {
  readonly outbound: ListenAddress;
  /** Undefined when no service stands beside the sidecar. */
  readonly inbound: ListenAddress | undefined;
  /** The explicit ports of upstreams, by their name. */
  readonly localPorts: Readonly<Record<string, ListenAddress>>;
}

/** A data plane as the sidecar sees it, in its own thread or in another. */
export interface Plane {
  /**
   * Opens the ports.
   * @param at shares these ports with other planes, instead of opening those of the configuration for itself
   * @throws Error when a port cannot be opened; what was opened before is closed again
   */
  start(at?: PlaneAddresses): Promise<PlaneAddresses>;
  /** @param key of the upstream, see `upstreamKeys` */
  update(key: string, endpoints: readonly Endpoint[]): void;
  report(): Promise<PlaneReport>;
  /** Finishes what has begun, within the grace. @param deregistered when peers have been told */
  drain(graceMs: number, deregistered: Promise<void>): Promise<void>;
  /** Ends at once. */
  destroy(): Promise<void>;
  setLogLevel(level: ProcessLog["level"]): void;
}

/** The key of the app among the upstreams; the colon keeps it apart from an upstream of the same name. */
export function appKey(service: { readonly name: string }): string {
  return `app:${service.name}`;
}

export class DataPlane implements Plane {
  readonly stackParts: stacks.StackParts;
  readonly #log: ProcessLog;
  readonly #tally = new RequestTally();
  readonly #upstreams = new Map<string, Upstream>();
  readonly #outbound: Listener;
  readonly #inbound: Listener | undefined;
  readonly #local = new Map<string, Listener>();

  constructor(config: Config, log: ProcessLog) {
    this.#log = log;
    this.stackParts = {
      clock: systemClock,
      random: systemRandom,
      log: log.log,
      tally: this.#tally,
      writeAccess: config.telemetry.accessLog ? log.writeAccess : undefined,
    };
    const handlers = new Map<string, Handler>();
    for (const [name, { options }] of Object.entries(config.upstreams))
      handlers.set(name, stacks.upstream(this.stackParts, this.#createUpstream(name, options, name)));
    const outbound = stacks.outbound(this.stackParts, namedRoutes(config), handlers);
    this.#outbound = this.#createListener("outbound", config.outbound.listener, outbound);
    for (const [name, { localPort }] of Object.entries(config.upstreams)) {
      if (localPort === undefined) continue;
      const listen = { host: config.outbound.listener.listen.host, port: localPort };
      const options = { ...config.outbound.listener, listen };
      this.#local.set(name, this.#createListener("outbound", options, outbound, name));
    }
    const { service } = config;
    if (service !== undefined) {
      const app = this.#createUpstream(service.name, config.inbound.app, appKey(service));
      const handle = stacks.inbound(this.stackParts, app);
      this.#inbound = this.#createListener("inbound", config.inbound.listener, handle);
    }
  }

  get upstreams(): ReadonlyMap<string, Upstream> {
    return this.#upstreams;
  }

  get listeners(): readonly Listener[] {
    const inbound = this.#inbound === undefined ? [] : [this.#inbound];
    return [this.#outbound, ...this.#local.values(), ...inbound];
  }

  async start(at?: PlaneAddresses): Promise<PlaneAddresses> {
    try {
      const outbound = await this.#outbound.start(at?.outbound);
      const localPorts: Record<string, ListenAddress> = {};
      for (const [name, listener] of this.#local)
        localPorts[name] = await listener.start(at?.localPorts[name]);
      const inbound = await this.#inbound?.start(at?.inbound);
      return { outbound, inbound, localPorts };
    } catch (thrown) {
      await this.destroy();
      throw thrown;
    }
  }

  update(key: string, endpoints: readonly Endpoint[]): void {
    this.#upstreams.get(key)?.update(endpoints);
  }

  async report(): Promise<PlaneReport> {
    const nowMs = systemClock.now();
    return {
      upstreams: [...this.#upstreams.values()].map((upstream) => upstream.counts()),
      endpoints: Object.fromEntries(
        [...this.#upstreams].map(([key, upstream]) => [key, endpointViews(upstream.endpoints, nowMs)]),
      ),
      requests: this.listeners.flatMap((listener) => requestViews(listener.exchanges, nowMs)),
      inFlight: this.#perDirection((listener) => listener.exchanges.size),
      connections: this.#perDirection((listener) => listener.connections),
      connectionsRefused: this.#perDirection((listener) => listener.hungUp),
      tally: this.#tally.counted(),
    };
  }

  drain(graceMs: number, deregistered: Promise<void>): Promise<void> {
    return drain({
      graceMs,
      clock: systemClock,
      log: this.#log.log,
      deregistered,
      inbound: this.#inbound === undefined ? [] : [this.#inbound],
      outbound: [this.#outbound, ...this.#local.values()],
    });
  }

  async destroy(): Promise<void> {
    for (const listener of this.listeners) listener.destroy();
    for (const upstream of this.#upstreams.values()) upstream.stop();
  }

  setLogLevel(level: ProcessLog["level"]): void {
    this.#log.level = level;
  }

  #createUpstream(name: string, options: UpstreamOptions, key: string): Upstream {
    const { clock, random, log } = this.stackParts;
    const upstream = new Upstream(name, options, { clock, random, log }, (of, to) =>
      stacks.endpoint(this.stackParts, of, to),
    );
    this.#upstreams.set(key, upstream);
    return upstream;
  }

  #createListener(
    direction: "inbound" | "outbound",
    options: ListenerOptions,
    handle: Handler,
    boundUpstream?: string,
  ): Listener {
    const { clock, log } = this.stackParts;
    return new Listener({
      direction,
      options,
      clock,
      log,
      newRequestId,
      handle,
      ...(boundUpstream === undefined ? {} : { boundUpstream }),
    });
  }

  #perDirection(count: (listener: Listener) => number): Record<string, number> {
    const counts: Record<string, number> = { outbound: 0 };
    for (const listener of this.listeners)
      counts[listener.direction] = (counts[listener.direction] ?? 0) + count(listener);
    return counts;
  }
}

/** A route without a name is called by its place. */
function namedRoutes(config: Config): RouteOptions[] {
  return config.routes.map((route, i) => ({ ...route, name: route.name ?? `routes[${i}]` }));
}
