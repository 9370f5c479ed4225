/**
 * Outlier detection: how soon an endpoint is found that does worse than the others, what still reaches it, and who is wronged.
 *
 * The rule is arithmetic over what chance makes of fifty requests, so most rows have a closed form: an endpoint is found in a
 * window with a binomial chance, in so many windows by the geometric distribution; equals are wronged at most as often as all
 * that chance can do to them sums up to, which is less than what the rule allows chance; an ejection lasts so many times
 * the first one. The others never fail, so that their failures do not blur the forms, but for the rows about equals.
 * Envoy's rule stands beside it in envoys-rule.ts.
 */
import { DEFAULT_OUTLIERS } from "../../../resilience/index.ts";
import { normal } from "../distributions.ts";
import { exact } from "../measures.ts";
import { BY_CHANCE, chanceToFind, lasts, mostByChance, mostReached, mostWronged } from "../outlier-forms.ts";
import { ROUND_MS, type RoundsResult, runRounds } from "../rounds.ts";
import { atMostByChance, between, type Findings, fixed, nearByChance, percent, type Row } from "../rows.ts";
import { envoys } from "./envoys-rule.ts";

const { intervalMs: INTERVAL_MS, ejection: EJECTION, probes: PROBES } = DEFAULT_OUTLIERS;
const HOUR_MS = 3_600_000;
/** Requests to each endpoint that is in. */
const WINDOW = INTERVAL_MS / ROUND_MS;

const FEW = 3;
const MANY = 100;
const SIZES = [FEW, MANY];
const isLast = (endpoints: number) => (place: number) => place === endpoints - 1;
/** The last one fails such a share, the others nothing. */
const oneFails = (endpoints: number, share: number) => (place: number) =>
  isLast(endpoints)(place) ? share : 0;
type Ejection = RoundsResult["ejections"][number];

export function outliers(seed: number): Findings {
  const hours = SIZES.map((endpoints) => ({
    endpoints,
    byShare: new Map(SHOWN_SHARES.map((share) => [share, hour(endpoints, share, seed)])),
  }));
  return {
    rows: [
      ...SIZES.flatMap((endpoints) => SHARES.map((share) => found(endpoints, share, seed))),
      ...hours.flatMap(({ endpoints, byShare }) =>
        SHARES.map((share) => reaches(endpoints, share, byShare.get(share)!)),
      ),
      ...SIZES.map(allowed),
      ...SIZES.flatMap((endpoints) => [0.99, 0.8].map((rate) => equals(endpoints, rate, seed))),
      ...limits(seed),
      ...fifth(seed),
      ...slow(seed),
      ...growing(seed),
      ...envoys(seed),
    ],
    plots: [
      {
        name: "outliers",
        title: "What still reaches an endpoint in the hour in which it fails so many requests",
        x: { label: "per cent of its requests that it fails", scale: "linear", from: 0, to: 100 },
        y: { label: "share of its requests", scale: "log", from: 0.001, to: 1 },
        series: hours.flatMap(({ endpoints, byShare }, i) => [
          {
            name: `one of ${endpoints}`,
            points: [...byShare].map(([share, { reached }]) => [100 * share, reached] as const),
            as: "dots" as const,
            colour: i,
          },
          {
            name: "bound",
            points: SHOWN_SHARES.map(
              (share) => [100 * share, mostReached(endpoints, WINDOW, share, HOUR_MS).value] as const,
            ),
            as: "dashes" as const,
            colour: i,
          },
        ]),
      },
    ],
  };
}

// --- one that fails more than the others

const SHARES = [0.2, 0.3, 0.5];
const SHOWN_SHARES = [0.1, 0.15, ...SHARES, 0.75, 1];
const FINDING_RUNS = 100;
/** Whoever is not found by then counts as found then. */
const MOST_MS = 100 * INTERVAL_MS;

function found(endpoints: number, share: number, seed: number): Row {
  const chance = chanceToFind(endpoints, WINDOW, share);
  let intervals = 0;
  for (let run = 0; run < FINDING_RUNS; run++) {
    const { ejections } = runRounds({
      endpoints,
      seed: seed + 1000 * run,
      forMs: MOST_MS,
      failing: oneFails(endpoints, share),
      untilFound: true,
    });
    intervals += (ejections[0]?.atMs ?? MOST_MS) / INTERVAL_MS;
  }
  // One window more: where hardly any is missed, a single one is no surprise.
  const standardError = Math.sqrt((FINDING_RUNS * (1 - chance)) / chance ** 2 + 1) / FINDING_RUNS;
  return nearByChance(
    `one of ${endpoints} fails ${percent(0)(share)}: intervals until it is out, mean of ${FINDING_RUNS}`,
    1 / chance,
    { value: intervals / FINDING_RUNS, standardError },
    fixed(2),
    "geometric, and one window",
  );
}

interface Hour {
  /** The part of the requests that it would have got. */
  readonly reached: number;
  /** The part of all requests that fail, before it is out for the first time and from then on. */
  readonly failedBefore: number;
  readonly failedAfter: number;
  readonly runs: number;
}

/** The more endpoints, the longer a run takes. */
const HOUR_RUNS: Readonly<Record<number, number>> = { [FEW]: 20, [MANY]: 1 };

function hour(endpoints: number, share: number, seed: number): Hour {
  const count = HOUR_RUNS[endpoints]!;
  const runs = Array.from({ length: count }, (_, run) =>
    runRounds({
      endpoints,
      seed: seed + 1000 * run,
      forMs: HOUR_MS,
      failing: oneFails(endpoints, share),
    }),
  );
  const sum = (of: (run: RoundsResult) => number) => runs.reduce((all, run) => all + of(run), 0);
  return {
    runs: count,
    reached: sum(({ sentTo }) => sentTo.at(-1)!) / (count * (HOUR_MS / ROUND_MS)),
    failedBefore: sum(({ before }) => before.failed) / sum(({ before }) => before.sent),
    failedAfter: sum(({ after }) => after.failed) / sum(({ after }) => after.sent),
  };
}

function reaches(endpoints: number, share: number, { reached, failedBefore, failedAfter, runs }: Hour): Row {
  const { value: most, standardError } = mostReached(endpoints, WINDOW, share, HOUR_MS);
  const format = percent(2);
  const row = atMostByChance(
    `one of ${endpoints} fails ${percent(0)(share)}: what reaches it in the first hour (callers' failures until it is out for the first time, and from then on)`,
    most,
    { value: reached, standardError: standardError / Math.sqrt(runs) },
    format,
    "binomial, of its returns",
  );
  return { ...row, here: `${row.here} (${format(failedBefore)}, ${percent(3)(failedAfter)})` };
}

// --- equals

/** A sum, not a run: at one in 20,000 a run would have to be long to say anything. */
function allowed(endpoints: number): Row {
  return between(
    `${endpoints} equals that all fail as often, 1 to 99 %: how often one is wronged in ${fixed(0)(1 / BY_CHANCE)} comparisons of it, at the worst of these`,
    [0, 1],
    exact(mostWronged(endpoints, WINDOW) / BY_CHANCE),
    "what chance is allowed",
    fixed(2),
  );
}

/** So that there are some comparisons. */
const EQUAL_HOURS: Readonly<Record<number, number>> = { [FEW]: 200, [MANY]: 2 };

function equals(endpoints: number, rate: number, seed: number): Row {
  const forMs = EQUAL_HOURS[endpoints]! * HOUR_MS;
  const { ejections } = runRounds({ endpoints, seed, forMs, failing: () => 1 - rate });
  const comparisons = (forMs / INTERVAL_MS) * endpoints;
  const mean = comparisons * chanceToFind(endpoints, WINDOW, 1 - rate, 1 - rate);
  return between(
    `${endpoints} equals that succeed with ${percent(0)(rate)}: ejections by comparison in ${forMs / HOUR_MS} hours (allowed: ${fixed(1)(comparisons * BY_CHANCE)})`,
    [0, mostByChance(mean)],
    exact(ejections.filter((one) => !isFailedTrial(one, ejections)).length),
    `at most ${fixed(2)(mean)} in the mean; more than the bound in one of 400 runs (Poisson)`,
    fixed(0),
  );
}

/** A trial begins when an ejection is over, and goes on in every round: no comparison comes so soon after it. */
function isFailedTrial({ place, atMs }: Ejection, ejections: readonly Ejection[]): boolean {
  const before = ejections.findLast((one) => one.place === place && one.atMs < atMs);
  return before !== undefined && atMs - before.atMs - before.forMs <= (PROBES + 1) * ROUND_MS;
}

// --- how many may be out

function limits(seed: number): Row[] {
  const forMs = HOUR_MS / 6;
  const always = (bad: number) => (place: number) => (place < bad ? 1 : 0);
  const none = SIZES.map(
    (endpoints) => runRounds({ endpoints, seed, forMs, failing: () => 1 }).ejections.length,
  );
  const runs = { consecutiveFailures: 5 };
  const few = runRounds({ endpoints: FEW, seed, forMs, failing: () => 1, options: runs });
  const many = runRounds({ endpoints: MANY, seed, forMs, failing: always(40), options: runs });
  return [
    between(
      "3 and 100 endpoints that all fail always: ejections by comparison",
      [0, 0],
      exact(none[0]! + none[1]!),
      "nobody is worse than the others",
      fixed(0),
    ),
    between(
      "3 endpoints that all fail always, ejected after 5 failures in a row: the most that are out together",
      [1, 1],
      exact(few.mostOut),
      "one of few, never two of three",
      fixed(0),
    ),
    between(
      "100 endpoints, 40 of which fail always, ejected after 5 failures in a row: the most that are out together",
      [MANY * EJECTION.share, MANY * EJECTION.share],
      exact(many.mostOut),
      "the share that may be out",
      fixed(0),
    ),
  ];
}

/** About as many as a comparison finds at once: more of them, and they hide each other. */
function fifth(seed: number): Row[] {
  const bad = MANY / 5;
  const forMs = HOUR_MS / 6;
  const { ejections, mostOut, before, after } = runRounds({
    endpoints: MANY,
    seed,
    forMs,
    failing: (place) => (place < bad ? 0.5 : 0),
  });
  const others = ejections.filter(({ place }) => place >= bad).length;
  const failed = percent(2);
  const together = between(
    `100 endpoints, ${bad} of which fail 50 %: the most that are out together (callers' failures before, and from then on)`,
    [bad, MANY * EJECTION.share],
    exact(mostOut),
    "all that fail, and the share that may be out",
    fixed(0),
  );
  const seen = `${failed(before.failed / before.sent)}, ${failed(after.failed / after.sent)}`;
  return [
    { ...together, here: `${together.here} (${seen})` },
    between(
      `the same, in ten minutes: ejections of the others`,
      [0, Math.floor((forMs / INTERVAL_MS) * (MANY - bad) * BY_CHANCE)],
      exact(others),
      "as many as chance is allowed",
      fixed(0),
    ),
  ];
}

// --- how slow, how long

const SLOW_FACTOR = 5;
const USUAL = 40;

function slow(seed: number): Row[] {
  const ejectionsOf = (endpoints: number, factor: number) =>
    runRounds({
      endpoints,
      seed,
      forMs: HOUR_MS / 6,
      failing: () => 0,
      latency: (place) => normal(USUAL * (isLast(endpoints)(place) ? factor : 1), USUAL / 10),
      options: { latencyFactor: SLOW_FACTOR },
    }).ejections;
  return SIZES.flatMap((endpoints) => [
    between(
      `one of ${endpoints} takes 10 times as long, latencyFactor ${SLOW_FACTOR}: intervals until it is out`,
      [1, 1],
      exact((ejectionsOf(endpoints, 10)[0]?.atMs ?? Number.POSITIVE_INFINITY) / INTERVAL_MS),
      "its median is known after one",
      fixed(0),
    ),
    between(
      `one of ${endpoints} takes 4 times as long, latencyFactor ${SLOW_FACTOR}: ejections in ten minutes`,
      [0, 0],
      exact(ejectionsOf(endpoints, 4).length),
      "below the factor by more than a histogram is wrong by",
      fixed(0),
    ),
  ]);
}

/** What chance makes an ejection longer by, at most. */
const JITTER = 0.2;
const GROWING_RUNS = 20;

/** One that fails every probe. */
function growing(seed: number): Row[] {
  const ratios = Array.from({ length: GROWING_RUNS }, (_, run) =>
    runRounds({
      endpoints: FEW,
      seed: seed + 1000 * run,
      forMs: HOUR_MS,
      failing: oneFails(FEW, 1),
    }).ejections.map(({ forMs }, before) => forMs / lasts(before + 1)),
  ).flat();
  const name = "one that fails always: the ejections of an hour, over 30, 60, ... up to 300 s";
  return [
    between(
      `${name}, the shortest`,
      [1, 1 + JITTER],
      exact(Math.min(...ratios)),
      "up to a fifth more",
      fixed(3),
    ),
    between(
      `${name}, the longest`,
      [1, 1 + JITTER],
      exact(Math.max(...ratios)),
      "up to a fifth more",
      fixed(3),
    ),
    nearByChance(
      `${name}, mean of ${ratios.length}`,
      1 + JITTER / 2,
      {
        value: ratios.reduce((sum, ratio) => sum + ratio) / ratios.length,
        standardError: JITTER / Math.sqrt(12 * ratios.length),
      },
      fixed(3),
      "uniform",
    ),
  ];
}
