/**
 * What a turn says, and what all turns of a contender say together: medians, and ratios taken within a round.
 *
 * Not all samples of all rounds in one heap: one bad second of the machine would be the tail of the whole run. And not the ratio of two
 * medians: contenders of the same round met the same minute of the machine.
 */

import { median } from "../median.ts";
import { Samples } from "../simulate/measures.ts";
import type { Sample } from "./callers.ts";

const FIGURES = ["p50Ms", "p90Ms", "p99Ms", "p999Ms", "meanMs", "share"] as const;

/** Of one turn, or medians of several: latencies, and which part of the requests one replica got, from 0 to 1. */
export type Figures = Readonly<Record<(typeof FIGURES)[number], number>>;

/** @param replica whose share is asked for */
export function figuresOf(samples: readonly Sample[], replica: number): Figures {
  const latencies = new Samples();
  for (const { latencyMs } of samples) latencies.add(latencyMs);
  return {
    p50Ms: latencies.percentile(0.5),
    p90Ms: latencies.percentile(0.9),
    p99Ms: latencies.percentile(0.99),
    p999Ms: latencies.percentile(0.999),
    meanMs: samples.reduce((sum, { latencyMs }) => sum + latencyMs, 0) / samples.length,
    share: samples.filter((sample) => sample.replica === replica).length / samples.length,
  };
}

/** Each figure's median over the rounds, by itself. */
export function mediansOf(rounds: readonly Figures[]): Figures {
  const entries = FIGURES.map((figure) => [figure, median(rounds.map((round) => round[figure]))]);
  return Object.fromEntries(entries);
}

/** How many times the 99th percentile of the other: the median of the ratios within each round. */
export function ratioOf(rounds: readonly Figures[], others: readonly Figures[]): number {
  return median(rounds.map(({ p99Ms }, i) => p99Ms / others[i]!.p99Ms));
}
