/**
 * Who may be chosen now: the parts of the traffic that division.ts makes, kept until something changes, and the weights
 * with which they are chosen among, which grow while an endpoint is new.
 *
 * A request costs one comparison and, where there is more than one part, one number by chance. Lists are new whenever
 * anything in them is, and the same whenever nothing is: balancers keep what they make from one.
 *
 * Whoever is on trial (its breaker half open, or ejected and back to be probed) is in no list, and gets single requests
 * here: no more of them than would have gone there if nobody had anything against it, and at most a tenth of all. A breaker must
 * never be worse than none.
 */
import { aperture, mix32, SlowStart, type SlowStartOptions } from "../../balancing/index.ts";
import type { Random } from "../../core/index.ts";
import {
  type DivisionOptions,
  divide,
  isWell,
  type Level,
  levelsOf,
  priorityOf,
  type Share,
  type Situation,
  weightOf,
} from "./division.ts";
import type { InFlightSum, UpstreamEndpoint } from "./endpoint.ts";

export interface CandidateOptions extends DivisionOptions {
  /** How many endpoints this sidecar talks to at least, where there are more; 0 is all of them. */
  readonly aperture: number;
  readonly slowStart: SlowStartOptions;
  /** How long the first requests of a trial are left to those that may be sent again, in milliseconds. */
  readonly patienceMs: number;
}

/** A list to choose from. */
export interface Part {
  readonly endpoints: readonly UpstreamEndpoint[];
  /** What is in flight at all of them together. */
  readonly inFlight: number;
}

/** What a request that may be a trial is like. */
export interface Applicant {
  /** It would be sent to another endpoint if this one failed it. Others are spared at first. */
  readonly mayBeRepeated: boolean;
  /** There is nobody else for it. */
  readonly isLast: boolean;
  readonly isWanted: (endpoint: UpstreamEndpoint) => boolean;
}

/** The sum is kept by the endpoints themselves, see endpoint.ts. */
class SharedPart implements Part {
  readonly until: number;
  readonly endpoints: readonly UpstreamEndpoint[];
  readonly #sum: InFlightSum = { inFlight: 0 };

  constructor({ until, endpoints }: Share) {
    this.until = until;
    this.endpoints = endpoints;
    for (const endpoint of endpoints) endpoint.belongTo(this.#sum);
  }

  get inFlight(): number {
    return this.#sum.inFlight;
  }
}

interface Kept {
  readonly parts: readonly SharedPart[];
  /** Those of all parts. */
  readonly everybody: readonly UpstreamEndpoint[];
  readonly onTrial: readonly UpstreamEndpoint[];
  /** Which part of the requests may be trials. */
  readonly trialShare: number;
}

const NOBODY: readonly UpstreamEndpoint[] = [];
const NO_PART: Part = { endpoints: NOBODY, inFlight: 0 };

/** Decides which part a hash belongs to; nothing that an endpoint of it is chosen by. */
const PART_SEED = 0x70617274;

/** The most of all requests that are trials: of two endpoints, one on trial would else get every other request. */
const MOST_TRIALS = 0.1;

/** A credit that was added up from tenths is short of 1 by a hair. */
const WHOLE = 1 - 1e-9;

export class Candidates {
  /** Told of each list that will not come again. */
  onReplaced: ((list: readonly UpstreamEndpoint[]) => void) | undefined = undefined;
  readonly #options: CandidateOptions;
  readonly #random: Random;
  readonly #slowStart: SlowStart;
  #situation: Situation;
  #all: readonly UpstreamEndpoint[] = NOBODY;
  /** How much of each of its endpoints is this sidecar's, by key; undefined when all of all are. */
  #aperture: ReadonlyMap<string, number> | undefined;
  #kept: Kept | undefined;
  /** The lists of before. */
  #lists: readonly (readonly UpstreamEndpoint[])[] = [];
  /** When weights move on, while somebody warms up. */
  #staleAtMs = Number.POSITIVE_INFINITY;
  /** A trial costs 1, and each request while somebody is on trial brings the share that trials may have. */
  #credit = 1;

  constructor(options: CandidateOptions, random: Random, situation: Situation = {}) {
    this.#options = options;
    this.#random = random;
    this.#slowStart = new SlowStart(options.slowStart);
    this.#situation = situation;
  }

  /** The endpoints are now these. @param came and @param left are the keys of those in which they differ from before */
  replace(
    endpoints: readonly UpstreamEndpoint[],
    came: readonly string[],
    left: readonly string[],
    nowMs: number,
  ): void {
    this.#all = endpoints;
    this.#slowStart.change(came, left, nowMs);
    this.#open();
  }

  situate(situation: Situation): void {
    this.#situation = situation;
    this.#open();
  }

  /** How many there are, whether they may be chosen or not. */
  get count(): number {
    return this.#all.length;
  }

  /** How one of them stands has changed. */
  changed(): void {
    this.#kept = undefined;
  }

  /** It has come back from where it got nothing: what it may get grows anew. */
  recovered(key: string, nowMs: number): void {
    this.#slowStart.restart(key, nowMs);
    this.#kept = undefined;
  }

  /** How much of its weight an endpoint gets as it is new, in (0, 1]. */
  warmth(key: string, nowMs: number): number {
    return this.#slowStart.factor(key, nowMs);
  }

  /** Endpoints of the same number are to do the same work: they make up for each other. */
  groupOf(endpoint: UpstreamEndpoint): number {
    const isOurs = this.#aperture === undefined || this.#aperture.has(endpoint.key);
    return isOurs ? priorityOf(endpoint) : -1 - priorityOf(endpoint);
  }

  /**
   * Those of whom one is to be chosen; none when nobody may be.
   * @param hash of the request: equal ones belong to the same part, as they are to meet the same endpoint
   */
  draw(nowMs: number, hash: number | undefined): Part {
    const { parts } = this.#current(nowMs);
    if (parts.length <= 1) return parts[0] ?? NO_PART;
    const at = hash === undefined ? this.#random.next() : mix32(PART_SEED, hash) / 2 ** 32;
    return parts.find(({ until }) => at < until) ?? parts[parts.length - 1]!;
  }

  /** Those of every part: the same list, by identity, as long as nothing has changed. */
  everybody(nowMs: number): readonly UpstreamEndpoint[] {
    return this.#current(nowMs).everybody;
  }

  /** Whether it is in one of the parts, as far as it matters who is. */
  includes(endpoint: UpstreamEndpoint, nowMs: number): boolean {
    return this.#current(nowMs).everybody.includes(endpoint);
  }

  /** All that are well, those in reserve as well: for a request that its own part has failed. */
  well(): readonly UpstreamEndpoint[] {
    return this.#all.filter(isWell);
  }

  /** Those that are left alone for being outliers and nothing else. */
  outliers(): readonly UpstreamEndpoint[] {
    return this.#all.filter(
      ({ isIn, breakerState, endpoint }) => !isIn && breakerState === "closed" && endpoint.unwell !== true,
    );
  }

  /** Whether somebody could be on trial: asked at each request, and nearly always no. */
  hasTrials(nowMs: number): boolean {
    return this.#current(nowMs).onTrial.length > 0;
  }

  /** How long the one that has waited longest has been on trial, in milliseconds. */
  longestTrialMs(nowMs: number): number {
    const [first] = this.#current(nowMs).onTrial;
    return first === undefined ? 0 : nowMs - first.onTrialSinceMs;
  }

  /** One on trial that takes this request. The place is taken with it. */
  takeProbe(nowMs: number, { mayBeRepeated, isLast, isWanted }: Applicant): UpstreamEndpoint | undefined {
    const { onTrial, trialShare } = this.#current(nowMs);
    if (!isLast) {
      this.#credit = Math.min(1, this.#credit + trialShare);
      if (this.#credit < WHOLE) return undefined;
    }
    const { patienceMs } = this.#options;
    const chosen = onTrial.find(
      (endpoint) =>
        (isLast || mayBeRepeated || nowMs - endpoint.onTrialSinceMs >= patienceMs) &&
        isWanted(endpoint) &&
        endpoint.takeProbe(nowMs),
    );
    if (chosen !== undefined && !isLast) this.#credit = 0;
    return chosen;
  }

  #current(nowMs: number): Kept {
    if (nowMs >= this.#staleAtMs) this.#kept = undefined;
    this.#kept ??= this.#divide(nowMs);
    return this.#kept;
  }

  #open(): void {
    this.#kept = undefined;
    const { place } = this.#situation;
    const size = this.#options.aperture;
    this.#aperture = undefined;
    if (size === 0 || place === undefined || this.#all.length <= size) return;
    const shares = new Map<string, number>();
    for (const level of levelsOf(this.#all)) {
      const measured = level.map(({ key, endpoint: { weight } }) => ({ key, weight }));
      for (const { candidate, share } of aperture(measured, place, size)) shares.set(candidate.key, share);
    }
    this.#aperture = shares;
  }

  #divide(nowMs: number): Kept {
    const levels = levelsOf(this.#all).map((level) => this.#inAperture(level));
    const areWeightsAsBefore = this.#weigh(levels, nowMs);
    const { shares, onTrial } = divide(levels, this.#options, this.#situation);
    const asBefore = (list: readonly UpstreamEndpoint[]) =>
      (areWeightsAsBefore ? this.#lists.find((before) => isSame(before, list)) : undefined) ?? list;
    const parts = shares.map(
      ({ until, endpoints }) => new SharedPart({ until, endpoints: asBefore(endpoints) }),
    );
    const everybody =
      parts.length === 1 ? parts[0]!.endpoints : asBefore(parts.flatMap(({ endpoints }) => endpoints));
    const lists = [...parts.map(({ endpoints }) => endpoints), everybody];
    for (const before of this.#lists) if (!lists.includes(before)) this.onReplaced?.(before);
    this.#lists = lists;
    const tried = weightOf(onTrial);
    const trialShare = tried === 0 ? 0 : Math.min(MOST_TRIALS, tried / (tried + weightOf(everybody)));
    return { parts, everybody, onTrial, trialShare };
  }

  /**
   * Sets what each gets of its weight; while somebody warms up, only for a while.
   * @returns whether that is what it was
   */
  #weigh(levels: readonly Level[], nowMs: number): boolean {
    const warming = this.#slowStart.isWarming(nowMs);
    this.#staleAtMs = warming ? nowMs + this.#slowStart.stepMs : Number.POSITIVE_INFINITY;
    let isAsBefore = true;
    for (const { endpoints, isWhole } of levels)
      for (const one of endpoints) {
        const share = isWhole ? 1 : (this.#aperture?.get(one.key) ?? 1);
        const weight = one.endpoint.weight * share * (warming ? this.#slowStart.factor(one.key, nowMs) : 1);
        if (weight === one.weight) continue;
        one.weight = weight;
        isAsBefore = false;
      }
    return isAsBefore;
  }

  #inAperture(level: readonly UpstreamEndpoint[]): Level {
    const shares = this.#aperture;
    if (shares === undefined) return { endpoints: level, isWhole: true };
    const within = level.filter(({ key }) => shares.has(key));
    const { panicThreshold } = this.#options.priority;
    const enough = weightOf(within, isWell) >= panicThreshold * weightOf(within);
    return enough && within.some(isWell)
      ? { endpoints: within, isWhole: false }
      : { endpoints: level, isWhole: true };
  }
}

function isSame(one: readonly UpstreamEndpoint[], other: readonly UpstreamEndpoint[]): boolean {
  return one.length === other.length && one.every((endpoint, place) => endpoint === other[place]);
}
