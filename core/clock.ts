/**
 * Time as it is handed to the rest of heddle: monotonic milliseconds, and a way to be called later.
 *
 * Nothing outside proxy/system.ts reads the machine's clock, so every algorithm runs in virtual time under test.
 */
export interface Clock {
  /** Monotonic milliseconds with fractions; only differences mean anything. */
  now(): number;
  /**
   * The last reading of `now`, for what follows in the same turn of work: asking the machine is a twentieth of a
   * microsecond, and a request would ask a dozen times. Every event of a socket or a timer begins with `now`.
   */
  readonly recentMs: number;
  /** Calls `callback` once, not before `delayMs` has passed and perhaps some 10 ms later. */
  schedule(delayMs: number, callback: () => void): Timer;
}

export interface Timer {
  /** Harmless after the callback has run, and when called twice. */
  cancel(): void;
}

/** Resolves when so much time has passed. Nothing cuts it short: what can be called off waits in another way. */
export function delay(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.schedule(delayMs, () => resolve());
  });
}
