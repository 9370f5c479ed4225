/**
 * A circuit breaker for one endpoint: closed is passing, open is refusing, half-open lets one request through
 * to find out. opossum keeps the window, the state and the time it stays open.
 *
 * opossum is driven by its events, not by `fire`: an answer here is over when its body is over, which no promise
 * around a call can say, and an event costs a tenth of a wrapped call. What opossum does not do is done here:
 * the decision to trip (also on failures in a row, since a dead endpoint must not need a whole window of errors
 * to be believed dead), a window that forgets on closing, a probe that cannot hold the breaker half-open for
 * ever, and a straggler from before the trip that cannot settle the probe.
 *
 * An endpoint has an opossum only while it has failures in its window: it weighs 7 KB, and of five thousand endpoints
 * nearly all are well. Until then successes are counted here, bucket by bucket, and are put into its window when it is made.
 */
import { EventEmitter } from "node:events";
import CircuitBreaker from "opossum";
import type { Clock, Outcome, Timer } from "../core/index.ts";

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
const NONE_BEFORE: number[] = [];

/** Turns the windows of many breakers with one timer: two intervals per breaker would cost a fifth of a core at 10,000. */
export class BreakerRotation {
  readonly #clock: Clock;
  readonly #bucketMs: number;
  /** What opossum is turned by. */
  readonly events: EventEmitter = new EventEmitter().setMaxListeners(0);
  #timer: Timer | undefined;

  constructor(clock: Clock, windowMs: number) {
    this.#clock = clock;
    this.#bucketMs = windowMs / BUCKETS;
  }

  /** Which bucket of time is being filled. */
  get bucket(): number {
    return Math.floor(this.#clock.recentMs / this.#bucketMs);
  }

  /** Turns, as long as somebody listens. */
  begin(): void {
    this.#timer ??= this.#clock.schedule(this.#bucketMs, () => this.#rotate());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #rotate(): void {
    this.#timer = undefined;
    this.events.emit("rotate");
    if (this.events.listenerCount("rotate") > 0) this.begin();
  }
}

/** opossum's window as it is at run time; the published types leave this part out. */
interface RollingWindow {
  /** The newest first. */
  readonly window: readonly { latencyTimes: number[]; successes: number }[];
  readonly stats: { readonly successes: number; readonly failures: number };
  rotateBucket(): void;
}

/** An opossum with its window. */
interface Judge {
  readonly breaker: CircuitBreaker;
  readonly rolling: RollingWindow;
  readonly onRotate: () => void;
}

/** So many probes whose callers give up follow each other; the next one waits as long as a breaker is open. */
const MOST_IGNORED = 3;

export class EndpointBreaker {
  readonly #options: BreakerOptions;
  readonly #clock: Clock;
  readonly #rotation: BreakerRotation;
  readonly #onChange: (state: BreakerState) => void;
  #judge: Judge | undefined = undefined;
  /** Grows with every change of state; a permit from another epoch is a straggler. */
  #epoch = 0;
  #failuresInARow = 0;
  /** In the bucket that is being filled; of those before it while there is no judge, the newest first. */
  #successes = 0;
  #bucket = 0;
  #successesBefore: number[] = NONE_BEFORE;
  #probeTakenAtMs = Number.NEGATIVE_INFINITY;
  /** Probes that were given up by their callers. */
  #probesIgnored = 0;
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
    this.#onChange = onChange;
  }

  get state(): BreakerState {
    const breaker = this.#judge?.breaker;
    if (breaker === undefined) return "closed";
    if (breaker.opened) return "open";
    return breaker.halfOpen ? "halfOpen" : "closed";
  }

  /** When an open breaker lets a probe through, on the clock. */
  get openUntilMs(): number {
    return this.#openUntilMs;
  }

  /** Whether a request could pass now. */
  get admits(): boolean {
    const breaker = this.#judge?.breaker;
    if (breaker === undefined) return true;
    if (breaker.opened) return false;
    return !breaker.halfOpen || this.#clock.now() - this.#probeTakenAtMs >= this.#options.openForMs;
  }

  /** Takes a permit, or undefined when the breaker refuses. Every permit must be settled once. */
  admit(): number | undefined {
    if (this.#judge === undefined) return this.#epoch;
    if (!this.admits) return undefined;
    if (this.#judge.breaker.halfOpen) this.#probeTakenAtMs = this.#clock.now();
    return this.#epoch;
  }

  /** Gives a permit back and says how it ended. */
  settle(permit: number, outcome: Outcome): void {
    if (permit !== this.#epoch) return;
    const halfOpen = this.#judge?.breaker.halfOpen === true;
    if (outcome === "success") {
      this.#failuresInARow = 0;
      if (halfOpen) this.#judge!.breaker.emit("success", undefined, 0);
      else this.#countSuccess();
    } else if (outcome === "failure") {
      this.#failuresInARow++;
      const judge = this.#judge ?? this.#appointJudge();
      this.#handOver(judge, 0);
      judge.breaker.emit("failure", undefined, 0);
      if (halfOpen || this.#mustTrip(judge)) judge.breaker.open();
    } else if (halfOpen) {
      // The probe said nothing: its turn goes to the next request. Again and again, it says that callers do not wait for it.
      if (++this.#probesIgnored % MOST_IGNORED !== 0) this.#probeTakenAtMs = Number.NEGATIVE_INFINITY;
    }
  }

  /** Leaves no timer; what is still under way counts no more. */
  stop(): void {
    this.#epoch++;
    if (this.#judge !== undefined) this.#dismiss(this.#judge);
  }

  #mustTrip({ rolling }: Judge): boolean {
    const { enabled, consecutiveFailures, minimumRequests, errorRate } = this.#options;
    if (!enabled) return false;
    if (consecutiveFailures > 0 && this.#failuresInARow >= consecutiveFailures) return true;
    const { successes, failures } = rolling.stats;
    const total = successes + failures;
    return total >= minimumRequests && failures >= errorRate * total;
  }

  #countSuccess(): void {
    if (this.#judge === undefined && this.#rotation.bucket !== this.#bucket) this.#turnBuckets();
    this.#successes++;
  }

  /** Without a judge nobody turns the buckets; they are turned when somebody looks. */
  #turnBuckets(): void {
    const { bucket } = this.#rotation;
    const turns = bucket - this.#bucket;
    if (turns === 0) return;
    this.#bucket = bucket;
    const empty = this.#successes === 0 && this.#successesBefore.length === 0;
    if (!empty) {
      const between = new Array<number>(Math.min(turns - 1, BUCKETS)).fill(0);
      this.#successesBefore = [...between, this.#successes, ...this.#successesBefore].slice(0, BUCKETS - 1);
      if (this.#successesBefore.every((count) => count === 0)) this.#successesBefore = NONE_BEFORE;
    }
    this.#successes = 0;
  }

  #appointJudge(): Judge {
    const { openForMs, windowMs } = this.#options;
    this.#turnBuckets();
    const settings: CircuitBreaker.Options & {
      rotateBucketController: EventEmitter;
      enableSnapshots: boolean;
    } = {
      timeout: false,
      resetTimeout: openForMs,
      rollingCountTimeout: windowMs,
      rollingCountBuckets: BUCKETS,
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
      rotateBucketController: this.#rotation.events,
    };
    const breaker = new CircuitBreaker(neverFired, settings);
    const rolling = breaker.status as unknown as RollingWindow;
    const judge: Judge = { breaker, rolling, onRotate: () => this.#onRotate(judge) };
    // Turned into being, oldest first.
    for (const successes of this.#successesBefore.toReversed()) {
      rolling.window[0]!.successes = successes;
      rolling.rotateBucket();
    }
    this.#successesBefore = NONE_BEFORE;
    this.#rotation.events.on("rotate", judge.onRotate);
    this.#rotation.begin();
    breaker.on("open", () => {
      this.#epoch++;
      this.#openUntilMs = this.#clock.now() + openForMs;
      this.#onChange("open");
    });
    breaker.on("halfOpen", () => {
      this.#epoch++;
      this.#probeTakenAtMs = Number.NEGATIVE_INFINITY;
      this.#onChange("halfOpen");
    });
    breaker.on("close", () => {
      this.#epoch++;
      this.#forget(judge);
      this.#onChange("closed");
    });
    this.#judge = judge;
    return judge;
  }

  #onRotate(judge: Judge): void {
    const { rolling } = judge;
    // The window has been turned: what came before belongs to the bucket that has just ended.
    this.#handOver(judge, 1);
    // opossum notes a latency per call even with percentiles off; they are thrown away bucket by bucket.
    const ended = rolling.window[1];
    if (ended !== undefined) ended.latencyTimes = [];
    if (this.state === "closed" && rolling.stats.failures === 0) {
      this.#successesBefore = rolling.window.slice(1).map(({ successes }) => successes);
      this.#bucket = this.#rotation.bucket;
      this.#dismiss(judge);
    }
  }

  #dismiss({ breaker, onRotate }: Judge): void {
    this.#rotation.events.off("rotate", onRotate);
    breaker.shutdown();
    this.#judge = undefined;
  }

  /** Successes are counted here and put into the window when somebody looks or its bucket ends. */
  #handOver({ rolling }: Judge, bucket: number): void {
    const counts = rolling.window[bucket];
    if (counts !== undefined) counts.successes += this.#successes;
    this.#successes = 0;
  }

  #forget({ rolling }: Judge): void {
    this.#successes = 0;
    this.#failuresInARow = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) rolling.rotateBucket();
  }
}

async function neverFired(): Promise<void> {
  throw new Error("this breaker is driven by events");
}
