/**
 * All workers as one: what is told to one is told to all, and one that is lost is replaced.
 */
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { delay, type Endpoint } from "../../core/index.ts";
import type { RunningFault } from "../../resilience/index.ts";
import type { ProcessLog } from "../../telemetry/index.ts";
import type { Plane, PlaneAddresses, PlaneSettings } from "../data-plane.ts";
import type { ListenAddress } from "../downstream/index.ts";
import type { Leaving } from "../drain.ts";
import { own } from "../own.ts";
import { sharedCounts } from "../own-load/index.ts";
import type { Leads, ListenerPlan, Plan } from "../plan.ts";
import { type PlaneReport, pastCounts, summed } from "../report.ts";
import type { BreakerCommand } from "../route-breakers.ts";
import { systemClock } from "../system.ts";
import type { Situation } from "../upstream/index.ts";
import {
  leadsPerWorker,
  listenerPerWorker,
  mapped,
  policyPerWorker,
  routePerWorker,
  situationOfWorker,
} from "./per-worker.ts";
import { WorkerPlane } from "./worker-plane.ts";

/** The data planes of a sidecar, however many there are. */
export interface Planes extends Omit<Plane, "report" | "start" | "listen"> {
  /**
   * Opens the ports.
   * @throws Error when a port cannot be opened; what was opened before is closed again
   */
  start(plan: Plan): Promise<PlaneAddresses>;
  /** @throws Error when the port cannot be opened */
  listen(name: string, plan: ListenerPlan | undefined): Promise<ListenAddress | undefined>;
  reports(): Promise<readonly PlaneReport[]>;
}

/** Workers that are lost more often than this within an hour are no mishap, and starting them anew would not help. */
const MOST_REPLACEMENTS = 20;
const HOUR_MS = 3_600_000;
/** Between two looks at whether the app still calls, at most. */
const QUIET_MS = 500;

export class WorkerPlanes implements Planes {
  readonly #workers: number;
  readonly #settings: PlaneSettings;
  readonly #log: ProcessLog;
  readonly #planes = new Set<WorkerPlane>();
  readonly #inFlight: Int32Array;
  readonly #onNoneLeft: () => void;
  /** What one that takes the place of another is told. */
  readonly #told: {
    routes: Plan["routes"];
    readonly destinations: Record<string, Leads>;
    readonly listeners: Record<string, ListenerPlan>;
    readonly endpoints: Record<string, readonly Endpoint[]>;
    situation: Situation;
  } = { routes: [], destinations: {}, listeners: {}, endpoints: {}, situation: {} };
  /** The faults that run, and since when they have the time that they have left. */
  #faults: { readonly running: readonly RunningFault[]; readonly atMs: number } = { running: [], atMs: 0 };
  /** What an operator has decided of breakers, for one that takes the place of another; the times are this thread's. */
  readonly #forced = new Map<string, { readonly command: BreakerCommand; readonly untilMs: number }>();
  /** What lost workers had counted. */
  readonly #gone: PlaneReport[] = [];
  /** When workers were lost, within the last hour. */
  #lostAtMs: number[] = [];
  #at: Record<string, ListenAddress> | undefined;
  #ending = false;

  /** @param onNoneLeft told when no worker is left, and none takes their place */
  constructor(workers: number, settings: PlaneSettings, log: ProcessLog, onNoneLeft: () => void) {
    this.#workers = workers;
    this.#inFlight = sharedCounts(workers);
    this.#settings = {
      ...settings,
      policies: mapped(settings.policies, (policy) => policyPerWorker(policy, workers)),
    };
    this.#log = log;
    this.#onNoneLeft = onNoneLeft;
    for (let number = 0; number < workers; number++) this.#add(number);
  }

  async start(plan: Plan): Promise<PlaneAddresses> {
    const told = this.#told;
    told.routes = plan.routes.map((route) => routePerWorker(route, this.#workers));
    told.situation = plan.situation;
    for (const [name, leads] of Object.entries(plan.destinations))
      if (!Object.hasOwn(told.destinations, name))
        told.destinations[name] = leadsPerWorker(leads, this.#workers);
    Object.assign(
      told.listeners,
      mapped(plan.listeners, (of) => listenerPerWorker(of, this.#workers)),
    );
    const at = await reserve(mapped(plan.listeners, ({ options }) => options.listen));
    const planes = [...this.#planes];
    await Promise.all(planes.map((plane) => plane.start(this.#planFor(plane), at)));
    if (this.#planes.size < this.#workers) throw new Error("a worker was lost as it started");
    this.#at = at;
    return at;
  }

  lead(
    name: string,
    leads: Leads | undefined,
    endpoints: Readonly<Record<string, readonly Endpoint[]>>,
  ): void {
    const told = this.#told;
    const before = own(told.destinations, name);
    const mine = leads === undefined ? undefined : leadsPerWorker(leads, this.#workers);
    if (mine === undefined) delete told.destinations[name];
    else told.destinations[name] = mine;
    for (const key of keysOf(before)) if (!keysOf(mine).includes(key)) delete told.endpoints[key];
    Object.assign(told.endpoints, endpoints);
    for (const plane of this.#planes) plane.lead(name, mine, endpoints);
  }

  async listen(name: string, plan: ListenerPlan | undefined): Promise<ListenAddress | undefined> {
    // The old port first: the new one may be the same.
    if (this.#told.listeners[name] !== undefined) await this.#close(name);
    if (plan === undefined) return undefined;
    const mine = listenerPerWorker(plan, this.#workers);
    const { [name]: at } = await reserve({ [name]: plan.options.listen });
    // Noted first, so that whoever takes the place of a worker that is lost meanwhile opens it, too.
    this.#told.listeners[name] = mine;
    if (this.#at !== undefined) this.#at[name] = at!;
    const planes = [...this.#planes];
    const opened = await Promise.allSettled(planes.map((plane) => plane.listen(name, mine, at)));
    // That a worker is lost is no fault of the port.
    const fault = opened.find((of, i) => of.status === "rejected" && this.#planes.has(planes[i]!));
    if (fault?.status !== "rejected") return at;
    await this.#close(name);
    throw fault.reason;
  }

  async #close(name: string): Promise<void> {
    delete this.#told.listeners[name];
    delete this.#at?.[name];
    // With a worker that is lost its part of the port is closed as well.
    await Promise.allSettled([...this.#planes].map((plane) => plane.listen(name, undefined)));
  }

  update(key: string, endpoints: readonly Endpoint[]): void {
    this.#told.endpoints[key] = endpoints;
    for (const plane of this.#planes) plane.update(key, endpoints);
  }

  situate(situation: Situation): void {
    this.#told.situation = situation;
    for (const plane of this.#planes) plane.situate(this.#planFor(plane).situation);
  }

  force(command: BreakerCommand): void {
    const untilMs = systemClock.now() + command.forMs;
    this.#forced.set(JSON.stringify(command.of), { command, untilMs });
    for (const plane of this.#planes) plane.force(command);
  }

  injectFaults(running: readonly RunningFault[]): void {
    this.#faults = { running, atMs: systemClock.now() };
    for (const plane of this.#planes) plane.injectFaults(running);
  }

  async reports(): Promise<readonly PlaneReport[]> {
    const planes = [...this.#planes];
    const reports = await Promise.allSettled(planes.map((plane) => plane.report()));
    return [
      ...reports.flatMap((report) => (report.status === "fulfilled" ? [report.value] : [])),
      // One that does not answer in time has counted what it has counted; one that is lost is among the gone.
      ...planes.flatMap(({ lastReport }, i) =>
        reports[i]!.status === "rejected" && lastReport !== undefined && this.#planes.has(planes[i]!)
          ? [onlyCounted(lastReport)]
          : [],
      ),
      ...this.#gone,
    ];
  }

  async drain({ graceMs, deregistered, app }: Leaving): Promise<void> {
    this.#ending = true;
    let busy = this.#planes.size;
    const letGo = () => {
      if (--busy === 0) app?.letGo();
    };
    // Without a worker nothing is asked of it any more.
    if (busy === 0) app?.letGo();
    const theirs = app === undefined ? undefined : { letGo, ended: app.ended };
    const leaving = { graceMs, deregistered, app: theirs };
    const overMs = systemClock.now() + graceMs;
    const pauseMs = Math.min(QUIET_MS, graceMs / 10);
    await Promise.all([...this.#planes].map((plane) => plane.drain(leaving)));
    if (app !== undefined) return;
    // Each has seen that the app is quiet towards itself; the app's last calls may go to any of them.
    for (let quiet = 0; quiet < 2 && systemClock.now() < overMs; ) {
      const inFlight = summed((await this.reports()).map((report) => report.inFlight))["outbound"] ?? 0;
      quiet = inFlight === 0 ? quiet + 1 : 0;
      if (quiet < 2) await delay(systemClock, pauseMs);
    }
  }

  async destroy(): Promise<void> {
    this.#ending = true;
    await Promise.all([...this.#planes].map((plane) => plane.destroy()));
  }

  setLogLevel(level: ProcessLog["level"]): void {
    for (const plane of this.#planes) plane.setLogLevel(level);
  }

  /** One that takes the place of another begins with what the sidecar's switch says. */
  setRetries(enabled: boolean): void {
    for (const plane of this.#planes) plane.setRetries(enabled);
  }

  #planFor({ number }: WorkerPlane): Plan {
    return { ...this.#told, situation: situationOfWorker(this.#told.situation, number, this.#workers) };
  }

  #add(number: number): WorkerPlane {
    const plane = new WorkerPlane(number, this.#inFlight, this.#settings, this.#log, () =>
      this.#replace(plane),
    );
    this.#planes.add(plane);
    return plane;
  }

  #replace(lost: WorkerPlane): void {
    this.#planes.delete(lost);
    this.#inFlight[lost.number] = 0;
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
    const plane = this.#add(lost.number);
    // The names at first, with what is known of their endpoints: it knows them before its first caller.
    const { destinations, endpoints } = this.#told;
    for (const [name, leads] of Object.entries(destinations)) {
      const own = keysOf(leads).flatMap((key) =>
        Object.hasOwn(endpoints, key) ? [[key, endpoints[key]]] : [],
      );
      plane.lead(name, leads, Object.fromEntries(own));
    }
    const { running, atMs } = this.#faults;
    plane.injectFaults(running.map((fault) => ({ ...fault, leftMs: fault.leftMs - (nowMs - atMs) })));
    const started = plane.start({ ...this.#planFor(plane), destinations: {} }, this.#at);
    for (const { command, untilMs } of this.#forced.values())
      if (untilMs > nowMs) plane.force({ ...command, forMs: untilMs - nowMs });
    started.catch((err: Error) => {
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
    routeBreakers: report.routeBreakers.map(pastBreaker),
    calls: {},
    requests: [],
    inFlight: {},
    connections: {},
    overload: report.overload === undefined ? undefined : { ...report.overload, pressure: {} },
    upstreams: report.upstreams.map(pastCounts),
  };
}

/** How often it has opened; what it is now, others say. */
function pastBreaker(view: PlaneReport["routeBreakers"][number]): PlaneReport["routeBreakers"][number] {
  const { route, opened } = view;
  return { route, breaker: "closed", ...(opened === undefined ? {} : { opened }) };
}

/** The keys of the upstreams of a destination. */
function keysOf(leads: Leads | undefined): readonly string[] {
  return leads === undefined || leads === "pending" ? [] : Object.keys(leads.upstreams);
}

/**
 * The ports that all workers will share. Each is opened once alone, which fails where anybody else listens: with
 * SO_REUSEPORT only, two sidecars that were given the same port by mistake would quietly take turns.
 */
async function reserve(
  wanted: Readonly<Record<string, ListenAddress>>,
): Promise<Record<string, ListenAddress>> {
  const held: Server[] = [];
  const hold = async ({ host, port }: ListenAddress): Promise<ListenAddress> => {
    const server = createServer();
    held.push(server);
    server.listen({ host, port });
    await once(server, "listening");
    return { host, port: (server.address() as { port: number }).port };
  };
  try {
    const at: Record<string, ListenAddress> = {};
    for (const [name, listen] of Object.entries(wanted)) at[name] = await hold(listen);
    return at;
  } finally {
    await Promise.all(held.map((server) => new Promise((closed) => server.close(closed))));
  }
}
