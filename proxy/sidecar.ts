/**
 * The one function that builds every part from a configuration and puts them together.
 *
 * Nothing else knows all rooms. What carries traffic is a data plane, in this thread or one in each of several workers;
 * what there is once is here: the registry and the other sources of endpoints, the registration, the admin port. What is
 * built here is started and drained here, in an order that is part of the contract: peers are told first, inbound
 * traffic ends before outbound, since the app still needs its peers while it finishes.
 */
import { hostname } from "node:os";
import type { Config } from "../config/index.ts";
import type { Endpoint } from "../core/index.ts";
import {
  ConsulAgent,
  ConsulSource,
  Registration,
  type Source,
  serviceRegistration,
  staticSource,
} from "../discovery/index.ts";
import { type Counts, Metrics, type ProcessLog } from "../telemetry/index.ts";
import { AdminServer } from "./admin/index.ts";
import { appKey, DataPlane, type PlaneAddresses } from "./data-plane.ts";
import type { ListenAddress, Listener } from "./downstream/index.ts";
import { mergedCounts, type PlaneReport, summed } from "./report.ts";
import { systemClock, systemRandom } from "./system.ts";
import type { Upstream } from "./upstream/index.ts";
import { type Planes, WorkerPlanes } from "./workers/index.ts";

export interface SidecarAddresses extends PlaneAddresses {
  readonly admin: ListenAddress;
}

/** Where a sidecar is in its life. */
export type Phase = "starting" | "ready" | "draining" | "stopped";

/** How long a start waits for the first word of discovery. */
const FIRST_ENDPOINTS_MS = 2_000;

export class Sidecar {
  readonly config: Config;
  readonly metrics: Metrics;
  readonly log: ProcessLog;
  /** The one data plane of this thread; undefined when there are workers. */
  readonly #own: DataPlane | undefined;
  readonly #planes: Planes;
  readonly #sources: { readonly source: Source; readonly key: string }[] = [];
  readonly #admin: AdminServer;
  readonly #agent: ConsulAgent | undefined;
  #registration: Registration | undefined;
  #phase: Phase = "starting";
  #drained: Promise<void> | undefined;
  readonly #stopped = Promise.withResolvers<void>();

  constructor(config: Config, log: ProcessLog) {
    this.config = config;
    this.log = log;
    this.metrics = new Metrics(() => this.#counts());
    if (config.workers === 1) {
      this.#own = new DataPlane(config, log);
      this.#planes = alone(this.#own);
    } else {
      this.#planes = new WorkerPlanes(config, log, () => void this.drain());
    }
    this.#agent =
      config.discovery.consul === undefined ? undefined : new ConsulAgent(config.discovery.consul);
    for (const [key, { endpoints, service }] of Object.entries(config.upstreams)) {
      const source = endpoints === undefined ? this.#consulSource(service ?? key) : staticSource(endpoints);
      this.#sources.push({ source, key });
    }
    if (config.service !== undefined) {
      const { address, port } = config.service;
      const app: Endpoint = { address, port, weight: 1, source: "service" };
      this.#sources.push({ source: staticSource([app]), key: appKey(config.service) });
    }
    this.#admin = new AdminServer(this);
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** The upstreams of this thread; none when there are workers. */
  get upstreams(): ReadonlyMap<string, Upstream> {
    return this.#own?.upstreams ?? new Map();
  }

  /** The listeners of this thread; none when there are workers. */
  get listeners(): readonly Listener[] {
    return this.#own?.listeners ?? [];
  }

  /**
   * Opens the ports, follows the registry, and registers the service.
   * @throws Error when a port cannot be opened; what was opened before is closed again
   */
  async start(): Promise<SidecarAddresses> {
    try {
      const addresses = await this.#planes.start();
      const admin = await this.#admin.start(this.config.admin.listen);
      await this.#firstEndpoints();
      if (addresses.inbound !== undefined && this.#phase === "starting") this.#register(addresses.inbound);
      if (this.#phase === "starting") this.#phase = "ready";
      return { ...addresses, admin };
    } catch (thrown) {
      await this.destroy();
      throw thrown;
    }
  }

  /** What each data plane reports. */
  reports(): Promise<readonly PlaneReport[]> {
    return this.#planes.reports();
  }

  setLogLevel(level: ProcessLog["level"]): void {
    this.log.level = level;
    this.#planes.setLogLevel(level);
  }

  /** Follows all sources. Resolves when each has spoken, or soon: a registry that is away must not stop a start. */
  async #firstEndpoints(): Promise<void> {
    const spoken = this.#sources.map(({ source, key }) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      source.start((endpoints) => {
        this.#planes.update(key, endpoints);
        resolve();
      });
      return promise;
    });
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const timer = systemClock.schedule(FIRST_ENDPOINTS_MS, resolve);
    await Promise.race([Promise.all(spoken), over, this.#stopped.promise]);
    timer.cancel();
    // Whoever can answer this has heard of the endpoints, too.
    if (this.#phase === "starting") await this.#planes.reports();
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
    this.#agent?.close();
    await this.#planes.destroy();
    await this.#admin.stop();
    this.#stopped.resolve();
  }

  /** Resolves when everything has ended, whoever asked for it. */
  get stopped(): Promise<void> {
    return this.#stopped.promise;
  }

  async #drain(): Promise<void> {
    this.#phase = "draining";
    const deregistered = Promise.withResolvers<void>();
    const drained = this.#planes.drain(this.config.shutdown.graceMs, deregistered.promise);
    // The planes have stopped promising anything to callers before peers are told to go elsewhere.
    await this.#registration?.stop();
    deregistered.resolve();
    await drained;
    await this.destroy();
  }

  async #counts(): Promise<Counts> {
    const reports = await this.reports();
    return {
      requests: reports.map(({ tally }) => tally),
      upstreams: mergedCounts(reports),
      inFlight: summed(reports.map(({ inFlight }) => inFlight)),
      connections: summed(reports.map(({ connections }) => connections)),
      connectionsRefused: summed(reports.map(({ connectionsRefused }) => connectionsRefused)),
      droppedLogLines: this.log.droppedLines(),
    };
  }

  #consulSource(service: string): Source {
    return new ConsulSource(service, { agent: this.#agent!, ...this.#parts() });
  }

  #register(inbound: ListenAddress): void {
    const { service, discovery } = this.config;
    if (this.#agent === undefined || service === undefined || discovery.consul?.register !== "self") return;
    this.#registration = new Registration(serviceRegistration(service, inbound, hostname()), {
      agent: this.#agent,
      ...this.#parts(),
    });
    this.#registration.start();
  }

  #parts() {
    return { clock: systemClock, random: systemRandom, log: this.log.log };
  }
}

/** One data plane as all there are. */
function alone(plane: DataPlane): Planes {
  return {
    start: () => plane.start(),
    update: (key, endpoints) => plane.update(key, endpoints),
    reports: async () => [await plane.report()],
    drain: (graceMs, deregistered) => plane.drain(graceMs, deregistered),
    destroy: () => plane.destroy(),
    // It writes to the process's own log.
    setLogLevel: () => {},
  };
}
