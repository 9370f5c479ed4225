/**
 * The figures of one run as a table, each beside what it shall be, and whether it is.
 */

/** One promise with what was measured. */
export interface Figure {
  readonly what: string;
  readonly measured: string;
  readonly target: string;
  readonly met: boolean;
  /** How it came about: the single values. */
  readonly from: string;
}

export function table(figures: readonly Figure[]): string {
  const rows = figures.map(
    ({ what, measured, target, met, from }) =>
      `| ${what} | ${measured} | ${target} | ${met ? "met" : "missed"} | ${from} |`,
  );
  return ["| what | measured | target | | from |", "|---|---|---|---|---|", ...rows].join("\n");
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
