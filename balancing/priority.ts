/**
 * How much each level of priority gets when some of its endpoints are not well, and where health is not believed.
 *
 * Not "the next level when the first has nobody left": the last endpoints of the first level would get all of its
 * traffic and follow the others. Not each failed endpoint's share at once either: a level is taken to be built for more
 * than it carries, so it keeps everything until less than 1 / 1.4 of it is healthy. And when all levels together
 * cannot carry the traffic, health checks are less credible than the endpoints: below the panic threshold a level is used
 * whether healthy or not, since a few wrong checks must not turn an outage of some into one of all.
 *
 * The formula is that of Envoy's documentation (arch_overview, "Priority levels" and "Panic threshold"), in fractions
 * instead of whole per cents:
 *
 *     health(x) = min(1, 1.4 * healthy(x) / total(x));  available = min(1, sum of health)
 *     share(x)  = min(1 - shares before x, health(x) / available)
 *
 * One difference to Envoy's code: when every level is in panic, that shares by the number of endpoints. Then a level
 * gets less when one of its endpoints recovers (beside a second level at 49 %, from 20 % to 25 %: a half becomes 35 %).
 * Here the formula stays what it is, and shares only rise with health. Where nobody is healthy the first level gets all,
 * as the documentation says.
 */
import { exactShares } from "./shares.ts";

/** The endpoints of one level, by their weights. */
export interface PriorityLevel {
  readonly healthyWeight: number;
  /** Healthy or not; 0 is a level without endpoints, which gets nothing. */
  readonly totalWeight: number;
}

export interface PriorityOptions {
  /** How many times its usual traffic a level can carry; at least 1. Envoy: 1.4. */
  readonly overprovisioning: number;
  /** The share of healthy weight, in [0, 1], below which a level's health is not believed; 0 always believes it. Envoy: 0.5. */
  readonly panicThreshold: number;
}

export const DEFAULT_PRIORITY: PriorityOptions = { overprovisioning: 1.4, panicThreshold: 0.5 };

export interface LevelShare {
  /** Of the traffic, in [0, 1]; those of all levels add up to exactly 1. */
  readonly share: number;
  /** Choose among all of its endpoints, not only the healthy ones. */
  readonly panic: boolean;
}

/** Below this it is rounding: 5 of 7 endpoints times 1.4 are all of the traffic. */
const ROUNDING = 1e-9;

/**
 * @param levels the first is preferred
 * @returns one per level. Where nobody is healthy and there is no panic, or nobody at all, the first level has the share
 * and nobody to give it to: whoever chooses finds no endpoint, which is the truth.
 */
export function priorityShares(
  levels: readonly PriorityLevel[],
  { overprovisioning, panicThreshold }: PriorityOptions = DEFAULT_PRIORITY,
): LevelShare[] {
  const healths = levels.map((level) => healthOf(level, overprovisioning));
  const available = healths.reduce((sum, health) => sum + health, 0);
  const enough = available >= 1 - ROUNDING;
  let left = 1;
  const shares = healths.map((health) => {
    const share = Math.min(left, health / Math.min(1, available || 1));
    left -= share;
    return share;
  });
  if (available === 0) shares[firstUsed(levels)] = 1;
  return exactShares(shares.slice(0, levels.length)).map((share, place) => ({
    share,
    panic: !enough && isBelow(levels[place]!, panicThreshold),
  }));
}

/** How many levels it takes, from the first on, until they could carry everything; all of them if they cannot. */
export function levelsNeeded(
  levels: readonly PriorityLevel[],
  { overprovisioning }: PriorityOptions = DEFAULT_PRIORITY,
): number {
  let health = 0;
  for (const [place, level] of levels.entries()) {
    health += healthOf(level, overprovisioning);
    if (health >= 1 - ROUNDING) return place + 1;
  }
  return levels.length;
}

function healthOf({ healthyWeight, totalWeight }: PriorityLevel, overprovisioning: number): number {
  return totalWeight > 0 ? Math.min(1, (overprovisioning * healthyWeight) / totalWeight) : 0;
}

function firstUsed(levels: readonly PriorityLevel[]): number {
  return Math.max(
    0,
    levels.findIndex(({ totalWeight }) => totalWeight > 0),
  );
}

function isBelow({ healthyWeight, totalWeight }: PriorityLevel, threshold: number): boolean {
  return totalWeight > 0 && healthyWeight < threshold * totalWeight;
}
