/**
 * Finds the endpoints of one upstream that do worse than the others, and takes them out for a while.
 *
 * Not the breaker's work, which judges an endpoint by its own failures and whatever the others do: half of the requests
 * failing for seconds. What it cannot see is the endpoint that fails a fifth of them, or takes five times as long, beside
 * others that do not. That takes a comparison, over a longer time, and it may be wrong: so it is bounded. Only so many may be
 * out together, never the last, and those whose breakers are open count as out. docs/outliers.md has who decides what.
 *
 * Here is the order of things and the timer; what an endpoint counts is in watched-endpoint.ts, what makes an outlier in
 * outlier-rules.ts, how it comes back in outlier-standing.ts.
 */
import type { Clock, Log, Random, Timer } from "../core/index.ts";
import type { OutlierOptions } from "./outlier-options.ts";
import {
  comparable,
  ejectionLimit,
  ejectionMs,
  type Finding,
  findOutliers,
  latencyLimitMs,
  type OutlierRule,
  type Sample,
} from "./outlier-rules.ts";
import {
  afterProbe,
  type Ejected,
  eject,
  ejectAgain,
  onTrial,
  reinstated,
  type Standing,
} from "./outlier-standing.ts";
import { type Ending, type Referee, WatchedEndpoint } from "./watched-endpoint.ts";

export interface OutlierParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** For the log. */
  readonly upstream: string;
  /** Told of every change; not of endpoints that come or go. */
  readonly onChange: (key: string, standing: Standing) => void;
  /** Whether other judges (its breaker) let requests through to it. Those that get none count as out. */
  readonly isAvailable?: (key: string) => boolean;
  /** Endpoints that make up for each other are of one group: so many of it may be out. All are of one unless told otherwise. */
  readonly groupOf?: (key: string) => number;
  /** The keys of all, where only changes are told. */
  readonly keys?: () => Iterable<string>;
}

/** How many a group has, and how many of them get nothing. */
interface Room {
  endpoints: number;
  out: number;
}

/** For metrics and the admin port. */
export interface OutlierCounts {
  readonly standings: Readonly<Record<Standing["is"], number>>;
  /** Ejections so far, by the rule that was broken. */
  readonly ejections: ReadonlyMap<OutlierRule, number>;
  /** Outliers that were left in, since as many were out as may be. */
  readonly spared: number;
}

/** Where requests are few, a window lasts more than one interval, but not more than these. */
const MOST_INTERVALS = 6;

export class OutlierDetection implements Referee {
  readonly options: OutlierOptions;
  readonly #parts: OutlierParts;
  /** Those that were ever asked for: of thousands of endpoints a sidecar talks to a few. */
  readonly #endpoints = new Map<string, WatchedEndpoint>();
  #count = 0;
  /** Where whole lists are told. */
  #keys: ReadonlySet<string> = new Set();
  /** Those that are not in. */
  readonly #out = new Set<WatchedEndpoint>();
  readonly #ejections = new Map<OutlierRule, number>();
  #spared = 0;
  /** What was too slow at the last comparison; it is not what it was when an endpoint was ejected. */
  #latencyLimitMs: number | undefined;
  /** When the window is looked at; undefined while no request has ended in it. */
  #sweepAtMs: number | undefined;
  #intervals = 0;
  #timer: Timer | undefined;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  #stopped = false;

  constructor(options: OutlierOptions, parts: OutlierParts) {
    this.options = options;
    this.#parts = parts;
  }

  /** The endpoints are now these; what is known about those that stay is kept. */
  endpoints(keys: Iterable<string>): void {
    const before = this.#keys;
    const next = new Set(keys);
    this.#keys = next;
    this.change([...next.difference(before)], [...before.difference(next)]);
  }

  /** Some endpoints have come and some have left. */
  change(came: readonly string[], left: readonly string[]): void {
    const nowMs = this.#parts.clock.now();
    for (const key of left) {
      const endpoint = this.#endpoints.get(key);
      if (endpoint !== undefined) this.#out.delete(endpoint);
      this.#endpoints.delete(key);
    }
    const wereCompared = this.#isCompared;
    this.#count += came.length - left.length;
    // What was counted while nobody looked is of any age.
    if (!wereCompared && this.#isCompared) for (const endpoint of this.#endpoints.values()) endpoint.clear();
    this.#reinstateTooMany(nowMs);
  }

  /** There are enough of them; where there are not, no timer runs for it. */
  get #isCompared(): boolean {
    return this.#count >= this.options.minimumEndpoints;
  }

  /** The one to tell of requests. @param key of one of the endpoints */
  watch(key: string): WatchedEndpoint {
    let endpoint = this.#endpoints.get(key);
    if (endpoint === undefined) {
      endpoint = new WatchedEndpoint(key, this, this.#parts.clock.now());
      this.#endpoints.set(key, endpoint);
    }
    return endpoint;
  }

  /** The same where whole lists are told; undefined for an endpoint that is in none. */
  of(key: string): WatchedEndpoint | undefined {
    return this.#keys.has(key) ? this.watch(key) : undefined;
  }

  /** Whether nobody has to be left out. */
  get allIn(): boolean {
    return this.#out.size === 0;
  }

  counts(): OutlierCounts {
    const standings = { in: this.#count - this.#out.size, ejected: 0, probing: 0 };
    for (const { standing } of this.#out) standings[standing.is]++;
    return { standings, ejections: this.#ejections, spared: this.#spared };
  }

  /** Leaves no timer, and takes nobody out any more. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  onFirst(): void {
    if (this.#sweepAtMs !== undefined || !this.#isCompared) return;
    this.#sweepAtMs = this.#parts.clock.recentMs + this.options.intervalMs;
    this.#wakeAt(this.#sweepAtMs);
  }

  onRun(endpoint: WatchedEndpoint, finding: Finding, nowMs: number): void {
    if (this.#endpoints.get(endpoint.key) === endpoint) this.#ejectIfThereIsRoom(endpoint, finding, nowMs);
  }

  onProbe(endpoint: WatchedEndpoint, ending: Ending, latencyMs: number, nowMs: number): void {
    const { standing } = endpoint;
    if (standing.is !== "probing" || !this.#out.has(endpoint)) return;
    const outcome = probeOutcome(ending, latencyMs <= standing.slowMs);
    const next = afterProbe(standing, outcome, this.options.probes);
    if (next === "reinstate") {
      this.#reinstate(endpoint, nowMs, "outlier has passed its probes");
    } else if (next === "eject") {
      this.#takeOut(
        endpoint,
        ejectAgain(standing, nowMs, this.#lasting),
        {},
        "outlier has not passed its probe",
      );
    } else {
      endpoint.stand(next);
    }
  }

  readonly #lasting = (times: number): number => ejectionMs(times, this.options.ejection, this.#parts.random);

  /** Compares the endpoints, and begins a new window if it could. */
  #sweep(nowMs: number): void {
    const samples: Sample[] = [];
    for (const endpoint of this.#endpoints.values())
      if (!this.#out.has(endpoint)) samples.push(endpoint.sample());
    // All of them are counted over the same time: one that carried an old incident on would look like an outlier.
    const isEnough = comparable(samples, this.options).length >= this.options.minimumEndpoints;
    if (!isEnough && ++this.#intervals < MOST_INTERVALS) {
      this.#sweepAtMs = nowMs + this.options.intervalMs;
      return;
    }
    this.#latencyLimitMs = latencyLimitMs(samples, this.options) ?? this.#latencyLimitMs;
    const rooms = this.#rooms();
    for (const finding of findOutliers(samples, this.options)) {
      const endpoint = this.#endpoints.get(finding.key);
      if (endpoint !== undefined) this.#ejectIfThereIsRoom(endpoint, finding, nowMs, rooms);
    }
    for (const endpoint of this.#endpoints.values()) endpoint.clear();
    this.#intervals = 0;
    this.#sweepAtMs = undefined;
  }

  #ejectIfThereIsRoom(
    endpoint: WatchedEndpoint,
    finding: Finding,
    nowMs: number,
    rooms = this.#rooms(),
  ): void {
    const { standing } = endpoint;
    if (this.#stopped || standing.is !== "in") return;
    const { rule, value, limit } = finding;
    const facts = { rule, value, limit };
    if (!this.#takeRoom(endpoint, rooms.get(this.#groupOf(endpoint.key)))) {
      this.#spared++;
      this.#say("info", endpoint, facts, "outlier is left in: as many endpoints are out as may be");
      return;
    }
    const next = eject(standing, finding, this.options.ejection, nowMs, this.#lasting);
    this.#takeOut(endpoint, next, facts, "outlier is ejected");
  }

  #groupOf(key: string): number {
    return this.#parts.groupOf?.(key) ?? 0;
  }

  /** By group; counted once for many findings, as it walks all endpoints. */
  #rooms(): ReadonlyMap<number, Room> {
    const rooms = new Map<number, Room>();
    for (const key of this.#parts.keys?.() ?? this.#keys) {
      const group = this.#groupOf(key);
      const room = rooms.get(group) ?? { endpoints: 0, out: 0 };
      rooms.set(group, room);
      room.endpoints++;
      if (this.#getsNothing(key)) room.out++;
    }
    return rooms;
  }

  #getsNothing(key: string): boolean {
    return this.#endpoints.get(key)?.isIn === false || this.#parts.isAvailable?.(key) === false;
  }

  /** One that gets nothing anyway, because of its breaker, takes no capacity away. */
  #takeRoom({ key }: WatchedEndpoint, room: Room = { endpoints: 0, out: 0 }): boolean {
    const others = this.#getsNothing(key) ? room.out - 1 : room.out;
    if (others + 1 > ejectionLimit(room.endpoints, this.options.ejection)) return false;
    room.out = others + 1;
    return true;
  }

  /** A list that has become shorter: those whose time ends first come back, so that the limit holds and somebody is in. */
  #reinstateTooMany(nowMs: number): void {
    if (this.#out.size === 0) return;
    const rooms = this.#rooms();
    for (const [group, out] of Map.groupBy(this.#out, ({ key }) => this.#groupOf(key))) {
      const tooMany = out.length - ejectionLimit(rooms.get(group)?.endpoints ?? 0, this.options.ejection);
      if (tooMany <= 0) continue;
      const soonestFirst = out.sort((one, other) => endOf(one.standing) - endOf(other.standing));
      for (const endpoint of soonestFirst.slice(0, tooMany))
        this.#reinstate(endpoint, nowMs, "outlier is back: too many would be out");
    }
  }

  #takeOut(endpoint: WatchedEndpoint, next: Ejected, facts: object, message: string): void {
    const { rule, times, untilMs, sinceMs } = next;
    this.#out.add(endpoint);
    this.#ejections.set(rule, (this.#ejections.get(rule) ?? 0) + 1);
    this.#change(endpoint, next);
    this.#wakeAt(untilMs);
    this.#say("warn", endpoint, { rule, ...facts, times, forMs: Math.round(untilMs - sinceMs) }, message);
  }

  #reinstate(endpoint: WatchedEndpoint, nowMs: number, message: string): void {
    this.#out.delete(endpoint);
    this.#change(endpoint, reinstated(endpoint.standing, nowMs));
    this.#say("info", endpoint, {}, message);
  }

  #change(endpoint: WatchedEndpoint, standing: Standing): void {
    endpoint.stand(standing);
    this.#parts.onChange(endpoint.key, standing);
  }

  #say(level: "info" | "warn", { key }: WatchedEndpoint, facts: object, message: string): void {
    this.#parts.log[level]({ upstream: this.#parts.upstream, endpoint: key, ...facts }, message);
  }

  /** One timer for the sweep and for the ends of ejections: none at all while there is neither. */
  #wakeAt(atMs: number): void {
    if (this.#stopped || (this.#timer !== undefined && this.#wakeAtMs <= atMs)) return;
    this.#timer?.cancel();
    this.#wakeAtMs = atMs;
    const { clock } = this.#parts;
    // Whole milliseconds: the fraction that a subtraction loses would bring it back too early, again and again.
    this.#timer = clock.schedule(Math.max(1, Math.ceil(atMs - clock.now())), () => this.#wake());
  }

  #wake(): void {
    this.#timer = undefined;
    const nowMs = this.#parts.clock.now();
    for (const endpoint of this.#out) {
      const { standing } = endpoint;
      if (standing.is !== "ejected" || standing.untilMs > nowMs) continue;
      this.#change(endpoint, onTrial(standing, nowMs, this.#latencyLimitMs));
      this.#say("info", endpoint, {}, "outlier is probed");
    }
    if (this.#sweepAtMs !== undefined && this.#sweepAtMs <= nowMs) this.#sweep(nowMs);
    for (const { standing } of this.#out) if (standing.is === "ejected") this.#wakeAt(standing.untilMs);
    if (this.#sweepAtMs !== undefined) this.#wakeAt(this.#sweepAtMs);
  }
}

function probeOutcome(ending: Ending, isFastEnough: boolean): "passed" | "failed" | "ignored" {
  if (ending === "ignored") return "ignored";
  return ending === "success" && isFastEnough ? "passed" : "failed";
}

/** One that is probing has served its time. */
function endOf(standing: Standing): number {
  return standing.is === "ejected" ? standing.untilMs : standing.sinceMs;
}
