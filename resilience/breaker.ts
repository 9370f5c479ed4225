/**
 * A circuit breaker, of one endpoint or of a route: closed is passing, open is refusing, half-open lets one request
 * through at a time to find out. opossum keeps the window, the state and the timer of the time it stays open.
 *
 * opossum is driven by its events, not by `fire`: an answer here is over when its body is over, which no promise
 * around a call can say, and an event costs a tenth of a wrapped call. What opossum does not do is done here:
 * the decision to trip (also on failures in a row, since a dead endpoint must not need a whole window of errors
 * to be believed dead), how long it stays open, how many probes it takes, a window that forgets on closing, a probe that
 * cannot hold the breaker half-open for ever, and a straggler from before the trip that cannot settle the probe.
 *
 * What its failures say (`judged`) and what requests meet (`state`) are two things: in shadow nothing is refused, and an
 * operator may force it. It goes on judging by what passes meanwhile, so that it knows what to do when that ends.
 *
 * An endpoint has an opossum only while it has failures in its window: it weighs 7 KB, and of five thousand endpoints
 * nearly all are well. Until then successes are counted here, bucket by bucket, and are put into its window when it is made.
 */
import type { EventEmitter } from "node:events";
import CircuitBreaker from "opossum";
import type { Clock, Outcome, Random, Timer } from "../core/index.ts";
import type { BreakerOptions, FailureKind } from "./breaker-options.ts";
import { type BreakerRotation, BUCKETS } from "./breaker-rotation.ts";
import { OpenTime } from "./open-time.ts";
import { UNHEARD_TRIALS } from "./unheard-trials.ts";

export type BreakerState = "closed" | "open" | "halfOpen";

/** What an operator has decided. */
export interface Forced {
  readonly state: "open" | "closed";
  /** On the clock. */
  readonly untilMs: number;
}

/** How it came to open. */
export interface Opening {
  /** How often it has, this time included. */
  readonly times: number;
  /** On the clock. */
  readonly atMs: number;
  readonly why: "failuresInARow" | "errorRate" | "failedTrial";
  /** Its last failures (20 at most) by kind or status. */
  readonly failures: Readonly<Record<string, number>>;
}

/** `judged`: by its requests; the others by an operator, and by the end of what he asked for. */
export type BreakerChange = (state: BreakerState, by: "judged" | "forced" | "released") => void;

export interface BreakerParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly rotation: BreakerRotation;
}

const NONE_BEFORE: number[] = [];

/** opossum's window as it is at run time; the published types leave this part out. */
interface RollingWindow {
  /** The newest first. */
  readonly window: readonly { latencyTimes: number[]; successes: number }[];
  readonly stats: { readonly successes: number; readonly failures: number };
  rotateBucket(): void;
}

interface Adjustable {
  readonly options: { resetTimeout: number };
}

/** An opossum with its window. */
interface Judge {
  readonly breaker: CircuitBreaker;
  readonly rolling: RollingWindow;
  /** The newest last. */
  readonly lastFailures: FailureKind[];
  readonly onRotate: () => void;
}

/** So many probes whose callers give up follow each other; the next one waits as long as a breaker is open. */
const MOST_IGNORED = 3;
/** So many failures are remembered by their kinds. */
const LAST_FAILURES = 20;
/** The permit of a request that passes although its failures speak against it: how it ends is nobody's business. */
export const UNJUDGED = -1;

export class Breaker {
  readonly #options: BreakerOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #rotation: BreakerRotation;
  readonly #onChange: BreakerChange;
  readonly #isOff: boolean;
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
  /** The probe under way has begun to answer, and well. */
  #probeAnswers = false;
  /** Probes that were answered well, and not heard out by their callers. */
  #probesUnheard = 0;
  /** Probes that were good, in a row. */
  #probesPassed = 0;
  #openUntilMs = 0;
  /** Made with the first opening: nearly all never open. */
  #openTime: OpenTime | undefined = undefined;
  #opening: Opening | undefined = undefined;
  #forced: Forced | undefined = undefined;
  #release: Timer | undefined = undefined;

  /** @param onChange told of every change */
  constructor(options: BreakerOptions, { clock, random, rotation }: BreakerParts, onChange: BreakerChange) {
    this.#options = options;
    this.#clock = clock;
    this.#random = random;
    this.#rotation = rotation;
    this.#onChange = onChange;
    this.#isOff = options.mode === "off";
  }

  /** What requests meet. */
  get state(): BreakerState {
    if (this.#forced !== undefined) return this.#forced.state;
    return this.#options.mode === "enforce" ? this.judged : "closed";
  }

  /** Undefined unless an operator has decided. */
  get forced(): Forced | undefined {
    return this.#forced;
  }

  /** Whether it refuses nothing, however it judges. */
  get isShadow(): boolean {
    return this.#options.mode === "shadow";
  }

  /** How it opened last, whether or not it is still open. */
  get opening(): Opening | undefined {
    return this.#opening;
  }

  /** What its failures say. */
  get judged(): BreakerState {
    const breaker = this.#judge?.breaker;
    if (breaker === undefined) return "closed";
    if (breaker.opened) return "open";
    return breaker.halfOpen ? "halfOpen" : "closed";
  }

  /** When an open breaker lets a probe through, or is let go by force, on the clock. */
  get openUntilMs(): number {
    return this.#forced?.state === "open" ? this.#forced.untilMs : this.#openUntilMs;
  }

  /** Whether a request could pass now. */
  get admits(): boolean {
    if (this.#forced !== undefined) return this.#forced.state === "closed";
    return this.#options.mode !== "enforce" || this.#hasPlace;
  }

  get #hasPlace(): boolean {
    const breaker = this.#judge?.breaker;
    if (breaker === undefined) return true;
    if (breaker.opened) return false;
    return !breaker.halfOpen || this.#clock.now() - this.#probeTakenAtMs >= this.#options.openForMs;
  }

  /** Takes a permit, or undefined when the breaker refuses. Every permit must be settled once. */
  admit(): number | undefined {
    if (this.#judge === undefined && this.#forced === undefined) return this.#epoch;
    if (this.#forced?.state === "open") return undefined;
    if (this.#hasPlace) {
      const judge = this.#judge;
      // A stream may last for days, and a trial must not: one that has gone on for as long as a breaker is open was good.
      if (judge?.breaker.halfOpen === true && this.#probeAnswers) this.#passProbe(judge);
      if (judge?.breaker.halfOpen === true) {
        this.#probeTakenAtMs = this.#clock.now();
        this.#probeAnswers = false;
      }
      return this.#epoch;
    }
    return this.admits ? UNJUDGED : undefined;
  }

  /** Of this permit the head of a good answer has come, and its body goes on. */
  answers(permit: number): void {
    if (permit === this.#epoch && this.#judge?.breaker.halfOpen === true) this.#probeAnswers = true;
  }

  /**
   * Decides for some time what requests meet.
   * @param state undefined gives the decision back
   * @param forMs until it is given back of itself, in milliseconds
   */
  force(state: Forced["state"] | undefined, forMs: number): void {
    this.#release?.cancel();
    if (state === undefined) {
      if (this.#forced !== undefined) this.#letGo();
      return;
    }
    this.#forced = { state, untilMs: this.#clock.now() + forMs };
    this.#release = this.#clock.schedule(forMs, () => this.#letGo());
    this.#onChange(state, "forced");
  }

  #letGo(): void {
    this.#forced = undefined;
    this.#onChange(this.state, "released");
  }

  /** Gives a permit back and says how it ended. @param kind of failure */
  settle(permit: number, outcome: Outcome, kind: FailureKind = "reset"): void {
    if (permit !== this.#epoch || this.#isOff) return;
    const halfOpen = this.#judge?.breaker.halfOpen === true;
    if (outcome === "success") {
      this.#failuresInARow = 0;
      if (halfOpen) this.#passProbe(this.#judge!);
      else this.#countSuccess();
    } else if (outcome === "failure") {
      this.#failuresInARow++;
      const judge = this.#judge ?? this.#appointJudge();
      this.#handOver(judge, 0);
      judge.breaker.emit("failure", undefined, 0);
      judge.lastFailures.push(kind);
      if (judge.lastFailures.length > LAST_FAILURES) judge.lastFailures.shift();
      const why = halfOpen ? "failedTrial" : this.#reasonToTrip(judge);
      if (why !== undefined) this.#trip(judge, why);
    } else if (halfOpen) {
      this.#ignoreProbe(this.#judge!);
    }
  }

  /** Leaves no timer; what is still under way counts no more. */
  stop(): void {
    this.#epoch++;
    this.#release?.cancel();
    if (this.#judge !== undefined) this.#dismiss(this.#judge);
  }

  /** One more that was good; the last one that it takes closes it. */
  #passProbe({ breaker }: Judge): void {
    this.#probeAnswers = false;
    if (++this.#probesPassed < this.#options.probes) this.#probeTakenAtMs = Number.NEGATIVE_INFINITY;
    else breaker.emit("success", undefined, 0);
  }

  /** It said nothing, or not to the end: its turn goes to the next request. */
  #ignoreProbe(judge: Judge): void {
    const isUnheard = this.#probeAnswers;
    this.#probeAnswers = false;
    if (isUnheard && ++this.#probesUnheard % UNHEARD_TRIALS === 0) this.#passProbe(judge);
    // Again and again, it says that callers do not wait for it.
    else if (++this.#probesIgnored % MOST_IGNORED !== 0) this.#probeTakenAtMs = Number.NEGATIVE_INFINITY;
  }

  #reasonToTrip({ rolling }: Judge): Opening["why"] | undefined {
    const { consecutiveFailures, minimumRequests, errorRate } = this.#options;
    if (consecutiveFailures > 0 && this.#failuresInARow >= consecutiveFailures) return "failuresInARow";
    const { successes, failures } = rolling.stats;
    const total = successes + failures;
    return total >= minimumRequests && failures >= errorRate * total ? "errorRate" : undefined;
  }

  #trip({ breaker, lastFailures }: Judge, why: Opening["why"]): void {
    const nowMs = this.#clock.now();
    this.#openTime ??= new OpenTime(this.#options);
    const openForMs = this.#openTime.open(nowMs, this.#random);
    this.#openUntilMs = nowMs + openForMs;
    const failures: Record<string, number> = {};
    for (const kind of lastFailures) failures[kind] = (failures[kind] ?? 0) + 1;
    this.#opening = { times: (this.#opening?.times ?? 0) + 1, atMs: nowMs, why, failures };
    // Read by opossum as it opens; the published types leave it out.
    (breaker as unknown as Adjustable).options.resetTimeout = openForMs;
    breaker.open();
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
    const judge: Judge = { breaker, rolling, lastFailures: [], onRotate: () => this.#onRotate(judge) };
    // Turned into being, oldest first.
    for (const successes of this.#successesBefore.toReversed()) {
      rolling.window[0]!.successes = successes;
      rolling.rotateBucket();
    }
    this.#successesBefore = NONE_BEFORE;
    this.#rotation.events.on("rotate", judge.onRotate);
    this.#rotation.begin();
    breaker.on("open", () => this.#turnTo("open"));
    breaker.on("halfOpen", () => {
      this.#probesPassed = 0;
      this.#probesUnheard = 0;
      this.#probeAnswers = false;
      this.#probeTakenAtMs = Number.NEGATIVE_INFINITY;
      this.#turnTo("halfOpen");
    });
    breaker.on("close", () => {
      this.#openTime?.close(this.#clock.now());
      this.#forget(judge);
      this.#turnTo("closed");
    });
    this.#judge = judge;
    return judge;
  }

  #turnTo(state: BreakerState): void {
    this.#epoch++;
    this.#onChange(state, "judged");
  }

  #onRotate(judge: Judge): void {
    const { rolling } = judge;
    // The window has been turned: what came before belongs to the bucket that has just ended.
    this.#handOver(judge, 1);
    // opossum notes a latency per call even with percentiles off; they are thrown away bucket by bucket.
    const ended = rolling.window[1];
    if (ended !== undefined) ended.latencyTimes = [];
    if (this.judged === "closed" && rolling.stats.failures === 0) {
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

  #forget({ rolling, lastFailures }: Judge): void {
    lastFailures.length = 0;
    this.#successes = 0;
    this.#failuresInARow = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) rolling.rotateBucket();
  }
}

async function neverFired(): Promise<void> {
  throw new Error("this breaker is driven by events");
}
