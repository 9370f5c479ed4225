/**
 * What the outcomes of one turn say: how much was answered in time, how quickly, whose requests, and when all was well again.
 */
import { CRITICALITIES, type Criticality } from "../../core/index.ts";
import { Samples } from "../simulate/measures.ts";
import type { Outcome } from "./callers.ts";

/** The stretches of a turn, in seconds from its beginning; what comes before is warm-up, and what comes after, recovery. */
export interface Course {
  readonly quietFromS: number;
  readonly overloadFromS: number;
  readonly overloadUntilS: number;
}

export interface Figures {
  /** Answered with 200 and in time per second of overload, as a part of what the app can do. */
  readonly goodput: number;
  /** Of what was answered so, in milliseconds. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** The same before the overload. */
  readonly quietP99Ms: number;
  /** Which part of the requests of each criticality was answered so. */
  readonly answered: Readonly<Record<Criticality, number>>;
  /** Of those that were told that they are not, in milliseconds; NaN where nobody was. */
  readonly refusedP50Ms: number;
  readonly refusedP99Ms: number;
  /** Which part of all requests heard nothing within its caller's patience. */
  readonly unheard: number;
  /** When, after the end of the overload, the last request was due that was not answered so, in seconds. */
  readonly recoveredAfterS: number;
  /** Within how many milliseconds of when they were due 99 in 100 requests were sent. */
  readonly lateP99Ms: number;
}

export function figuresOf(outcomes: readonly Outcome[], course: Course, capacityPerSecond: number): Figures {
  const between = (fromS: number, untilS: number) =>
    outcomes.filter(({ dueMs }) => dueMs >= fromS * 1000 && dueMs < untilS * 1000);
  const quiet = between(course.quietFromS, course.overloadFromS);
  const overload = between(course.overloadFromS, course.overloadUntilS);
  const good = overload.filter(isGood);
  const refused = overload.filter(({ status }) => status !== 0 && status !== 200);
  const after = between(course.overloadUntilS, Number.POSITIVE_INFINITY);
  const lastBadMs = Math.max(...after.filter((outcome) => !isGood(outcome)).map(({ dueMs }) => dueMs));
  return {
    goodput: good.length / (course.overloadUntilS - course.overloadFromS) / capacityPerSecond,
    p50Ms: percentile(good, 0.5),
    p99Ms: percentile(good, 0.99),
    quietP99Ms: percentile(quiet.filter(isGood), 0.99),
    answered: Object.fromEntries(
      CRITICALITIES.map((criticality) => {
        const all = overload.filter((outcome) => outcome.criticality === criticality);
        return [criticality, all.filter(isGood).length / all.length];
      }),
    ) as Record<Criticality, number>,
    refusedP50Ms: percentile(refused, 0.5),
    refusedP99Ms: percentile(refused, 0.99),
    unheard: overload.filter(({ status }) => status === 0).length / overload.length,
    recoveredAfterS: Math.max(0, lastBadMs / 1000 - course.overloadUntilS),
    lateP99Ms: percentile(overload, 0.99, ({ lateMs }) => lateMs),
  };
}

function isGood({ status }: Outcome): boolean {
  return status === 200;
}

function percentile(
  outcomes: readonly Outcome[],
  share: number,
  of: (outcome: Outcome) => number = ({ latencyMs }) => latencyMs,
): number {
  if (outcomes.length === 0) return Number.NaN;
  const samples = new Samples();
  for (const outcome of outcomes) samples.add(of(outcome));
  return samples.percentile(share);
}
