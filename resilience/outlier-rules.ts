/**
 * Which endpoints are outliers, how many may be out, and for how long: numbers in, findings out.
 *
 * Each endpoint is compared with the others and not, as Envoy does it, with a mean and a deviation that it is part of.
 * Of n endpoints of which one differs, that one is always sqrt(n - 1) deviations from the mean, by however little it
 * differs: with a factor of 1.9 it can never be found among four, and among five or more 99 % beside 100 % is
 * an outlier. Without it in the sums the others agree, and what decides is how far away it is: by a margin, by more
 * than the others differ among themselves, and by more than chance makes of so few requests.
 *
 * The more endpoints fail, the less any of them is an outlier. That is meant: failing together is a matter of the
 * breakers, of priorities and of panic, not of a comparison.
 */
import type { Random } from "../core/index.ts";
import type { EjectionOptions, OutlierOptions } from "./outlier-options.ts";

export type OutlierRule =
  | "consecutiveFailures"
  | "consecutiveGatewayFailures"
  | "successRate"
  | "failureShare"
  | "latency";

/** What one endpoint did in a window. */
export interface Sample {
  readonly key: string;
  readonly requests: number;
  readonly failures: number;
  /** Of the answers that were no failures: those that fail fast are not fast. */
  readonly answers: number;
  readonly medianMs: number;
}

/** One endpoint, the rule that it broke, and the two numbers that say so. */
export interface Finding {
  readonly key: string;
  readonly rule: OutlierRule;
  /** A share, a number of failures, or milliseconds, as the rule has it. */
  readonly value: number;
  readonly limit: number;
}

type Comparison = Pick<
  OutlierOptions,
  | "minimumRequests"
  | "minimumEndpoints"
  | "successRateFactor"
  | "successRateMargin"
  | "failureShare"
  | "latencyFactor"
  | "latencyFloorMs"
>;

/** Samples with enough requests to be compared. */
export function comparable(samples: readonly Sample[], { minimumRequests }: Comparison): Sample[] {
  return samples.filter(({ requests }) => requests >= minimumRequests);
}

/** The outliers, each once: those that fail before those that are slow, the worst first. */
export function findOutliers(samples: readonly Sample[], options: Comparison): Finding[] {
  const compared = comparable(samples, options);
  if (compared.length < options.minimumEndpoints) return [];
  const found = new Map<string, Finding>();
  for (const findings of [
    bySuccessRate(compared, options),
    byFailureShare(compared, options),
    byLatency(compared, options),
  ])
    for (const finding of findings) if (!found.has(finding.key)) found.set(finding.key, finding);
  return [...found.values()];
}

function bySuccessRate(samples: readonly Sample[], options: Comparison): Finding[] {
  const { successRateFactor, successRateMargin } = options;
  if (successRateFactor === 0) return [];
  const rates = samples.map(({ requests, failures }) => 1 - failures / requests);
  const sum = rates.reduce((all, rate) => all + rate, 0);
  const squares = rates.reduce((all, rate) => all + rate * rate, 0);
  const requests = samples.reduce((all, sample) => all + sample.requests, 0);
  const failures = samples.reduce((all, sample) => all + sample.failures, 0);
  const others = samples.length - 1;
  return samples
    .map((sample, place): Finding & { chance: number } => {
      const rate = rates[place]!;
      const mean = (sum - rate) / others;
      // Differences of sums may end a little below zero.
      const deviation = Math.sqrt(Math.max(0, (squares - rate * rate) / others - mean * mean));
      const distance = Math.max(successRateMargin, successRateFactor * deviation);
      const rest = { requests: requests - sample.requests, failures: failures - sample.failures };
      const chance = chanceOf(sample, rest);
      return { key: sample.key, rule: "successRate", value: rate, limit: mean - distance, chance };
    })
    .filter(({ value, limit, chance }) => value < limit && chance < BY_CHANCE)
    .sort((one, other) => one.value - other.value)
    .map(({ chance, ...finding }) => finding);
}

/** A hundred endpoints are compared 36,000 times in an hour, and at this bound wronged less than twice. */
const BY_CHANCE = 1 / 20_000;

/**
 * How likely so much worse than the others is among equals: how well one share of failures explains both at its best, in
 * relation to a share for each (the likelihood ratio; Wilks 1938): exp(-n KL(own || common) - m KL(others' || common)).
 *
 * Not how likely it is at the share that the others happen to have failed: two others know theirs from a hundred requests,
 * and if that is taken for certain, three equals that fail a fifth wrong each other five times as often as is allowed. Nor
 * standard errors: three failures of twenty at a usual one per cent are four and a half of them away, which a bell curve
 * takes for impossible, and happen once in a thousand times. Others that have not failed yet need no special case: the
 * common share is above nothing as soon as the one has failed.
 *
 * Whatever equals usually fail, chance is below e^-g by this with a probability of at most (1 + g) e^-g: the common share is
 * the one that makes the exponent least, and at the true one each of its two parts exceeds x with at most e^-x (Chernoff
 * 1952). That is proved, and eleven times BY_CHANCE. Summed up exactly it is less than BY_CHANCE itself for all sizes that
 * were tried, and from twenty requests on at most 0.6 of it (docs/outliers.md).
 */
function chanceOf(one: Counted, others: Counted): number {
  const own = one.failures / one.requests;
  if (own <= others.failures / others.requests) return 1;
  const common = (one.failures + others.failures) / (one.requests + others.requests);
  return Math.exp(-surprise(one, common) - surprise(others, common));
}

type Counted = Pick<Sample, "requests" | "failures">;

/** How far requests are from failing by `share`: Kullback and Leibler's divergence, in nats, for all of them. */
function surprise({ requests, failures }: Counted, share: number): number {
  const successes = requests - failures;
  // Of what has not happened nothing is to be explained; and a share of 0 or 1 occurs only beside that.
  const failing = failures > 0 ? failures * Math.log(failures / requests / share) : 0;
  const passing = successes > 0 ? successes * Math.log(successes / requests / (1 - share)) : 0;
  return failing + passing;
}

function byFailureShare(samples: readonly Sample[], { failureShare }: Comparison): Finding[] {
  if (failureShare === 0) return [];
  return samples
    .map(
      ({ key, requests, failures }): Finding => ({
        key,
        rule: "failureShare",
        value: failures / requests,
        limit: failureShare,
      }),
    )
    .filter(({ value, limit }) => value >= limit)
    .sort((one, other) => other.value - one.value);
}

/** The median latency from which on an endpoint beside these would be slow; undefined when too few of them have answered. */
export function latencyLimitMs(samples: readonly Sample[], options: Comparison): number | undefined {
  const { latencyFactor, latencyFloorMs, minimumRequests, minimumEndpoints } = options;
  const medians = samples
    .flatMap(({ answers, medianMs }) => (answers >= minimumRequests ? [medianMs] : []))
    .sort((one, other) => one - other);
  if (latencyFactor === 0 || medians.length < Math.max(1, minimumEndpoints - 1)) return undefined;
  return Math.max(latencyFloorMs, latencyFactor * medians[medians.length >> 1]!);
}

function byLatency(samples: readonly Sample[], options: Comparison): Finding[] {
  const { latencyFactor, latencyFloorMs, minimumRequests, minimumEndpoints } = options;
  if (latencyFactor === 0) return [];
  const slowestLast = samples
    .filter(({ answers }) => answers >= minimumRequests)
    .sort((one, other) => one.medianMs - other.medianMs);
  if (slowestLast.length < minimumEndpoints) return [];
  // Each endpoint has one vote, whatever its share of the requests: a slow one gets few. Of an even number of others the
  // slower middle is taken, so that of three endpoints two slow ones are no outliers.
  const middle = Math.floor((slowestLast.length - 1) / 2);
  return slowestLast
    .map(({ key, medianMs }, place): Finding => {
      const others = slowestLast[place <= middle ? middle + 1 : middle]!.medianMs;
      return {
        key,
        rule: "latency",
        value: medianMs,
        limit: Math.max(latencyFloorMs, latencyFactor * others),
      };
    })
    .filter(({ value, limit }) => value > limit)
    .reverse();
}

/** How many of so many endpoints may be out at the same time: of 1 none, of 2 to 6 one, of 10 three, as it is set by default. */
export function ejectionLimit(endpoints: number, { share, keep }: EjectionOptions): number {
  // A tenth of thirty is three, whatever the fractions of a double say.
  const byShare = Math.max(1, Math.floor(share * endpoints + 1e-9));
  return Math.max(0, Math.min(byShare, endpoints - keep));
}

/** Up to so much longer, by chance: else all sidecars that ejected an endpoint together bring it back together. */
const JITTER = 0.2;

/** How long an ejection lasts, in milliseconds. @param times how often it has been ejected, this time included */
export function ejectionMs(times: number, { baseMs, maxMs }: EjectionOptions, random: Random): number {
  return Math.min(maxMs, baseMs * times) * (1 + JITTER * random.next());
}

/**
 * How many ejections are still held against an endpoint that has been well for so long. One is forgiven for each base
 * time: an endpoint that fails again before it has been well for as long as its first ejection is getting worse.
 */
export function heldAgainst(times: number, wellForMs: number, { baseMs }: EjectionOptions): number {
  return Math.max(0, times - Math.floor(wellForMs / baseMs));
}
