/**
 * Who may be chosen now, and which part of the traffic is theirs: the list, or the lists, that a balancer chooses from.
 *
 * Balancers compare loads; what an endpoint may get at all is decided before them, here and in this order:
 *
 *     aperture    of very many endpoints, those that this sidecar talks to
 *     health      without those on trial, ejected, or with an open breaker
 *     priority    how much each level gets; in panic, a level's health is not believed
 *     zone        within a level, how much stays in the own zone
 *     slow start  how much of its weight a new endpoint gets
 *
 * Not one list with all of it folded into weights: a level that gets 10 % by weights would get another share from
 * leastRequest, which sends more to whoever is idle. A part of the traffic is drawn by chance first, then an endpoint of
 * it by the balancer.
 *
 * All of it is worked out when something has changed, and kept: a request costs one comparison and, where there is more than
 * one part, one number by chance. Lists are new whenever anything in them is, as balancers keep what they make from one.
 */
import {
  aperture,
  mix32,
  type PeerPlace,
  type PriorityOptions,
  priorityShares,
  SlowStart,
  type SlowStartOptions,
  type ZoneOptions,
  zoneShares,
} from "../../balancing/index.ts";
import type { Random } from "../../core/index.ts";
import type { InFlightSum, UpstreamEndpoint } from "./endpoint.ts";

export interface CandidateOptions {
  readonly priority: PriorityOptions;
  /** Undefined where zones are not looked at. */
  readonly zones?: ZoneOptions | undefined;
  /** How many endpoints this sidecar talks to at least, where there are more; 0 is all of them. */
  readonly aperture: number;
  readonly slowStart: SlowStartOptions;
  /** How long the first requests of a trial are left to those that may be sent again, in milliseconds. */
  readonly patienceMs: number;
}

/** Where this sidecar stands among those that do the same. Plain values, as it is told to other threads. */
export interface Situation {
  readonly zone?: string | undefined;
  /** How many of its peers are in each zone; undefined when that is not known. */
  readonly callers?: Readonly<Record<string, number>> | undefined;
  readonly place?: PeerPlace | undefined;
}

/** A list to choose from. */
export interface Part {
  readonly endpoints: readonly UpstreamEndpoint[];
  /** What is in flight at all of them together. */
  readonly inFlight: number;
}

/** A part of the traffic; `until` is where it ends, in [0, 1], on the line that all parts lie on. */
interface Share {
  readonly until: number;
  readonly endpoints: readonly UpstreamEndpoint[];
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

interface Division {
  readonly parts: readonly SharedPart[];
  /** Those of all parts. */
  readonly everybody: readonly UpstreamEndpoint[];
  readonly onTrial: readonly UpstreamEndpoint[];
}

const NOBODY: readonly UpstreamEndpoint[] = [];
const NO_PART: Part = { endpoints: NOBODY, inFlight: 0 };

/** Decides which part a hash belongs to; nothing that an endpoint of it is chosen by. */
const PART_SEED = 0x70617274;

export class Candidates {
  readonly #options: CandidateOptions;
  readonly #random: Random;
  readonly #slowStart: SlowStart;
  #situation: Situation;
  #all: readonly UpstreamEndpoint[] = NOBODY;
  /** How much of each of its endpoints is this sidecar's, by key; undefined when all of all are. */
  #aperture: ReadonlyMap<string, number> | undefined;
  #division: Division | undefined;
  /** When weights move on, while somebody warms up. */
  #staleAtMs = Number.POSITIVE_INFINITY;

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

  /** How one of them stands has changed. */
  changed(): void {
    this.#division = undefined;
  }

  /** It has come back from where it got nothing: what it may get grows anew. */
  recovered(key: string, nowMs: number): void {
    this.#slowStart.restart(key, nowMs);
    this.#division = undefined;
  }

  /** How much of its weight an endpoint gets as it is new, in (0, 1]. */
  warmth(key: string, nowMs: number): number {
    return this.#slowStart.factor(key, nowMs);
  }

  /**
   * Those of whom one is to be chosen; none when nobody may be.
   * @param hash of the request: equal ones belong to the same part, as they are to meet the same endpoint
   */
  draw(nowMs: number, hash: number | undefined): Part {
    const { parts } = this.#divided(nowMs);
    if (parts.length <= 1) return parts[0] ?? NO_PART;
    const at = hash === undefined ? this.#random.next() : mix32(PART_SEED, hash) / 2 ** 32;
    return parts.find(({ until }) => at < until) ?? parts[parts.length - 1]!;
  }

  /** Those of every part: the same list, by identity, as long as nothing has changed. */
  everybody(nowMs: number): readonly UpstreamEndpoint[] {
    return this.#divided(nowMs).everybody;
  }

  /** All that are well, those in reserve as well: for a request that its own part has failed. */
  well(): readonly UpstreamEndpoint[] {
    return this.#all.filter(isWell);
  }

  /** Whether a part of the traffic is its: well or not, as nobody's health may be believed. */
  includes(endpoint: UpstreamEndpoint, nowMs: number): boolean {
    return this.#divided(nowMs).parts.some(({ endpoints }) => endpoints.includes(endpoint));
  }

  /** Whether somebody could be on trial: asked at each request, and nearly always no. */
  hasTrials(nowMs: number): boolean {
    return this.#divided(nowMs).onTrial.length > 0;
  }

  /**
   * One on trial that takes a request now. The place is taken with it.
   * @param mayBeRepeated the request would be sent to another endpoint if this one failed it. Others are spared at first: a
   *   trial is the one request of which it is to be expected that it fails.
   */
  takeProbe(
    nowMs: number,
    mayBeRepeated: boolean,
    isWanted: (endpoint: UpstreamEndpoint) => boolean,
  ): UpstreamEndpoint | undefined {
    const { patienceMs } = this.#options;
    return this.#divided(nowMs).onTrial.find(
      (endpoint) =>
        (mayBeRepeated || nowMs - endpoint.onTrialSinceMs >= patienceMs) &&
        isWanted(endpoint) &&
        endpoint.takeProbe(nowMs),
    );
  }

  #divided(nowMs: number): Division {
    if (nowMs >= this.#staleAtMs) this.#division = undefined;
    this.#division ??= this.#divide(nowMs);
    return this.#division;
  }

  #open(): void {
    this.#division = undefined;
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

  #divide(nowMs: number): Division {
    this.#weigh(nowMs);
    const levels = levelsOf(this.#all).map((level) => this.#inAperture(level));
    const measured = levels.map((level) => ({
      healthyWeight: weightOf(level, isWell),
      totalWeight: weightOf(level, isAnybody),
    }));
    const shares = priorityShares(measured, this.#options.priority);
    const shared: Share[] = [];
    let until = 0;
    let lastUsed = 0;
    for (const [place, level] of levels.entries()) {
      const { share, panic } = shares[place]!;
      if (share === 0) continue;
      lastUsed = place;
      for (const part of this.#byZone(panic ? level.filter(isReachable) : this.#wellOf(level))) {
        until += share * part.until;
        shared.push({ until, endpoints: part.endpoints });
      }
    }
    if (shared.length === 0) return this.#lastResort();
    // What a part without anybody would have got is the others'.
    const parts = shared.map((part) => new SharedPart({ ...part, until: part.until / until }));
    // A level after the last that is used needs no trial, as nothing would be sent there; one before it wants to come back.
    const onTrial = levels.slice(0, lastUsed + 1).flatMap((level) => level.filter(isOnTrial));
    const everybody = parts.length === 1 ? parts[0]!.endpoints : parts.flatMap(({ endpoints }) => endpoints);
    return { parts, everybody, onTrial };
  }

  /** Who has a share of the traffic has nobody left: whoever is there is asked, whatever is said of him. */
  #lastResort(): Division {
    const endpoints = this.#all.filter((endpoint) => this.#isLastResort(endpoint));
    return {
      parts: endpoints.length === 0 ? [] : [new SharedPart({ until: 1, endpoints })],
      everybody: endpoints,
      onTrial: this.#all.filter(isOnTrial),
    };
  }

  /** Sets what each gets of its weight; while somebody warms up, only for a while. */
  #weigh(nowMs: number): void {
    const warming = this.#slowStart.isWarming(nowMs);
    this.#staleAtMs = warming ? nowMs + this.#slowStart.stepMs : Number.POSITIVE_INFINITY;
    for (const one of this.#all) {
      const share = this.#aperture?.get(one.key) ?? 1;
      one.weight = one.endpoint.weight * share * (warming ? this.#slowStart.factor(one.key, nowMs) : 1);
    }
  }

  /** Those that are well; if that is nobody, ejections are ignored. */
  #wellOf(level: readonly UpstreamEndpoint[]): readonly UpstreamEndpoint[] {
    const well = level.filter(isWell);
    return well.length > 0 ? well : level.filter((endpoint) => this.#isLastResort(endpoint));
  }

  /** Without panic, what discovery says is always believed. */
  #isLastResort(endpoint: UpstreamEndpoint): boolean {
    if (endpoint.endpoint.unwell === true && this.#options.priority.panicThreshold === 0) return false;
    return isReachable(endpoint);
  }

  /** Where too little of the part of a level that is this sidecar's is well, the whole level is. */
  #inAperture(level: readonly UpstreamEndpoint[]): readonly UpstreamEndpoint[] {
    const shares = this.#aperture;
    if (shares === undefined) return level;
    const within = level.filter(({ key }) => shares.has(key));
    const { panicThreshold } = this.#options.priority;
    const enough = weightOf(within, isWell) >= panicThreshold * weightOf(within, isAnybody);
    return enough && within.some(isWell) ? within : level;
  }

  /** The parts of a level; `until` is how much of the level's share each gets. */
  #byZone(level: readonly UpstreamEndpoint[]): readonly Share[] {
    const { zones: options } = this.#options;
    const { zone: own, callers } = this.#situation;
    if (level.length === 0) return [];
    if (options === undefined || own === undefined) return [{ until: 1, endpoints: level }];
    const byZone = Map.groupBy(level, ({ endpoint }) => endpoint.zone ?? "");
    const capacities = [...byZone].map(([zone, endpoints]) => ({
      zone,
      endpoints: endpoints.length,
      weight: weightOf(endpoints, isAnybody),
    }));
    const known = callers === undefined ? undefined : new Map(Object.entries(callers));
    const shares = zoneShares(capacities, own, options, known);
    // Shares in proportion to weights need no zones: the balancer sees more when it sees them all.
    if (isProportional(shares, capacities)) return [{ until: 1, endpoints: level }];
    return [...byZone.values()].flatMap((endpoints, place) =>
      shares[place] === 0 ? [] : [{ until: shares[place]!, endpoints }],
    );
  }
}

/** By priority, the preferred first; as a rule there is one. */
function levelsOf(endpoints: readonly UpstreamEndpoint[]): (readonly UpstreamEndpoint[])[] {
  if (endpoints.every(({ endpoint }) => (endpoint.priority ?? 0) === (endpoints[0]!.endpoint.priority ?? 0)))
    return [endpoints];
  const byPriority = Map.groupBy(endpoints, ({ endpoint }) => endpoint.priority ?? 0);
  return [...byPriority].sort(([one], [other]) => one - other).map(([, level]) => level);
}

function isWell({ isWell: well }: UpstreamEndpoint): boolean {
  return well;
}

function isOnTrial({ isOnTrial: onTrial }: UpstreamEndpoint): boolean {
  return onTrial;
}

/** Whatever is said of it, its breaker lets requests through. */
function isReachable({ breakerState }: UpstreamEndpoint): boolean {
  return breakerState === "closed";
}

function isAnybody(): boolean {
  return true;
}

/** By what discovery says: that an endpoint is new or only partly this sidecar's is no lack of capacity. */
function weightOf(
  endpoints: readonly UpstreamEndpoint[],
  of: (endpoint: UpstreamEndpoint) => boolean,
): number {
  let weight = 0;
  for (const endpoint of endpoints) if (of(endpoint)) weight += endpoint.endpoint.weight;
  return weight;
}

function isProportional(
  shares: readonly number[],
  capacities: readonly { readonly weight: number }[],
): boolean {
  const total = capacities.reduce((sum, { weight }) => sum + weight, 0);
  return shares.every((share, place) => Math.abs(share - capacities[place]!.weight / total) < 1e-6);
}
