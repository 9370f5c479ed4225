/**
 * Beside the outlier detection of outliers.ts: Envoy's rule (mean - 1.9 deviations of the success rates, at least 5 hosts;
 * "Outlier detection" of its documentation), what it cannot find, and what heddle does there.
 *
 * The rule is a formula, too, and no run: it has the endpoint itself in mean and deviation, so one that differs from n - 1
 * equals is sqrt(n - 1) deviations away, by however little it differs.
 */
import { DEFAULT_OUTLIERS } from "../../../resilience/index.ts";
import { exact } from "../measures.ts";
import { envoysDistance } from "../outlier-forms.ts";
import { ROUND_MS, runRounds } from "../rounds.ts";
import { between, fixed, type Row } from "../rows.ts";

const { intervalMs: INTERVAL_MS, successRateMargin: MARGIN } = DEFAULT_OUTLIERS;
const HOUR_MS = 3_600_000;
const MANY = 100;

const ENVOYS_FACTOR = 1.9;
const ENVOYS_MINIMUM_HOSTS = 5;

/** Rows of outliers.ts. */
export function envoys(seed: number): Row[] {
  const sizes = [3, 4, 5, MANY];
  const distances = (rate: number) => sizes.map((endpoints) => envoysDistance(endpoints, rate));
  const off = Math.max(
    ...[0, 0.5, 0.99].flatMap((rate) =>
      distances(rate).map((distance, i) => Math.abs(distance - Math.sqrt(sizes[i]! - 1))),
    ),
  );
  const list = (values: readonly number[]) => values.map(fixed(3)).join(", ");
  let fewest = 2;
  while (envoysDistance(fewest, 0) <= ENVOYS_FACTOR) fewest++;
  const foundAmong = (endpoints: number, share: number, forMs: number) =>
    runRounds({
      endpoints,
      seed,
      forMs,
      failing: (place) => (place === endpoints - 1 ? share : 0),
    }).ejections.length;
  return [
    {
      result: `Envoy's rule, one of ${sizes.join(", ")} differs, by any amount: deviations from the mean`,
      published: `${list(sizes.map((endpoints) => Math.sqrt(endpoints - 1)))} (root of n - 1)`,
      here: list(distances(0.99)),
      tolerance: "none (exact), for success rates of 0, 50 and 99 % beside 100 %",
      ...(off < 1e-9 ? { holds: true } : { holds: false, why: `off by ${off}` }),
    },
    between(
      `Envoy's rule, ${ENVOYS_FACTOR} deviations: the fewest endpoints among which one that fails always is found`,
      [ENVOYS_MINIMUM_HOSTS, ENVOYS_MINIMUM_HOSTS],
      exact(fewest),
      "its minimum of hosts, 5",
      fixed(0),
    ),
    ...[3, 4].map((endpoints) =>
      between(
        `one of ${endpoints} fails always: ejections within an interval (Envoy's rule: none, ${fixed(2)(envoysDistance(endpoints, 0))} deviations)`,
        [1, 1],
        exact(foundAmong(endpoints, 1, INTERVAL_MS + ROUND_MS)),
        "the one",
        fixed(0),
      ),
    ),
    between(
      `one of 5 succeeds with 99 %, the others always: ejections in an hour (Envoy's rule: an outlier, ${fixed(2)(envoysDistance(5, 0.99))} deviations)`,
      [0, 0],
      exact(foundAmong(5, 0.01, HOUR_MS)),
      `less than ${MARGIN * 100} points below the others`,
      fixed(0),
    ),
  ];
}
