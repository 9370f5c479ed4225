/**
 * The figures of one run as a table, each beside what it shall be, and whether it is.
 */
import { headOf, row } from "./table.ts";

/** One promise with what was measured. */
export interface Figure {
  readonly what: string;
  readonly measured: string;
  readonly target: string;
  readonly met: boolean;
  /** How it came about: the single values. */
  readonly from: string;
}

const HEAD = headOf(["what", "measured", "target", "", "from"]);

/** @param before lines of an earlier table; those of the same name are replaced, the others stay */
export function figureTable(figures: readonly Figure[], before: readonly string[] = []): string {
  const rows = figures.map(({ what, measured, target, met, from }) =>
    row([what, measured, target, met ? "met" : "missed", from]),
  );
  const named = (line: string) => line.split(" | ", 1)[0];
  const renewed = new Set([...HEAD, ...rows].map(named));
  const stay = before.filter((line) => line.startsWith("| ") && !renewed.has(named(line)));
  return [...HEAD, ...stay, ...rows].join("\n");
}

/** A figure in one line, for who watches the bench. */
export function figureLine({ what, measured, target, from }: Figure): string {
  return `${what}: ${measured}, target ${target} (${from})`;
}
