/**
 * What is known of outlier detection without simulating: how likely an endpoint is found in a window, whether it is one that
 * fails more or only one of equals, and how far away Envoy's rule sees it.
 *
 * The rule is written down here a second time, by likelihoods instead of divergences, or a mistake in
 * resilience/outlier-rules.ts would be right by definition. Chances are summed over all that can happen, not bounded.
 */
import { DEFAULT_OUTLIERS } from "../../resilience/index.ts";
import type { Estimate } from "./measures.ts";

/** How often chance may wrong one of equals in a comparison, at most. */
export const BY_CHANCE = 1 / 20_000;

/**
 * The chance that one of `endpoints` is found in a window. Where the others fail, too, it is the most that it can be: how much
 * they differ among themselves is left out.
 * @param requests of each endpoint in a window
 * @param share of its requests that the endpoint fails; the others fail `othersShare` of theirs
 */
export function chanceToFind(endpoints: number, requests: number, share: number, othersShare = 0): number {
  const own = binomial(requests, share);
  const others = binomial((endpoints - 1) * requests, othersShare);
  let chance = 0;
  // The more the others fail, the more it takes: never again fewer failures than for those before.
  let least = 0;
  for (const [failures, likelihood] of others.entries()) {
    if (likelihood === 0) continue;
    while (least <= requests && !isFound(least, requests, failures, others.length - 1)) least++;
    for (let found = least; found <= requests; found++) chance += likelihood * own[found]!;
  }
  return chance;
}

function isFound(
  failures: number,
  requests: number,
  othersFailures: number,
  othersRequests: number,
): boolean {
  if (failures / requests - othersFailures / othersRequests <= DEFAULT_OUTLIERS.successRateMargin)
    return false;
  const alike = mostLikely(failures + othersFailures, requests + othersRequests);
  const apart = mostLikely(failures, requests) + mostLikely(othersFailures, othersRequests);
  return Math.exp(alike - apart) < BY_CHANCE;
}

/** The logarithm of how likely these failures are, one after the other, at the share that makes them likeliest. */
function mostLikely(failures: number, requests: number): number {
  return times(failures, failures / requests) + times(requests - failures, 1 - failures / requests);
}

/** The chances of 0, 1, 2, ... failures. */
function binomial(requests: number, share: number): number[] {
  const chances: number[] = [];
  // In logarithms: of thousands of requests there are more choices than a double can hold.
  let ways = 0;
  for (let failures = 0; failures <= requests; failures++) {
    chances.push(Math.exp(ways + times(failures, share) + times(requests - failures, 1 - share)));
    ways += Math.log((requests - failures) / (failures + 1));
  }
  return chances;
}

/** The logarithm of a chance that comes true so many times; what need not happen at all may be impossible. */
function times(count: number, chance: number): number {
  return count === 0 ? 0 : count * Math.log(chance);
}

/** The chance that one of equals is found in a window, at that of 1, 2, ..., 99 % of failures at which it is greatest. */
export function mostWronged(endpoints: number, requests: number): number {
  const shares = Array.from({ length: 99 }, (_, i) => (i + 1) / 100);
  return Math.max(...shares.map((share) => chanceToFind(endpoints, requests, share, share)));
}

/** The most that a number of rare events is of so many in the mean, but for one of 400 times: what rows.ts allows chance. */
export function mostByChance(mean: number): number {
  let chance = Math.exp(-mean);
  let within = chance;
  let most = 0;
  while (within < 1 - 1 / 400) {
    chance *= mean / ++most;
    within += chance;
  }
  return most;
}

const { intervalMs: INTERVAL_MS, ejection: EJECTION, probes: PROBES } = DEFAULT_OUTLIERS;

/** How long the ejection lasts, in milliseconds, that is the first, the second, ...; but for what chance adds. */
export function lasts(times: number): number {
  return Math.min(EJECTION.maxMs, times * EJECTION.baseMs);
}

/**
 * The most of its requests that reaches one that fails `share` of them beside others that fail none: the first windows until
 * it is found, and after each ejection its probes, and as many windows again where all of these were good. If none is
 * forgiven: for that it would have to stay unfound for the time of the first ejection. The error is what chance makes of how
 * often it comes back, in one run.
 * @param requests of each endpoint in a window, at even distances
 */
export function mostReached(endpoints: number, requests: number, share: number, forMs: number): Estimate {
  const ejections = ejectionsWithin(forMs);
  const back = (1 - share) ** PROBES;
  const windowsEach = 1 / chanceToFind(endpoints, requests, share);
  const windows = (1 + ejections * back) * windowsEach + (ejections * PROBES) / requests;
  const error = Math.sqrt(ejections * back * (1 - back)) * windowsEach;
  return {
    value: Math.min(1, (windows * INTERVAL_MS) / forMs),
    standardError: (error * INTERVAL_MS) / forMs,
  };
}

/** Ejections that fit in so many milliseconds when none is forgiven and chance makes none of them longer. */
function ejectionsWithin(forMs: number): number {
  let atMs = 0;
  let times = 0;
  while (atMs < forMs) atMs += lasts(++times);
  return times;
}

/**
 * How many standard deviations below the mean of all, itself among them, the one is that differs from equals.
 * @param rate its share of successes; that of the others is `othersRate`
 */
export function envoysDistance(endpoints: number, rate: number, othersRate = 1): number {
  const mean = (rate + (endpoints - 1) * othersRate) / endpoints;
  const squares = (rate - mean) ** 2 + (endpoints - 1) * (othersRate - mean) ** 2;
  return (mean - rate) / Math.sqrt(squares / endpoints);
}
