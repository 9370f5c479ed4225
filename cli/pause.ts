/**
 * Waiting, for commands that ask again. Not by the proxy's clock, whose timers do not keep a process alive.
 */
import { setTimeout as timer } from "node:timers/promises";

/** Resolves after this time, or at once when the signal is aborted. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await timer(ms, undefined, signal === undefined ? {} : { signal });
  } catch {
    // Nobody waits any more.
  }
}
