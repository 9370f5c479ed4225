/**
 * From endpoints and what is known against them to the parts of the traffic: who is chosen among, and who is on trial.
 *
 *     aperture    of very many endpoints, those that this sidecar talks to
 *     health      without those on trial, ejected, or with an open breaker
 *     priority    how much each level gets; in panic, a level's health is not believed
 *     zone        within a level, how much stays in the own zone
 *
 * Not one list with all of it folded into weights: a level that gets 10 % by weights would get another share from
 * leastRequest, which sends more to whoever is idle. A part of the traffic is drawn by chance first, then an endpoint of
 * it by the balancer.
 *
 * A decision at one moment, without time and chance; when it is made anew, candidates.ts says.
 */
import {
  levelsNeeded,
  type PeerPlace,
  type PriorityOptions,
  priorityShares,
  type ZoneOptions,
  zoneShares,
} from "../../balancing/index.ts";
import type { UpstreamEndpoint } from "./endpoint.ts";

export interface DivisionOptions {
  readonly priority: PriorityOptions;
  /** Undefined where zones are not looked at. */
  readonly zones?: ZoneOptions | undefined;
}

/** Where this sidecar stands among those that do the same. Plain values, as it is told to other threads. */
export interface Situation {
  readonly zone?: string | undefined;
  /** How many of its peers are in each zone; undefined when that is not known. */
  readonly callers?: Readonly<Record<string, number>> | undefined;
  readonly place?: PeerPlace | undefined;
}

type Endpoints = readonly UpstreamEndpoint[];

/** A part of the traffic; `until` is where it ends, in [0, 1], on the line that all parts lie on. */
export interface Share {
  readonly until: number;
  readonly endpoints: Endpoints;
}

export interface Division {
  readonly shares: readonly Share[];
  /** Who has waited longest comes first: one that fails at once would else take every turn from those behind it. */
  readonly onTrial: Endpoints;
}

/** The endpoints of one priority, as far as they are this sidecar's. */
export interface Level {
  readonly endpoints: Endpoints;
  /** All of the level, though this sidecar has an aperture: too little of its part is well. */
  readonly isWhole: boolean;
}

export function divide(levels: readonly Level[], options: DivisionOptions, situation: Situation): Division {
  const measured = levels.map(({ endpoints }) => ({
    healthyWeight: weightOf(endpoints, isWell),
    totalWeight: weightOf(endpoints),
  }));
  const priorities = priorityShares(measured, options.priority);
  const shares: Share[] = [];
  let until = 0;
  for (const [place, { endpoints }] of levels.entries()) {
    const { share, panic } = priorities[place]!;
    if (share === 0) continue;
    const usable = panic ? endpoints.filter(isReachable) : wellOf(endpoints, options);
    for (const part of byZone(endpoints, usable, options, situation)) {
      until += share * part.until;
      shares.push({ until, endpoints: part.endpoints });
    }
  }
  if (shares.length === 0) return lastResort(levels, options);
  const needed = levels.slice(0, levelsNeeded(measured, options.priority));
  const onTrial = needed.flatMap(({ endpoints }, place) =>
    endpoints.filter((one) => one.isOnTrial || (priorities[place]!.panic && isAdmitting(one, options))),
  );
  return {
    // What a part without anybody would have got is the others'.
    shares: shares.map((part) => ({ ...part, until: part.until / until })),
    onTrial: longestFirst(onTrial),
  };
}

/** Who has a share of the traffic has nobody left: whoever is there is asked, whatever is said of him. */
function lastResort(levels: readonly Level[], options: DivisionOptions): Division {
  const all = levels.flatMap(({ endpoints }) => endpoints);
  const endpoints = all.filter((one) => isLastResort(one, options));
  return {
    shares: endpoints.length === 0 ? [] : [{ until: 1, endpoints }],
    onTrial: longestFirst(all.filter((one) => one.isOnTrial || isAdmitting(one, options))),
  };
}

/** Those that are well; if that is nobody, ejections are ignored. */
function wellOf(level: Endpoints, options: DivisionOptions): Endpoints {
  const well = level.filter(isWell);
  return well.length > 0 ? well : level.filter((one) => isLastResort(one, options));
}

/** The parts of a level; `until` is how much of the level's share each gets. */
function byZone(
  level: Endpoints,
  usable: Endpoints,
  { zones: options }: DivisionOptions,
  { zone: own, callers }: Situation,
): readonly Share[] {
  if (usable.length === 0) return [];
  if (options === undefined || own === undefined) return [{ until: 1, endpoints: usable }];
  const usableIn = Map.groupBy(usable, zoneOf);
  // Of all of them, so that zones do not come and go with an endpoint that flaps, nor the callers of one with its health.
  const capacities = [...Map.groupBy(level, zoneOf)].map(([zone, endpoints]) => ({
    zone,
    endpoints: endpoints.length,
    weight: weightOf(usableIn.get(zone) ?? []),
  }));
  const known = callers === undefined ? undefined : new Map(Object.entries(callers));
  const shares = zoneShares(capacities, own, options, known);
  const total = weightOf(usable);
  // Shares in proportion to weights need no zones: the balancer sees more when it sees them all.
  if (capacities.every(({ weight }, place) => Math.abs(shares[place]! - weight / total) < 1e-6))
    return [{ until: 1, endpoints: usable }];
  return capacities.flatMap(({ zone }, place) => {
    const endpoints = usableIn.get(zone);
    return endpoints === undefined || shares[place] === 0 ? [] : [{ until: shares[place]!, endpoints }];
  });
}

/** By priority, the preferred first; as a rule there is one. */
export function levelsOf(endpoints: Endpoints): readonly Endpoints[] {
  const [first] = endpoints;
  if (first === undefined || endpoints.every((one) => priorityOf(one) === priorityOf(first)))
    return [endpoints];
  return [...Map.groupBy(endpoints, priorityOf)]
    .sort(([one], [other]) => one - other)
    .map(([, level]) => level);
}

export function priorityOf({ endpoint }: UpstreamEndpoint): number {
  return endpoint.priority ?? 0;
}

function zoneOf({ endpoint }: UpstreamEndpoint): string {
  return endpoint.zone ?? "";
}

/** By what discovery says: that an endpoint is new or only partly this sidecar's is no lack of capacity. */
export function weightOf(endpoints: Endpoints, of?: (endpoint: UpstreamEndpoint) => boolean): number {
  let weight = 0;
  for (const endpoint of endpoints) if (of?.(endpoint) !== false) weight += endpoint.endpoint.weight;
  return weight;
}

export function isWell({ isWell: well }: UpstreamEndpoint): boolean {
  return well;
}

/** Whatever is said of it, its breaker lets requests through. */
function isReachable({ breakerState }: UpstreamEndpoint): boolean {
  return breakerState === "closed";
}

/** Without panic, what discovery says is always believed. */
function isLastResort(one: UpstreamEndpoint, options: DivisionOptions): boolean {
  return isReachable(one) && !isBelievedUnwell(one, options);
}

/** Where health is not believed, or nobody else is left: whoever's breaker may let a request through is tried. */
function isAdmitting(one: UpstreamEndpoint, options: DivisionOptions): boolean {
  return one.breakerState === "halfOpen" && !isBelievedUnwell(one, options);
}

function isBelievedUnwell({ endpoint }: UpstreamEndpoint, { priority }: DivisionOptions): boolean {
  return endpoint.unwell === true && priority.panicThreshold === 0;
}

function longestFirst(onTrial: UpstreamEndpoint[]): Endpoints {
  return onTrial.sort((one, other) => one.onTrialSinceMs - other.onTrialSinceMs);
}
