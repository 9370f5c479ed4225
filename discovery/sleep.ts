/**
 * Waiting between two calls to a registry, on the clock that is handed in.
 */
import type { Clock } from "../core/index.ts";

/** Resolves after `delayMs`, or as soon as the signal is aborted. */
export function sleep(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const wake = () => {
      timer.cancel();
      signal.removeEventListener("abort", wake);
      resolve();
    };
    const timer = clock.schedule(delayMs, wake);
    signal.addEventListener("abort", wake);
  });
}
