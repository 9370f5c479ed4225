/**
 * The table of docs/balancing.md: each result beside what is published.
 *
 * No times and no date: the same seed writes the same page, so that a change in it is a change of the algorithms.
 */
import type { Row } from "./rows.ts";

const HEAD = ["| result | published | here | tolerance | holds |", "|---|---|---|---|---|"];

/** What the rows of an experiment begin with, so that they are found again in the page. */
function rowsOf(name: string, rows: readonly Row[]): string[] {
  return rows.map(({ result, published, here, tolerance, holds, why }) => {
    const verdict = holds ? "yes" : `no: ${why ?? "not explained"}`;
    const cells = [`${name}: ${result}`, published, here, tolerance, verdict];
    return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  });
}

/**
 * @param order all experiments
 * @param found rows of those that were run
 * @param before lines of an earlier table, for those that were not
 */
export function table(
  order: readonly string[],
  found: ReadonlyMap<string, readonly Row[]>,
  before: readonly string[] = [],
): string {
  const lines = order.flatMap((name) => {
    const rows = found.get(name);
    return rows === undefined ? before.filter((line) => line.startsWith(`| ${name}: `)) : rowsOf(name, rows);
  });
  return [...HEAD, ...lines].join("\n");
}
