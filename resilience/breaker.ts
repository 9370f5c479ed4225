/**
 * A circuit breaker for one endpoint: closed is passing, open is refusing, half-open lets one request through
 * to find out. opossum keeps the window, the state and the time it stays open.
 *
 * opossum is driven by its events, not by `fire`: an answer here is over when its body is over, which no promise
 * around a call can say, and an event costs a tenth of a wrapped call. What opossum does not do is done here:
 * the decision to trip (also on failures in a row, since a dead endpoint must not need a whole window of errors
 * to be believed dead), a window that forgets on closing, a probe that cannot hold the breaker half-open for
 * ever, and a straggler from before the trip that cannot settle the probe.
 */
import { EventEmitter } from "node:events";
import CircuitBreaker from "opossum";
import type { Clock, Outcome } from "../core/index.ts";

export interface BreakerOptions {
  /** False: everything is counted and nothing is refused. */
  readonly enabled: boolean;
  /** Share of failures in the window that opens the breaker, in (0, 1]. */
  readonly errorRate: number;
  /** Requests that the window must hold before the rate is looked at. */
  readonly minimumRequests: number;
  readonly windowMs: number;
  /** Failures in a row that open the breaker whatever the rate; 0 turns this off. */
  readonly consecutiveFailures: number;
  readonly openForMs: number;
}

export type BreakerState = "closed" | "open" | "halfOpen";

const BUCKETS = 10;

/** Turns the windows of many breakers with one timer: two intervals per breaker would cost a fifth of a core at 10,000. */
export class BreakerRotation {
  readonly events: EventEmitter = new EventEmitter().setMaxListeners(0);
  readonly #stop: () => void;

  constructor(clock: Clock, windowMs: number) {
    const bucketMs = windowMs / BUCKETS;
    let timer = clock.schedule(bucketMs, rotate);
    const events = this.events;
    function rotate() {
      events.emit("rotate");
      timer = clock.schedule(bucketMs, rotate);
    }
    this.#stop = () => timer.cancel();
  }

  stop(): void {
    this.#stop();
  }
}

/** opossum's window as it is at run time; the published types leave this part out. */
interface RollingWindow {
  readonly window: readonly { latencyTimes: number[]; successes: number }[];
  readonly stats: { readonly successes: number; readonly failures: number };
  rotateBucket(): void;
}

export class EndpointBreaker {
  readonly #options: BreakerOptions;
  readonly #clock: Clock;
  readonly #breaker: CircuitBreaker;
  readonly #rolling: RollingWindow;
  readonly #rotation: BreakerRotation;
  readonly #onRotate: () => void;
  /** Grows with every change of state; a permit from another epoch is a straggler. */
  #epoch = 0;
  #failuresInARow = 0;
  #successes = 0;
  #probeTakenAtMs = Number.NEGATIVE_INFINITY;
  #openUntilMs = 0;

  /** @param onChange told of every change of state */
  constructor(
    options: BreakerOptions,
    clock: Clock,
    rotation: BreakerRotation,
    onChange: (state: BreakerState) => void,
  ) {
    this.#options = options;
    this.#clock = clock;
    this.#rotation = rotation;
    const settings: CircuitBreaker.Options & {
      rotateBucketController: EventEmitter;
      enableSnapshots: boolean;
    } = {
      timeout: false,
      resetTimeout: options.openForMs,
      rollingCountTimeout: options.windowMs,
      rollingCountBuckets: BUCKETS,
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
      rotateBucketController: rotation.events,
    };
    this.#breaker = new CircuitBreaker(neverFired, settings);
    this.#rolling = this.#breaker.status as unknown as RollingWindow;
    // opossum notes a latency per call even with percentiles off; they are thrown away bucket by bucket.
    this.#onRotate = () => {
      // The window has been turned: what came before belongs to the bucket that has just ended.
      this.#countSuccesses(1);
      const ended = this.#rolling.window[1];
      if (ended !== undefined) ended.latencyTimes = [];
    };
    rotation.events.on("rotate", this.#onRotate);
    this.#breaker.on("open", () => {
      this.#epoch++;
      this.#openUntilMs = clock.now() + options.openForMs;
      onChange("open");
    });
    this.#breaker.on("halfOpen", () => {
      this.#epoch++;
      this.#probeTakenAtMs = Number.NEGATIVE_INFINITY;
      onChange("halfOpen");
    });
    this.#breaker.on("close", () => {
      this.#epoch++;
      this.#forget();
      onChange("closed");
    });
  }

  get state(): BreakerState {
    if (this.#breaker.opened) return "open";
    return this.#breaker.halfOpen ? "halfOpen" : "closed";
  }

  /** When an open breaker lets a probe through, on the clock. */
  get openUntilMs(): number {
    return this.#openUntilMs;
  }

  /** Whether a request could pass now. */
  get admits(): boolean {
    if (this.#breaker.opened) return false;
    return !this.#breaker.halfOpen || this.#clock.now() - this.#probeTakenAtMs >= this.#options.openForMs;
  }

  /** Takes a permit, or undefined when the breaker refuses. Every permit must be settled once. */
  admit(): number | undefined {
    if (!this.admits) return undefined;
    if (this.#breaker.halfOpen) this.#probeTakenAtMs = this.#clock.now();
    return this.#epoch;
  }

  /** Gives a permit back and says how it ended. */
  settle(permit: number, outcome: Outcome): void {
    if (permit !== this.#epoch) return;
    if (outcome === "success") {
      this.#failuresInARow = 0;
      if (this.#breaker.halfOpen) this.#breaker.emit("success", undefined, 0);
      else this.#successes++;
    } else if (outcome === "failure") {
      this.#failuresInARow++;
      this.#countSuccesses();
      this.#breaker.emit("failure", undefined, 0);
      if (this.#breaker.halfOpen || this.#mustTrip()) this.#breaker.open();
    } else if (this.#breaker.halfOpen) {
      // The probe said nothing: its turn goes to the next request.
      this.#probeTakenAtMs = Number.NEGATIVE_INFINITY;
    }
  }

  stop(): void {
    this.#rotation.events.off("rotate", this.#onRotate);
    this.#breaker.shutdown();
  }

  #mustTrip(): boolean {
    const { enabled, consecutiveFailures, minimumRequests, errorRate } = this.#options;
    if (!enabled) return false;
    if (consecutiveFailures > 0 && this.#failuresInARow >= consecutiveFailures) return true;
    const { successes, failures } = this.#rolling.stats;
    const total = successes + failures;
    return total >= minimumRequests && failures >= errorRate * total;
  }

  /** Successes are counted here and put into the window when somebody looks or its bucket ends. */
  #countSuccesses(bucket = 0): void {
    const counts = this.#rolling.window[bucket];
    if (counts !== undefined) counts.successes += this.#successes;
    this.#successes = 0;
  }

  #forget(): void {
    this.#successes = 0;
    this.#failuresInARow = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) this.#rolling.rotateBucket();
  }
}

async function neverFired(): Promise<void> {
  throw new Error("this breaker is driven by events");
}
