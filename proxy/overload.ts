/**
 * How short this sidecar is of what it needs itself: of turns of its event loop, and of memory.
 *
 * The loop's delay is how late a timer comes, which is what every request waits for before anything is done for it. Not
 * the share of time in which the loop is busy: a loop that is always busy and never late is well used. One late timer
 * is a pause of the garbage collector and no overload, so only a delay that lasts counts. Memory is what the process has
 * resident, against the limit of its control group (version 1 or 2, as Node reads it) or the one that is configured.
 *
 * Each data plane has its own loop, so each has its own monitor; memory is the same for all of them.
 */
import type { Clock, Criticality, Timer } from "../core/index.ts";
import { LastingDelay, Pressure, pressureOf } from "../resilience/index.ts";

export interface OverloadOptions {
  /** From which delay of the event loop on requests are refused. */
  readonly eventLoopDelayMs: number;
  /** From which share of the memory limit on. */
  readonly memory: number;
  /** The limit in bytes; undefined for that of the control group. */
  readonly memoryBytes?: number | undefined;
}

/** What the machine says of this process. */
export interface MemoryFacts {
  residentBytes(): number;
  /** Infinity where there is none. */
  limitBytes(): number;
}

export interface OverloadReport {
  /** By resource, in [0, 1]. */
  readonly pressure: Readonly<Record<string, number>>;
  /** Requests that were refused. */
  readonly shed: Readonly<Record<Criticality, number>>;
}

const LOOK_EVERY_MS = 50;
/** A timer comes this much later although nothing is wrong: the ticks of the wheel. */
const USUAL_MS = 15;
/** Asking how much is resident takes a reading of a file. */
const LOOKS_PER_READING = 5;
/** With so many times the configured delay nothing is let through any more. */
const FULL_DELAY = 3;

export class OverloadMonitor {
  readonly options: OverloadOptions;
  /** The greatest of all resources, in [0, 1]. */
  pressure = 0;
  readonly shed: Record<Criticality, number> = { critical: 0, default: 0, sheddable: 0 };
  readonly #clock: Clock;
  readonly #memory: MemoryFacts;
  readonly #limitBytes: number;
  readonly #delay = new LastingDelay();
  readonly #eventLoop = new Pressure();
  readonly #resident = new Pressure();
  #looks = 0;
  #timer: Timer | undefined;

  constructor(options: OverloadOptions, clock: Clock, memory: MemoryFacts = PROCESS) {
    this.options = options;
    this.#clock = clock;
    this.#memory = memory;
    this.#limitBytes = options.memoryBytes ?? memory.limitBytes();
  }

  start(): void {
    const dueMs = this.#clock.now() + LOOK_EVERY_MS;
    this.#timer = this.#clock.schedule(LOOK_EVERY_MS, () => {
      const nowMs = this.#clock.now();
      this.#look(Math.max(0, nowMs - dueMs - USUAL_MS), nowMs);
      this.start();
    });
  }

  stop(): void {
    this.#timer?.cancel();
  }

  report(): OverloadReport {
    return {
      pressure: { event_loop: this.#eventLoop.value, memory: this.#resident.value },
      shed: this.shed,
    };
  }

  #look(delayMs: number, nowMs: number): void {
    const { eventLoopDelayMs, memory } = this.options;
    const lastingMs = this.#delay.look(delayMs);
    this.#eventLoop.measure(pressureOf(lastingMs, eventLoopDelayMs, FULL_DELAY * eventLoopDelayMs), nowMs);
    if (this.#looks++ % LOOKS_PER_READING === 0) {
      const share = this.#memory.residentBytes() / this.#limitBytes;
      this.#resident.measure(pressureOf(share, memory, 1), nowMs);
    }
    this.pressure = Math.max(this.#eventLoop.value, this.#resident.value);
  }
}

const PROCESS: MemoryFacts = {
  residentBytes: () => process.memoryUsage.rss(),
  limitBytes: () => process.constrainedMemory() || Number.POSITIVE_INFINITY,
};

/** The overload of several data planes: the greatest pressure, and what all have refused. */
export function mergedOverload(reports: readonly (OverloadReport | undefined)[]): OverloadReport | undefined {
  return reports.reduce((a, b) => {
    if (a === undefined || b === undefined) return a ?? b;
    const greatest = (resource: string) => Math.max(a.pressure[resource] ?? 0, b.pressure[resource] ?? 0);
    return {
      pressure: Object.fromEntries(
        Object.keys({ ...a.pressure, ...b.pressure }).map((resource) => [resource, greatest(resource)]),
      ),
      shed: {
        critical: a.shed.critical + b.shed.critical,
        default: a.shed.default + b.shed.default,
        sheddable: a.shed.sheddable + b.shed.sheddable,
      },
    };
  }, undefined);
}
