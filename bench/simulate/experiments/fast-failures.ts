/**
 * An endpoint that fails at once looks like the fastest: who goes by latency or by what is in flight sends it
 * everything. (The flaw of Peak EWMA as published, see linkerd2-proxy's pull request 4537.) heddle counts a failure as
 * slowness; the proof is that the endpoint gets less than its part within a second.
 *
 * The worst of many runs, and not their mean: the promise is made to each.
 */
import type { BalancingAlgorithm } from "../../../balancing/index.ts";
import { clientsOf, Source } from "../clients.ts";
import { constant, exponential } from "../distributions.ts";
import { Engine } from "../engine.ts";
import { Server } from "../farm.ts";
import { STREAMS, sfc32 } from "../random.ts";
import { between, type Findings, percent } from "../rows.ts";

const ENDPOINTS = 10;
const USUAL = exponential(20);
const FAILURE = constant(1);
const GAP = exponential(1);
const RUNS = 20;
/** Latencies are known by then. */
const WARM_MS = 5000;
/** What a point of the curve is the mean of. */
const SLICE_MS = 50;
const SHOWN_SLICES = 30;

export function fastFailures(seed: number): Findings {
  const warm = shares("peakEwma", seed, WARM_MS);
  const cold = shares("peakEwma", seed, 0);
  const part = [Number.NEGATIVE_INFINITY, 1 / ENDPOINTS] as const;
  const exact = (value: number) => ({ value, standardError: 0 });
  const curve = (slices: readonly number[]) =>
    slices.map((share, i) => [(i + 0.5) * SLICE_MS - BEFORE_MS, share] as const);
  return {
    rows: [
      between(
        `\`peakEwma\`, one of ${ENDPOINTS} begins to answer 503 in 1 ms: its share in the first second, worst of ${RUNS} runs`,
        part,
        exact(warm.worst),
        "its part, 1/N",
        percent(2),
      ),
      between(
        `\`peakEwma\`, the same from the first request on: its share in the first second, worst of ${RUNS} runs`,
        part,
        exact(cold.worst),
        "its part, 1/N",
        percent(2),
      ),
    ],
    plots: [
      {
        name: "fast-failures",
        title: "One of 10 endpoints begins to answer 503 in 1 ms",
        x: {
          label: "ms since then",
          scale: "linear",
          from: -BEFORE_MS,
          to: SHOWN_SLICES * SLICE_MS - BEFORE_MS,
        },
        y: { label: "its share of requests", scale: "linear", from: 0, to: 0.3 },
        series: [
          { name: "peakEwma", points: curve(warm.slices), colour: 2 },
          { name: "leastRequest", points: curve(shares("leastRequest", seed, WARM_MS).slices), colour: 0 },
          {
            name: "roundRobin",
            points: curve(shares("roundRobin", seed, WARM_MS).slices),
            as: "dashes",
            colour: 1,
          },
        ],
      },
    ],
  };
}

/** The curve begins this long before the failures. */
const BEFORE_MS = 500;

interface Shares {
  /** The greatest share of all runs in the first second. */
  readonly worst: number;
  /** Mean share in each slice of time, from `BEFORE_MS` before. */
  readonly slices: readonly number[];
}

function shares(algorithm: BalancingAlgorithm, seed: number, failsFromMs: number): Shares {
  const all = new Float64Array(SHOWN_SLICES);
  const failing = new Float64Array(SHOWN_SLICES);
  let worst = 0;
  for (let run = 0; run < RUNS; run++) {
    let first = 0;
    let sent = 0;
    simulate(algorithm, seed + 1000 * run, failsFromMs, (server, nowMs) => {
      const slice = Math.floor((nowMs - failsFromMs + BEFORE_MS) / SLICE_MS);
      if (slice >= 0 && slice < SHOWN_SLICES) {
        all[slice] = all[slice]! + 1;
        if (server === 0) failing[slice] = failing[slice]! + 1;
      }
      if (nowMs < failsFromMs || nowMs >= failsFromMs + 1000) return;
      sent++;
      if (server === 0) first++;
    });
    worst = Math.max(worst, first / sent);
  }
  return { worst, slices: [...failing].map((count, i) => count / Math.max(1, all[i]!)) };
}

function simulate(
  algorithm: BalancingAlgorithm,
  seed: number,
  failsFromMs: number,
  onSent: (server: number, nowMs: number) => void,
): void {
  const engine = new Engine();
  const services = sfc32(seed, STREAMS.services);
  const servers = Array.from(
    { length: ENDPOINTS },
    () => new Server(engine, services, { service: USUAL, workers: "all" }),
  );
  servers[0]!.failFrom(failsFromMs, FAILURE);
  const clients = clientsOf(1, { algorithm }, sfc32(seed), servers, () => {});
  const untilMs = failsFromMs + SHOWN_SLICES * SLICE_MS;
  const source = {
    gap: GAP,
    untilMs,
    arrivals: sfc32(seed, STREAMS.arrivals),
    choice: sfc32(seed, STREAMS.clients),
  };
  new Source(engine, source, clients, onSent);
  engine.run();
}
