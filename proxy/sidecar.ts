/**
 * Builds every part from a configuration and puts them together.
 *
 * Nothing else knows all of them. What carries traffic is a data plane, in this thread or one in each of several workers; what
 * there is once is the control plane, which tells them where names lead, and the admin port. What is built here is started
 * and drained here, in an order that is part of the contract: peers are told first, inbound traffic ends before
 * outbound, since the app still needs its peers while it finishes.
 */
import type { Config } from "../config/index.ts";
import type { RetrySwitch } from "../resilience/index.ts";
import { type Counts, Metrics, type ProcessLog } from "../telemetry/index.ts";
import { AdminServer, HealthPort } from "./admin/index.ts";
import { ControlPlane, localPorts } from "./control/index.ts";
import { DataPlane, type PlaneSettings } from "./data-plane.ts";
import type { ListenAddress, Listener } from "./downstream/index.ts";
import type { AppsEnd } from "./drain.ts";
import { FaultBook, type FaultBookParts, mayInject } from "./fault-book.ts";
import { mergedOverload, type OverloadOptions } from "./overload.ts";
import { mergedCounts, mergedRouteBreakers, type PlaneReport, summed } from "./report.ts";
import type { BreakerCommand } from "./route-breakers.ts";
import { namePolicies, withSharedMemory } from "./shared-memory.ts";
import { giveBackStartupMemory } from "./startup-memory.ts";
import { systemClock, systemRandom, wallClock } from "./system.ts";
import { threadUse } from "./thread-use.ts";
import type { Upstream } from "./upstream/index.ts";
import { wayInOf } from "./way-in.ts";
import { type Planes, WorkerPlanes } from "./workers/index.ts";

export interface SidecarAddresses {
  readonly outbound: ListenAddress;
  /** Undefined when no service stands beside the sidecar, or when its definition in Consul says where. */
  readonly inbound: ListenAddress | undefined;
  /** The explicit ports of upstreams, by their name. */
  readonly localPorts: Readonly<Record<string, ListenAddress>>;
  readonly admin: ListenAddress;
  /** Undefined without `health`. */
  readonly health: ListenAddress | undefined;
}

/** Where a sidecar is in its life. */
export type Phase = "starting" | "ready" | "leaving" | "draining" | "stopped";

export class Sidecar {
  readonly config: Config;
  readonly metrics: Metrics;
  readonly log: ProcessLog;
  /** Faults for testing that run. */
  readonly faults: FaultBook;
  /** The one data plane of this thread; undefined when there are workers. */
  readonly #own: DataPlane | undefined;
  readonly #planes: Planes;
  readonly #control: ControlPlane;
  readonly #retrySwitch: RetrySwitch;
  readonly #app: AppsEnd | undefined;
  readonly #admin: AdminServer;
  readonly #health: HealthPort | undefined;
  #phase: Phase = "starting";
  #left: Promise<void> | undefined;
  #drained: Promise<void> | undefined;
  readonly #leaving = Promise.withResolvers<void>();
  readonly #stopped = Promise.withResolvers<void>();

  /**
   * @param environment for what a cluster tells its pods
   * @param app where a drain ends the app, too
   */
  constructor(
    config: Config,
    log: ProcessLog,
    environment: Readonly<Record<string, string | undefined>> = {},
    app?: AppsEnd,
  ) {
    this.#app = app;
    this.config = config;
    this.log = log;
    this.metrics = new Metrics(() => this.#counts());
    this.#retrySwitch = { enabled: config.retries.enabled };
    const shared = withSharedMemory(config, systemRandom);
    const settings: PlaneSettings = {
      accessLog: config.telemetry.accessLog,
      overload: overloadOf(config),
      wayIn: wayInOf(config),
      inheritDeadlines: config.outbound.inheritDeadlines,
      mayInject: mayInject(config),
      policies: namePolicies(shared),
      retrySwitch: this.#retrySwitch,
      onWanted: (name) => this.#control.wanted(name),
    };
    if (config.workers === 1) {
      this.#own = new DataPlane(settings, log);
      this.#planes = alone(this.#own);
    } else {
      this.#planes = new WorkerPlanes(config.workers, settings, log, () => void this.drain());
    }
    const parts = { clock: systemClock, random: systemRandom, log: log.log };
    this.#control = new ControlPlane(shared, parts, this.#planes, environment);
    const tell: FaultBookParts["tell"] = (running) => this.#planes.injectFaults(running);
    this.faults = new FaultBook({ clock: systemClock, log: log.log, wallClock, tell });
    this.#admin = new AdminServer(this);
    if (config.health !== undefined) this.#health = new HealthPort(this);
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
      this.faults.begin(this.config);
      const addresses = await this.#planes.start(this.#control.plan);
      const admin = await this.#admin.start(this.config.admin.listen);
      const health = await this.#health?.start(this.config.health!.listen);
      await Promise.race([this.#control.start(addresses), this.#stopped.promise]);
      const { outbound, inbound } = addresses;
      if (this.#phase === "starting") {
        // Whoever can answer this has heard of the endpoints, too.
        await this.#planes.reports();
        // The answers of a registry are twenty times what is kept of them.
        if (this.#control.counts().watches > 0) giveBackStartupMemory();
        // Whoever has been told to leave meanwhile stays out of the registry.
        if (inbound !== undefined && this.#left === undefined) this.#control.register(inbound);
        this.#phase = this.#left === undefined ? "ready" : "leaving";
      }
      return { outbound: outbound!, inbound, localPorts: localPorts(addresses), admin, health };
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

  /** Decides for some time what requests meet at a breaker. */
  forceBreaker(command: BreakerCommand): void {
    this.#planes.force(command);
  }

  /** Turns all retries and hedges off or on, until the sidecar ends; attempts under way finish. */
  setRetries(enabled: boolean): void {
    if (enabled !== this.#retrySwitch.enabled)
      this.log.log.warn({ enabled }, enabled ? "retries are switched on" : "retries are switched off");
    this.#retrySwitch.enabled = enabled;
    this.#planes.setRetries(enabled);
  }

  /** The names that the app may call, followed or not. */
  get names(): readonly string[] {
    return this.#control.names;
  }

  /** What discovery knows, by the key of the upstream. */
  supplies(): ReturnType<ControlPlane["views"]> {
    return this.#control.views();
  }

  /**
   * Tells peers to go elsewhere and goes on: for an app that will end soon, and needs its way out until then. Resolves when they
   * have heard of it; called again, it returns the same promise.
   */
  leave(): Promise<void> {
    if (this.#phase === "ready") this.#phase = "leaving";
    this.#left ??= this.#control.leave();
    return this.#left;
  }

  /** Ends in good order, within `shutdown.grace`; called again, it returns the same promise. */
  drain(): Promise<void> {
    this.#drained ??= this.#drain();
    return this.#drained;
  }

  /** Ends at once. */
  async destroy(): Promise<void> {
    this.#phase = "stopped";
    this.faults.stop();
    await this.#control.stop();
    await this.#planes.destroy();
    await this.#admin.stop();
    this.#health?.stop();
    this.#stopped.resolve();
  }

  /** Resolves when a drain begins, whoever asked for it; never where it ends at once. */
  get leaving(): Promise<void> {
    return this.#leaving.promise;
  }

  /** Resolves when everything has ended, whoever asked for it. */
  get stopped(): Promise<void> {
    return this.#stopped.promise;
  }

  async #drain(): Promise<void> {
    this.#phase = "draining";
    this.#leaving.resolve();
    const deregistered = Promise.withResolvers<void>();
    const drained = this.#planes.drain({
      graceMs: this.config.shutdown.graceMs,
      deregistered: deregistered.promise,
      app: this.#app,
    });
    // The planes have stopped promising anything to callers before peers are told to go elsewhere.
    this.#left ??= this.#control.leave();
    await this.#left;
    deregistered.resolve();
    await drained;
    await this.destroy();
  }

  async #counts(): Promise<Counts> {
    const reports = await this.reports();
    const threads = reports.map(({ thread }) => thread);
    // Workers report for themselves; this thread has the control plane and the admin port.
    if (this.#own === undefined) threads.push(threadUse());
    return {
      requests: reports.map(({ tally }) => tally),
      upstreams: mergedCounts(reports),
      routeBreakers: mergedRouteBreakers(reports).map(({ route, breaker, opened }) => ({
        route,
        state: breaker,
        opened: opened?.times ?? 0,
      })),
      inFlight: summed(reports.map(({ inFlight }) => inFlight)),
      connections: summed(reports.map(({ connections }) => connections)),
      connectionsRefused: summed(reports.map(({ connectionsRefused }) => connectionsRefused)),
      overload: mergedOverload(reports.map(({ overload }) => overload)),
      faults: summed(reports.map(({ faults }) => faults)),
      fallbacks: summed(reports.map(({ fallbacks }) => fallbacks)),
      intercepted: summed(reports.map(({ intercepted }) => intercepted)),
      tcpBytes: summed(reports.map(({ tcpBytes }) => tcpBytes)),
      discovery: this.#control.counts(),
      droppedLogLines: this.log.droppedLines(),
      retriesEnabled: this.#retrySwitch.enabled,
      timers: threads.reduce((sum, { timers }) => sum + timers, 0),
      resources: summed(threads.map(({ resources }) => resources)),
    };
  }
}

/** Undefined where the sidecar does not look after itself. */
function overloadOf({ overload }: Config): OverloadOptions | undefined {
  const { enabled, ...options } = overload;
  return enabled ? options : undefined;
}

/** One data plane as all there are. */
function alone(plane: DataPlane): Planes {
  return {
    start: (plan) => plane.start(plan),
    lead: (name, leads, endpoints) => plane.lead(name, leads, endpoints),
    listen: (name, plan) => plane.listen(name, plan),
    update: (key, endpoints) => plane.update(key, endpoints),
    situate: (situation) => plane.situate(situation),
    force: (command) => plane.force(command),
    injectFaults: (faults) => plane.injectFaults(faults),
    reports: async () => [await plane.report()],
    drain: (leaving) => plane.drain(leaving),
    destroy: () => plane.destroy(),
    // It writes to the process's own log.
    setLogLevel: () => {},
    setRetries: (enabled) => plane.setRetries(enabled),
  };
}
