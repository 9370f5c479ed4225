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

/** @param before rows of an earlier table; those of the same name are replaced, the others stay */
export function table(figures: readonly Figure[], before: readonly string[] = []): string {
  const rows = figures.map(
    ({ what, measured, target, met, from }) =>
      `| ${what} | ${measured} | ${target} | ${met ? "met" : "missed"} | ${from} |`,
  );
  const named = (row: string) => row.split(" | ", 1)[0];
  const stay = before.filter((row) => !rows.some((other) => named(other) === named(row)));
  return ["| what | measured | target | | from |", "|---|---|---|---|---|", ...stay, ...rows].join("\n");
}
