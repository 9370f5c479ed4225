/**
 * From turns to one row per contender: medians over the rounds, and ratios to two peers that set the scale.
 *
 * A ratio is the median of the ratios within each round, not the ratio of two medians: what slows the machine
 * for a while slows both sides of a round, and so cancels out.
 */
import { median } from "../median.ts";
import type { Measurement, Result } from "./rounds.ts";

const BASELINES = ["nginx", "http-proxy"] as const;
export type Baseline = (typeof BASELINES)[number];

export interface Row {
  readonly id: string;
  readonly name: string;
  readonly cpuMicrosecondsPerRequest: number;
  readonly requestsPerSecond: number;
  readonly coreUse: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of the last round: memory that grows with the number of requests shall be seen. */
  readonly residentBytes: number;
  /** CPU per request compared with a baseline; absent when the baseline did not take part or failed. */
  readonly ratioTo: Readonly<Partial<Record<Baseline, number>>>;
  /** Why these are no measurements of a working proxy, in words. */
  readonly failure: string | undefined;
}

export function summarize(results: readonly Result[]): readonly Row[] {
  return results.map((result) => {
    const medianOf = (figure: (measurement: Measurement) => number) =>
      median(result.measurements.map(figure));
    return {
      id: result.id,
      name: result.name,
      cpuMicrosecondsPerRequest: medianOf(cpu),
      requestsPerSecond: medianOf((measurement) => measurement.requestsPerSecond),
      coreUse: medianOf((measurement) => measurement.coreUse),
      p50Ms: medianOf((measurement) => measurement.p50Ms),
      p99Ms: medianOf((measurement) => measurement.p99Ms),
      residentBytes: result.measurements.at(-1)?.residentBytes ?? Number.NaN,
      ratioTo: ratios(result, results),
      failure: result.failure,
    };
  });
}

function ratios(result: Result, results: readonly Result[]): Partial<Record<Baseline, number>> {
  const found: Partial<Record<Baseline, number>> = {};
  for (const id of BASELINES) {
    const baseline = results.find((other) => other.id === id);
    if (baseline === undefined || baseline.failure !== undefined) continue;
    found[id] = median(
      result.measurements.flatMap((own, round) => {
        const other = baseline.measurements[round];
        return other === undefined ? [] : [cpu(own) / cpu(other)];
      }),
    );
  }
  return found;
}

function cpu(measurement: Measurement): number {
  return measurement.cpuMicrosecondsPerRequest;
}
