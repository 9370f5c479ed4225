/**
 * The real clock, dice and identifiers. Nothing else in heddle reads them, which a test checks.
 */
import type { Random } from "../core/index.ts";
import { requestIds } from "./request-ids.ts";
import { type TickSource, TimerWheel } from "./timer-wheel.ts";

export const systemRandom: Random = { next: Math.random };

/** Milliseconds since 1970, for ages that must mean something after a restart; never for measuring. */
export const wallClock: () => number = Date.now;

/**
 * A fresh request id. Its beginning tells processes apart and is no secret, so V8's dice are enough, which are seeded by the
 * system; node:crypto alone weighs 3 MB.
 */
export const newRequestId: () => string = requestIds(
  Uint8Array.from({ length: 16 }, () => Math.floor(systemRandom.next() * 256)),
);

/** 128 bits in hexadecimal that nobody can guess. Only those who need it load what makes it. */
export function newSecret(): string {
  return process.getBuiltinModule("node:crypto").randomBytes(16).toString("hex");
}

const machineTicks: TickSource = {
  now: () => performance.now(),
  wakeIn: (() => {
    let timer: NodeJS.Timeout | undefined;
    return (delayMs: number, callback: () => void) => {
      clearTimeout(timer);
      // A timer alone is no reason for the process to stay alive; its listeners are.
      timer = setTimeout(callback, delayMs).unref();
    };
  })(),
  // Behind the sockets of the same turn of the event loop.
  afterReading: (callback) => void setImmediate(callback),
};

/** The one clock of the process. */
export const systemClock: TimerWheel = new TimerWheel(machineTicks);

/**
 * Added to the clock of this thread, it gives one that is the same in all threads of the process, in milliseconds: each thread
 * counts from its own beginning, and the machine from when it was started.
 */
export const threadOffsetMs: number = Number(process.hrtime.bigint()) / 1e6 - performance.now();
