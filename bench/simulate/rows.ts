/**
 * One result beside what is published, and the verdict.
 *
 * A tolerance is never chosen to fit: it is what the publication says, or three standard errors of the run, and each row
 * says which. So of 400 rows that are right, one fails by chance with another seed.
 */
import { type Estimate, meanOf } from "./measures.ts";
import type { Plot } from "./plot.ts";

export interface Row {
  readonly result: string;
  readonly published: string;
  readonly here: string;
  /** And where it comes from. */
  readonly tolerance: string;
  readonly holds: boolean;
  /** Why it does not hold, where that is known. */
  readonly why?: string;
}

/**
 * A published result that does not come out here, and that no row promises: it is told, and fails nothing. Not what a row
 * says and misses; that row does not hold.
 */
export interface Departure {
  readonly result: string;
  readonly published: string;
  /** Measured in the same run. */
  readonly here: string;
  /** The likely cause. */
  readonly why: string;
}

export interface Findings {
  readonly rows: readonly Row[];
  readonly plots: readonly Plot[];
  readonly departures?: readonly Departure[];
}

/** What `run.ts` calls; the same seed gives the same findings. */
export type Experiment = (seed: number) => Findings;

/** How a number is written. */
export type Format = (value: number) => string;

export const fixed =
  (digits: number): Format =>
  (value) =>
    value.toFixed(digits);

export const percent =
  (digits: number): Format =>
  (value) =>
    `${(100 * value).toFixed(digits)} %`;

const STANDARD_ERRORS = 3;

/**
 * Equal to the published value but for so much of it, which was set before the first run; where chance alone makes more
 * of a difference, but for chance.
 */
export function nearBy(
  result: string,
  published: number,
  here: Estimate,
  share: number,
  format: Format = fixed(4),
  errorFrom = "batch means",
): Row {
  if (STANDARD_ERRORS * here.standardError > share * published)
    return nearByChance(result, published, here, format, errorFrom);
  return {
    result,
    published: format(published),
    here: withError(here, format),
    tolerance: `${percent(0)(share)} (set beforehand)`,
    ...verdict(published, here, share * published, format),
  };
}

/** Equal to the published value but for chance. */
export function nearByChance(
  result: string,
  published: number,
  here: Estimate,
  format: Format = fixed(4),
  from = "batch means",
): Row {
  const tolerance = STANDARD_ERRORS * here.standardError;
  return {
    result,
    published: format(published),
    here: withError(here, format),
    tolerance: `${format(tolerance)} (${STANDARD_ERRORS} standard errors, ${from})`,
    ...verdict(published, here, tolerance, format),
  };
}

/** Within published bounds, the ends included. */
export function between(
  result: string,
  [least, most]: readonly [number, number],
  here: Estimate,
  from: string,
  format: Format,
): Row {
  const published =
    most === Number.POSITIVE_INFINITY
      ? `at least ${format(least)}`
      : least === Number.NEGATIVE_INFINITY
        ? `at most ${format(most)}`
        : least === most
          ? format(least)
          : `${format(least)} to ${format(most)}`;
  const row = { result, published, here: withError(here, format), tolerance: `the bounds: ${from}` };
  if (least <= here.value && here.value <= most) return { ...row, holds: true };
  const off = here.value < least ? here.value - least : here.value - most;
  return { ...row, holds: false, why: `outside by ${format(Math.abs(off))}` };
}

/** Not above a published bound of the mean, but for chance. */
export function atMostByChance(
  result: string,
  most: number,
  here: Estimate,
  format: Format,
  from: string,
): Row {
  const tolerance = STANDARD_ERRORS * here.standardError;
  const over = here.value - most;
  const row = {
    result,
    published: `at most ${format(most)}`,
    here: withError(here, format),
    tolerance: `${format(tolerance)} (${STANDARD_ERRORS} standard errors, ${from})`,
  };
  return over <= tolerance
    ? { ...row, holds: true }
    : { ...row, holds: false, why: `over by ${format(over)}` };
}

/**
 * Less than without what is tried, by more than chance; or no more, but for chance. Runs are compared one by one: those of
 * one place in the two lists have met the same arrivals, so that what these do to both is not taken for a difference.
 */
export function comparedWithout(
  result: string,
  claim: "less" | "no more",
  without: readonly number[],
  here: readonly number[],
  format: Format,
): Row {
  const less = meanOf(without.map((value, run) => value - here[run]!));
  const errors = less.value / less.standardError;
  const row = {
    result,
    published: `${claim} than ${withError(meanOf(without), format)} without`,
    here: withError(meanOf(here), format),
    tolerance: `${STANDARD_ERRORS} standard errors of the difference (${here.length} pairs of runs)`,
  };
  if (claim === "less" ? errors > STANDARD_ERRORS : errors >= -STANDARD_ERRORS)
    return { ...row, holds: true };
  return { ...row, holds: false, why: `less by ${errors.toFixed(1)} standard errors` };
}

function withError({ value, standardError }: Estimate, format: Format): string {
  return standardError > 0 ? `${format(value)} ± ${format(standardError)}` : format(value);
}

function verdict(
  published: number,
  { value, standardError }: Estimate,
  tolerance: number,
  format: Format,
): Pick<Row, "holds" | "why"> {
  const off = value - published;
  // An exact result is allowed the rounding of its sums.
  if (Math.abs(off) <= tolerance + 1e-12) return { holds: true };
  const errors = standardError > 0 ? `, ${(off / standardError).toFixed(1)} standard errors` : "";
  return { holds: false, why: `off by ${format(off)}${errors}` };
}
