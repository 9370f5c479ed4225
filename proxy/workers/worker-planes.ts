/**
 * All workers as one: what is told to one is told to all, and one that is lost is replaced.
 */
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import type { Config } from "../../config/index.ts";
import type { Endpoint } from "../../core/index.ts";
import type { ProcessLog } from "../../telemetry/index.ts";
import type { Plane, PlaneAddresses } from "../data-plane.ts";
import type { ListenAddress } from "../downstream/index.ts";
import { type PlaneReport, summed } from "../report.ts";
import { systemClock } from "../system.ts";
import { perWorker } from "./per-worker.ts";
import { WorkerPlane } from "./worker-plane.ts";

/** The data planes of a sidecar, however many there are. */
export interface Planes extends Omit<Plane, "report" | "start"> {
  /**
   * Opens the ports.
   * @throws Error when a port cannot be opened; what was opened before is closed again
   */
  start(): Promise<PlaneAddresses>;
  reports(): Promise<readonly PlaneReport[]>;
}

/** Workers that are lost more often than this within an hour are no mishap, and starting them anew would not help. */
const MOST_REPLACEMENTS = 20;
const HOUR_MS = 3_600_000;
/** Between two looks at whether the app still calls, at most. */
const QUIET_MS = 500;

export class WorkerPlanes implements Planes {
  readonly #config: Config;
  readonly #log: ProcessLog;
  readonly #endpoints = new Map<string, readonly Endpoint[]>();
  readonly #planes = new Set<WorkerPlane>();
  readonly #onNoneLeft: () => void;
  /** What lost workers had counted. */
  readonly #gone: PlaneReport[] = [];
  /** When workers were lost, within the last hour. */
  #lostAtMs: number[] = [];
  #at: PlaneAddresses | undefined;
  #ending = false;

  /** @param onNoneLeft told when no worker is left, and none takes their place */
  constructor(config: Config, log: ProcessLog, onNoneLeft: () => void) {
    this.#config = perWorker(config);
    this.#log = log;
    this.#onNoneLeft = onNoneLeft;
    for (let i = 0; i < config.workers; i++) this.#add();
  }

  async start(): Promise<PlaneAddresses> {
    const at = await reserve(this.#config);
    const planes = [...this.#planes];
    await Promise.all(planes.map((plane) => plane.start(at)));
    if (this.#planes.size < this.#config.workers) throw new Error("a worker was lost as it started");
    this.#at = at;
    return at;
  }

  update(key: string, endpoints: readonly Endpoint[]): void {
    this.#endpoints.set(key, endpoints);
    for (const plane of this.#planes) plane.update(key, endpoints);
  }

  async reports(): Promise<readonly PlaneReport[]> {
    const reports = await Promise.allSettled([...this.#planes].map((plane) => plane.report()));
    // One that has just been lost has nothing to report; the others have.
    return [
      ...reports.flatMap((report) => (report.status === "fulfilled" ? [report.value] : [])),
      ...this.#gone,
    ];
  }

  async drain(graceMs: number, deregistered: Promise<void>): Promise<void> {
    this.#ending = true;
    const overMs = systemClock.now() + graceMs;
    const pauseMs = Math.min(QUIET_MS, graceMs / 10);
    await Promise.all([...this.#planes].map((plane) => plane.drain(graceMs, deregistered)));
    // Each has seen that the app is quiet towards itself; the app's last calls may go to any of them.
    for (let quiet = 0; quiet < 2 && systemClock.now() < overMs; ) {
      const inFlight = summed((await this.reports()).map((report) => report.inFlight))["outbound"] ?? 0;
      quiet = inFlight === 0 ? quiet + 1 : 0;
      if (quiet < 2) await new Promise<void>((resolve) => systemClock.schedule(pauseMs, () => resolve()));
    }
  }

  async destroy(): Promise<void> {
    this.#ending = true;
    await Promise.all([...this.#planes].map((plane) => plane.destroy()));
  }

  setLogLevel(level: ProcessLog["level"]): void {
    for (const plane of this.#planes) plane.setLogLevel(level);
  }

  #add(): WorkerPlane {
    const plane = new WorkerPlane(this.#config, this.#log, () => this.#replace(plane));
    this.#planes.add(plane);
    return plane;
  }

  #replace(lost: WorkerPlane): void {
    this.#planes.delete(lost);
    if (lost.lastReport !== undefined) this.#gone.push(onlyCounted(lost.lastReport));
    if (this.#ending || this.#at === undefined) return;
    const nowMs = systemClock.now();
    this.#lostAtMs = [...this.#lostAtMs.filter((atMs) => atMs > nowMs - HOUR_MS), nowMs];
    const facts = { lostWithinAnHour: this.#lostAtMs.length, left: this.#planes.size };
    if (this.#lostAtMs.length > MOST_REPLACEMENTS) {
      this.#log.log.error(facts, "workers are lost again and again; this one stays away");
      if (this.#planes.size === 0) this.#onNoneLeft();
      return;
    }
    this.#log.log.error(facts, "a worker is lost, with the requests it had; another one takes its place");
    const plane = this.#add();
    // Heard in this order: it knows the endpoints before its first caller.
    for (const [key, endpoints] of this.#endpoints) plane.update(key, endpoints);
    plane.start(this.#at).catch((err: Error) => {
      this.#log.log.error({ err }, "the worker could not be replaced");
      this.#planes.delete(plane);
      void plane.destroy();
      if (this.#planes.size === 0) this.#onNoneLeft();
    });
  }
}

/** Of a report what has happened, without what is. */
function onlyCounted(report: PlaneReport): PlaneReport {
  return {
    ...report,
    endpoints: {},
    requests: [],
    inFlight: {},
    connections: {},
    upstreams: report.upstreams.map((counts) => ({
      ...counts,
      breakers: { closed: 0, open: 0, halfOpen: 0 },
      endpoints: { available: 0, refused: 0 },
      connections: { connecting: 0, busy: 0, idle: 0 },
      pending: 0,
    })),
  };
}

/**
 * The ports that all workers will share. Each is opened once alone, which fails where anybody else listens: with
 * SO_REUSEPORT only, two sidecars that were given the same port by mistake would quietly take turns.
 */
async function reserve(config: Config): Promise<PlaneAddresses> {
  const held: Server[] = [];
  const hold = async ({ host, port }: ListenAddress): Promise<ListenAddress> => {
    const server = createServer();
    held.push(server);
    server.listen({ host, port });
    await once(server, "listening");
    return { host, port: (server.address() as { port: number }).port };
  };
  try {
    const outbound = await hold(config.outbound.listener.listen);
    const localPorts: Record<string, ListenAddress> = {};
    for (const [name, { localPort }] of Object.entries(config.upstreams))
      if (localPort !== undefined) localPorts[name] = await hold({ host: outbound.host, port: localPort });
    const inbound = config.service === undefined ? undefined : await hold(config.inbound.listener.listen);
    return { outbound, inbound, localPorts };
  } finally {
    await Promise.all(held.map((server) => new Promise((closed) => server.close(closed))));
  }
}
