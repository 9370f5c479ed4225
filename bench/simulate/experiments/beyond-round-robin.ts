/**
 * One of eleven endpoints becomes slow for half a minute: who notices? ("Beyond Round Robin: Load Balancing for
 * Latency", the Linkerd authors, 2016-03-16.) The bounds are its 95 %, 99 % and 99.9 % of answers within a second, made
 * sharper by arithmetic: turns meet the slow one with (30 s / 60 s) / 11 of all requests; equal numbers in flight give
 * it 8.3 of 1000 requests a second.
 *
 * Its balancers saw all endpoints at each choice, so the rows of its names draw all eleven; the rows beside them draw
 * two, as heddle does unless it is told otherwise; `peakEwma` of 2 is its default.
 */
import type { BalancingOptions } from "../../../balancing/index.ts";
import { clientsOf, Source } from "../clients.ts";
import { constant, normal } from "../distributions.ts";
import { Engine } from "../engine.ts";
import { Server } from "../farm.ts";
import { meanOf, Samples } from "../measures.ts";
import { STREAMS, sfc32 } from "../random.ts";
import { between, type Findings, percent, type Row } from "../rows.ts";

const ENDPOINTS = 11;
const USUAL = normal(167, 5);
const SLOW = constant(2000);
const SLOW_FROM_MS = 15_000;
const SLOW_UNTIL_MS = 45_000;
const UNTIL_MS = 60_000;
const GAP = constant(1);
/** An answer within this is a success. */
const TIMEOUT_MS = 1000;
/** Its bounds are for one run; the mean of some runs does not depend on the luck of one. */
const RUNS = 5;

const CASES: readonly {
  readonly name: string;
  readonly balancing: BalancingOptions;
  readonly bounds: readonly [number, number];
  readonly from: string;
}[] = [
  {
    name: "`roundRobin`",
    balancing: { algorithm: "roundRobin" },
    bounds: [0.952, 0.957],
    from: "95 % published, 95.45 % by arithmetic",
  },
  {
    name: "`leastRequest` of all",
    balancing: { algorithm: "leastRequest", choices: ENDPOINTS },
    bounds: [0.994, 0.997],
    from: "99 % published, 99.56 % by arithmetic",
  },
  {
    name: "`leastRequest` of 2",
    balancing: { algorithm: "leastRequest" },
    bounds: [0.994, 0.997],
    from: "those of all endpoints",
  },
  {
    name: "`peakEwma` of all",
    balancing: { algorithm: "peakEwma", choices: ENDPOINTS },
    bounds: [0.999, Number.POSITIVE_INFINITY],
    from: "99.9 % published, 99.93 % by arithmetic",
  },
  {
    name: "`peakEwma` of 2",
    balancing: { algorithm: "peakEwma" },
    bounds: [0.999, Number.POSITIVE_INFINITY],
    from: "those of all endpoints",
  },
];

export function beyondRoundRobin(seed: number): Findings {
  const rows: Row[] = [];
  const series = CASES.map(({ name, balancing, bounds, from }, i) => {
    const all = new Samples();
    const successes = Array.from({ length: RUNS }, (_, run) => {
      const times = answerTimes(balancing, seed + 1000 * run);
      for (const time of times.values) all.add(time);
      return times.shareUpTo(TIMEOUT_MS);
    });
    rows.push(between(`${name}, answers within 1 s`, bounds, meanOf(successes), from, percent(3)));
    const points = NINES.map((nines) => [nines, all.percentile(1 - 10 ** -nines)] as const);
    return {
      name: name.replaceAll("`", ""),
      points,
      colour: COLOURS[i]!,
      as: DASHED.has(i) ? "dashes" : "line",
    } as const;
  });
  return {
    rows,
    plots: [
      {
        name: "beyond-round-robin",
        title: "One of 11 endpoints takes 2 s for half of the time",
        x: {
          label: "percentile of answers",
          scale: "linear",
          from: 0,
          to: 4,
          ticks: [
            [0, "0"],
            [1, "90"],
            [2, "99"],
            [3, "99.9"],
            [4, "99.99"],
          ],
        },
        y: { label: "ms", scale: "linear", from: 0, to: 2100 },
        series,
      },
    ],
  };
}

/** Logarithms: 2 is the 99th percentile. */
const NINES = Array.from({ length: 81 }, (_, i) => i / 20);
/** Pairs that differ only in how many are drawn share a colour. */
const COLOURS = [1, 0, 0, 2, 2];
const DASHED = new Set([2, 4]);

function answerTimes(balancing: BalancingOptions, seed: number): Samples {
  const engine = new Engine();
  const services = sfc32(seed, STREAMS.services);
  const servers = Array.from(
    { length: ENDPOINTS },
    () => new Server(engine, services, { service: USUAL, workers: "all" }),
  );
  servers[0]!.serveFrom(SLOW_FROM_MS, SLOW);
  servers[0]!.serveFrom(SLOW_UNTIL_MS, USUAL);
  const times = new Samples();
  const clients = clientsOf(1, balancing, sfc32(seed), servers, (job, nowMs) =>
    times.add(nowMs - job.sentAtMs),
  );
  const choice = sfc32(seed, STREAMS.clients);
  new Source(
    engine,
    { gap: GAP, untilMs: UNTIL_MS, arrivals: sfc32(seed, STREAMS.arrivals), choice },
    clients,
  );
  engine.run();
  return times;
}
