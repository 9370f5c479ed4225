/**
 * How fail-over by priority shares requests, with real picks, against the tables of Envoy's documentation
 * (test/support/envoy-priorities.ts).
 *
 * Not the shares alone, as the tests compare them: here a level is drawn for each request and then an endpoint of it, so
 * that in panic it also shows who is chosen.
 */
import { createBalancer, DEFAULT_PRIORITY, priorityShares } from "../../../balancing/index.ts";
import { ENVOY_PRIORITY_TABLES, type PriorityRow } from "../../../test/support/envoy-priorities.ts";
import { placeBy } from "../by-share.ts";
import { Target } from "../clients.ts";
import { binomialError } from "../measures.ts";
import { sfc32 } from "../random.ts";
import { type Findings, nearByChance, percent, type Row } from "../rows.ts";

export function priorities(seed: number): Findings {
  return { rows: [...ENVOY_PRIORITY_TABLES.map((table) => worstOf(table, seed)), panic(seed)], plots: [] };
}

const LEVEL_SIZE = 100;
/** The page has whole per cents. */
const WHOLE = 0.01;

/** Of so many picks, how many each level got, and those of its endpoints that are not well. */
function levelPicks(healthy: readonly number[], seed: number, picks: number) {
  const random = sfc32(seed);
  const found = priorityShares(
    healthy.map((healthyWeight) => ({ healthyWeight, totalWeight: LEVEL_SIZE })),
    DEFAULT_PRIORITY,
  );
  const shares = found.map(({ share }) => share);
  const balancer = createBalancer({ algorithm: "random" }, random);
  const lists = found.map((level, i) =>
    Array.from({ length: level.panic ? LEVEL_SIZE : healthy[i]! }, (_, k) => new Target(k)),
  );
  const counts = healthy.map(() => 0);
  let unwell = 0;
  for (let i = 0; i < picks; i++) {
    const level = placeBy(shares, random);
    if (balancer.pick(lists[level]!, 0)!.index >= healthy[level]!) unwell++;
    counts[level]!++;
  }
  return { shares: counts.map((count) => count / picks), unwell: unwell / picks };
}

const PICKS = 50_000;

function worstOf(table: readonly PriorityRow[], seed: number): Row {
  const cells = table.flatMap(({ healthy, shares: published }) => {
    const { shares } = levelPicks(healthy, seed, PICKS);
    return shares.map((here, level) => ({ healthy, level, here, published: published[level]! / 100 }));
  });
  const allowed = ({ published }: { published: number }) => WHOLE + 3 * binomialError(published, PICKS);
  const off = (cell: (typeof cells)[number]) => Math.abs(cell.here - cell.published) / allowed(cell);
  const worst = cells.reduce((one, other) => (off(other) > off(one) ? other : one));
  const format = percent(2);
  const levels = table[0]!.healthy.length;
  const other = table.every(({ healthy }) => healthy[1] === 100) ? ", all of P=1 healthy" : "";
  return {
    result: `${levels} levels${other}, worst of ${cells.length} cells of Envoy's table: P=${worst.level} at ${worst.healthy.join(", ")} % healthy`,
    published: percent(0)(worst.published),
    here: format(worst.here),
    tolerance: `${format(allowed(worst))} (1 %, since the page has whole ones, and 3 standard errors, binomial)`,
    ...(off(worst) <= 1
      ? { holds: true }
      : { holds: false, why: `off by ${format(worst.here - worst.published)}` }),
  };
}

/** Below the threshold, and not enough in all: health is not believed, and each endpoint gets the same. */
function panic(seed: number): Row {
  const { unwell } = levelPicks([25, 25], seed, PICKS);
  return nearByChance(
    "2 levels, a quarter of each healthy: requests that go to unhealthy endpoints (panic)",
    0.75,
    { value: unwell, standardError: binomialError(0.75, PICKS) },
    percent(2),
    "binomial",
  );
}
