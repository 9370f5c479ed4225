/**
 * The faults for testing that run: those of the configuration from the start on, and those that the admin port adds.
 *
 * There is one book, in the sidecar's own thread; data planes are told the whole list when it changes. Each fault is logged when it begins
 * and when it ends, so that whoever looks for the cause of errors finds it beside them.
 */
import {
  type AddedFault,
  type Config,
  type FaultConfig,
  faultEffect,
  faultLastsMs,
  faultMatch,
  LONGEST_FAULT_MS,
} from "../config/index.ts";
import type { Clock, Log, Timer } from "../core/index.ts";
import type { Fault, RunningFault } from "../resilience/index.ts";

/** A fault as the admin port shows it. */
export interface FaultView extends Fault {
  readonly endsInMs: number;
}

interface Entry {
  readonly fault: Fault;
  readonly untilMs: number;
  readonly timer: Timer;
}

export interface FaultBookParts {
  readonly clock: Clock;
  readonly log: Log;
  /** Milliseconds since 1970, for faults that end at a moment. */
  readonly wallClock: () => number;
  /** Tells the data planes. */
  readonly tell: (running: readonly RunningFault[]) => void;
}

/** More at a time are a mistake, and each is looked at for each request. */
export const MOST_FAULTS = 100;

/** Whether faults may be injected at all: otherwise the layers that do it do not stand in the stacks. */
export function mayInject({ admin, routes, upstreams, inbound }: Config): boolean {
  return (
    admin.faults ||
    [...routes, ...Object.values(upstreams), inbound].some(({ faults }) => faults !== undefined)
  );
}

/** What each route is called, as in the access log. */
export function routeNames({ routes }: Config): string[] {
  return routes.map(({ name }, i) => name ?? `routes[${i}]`);
}

export class FaultBook {
  readonly #parts: FaultBookParts;
  readonly #entries = new Map<string, Entry>();
  #added = 0;

  constructor(parts: FaultBookParts) {
    this.#parts = parts;
  }

  /** Those of the configuration. */
  begin(config: Config): void {
    const { routes, upstreams, inbound } = config;
    const names = routeNames(config);
    const all = (at: string, faults: readonly FaultConfig[] = [], whom: Partial<AddedFault>) => {
      for (const [i, of] of faults.entries()) this.#begin(`${at}.faults[${i}]`, { ...of, ...whom });
    };
    for (const [i, { faults }] of routes.entries()) all(`routes[${i}]`, faults, { route: names[i] });
    for (const [name, { faults }] of Object.entries(upstreams))
      all(`upstreams.${name}`, faults, { upstream: name });
    all("inbound", inbound.faults, { direction: "inbound" });
  }

  /** @returns its id; undefined where there are too many, or when its end has passed */
  add(fault: AddedFault): string | undefined {
    if (this.#entries.size >= MOST_FAULTS) return undefined;
    const id = `added-${++this.#added}`;
    return this.#begin(id, fault) ? id : undefined;
  }

  /** Ends one of them, or all. @returns how many */
  end(id?: string): number {
    const ids = id === undefined ? [...this.#entries.keys()] : this.#entries.has(id) ? [id] : [];
    for (const one of ids) this.#end(one, "it was told to");
    return ids.length;
  }

  list(): FaultView[] {
    const nowMs = this.#parts.clock.now();
    return [...this.#entries.values()].map(({ fault, untilMs }) => ({
      ...fault,
      endsInMs: Math.max(0, Math.round(untilMs - nowMs)),
    }));
  }

  /** When the sidecar ends, which tells nobody. */
  stop(): void {
    for (const { timer } of this.#entries.values()) timer.cancel();
    this.#entries.clear();
  }

  #begin(id: string, of: AddedFault): boolean {
    const { clock, log, wallClock } = this.#parts;
    const lastsMs = Math.min(faultLastsMs(of, wallClock()), LONGEST_FAULT_MS);
    const { direction = "outbound", route, upstream } = of;
    const match = { ...faultMatch(of), direction, route, upstream };
    const fault: Fault = { id, match, share: of.share, effect: faultEffect(of) };
    if (lastsMs <= 0) {
      log.info({ fault }, "a fault for testing is over before it begins");
      return false;
    }
    const timer = clock.schedule(lastsMs, () => this.#end(id, "its time is over"));
    this.#entries.set(id, { fault, untilMs: clock.now() + lastsMs, timer });
    log.warn({ fault, lastsMs: Math.round(lastsMs) }, "a fault for testing begins");
    this.#tell();
    return true;
  }

  #end(id: string, why: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    entry.timer.cancel();
    this.#entries.delete(id);
    this.#parts.log.warn({ fault: entry.fault, why }, "a fault for testing ends");
    this.#tell();
  }

  #tell(): void {
    const nowMs = this.#parts.clock.now();
    this.#parts.tell(
      [...this.#entries.values()].map(({ fault, untilMs }) => ({ ...fault, leftMs: untilMs - nowMs })),
    );
  }
}
