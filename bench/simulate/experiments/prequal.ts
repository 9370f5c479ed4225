/**
 * Prequal against the rules that it was published beside ("Load is not what you should balance", NSDI 2024), in a farm like
 * its testbed: what is assumed of that stands in probing-farm.ts and machine.ts, what the rules are in prequal-rules.ts.
 * Rows are orders and shapes, as milliseconds depend on machines and antagonists that nobody else has. One result is less
 * than another if it is so by three standard errors, batch by batch, as both have met the same queries.
 *
 * For the table of rules, too, half of the machines are slow: equal ones cannot explain that turns ran into the deadline at
 * 70 %. The load of the sweeps is not known; it is the lower one of that table. What is published and does not come out here
 * is no row but a departure, with the likely cause.
 */
import { type Estimate, meanOf } from "../measures.ts";
import { type Batches, type ProbingFarmResult, type Rule, runProbingFarm } from "../probing-farm.ts";
import { between, type Departure, type Findings, fixed, percent, type Row } from "../rows.ts";
import { isLess, less, percentileName } from "./prequal-comparisons.ts";
import {
  c3,
  leastLoaded,
  linear,
  peakEwma,
  polledTwoChoices,
  prequal,
  roundRobin,
  weightedRoundRobin,
} from "./prequal-rules.ts";

const LASTS_MS = 12_000;
/** Of turns where the load is about what is promised: where it is 3 % too much, queues take long to show it. */
const EDGE_LASTS_MS = 36_000;
/** The load ramp: 0.75 to 1.74 of what is promised. */
const STEPS = Array.from({ length: 9 }, (_, i) => 0.75 * (10 / 9) ** i);
const LOW = 0.7;
const HIGH = 0.9;
/** For small differences, other machines and queries beside those of the seed. */
const MORE_SEEDS = [1000, 2000];
/** Of the sweep of probes. */
const OVERLOAD = 1.5;

export function prequalExperiment(seed: number): Findings {
  const asUsual = halfSlow(seed, prequal(), LOW);
  const parts = [
    ramp(seed),
    ruleTable(seed, asUsual),
    quantiles(seed, asUsual),
    mixes(seed, asUsual),
    probes(seed),
  ];
  return {
    rows: [...parts.flatMap(({ rows }) => rows), sinkhole(seed)],
    plots: parts.flatMap(({ plots }) => plots),
    departures: parts.flatMap(({ departures = [] }) => departures),
  };
}

/** How much more load than is promised a rule bears, as long as there is somebody with something to spare. */
function ramp(seed: number): Findings {
  const turns = STEPS.map((load) => {
    const lastsMs = Math.abs(load - 1) < 0.1 ? EDGE_LASTS_MS : LASTS_MS;
    return runProbingFarm({ seed, rule: weightedRoundRobin, load, lastsMs });
  });
  const ours = STEPS.map((load) => runProbingFarm({ seed, rule: prequal(), load, lastsMs: LASTS_MS }));
  const givenUp = (results: readonly ProbingFarmResult[]) =>
    results.reduce((sum, { errors }) => sum + errors, 0);
  const queries = ours.reduce((sum, result) => sum + result.queries, 0);
  const first = turns.findIndex(({ errors }) => errors > 0);
  const spreads = turns.map(({ used }, i) => deviation(used) / deviation(ours[i]!.used));
  const last = turns.at(-1)!;
  const line = (results: readonly ProbingFarmResult[]) =>
    results.map(({ times }, i) => [STEPS[i]!, times.percentile(0.999)] as const);
  return {
    rows: [
      {
        result:
          "weighted `roundRobin`, load from 0.75 to 1.74 of what is promised: the first step at which queries are given up",
        published: "1.03 (its 99.9th percentile is the deadline)",
        here: first < 0 ? "none" : STEPS[first]!.toFixed(2),
        tolerance: "none: the same step",
        holds: first === FIRST_PAST_ALL,
        ...(first === FIRST_PAST_ALL ? {} : { why: "another step" }),
      },
      {
        result: "Prequal, the same nine steps: queries given up",
        published: "0 (weighted turns at the last step: over 25 %)",
        here: `${givenUp(ours)} of ${queries} (weighted turns: ${percent(1)(last.errors / last.queries)})`,
        tolerance: "none (exact)",
        holds: givenUp(ours) === 0,
      },
      between(
        "use of processor by server and second, its deviation by turns over that by Prequal, the greatest of nine steps",
        [0, 1],
        { value: Math.max(...spreads), standardError: 0 },
        "turns are the more even ones",
        fixed(2),
      ),
      between(
        "Prequal, 99th percentile at load 0.93 over that at 0.75",
        [0, 1.1],
        growth(seed, ours),
        "it grows by less than a tenth; published from 0.7 to 0.9: 1.02",
        fixed(2),
      ),
    ],
    plots: [
      {
        name: "prequal-ramp",
        title: "More load than is promised to all servers",
        x: { label: "load, as a part of what is promised", scale: "linear", from: 0.7, to: 1.8 },
        y: { label: "99.9th percentile, ms (given up at 5000)", scale: "linear", from: 0, to: 5000 },
        series: [
          { name: "weighted roundRobin", points: line(turns), colour: 1 },
          { name: "Prequal", points: line(ours), colour: 0 },
        ],
      },
    ],
    departures: [
      {
        result: `weighted \`roundRobin\`, load ${STEPS.at(-1)!.toFixed(2)}: queries given up`,
        published: "over 25 %",
        here: percent(1)(last.errors / last.queries),
        why: "how many servers have nothing to spare is assumed, since the authors' traces of antagonists are not public",
      },
    ],
  };
}

/** Where in the steps the load is first above 1. */
const FIRST_PAST_ALL = STEPS.findIndex((load) => load > 1);

/** From the first step to the third, the mean of some runs: in each, chance makes a twentieth of difference. */
function growth(seed: number, ours: readonly ProbingFarmResult[]): Estimate {
  const tailOf = ({ times }: ProbingFarmResult) => times.percentile(0.99);
  const run = (other: number, step: number) =>
    tailOf(runProbingFarm({ seed: other, rule: prequal(), load: STEPS[step]!, lastsMs: LASTS_MS }));
  const more = MORE_SEEDS.map((other) => run(seed + other, 2) / run(seed + other, 0));
  return meanOf([tailOf(ours[2]!) / tailOf(ours[0]!), ...more]);
}

/** Half of the machines slow: Prequal is the best rule, C3's score is next, all others are behind. */
function ruleTable(seed: number, asUsual: Batches): Findings {
  const others = [roundRobin, weightedRoundRobin, leastLoaded, polledTwoChoices, peakEwma];
  const low = { ours: asUsual, others: [c3, ...others].map((rule) => halfSlow(seed, rule, LOW)) };
  const high = {
    ours: halfSlow(seed, prequal(), HIGH),
    others: [c3, ...others].map((rule) => halfSlow(seed, rule, HIGH)),
  };
  const order = (load: number, { ours, others }: typeof low, share: number, published: string): Row => {
    const [next, ...rest] = others;
    const holds = !isLess(next!, ours, share) && rest.every((one) => isLess(next!, one, share));
    return {
      result: `half of the servers slow, load ${load}, ${percentileName(share)}, ms: ${NAMES}`,
      published: `${published} (the first at most the second, all others above)`,
      here: [ours, ...others].map((times) => times.percentile(share).toFixed(0)).join(", "),
      tolerance: "the order, by 3 standard errors (batch means)",
      holds,
      ...(holds ? {} : { why: "another order" }),
    };
  };
  return {
    rows: [
      order(LOW, low, 0.9, "149, 161, 4984, 173, 343, 210, -"),
      order(LOW, low, 0.99, "281, 299, 5000, 314, 1804, 2642, -"),
      order(HIGH, high, 0.9, "152, 164, 5000, 1667, 940, 213, -"),
      order(HIGH, high, 0.99, "286, 304, 5000, 5000, 2654, 1169, -"),
    ],
    plots: [],
    departures: [growthOfTail(low.ours, high.ours), orderBehind(low.others)],
  };
}

const NAMES =
  "Prequal, C3's score, `roundRobin`, the same by weight, `leastRequest` of all, the same of 2 as polled, `peakEwma`";

/** What all of them can do on what is promised, where half are slow, in the work of quick ones. */
const HALF_SLOW_CAPACITY = 3 / 4;

function growthOfTail(low: Batches, high: Batches): Departure {
  const [before, after] = [low.percentile(0.99), high.percentile(0.99)];
  const [part, more] = [LOW, HIGH].map((load) => fixed(2)(load / HALF_SLOW_CAPACITY));
  return {
    result: `Prequal, half of the servers slow, 99th percentile at load ${HIGH} over that at ${LOW}`,
    published: "1.02 (281 to 286 ms)",
    here: `${fixed(2)(after / before)} (${fixed(0)(before)} to ${fixed(0)(after)} ms)`,
    why: `slow servers need twice the work, so these loads are ${part} and ${more} of what all can do on what is promised; beyond 1 it takes what antagonists leave, and how much that is, is assumed`,
  };
}

const BEHIND = [
  "C3's score",
  "`roundRobin`",
  "`roundRobin` by weight",
  "`leastRequest` of all",
  "`leastRequest` of 2 as polled",
];

/** @param others in the order of `BEHIND`, and more that are not published */
function orderBehind(others: readonly Batches[]): Departure {
  const sorted = BEHIND.map((name, i) => ({ name, ms: others[i]!.percentile(0.99) })).sort(
    (one, other) => one.ms - other.ms,
  );
  return {
    result: `half of the servers slow, load ${LOW}, 99th percentile: the others behind Prequal, in their order`,
    published:
      "C3's score, `roundRobin` by weight, `leastRequest` of all, `leastRequest` of 2 as polled, `roundRobin` (299, 314, 1804, 2642, 5000 ms)",
    here: `${sorted.map(({ name }) => name).join(", ")} (${sorted.map(({ ms }) => fixed(0)(ms)).join(", ")} ms)`,
    why: "a server gets some twenty queries a second here, for the simulation's sake: too few to know its weight by, and not enough between two polls for a rush",
  };
}

/** What is hot: by load alone (0), as usual, by latency alone (1). */
function quantiles(seed: number, asUsual: Batches): Findings {
  const results = new Map(
    [0, 0.6, 0.95, 0.99, 1].map((quantile) => [quantile, halfSlow(seed, prequal({ quantile }), LOW)]),
  ).set(2 ** -0.25, asUsual);
  const line = (share: number) =>
    [...results.keys()]
      .sort((a, b) => a - b)
      .map((quantile) => [quantile, results.get(quantile)!.percentile(share)] as const);
  const more = MORE_SEEDS.map((other) => seed + other);
  const usual = [asUsual, ...more.map((other) => halfSlow(other, prequal(), LOW))];
  const byLoad = [results.get(0)!, ...more.map((other) => halfSlow(other, prequal({ quantile: 0 }), LOW))];
  const what = "Prequal, half of the servers slow, ms, hot from the quantile 0.84 instead of";
  const tails = new Map(line(0.99));
  const [best] = [...tails].reduce((one, other) => (other[1] < one[1] ? other : one));
  return {
    rows: [
      less(`${what} 0`, "75 to 93 (0.99 to 0)", usual, byLoad, 0.9),
      less(`${what} 0`, "142 to 162 (0.99 to 0)", usual, byLoad, 0.99),
      less(`${what} 1`, "1 is 20 % worse", [asUsual], [results.get(1)!], 0.99),
    ],
    plots: [
      {
        name: "prequal-quantile",
        title: "From which quantile of loads on Prequal takes a server for hot",
        x: { label: "quantile: 0 by load alone, 1 by latency alone", scale: "linear", from: 0, to: 1 },
        y: {
          label: "ms (given up at 5000)",
          scale: "log",
          from: 100,
          to: 5000,
          ticks: [100, 200, 500, 1000, 2000, 5000].map((ms) => [ms, String(ms)] as const),
        },
        series: [
          { name: "99th percentile", points: line(0.99), colour: 1 },
          { name: "90th percentile", points: line(0.9), colour: 0 },
        ],
      },
    ],
    departures: [
      {
        result: `Prequal, half of the servers slow, 99th percentile, ms, hot from the quantile ${[...tails.keys()].map((quantile) => Number(quantile.toFixed(2))).join(", ")}: the best`,
        published: "0.99; 1 is 20 % worse",
        here: `${best.toFixed(2)} (${[...tails.values()].map(fixed(0)).join(", ")})`,
        why: "a replica ends some twenty queries a second here, so what it says of its latency is a second old and not some milliseconds: who goes by that alone rushes to where it was quick",
      },
    ],
  };
}

const THIRD = 1 / 3;

/** Sums of latency and load in place of the lexicographic rule. */
function mixes(seed: number, asUsual: Batches): Findings {
  const mixed = halfSlow(seed, linear(THIRD), LOW);
  const amongEquals = [linear(THIRD), linear(1)].map(
    (rule) => runProbingFarm({ seed, rule, load: LOW, lastsMs: LASTS_MS }).times,
  );
  const list = (runs: readonly Batches[]) => runs.map((run) => fixed(0)(run.percentile(0.99))).join(", ");
  const byLatency = halfSlow(seed, linear(0), LOW);
  const byLoad = halfSlow(seed, linear(1), LOW);
  return {
    rows: [
      less(
        "probes, half of the servers slow, ms, by load alone instead of latency",
        "less",
        [byLoad],
        [byLatency],
        0.99,
      ),
      less(
        "probes, half of the servers slow, ms, Prequal instead of load alone",
        "less",
        [asUsual],
        [byLoad],
        0.99,
      ),
    ],
    plots: [],
    departures: [
      {
        result:
          "probes, half of the servers slow, 99th percentile, ms: one third of load in the mix, load alone, Prequal",
        published: "the more load in the mix, the less; Prequal still less",
        here: `${list([mixed, byLoad, asUsual])} (without slow servers the first two: ${list(amongEquals)})`,
        why: "load does not tell a slow server before it has a queue, latency does; the publication may have had no slow ones in this",
      },
    ],
  };
}

function halfSlow(seed: number, rule: Rule, load: number): Batches {
  return runProbingFarm({ seed, rule, load, halfSlow: true, lastsMs: LASTS_MS }).times;
}

/** How many probes it takes, where replicas must live on what antagonists leave. */
function probes(seed: number): Findings {
  const rates = [4, 2, 1.41, 1, 0.71, 0.5];
  const results = rates.map(
    (probesPerRequest) =>
      runProbingFarm({
        seed,
        rule: prequal({ probesPerRequest, removePerRequest: 0.25 }),
        load: OVERLOAD,
        lastsMs: LASTS_MS / 2,
      }).inFlight,
  );
  const at = (rate: number) => results[rates.indexOf(rate)]!;
  const what = "Prequal, load 1.5, requests in flight,";
  return {
    rows: [
      between(
        `${what} 99th percentile with 2 probes for a request over that with 4`,
        [0, 1.1],
        { value: at(2).percentile(0.99) / at(4).percentile(0.99), standardError: 0 },
        "flat, to 10 % (set beforehand)",
        fixed(2),
      ),
      less(`${what} 1 probe for a request instead of 0.5`, "a jump below 1", [at(1)], [at(0.5)], 0.99),
    ],
    plots: [
      {
        name: "prequal-probes",
        title: "How many probes Prequal needs (load 1.5)",
        x: {
          label: "probes for a request",
          scale: "log",
          from: 0.5,
          to: 4,
          ticks: [0.5, 1, 2, 4].map((rate) => [rate, String(rate)] as const),
        },
        y: { label: "requests in flight, 99th percentile", scale: "linear", from: 0, to: 80 },
        series: [
          {
            name: "Prequal",
            points: results.map((inFlight, i) => [rates[i]!, inFlight.percentile(0.99)] as const),
            colour: 0,
          },
        ],
      },
    ],
  };
}

const RUNS = 5;
const FAILS_FROM_MS = 6_000;

/** One that begins to fail at once has nothing in flight and answers quickly: the hazard that the publication leaves open. */
function sinkhole(seed: number): Row {
  let worst = 0;
  for (let run = 0; run < RUNS; run++) {
    let all = 0;
    let failing = 0;
    runProbingFarm({
      seed: seed + 1000 * run,
      rule: prequal(),
      load: LOW,
      lastsMs: 2_000,
      failsFromMs: FAILS_FROM_MS,
      onSent(server, nowMs) {
        if (nowMs < FAILS_FROM_MS || nowMs >= FAILS_FROM_MS + 1000) return;
        all++;
        if (server === 0) failing++;
      },
    });
    worst = Math.max(worst, failing / all);
  }
  return between(
    `Prequal, one of 100 begins to answer 503 in 1 ms: its share in the first second, worst of ${RUNS} runs`,
    [Number.NEGATIVE_INFINITY, 1 / 100],
    { value: worst, standardError: 0 },
    "its part, 1/N",
    percent(2),
  );
}

function deviation(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}
