/**
 * The power of two choices: how much better is the shorter of two queues than any queue, and what do three add?
 *
 * The formula is for infinitely many servers. A farm of few is worse, as its total swings: near full load a swing takes
 * 1 / (ln 2 (1 - load)) services to settle, so the mean is above the formula by some 50 / servers at 0.99. Rare lengths
 * feel it most: at 0.9, P(queue >= 6) is 2.8 times the formula with 100 servers, 1.25 with 500, 1.15 with 1000 and 1.04
 * with 4000 (five seeds each, ± 0.05), which is why the farms here are large. One choice needs no farm, its queues
 * know nothing of each other: there, few servers over a long time are the honest way.
 */
import { singleQueueError, supermarketMean, supermarketTail } from "../closed-forms.ts";
import { type OpenFarmResult, runOpenFarm } from "../open-farm.ts";
import type { Plot, Series } from "../plot.ts";
import { type Findings, fixed, nearBy, type Row } from "../rows.ts";

interface Case {
  readonly load: number;
  readonly choices: number;
  readonly servers: number;
  readonly jobs: number;
  /** The lengths of queues that are compared: those that a run of so many jobs meets often enough. */
  readonly levels: readonly number[];
}

const CASES: readonly Case[] = [
  { load: 0.9, choices: 1, servers: 10, jobs: 4e6, levels: [1, 2, 3, 4, 5, 6, 20, 40] },
  { load: 0.9, choices: 2, servers: 4000, jobs: 10e6, levels: [1, 2, 3, 4, 5, 6] },
  { load: 0.9, choices: 3, servers: 1000, jobs: 2e6, levels: [1, 2, 3, 4] },
  { load: 0.99, choices: 1, servers: 4, jobs: 20e6, levels: [1, 10, 50, 100, 200, 400] },
  { load: 0.99, choices: 2, servers: 2000, jobs: 10e6, levels: [1, 2, 3, 4, 5, 6, 7, 8] },
  { load: 0.99, choices: 3, servers: 2000, jobs: 8e6, levels: [1, 2, 3, 4, 5] },
];

/** Set before the first run. */
const OF_MEAN = 0.03;
const OF_TAIL = 0.1;

export function supermarket(seed: number): Findings {
  const rows: Row[] = [];
  const series: Series[] = [];
  for (const one of CASES) {
    const { load, choices, servers, jobs } = one;
    const balancing =
      choices === 1 ? ({ algorithm: "random" } as const) : ({ algorithm: "leastRequest", choices } as const);
    const result = runOpenFarm({ seed, balancing, servers, load, jobs });
    const what = `${choices === 1 ? "`random`" : `\`leastRequest\` of ${choices}`} at load ${load}`;
    const mean =
      choices === 1
        ? { value: result.meanMs.value, standardError: singleQueueError(load, result.jobs) }
        : result.meanMs;
    const from = choices === 1 ? "closed form of M/M/1" : "batch means";
    rows.push(nearBy(`${what}, mean time`, supermarketMean(load, choices), mean, OF_MEAN, fixed(4), from));
    rows.push(worstOfTail(what, one, result));
    if (load === 0.9) series.push(...curves(choices, result));
  }
  return { rows, plots: [tailPlot(series)] };
}

/** The length at which the tail is farthest from the formula, measured by what it is allowed. */
function worstOfTail(what: string, { load, choices, levels }: Case, { tail }: OpenFarmResult): Row {
  const far = levels.map((i) => {
    const published = supermarketTail(load, choices, i);
    const here = tail(i);
    const allowed = Math.max(OF_TAIL * published, 3 * here.standardError);
    return { i, published, here, part: Math.abs(here.value - published) / allowed };
  });
  const { i, published, here } = far.reduce((worst, each) => (each.part > worst.part ? each : worst));
  const title = `${what}, P(queue >= i), worst of i = ${levels.join(", ")}: ${i}`;
  return nearBy(title, published, here, OF_TAIL, fixed(5));
}

function curves(choices: number, { tail }: OpenFarmResult): Series[] {
  const name = choices === 1 ? "random" : `leastRequest of ${choices}`;
  const lengths = Array.from({ length: 12 }, (_, i) => i + 1);
  const published = lengths.map((i) => [i, supermarketTail(0.9, choices, i)] as const);
  const here = lengths.map((i) => [i, tail(i).value] as const);
  const drawn = (points: readonly (readonly [number, number])[]) => points.filter(([, y]) => y >= LEAST);
  return [
    { name: `${name}, formula`, points: drawn(published), as: "dashes", colour: COLOURS[choices]! },
    { name: `${name}, here`, points: drawn(here), as: "dots", colour: COLOURS[choices]! },
  ];
}

/** By the number of choices: chance and least request as in the other plots. */
const COLOURS = [0, 1, 0, 3];

/** Rarer is chance alone. */
const LEAST = 1e-4;

function tailPlot(series: readonly Series[]): Plot {
  return {
    name: "supermarket",
    title: "How long queues get at 90 % load",
    x: {
      label: "i, jobs that wait or are served",
      scale: "linear",
      from: 1,
      to: 12,
      ticks: [1, 2, 4, 6, 8, 10, 12].map((i) => [i, `${i}`]),
    },
    y: { label: "P(queue >= i)", scale: "log", from: LEAST, to: 1 },
    series,
  };
}
