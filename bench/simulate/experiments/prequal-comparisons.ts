/**
 * Whether one rule's tail is shorter than another's, by more than chance: the rows of prequal.ts that compare two.
 *
 * Batch by batch and not by the two means: both have met the same queries, so what these do to both is no difference.
 */
import { type Estimate, meanOf } from "../measures.ts";
import type { Batches } from "../probing-farm.ts";
import type { Row } from "../rows.ts";

function differenceOf(ones: readonly Batches[], others: readonly Batches[], share: number): Estimate {
  const there = others.flatMap((other) => other.percentiles(share));
  return meanOf(ones.flatMap((one) => one.percentiles(share)).map((value, i) => there[i]! - value));
}

/** Of one run beside another one. */
export function isLess(one: Batches, other: Batches, share: number): boolean {
  const { value, standardError } = differenceOf([one], [other], share);
  return value > 3 * standardError;
}

/**
 * Less than others by more than chance.
 * @param published said of the same comparison
 * @param here of one run or more, each beside the same of the other
 */
export function less(
  result: string,
  published: string,
  here: readonly Batches[],
  others: readonly Batches[],
  share: number,
): Row {
  const { value, standardError } = differenceOf(here, others, share);
  const holds = value > 3 * standardError;
  const means = [here, others].map((runs) => meanOf(runs.map((run) => run.percentile(share))).value);
  return {
    result: `${result}, ${percentileName(share)}`,
    published,
    here: means.map((mean) => mean.toFixed(0)).join(" to "),
    tolerance: "less by 3 standard errors (batch means)",
    holds,
    ...(holds ? {} : { why: `less by ${(value / standardError).toFixed(1)} standard errors` }),
  };
}

/** As the rows call it. */
export function percentileName(share: number): string {
  return `${100 * share}th percentile`;
}
