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
import type { PlaneReport } from "../report.ts";
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

/** A worker that is lost more often than this is not a mishap, and starting it anew would not help. */
const MOST_REPLACEMENTS = 20;

export class WorkerPlanes implements Planes {
  readonly #config: Config;
  readonly #log: ProcessLog;
  readonly #endpoints = new Map<string, readonly Endpoint[]>();
  readonly #planes = new Set<WorkerPlane>();
  #at: PlaneAddresses | undefined;
  #replaced = 0;
  #ending = false;

  constructor(config: Config, log: ProcessLog) {
    this.#config = perWorker(config);
    this.#log = log;
    for (let i = 0; i < config.workers; i++) this.#add();
  }

  async start(): Promise<PlaneAddresses> {
    const at = await reserve(this.#config);
    await Promise.all([...this.#planes].map((plane) => plane.start(at)));
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
    return reports.flatMap((report) => (report.status === "fulfilled" ? [report.value] : []));
  }

  async drain(graceMs: number, deregistered: Promise<void>): Promise<void> {
    this.#ending = true;
    await Promise.all([...this.#planes].map((plane) => plane.drain(graceMs, deregistered)));
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
    if (this.#ending || this.#at === undefined) return;
    if (++this.#replaced > MOST_REPLACEMENTS) {
      this.#log.log.error(
        { workers: this.#planes.size },
        "workers are lost again and again; this one stays away",
      );
      return;
    }
    this.#log.log.error(
      { replaced: this.#replaced },
      "a worker is lost, with the requests it had; another one takes its place",
    );
    const plane = this.#add();
    plane.start(this.#at).then(
      () => {
        for (const [key, endpoints] of this.#endpoints) plane.update(key, endpoints);
      },
      (err: Error) => this.#log.log.error({ err }, "the worker could not be replaced"),
    );
  }
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
