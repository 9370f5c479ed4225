/**
 * The one function that builds every part from a configuration and puts them together.
 *
 * Nothing else knows all rooms. What is built here is started and drained here, in an order that is part of the
 * contract: peers are told first, inbound traffic ends before outbound, since the app still needs its peers
 * while it finishes.
 */
import { hostname } from "node:os";
import type { Config } from "../config/index.ts";
import type { Handler } from "../core/index.ts";
import {
  ConsulAgent,
  ConsulSource,
  Registration,
  type Source,
  serviceRegistration,
  staticSource,
} from "../discovery/index.ts";
import { Metrics, type ProcessLog } from "../telemetry/index.ts";
import { AdminServer } from "./admin/index.ts";
import { type ListenAddress, Listener, type ListenerOptions } from "./downstream/index.ts";
import { drain } from "./drain.ts";
import type { RouteOptions } from "./route.ts";
import * as stacks from "./stack.ts";
import { newRequestId, systemClock, systemRandom } from "./system.ts";
import { Upstream, type UpstreamOptions } from "./upstream/index.ts";

export interface SidecarAddresses {
  readonly outbound: ListenAddress;
  /** Undefined when no service stands beside the sidecar. */
  readonly inbound: ListenAddress | undefined;
  readonly admin: ListenAddress;
  /** The explicit ports of upstreams, by their name. */
  readonly localPorts: Readonly<Record<string, ListenAddress>>;
}

/** Where a sidecar is in its life. */
export type Phase = "starting" | "ready" | "draining" | "stopped";

/** How long a start waits for the first word of discovery. */
const FIRST_ENDPOINTS_MS = 2_000;

export class Sidecar {
  readonly config: Config;
  readonly metrics: Metrics;
  readonly log: ProcessLog;
  readonly stackParts: stacks.StackParts;
  readonly #upstreams = new Map<string, Upstream>();
  readonly #sources: { readonly source: Source; readonly upstream: Upstream }[] = [];
  readonly #outbound: Listener;
  readonly #inbound: Listener | undefined;
  readonly #local = new Map<string, Listener>();
  readonly #admin: AdminServer;
  readonly #agent: ConsulAgent | undefined;
  #registration: Registration | undefined;
  #phase: Phase = "starting";
  #drained: Promise<void> | undefined;
  readonly #stopped = Promise.withResolvers<void>();

  constructor(config: Config, log: ProcessLog) {
    this.config = config;
    this.log = log;
    this.metrics = new Metrics({
      upstreams: () => [...this.#upstreams.values()].map((upstream) => upstream.counts()),
      inFlight: () => this.#perDirection((listener) => listener.exchanges.size),
      connections: () => this.#perDirection((listener) => listener.connections),
      connectionsRefused: () => this.#perDirection((listener) => listener.hungUp),
      droppedLogLines: () => log.droppedLines(),
    });
    this.stackParts = {
      clock: systemClock,
      random: systemRandom,
      log: log.log,
      tally: this.metrics.requests,
      writeAccess: config.telemetry.accessLog ? log.writeAccess : undefined,
    };
    this.#agent =
      config.discovery.consul === undefined ? undefined : new ConsulAgent(config.discovery.consul);
    const handlers = new Map<string, Handler>();
    for (const [name, { options, endpoints, service }] of Object.entries(config.upstreams)) {
      const upstream = this.#createUpstream(name, options);
      const source = endpoints === undefined ? this.#consulSource(service ?? name) : staticSource(endpoints);
      this.#sources.push({ source, upstream });
      handlers.set(name, stacks.upstream(this.stackParts, upstream));
    }
    const outbound = stacks.outbound(this.stackParts, namedRoutes(config), handlers);
    this.#outbound = this.#createListener("outbound", config.outbound.listener, outbound);
    for (const [name, { localPort }] of Object.entries(config.upstreams)) {
      if (localPort === undefined) continue;
      const listen = { host: config.outbound.listener.listen.host, port: localPort };
      const options = { ...config.outbound.listener, listen };
      this.#local.set(name, this.#createListener("outbound", options, outbound, name));
    }
    if (config.service !== undefined) {
      const app = this.#createUpstream(config.service.name, config.inbound.app, `app:${config.service.name}`);
      const { address, port } = config.service;
      this.#sources.push({
        source: staticSource([{ address, port, weight: 1, source: "service" }]),
        upstream: app,
      });
      const handle = stacks.inbound(this.stackParts, app);
      this.#inbound = this.#createListener("inbound", config.inbound.listener, handle);
    }
    this.#admin = new AdminServer(this);
  }

  get phase(): Phase {
    return this.#phase;
  }

  get upstreams(): ReadonlyMap<string, Upstream> {
    return this.#upstreams;
  }

  get listeners(): readonly Listener[] {
    const inbound = this.#inbound === undefined ? [] : [this.#inbound];
    return [this.#outbound, ...this.#local.values(), ...inbound];
  }

  /**
   * Opens the ports, follows the registry, and registers the service.
   * @throws Error when a port cannot be opened; what was opened before is closed again
   */
  async start(): Promise<SidecarAddresses> {
    try {
      const outbound = await this.#outbound.start();
      const localPorts: Record<string, ListenAddress> = {};
      for (const [name, listener] of this.#local) localPorts[name] = await listener.start();
      const inbound = await this.#inbound?.start();
      const admin = await this.#admin.start(this.config.admin.listen);
      await this.#firstEndpoints();
      if (inbound !== undefined && this.#phase === "starting") this.#register(inbound);
      if (this.#phase === "starting") this.#phase = "ready";
      return { outbound, inbound, admin, localPorts };
    } catch (thrown) {
      await this.destroy();
      throw thrown;
    }
  }

  /** Follows all sources. Resolves when each has spoken, or soon: a registry that is away must not stop a start. */
  async #firstEndpoints(): Promise<void> {
    const spoken = this.#sources.map(({ source, upstream }) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      source.start((endpoints) => {
        upstream.update(endpoints);
        resolve();
      });
      return promise;
    });
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const timer = systemClock.schedule(FIRST_ENDPOINTS_MS, resolve);
    await Promise.race([Promise.all(spoken), over]);
    timer.cancel();
  }

  /** Ends in good order, within `shutdown.grace`; called again, it returns the same promise. */
  drain(): Promise<void> {
    this.#drained ??= this.#drain();
    return this.#drained;
  }

  /** Ends at once. */
  async destroy(): Promise<void> {
    this.#phase = "stopped";
    this.#registration?.abandon();
    for (const { source } of this.#sources) source.stop();
    for (const listener of this.listeners) listener.destroy();
    for (const upstream of this.#upstreams.values()) upstream.stop();
    this.#agent?.close();
    await this.#admin.stop();
    this.#stopped.resolve();
  }

  /** Resolves when everything has ended, whoever asked for it. */
  get stopped(): Promise<void> {
    return this.#stopped.promise;
  }

  async #drain(): Promise<void> {
    this.#phase = "draining";
    await drain({
      graceMs: this.config.shutdown.graceMs,
      clock: systemClock,
      log: this.log.log,
      deregister: async () => this.#registration?.stop(),
      inbound: this.#inbound === undefined ? [] : [this.#inbound],
      outbound: [this.#outbound, ...this.#local.values()],
    });
    await this.destroy();
  }

  /** @param key its name on the admin port; a colon keeps the app apart from an upstream of the same name */
  #createUpstream(name: string, options: UpstreamOptions, key = name): Upstream {
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

  #consulSource(service: string): Source {
    const { clock, random, log } = this.stackParts;
    return new ConsulSource(service, { agent: this.#agent!, clock, random, log });
  }

  #register(inbound: ListenAddress): void {
    const { service, discovery } = this.config;
    if (this.#agent === undefined || service === undefined || discovery.consul?.register !== "self") return;
    const { clock, random, log } = this.stackParts;
    this.#registration = new Registration(serviceRegistration(service, inbound, hostname()), {
      agent: this.#agent,
      clock,
      random,
      log,
    });
    this.#registration.start();
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
