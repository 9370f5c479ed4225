/**
 * The tables of docs/balancing.md: each result beside what is published, and below what is published and not found here.
 *
 * No times and no date: the same seed writes the same page, so that a change in it is a change of the algorithms.
 */
import { linesBetweenMarkers, replaceBetweenMarkers } from "../page.ts";
import { headOf, row } from "../table.ts";
import type { Departure, Findings, Row } from "./rows.ts";

const HEAD = headOf(["result", "published", "here", "tolerance", "holds"]);
const DEPARTURES_HEAD = headOf(["result", "published", "here", "likely cause"]);
/** Names of the markers of the page. */
const ROWS = "simulate";
const DEPARTURES = "departures";

/** What `npm run simulate` prints. */
export function report(order: readonly string[], findings: ReadonlyMap<string, Findings>): string {
  const rows = table(order, rowsOf(findings));
  if ([...findings.values()].every(({ departures = [] }) => departures.length === 0)) return rows;
  return `${rows}\n\nPublished, and not found here:\n\n${departureTable(order, departuresOf(findings))}`;
}

/** The page with the findings in it; what it says of experiments that were not run stays. */
export function page(
  before: string,
  order: readonly string[],
  findings: ReadonlyMap<string, Findings>,
): string {
  const rows = table(order, rowsOf(findings), linesBetweenMarkers(before, ROWS));
  const departures = departureTable(order, departuresOf(findings), linesBetweenMarkers(before, DEPARTURES));
  return replaceBetweenMarkers(replaceBetweenMarkers(before, rows, ROWS), departures, DEPARTURES);
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
  return [...HEAD, ...linesOf(order, found, before, rowCells)].join("\n");
}

/** The same of what does not come out. */
export function departureTable(
  order: readonly string[],
  found: ReadonlyMap<string, readonly Departure[]>,
  before: readonly string[] = [],
): string {
  return [...DEPARTURES_HEAD, ...linesOf(order, found, before, departureCells)].join("\n");
}

/** Lines begin with the name of the experiment, so that they are found again in the page. */
function linesOf<Result>(
  order: readonly string[],
  found: ReadonlyMap<string, readonly Result[]>,
  before: readonly string[],
  cellsOf: (result: Result) => readonly string[],
): string[] {
  return order.flatMap((name) => {
    const results = found.get(name);
    if (results === undefined) return before.filter((line) => line.startsWith(`| ${name}: `));
    return results.map((result) => {
      const [what, ...cells] = cellsOf(result);
      return row([`${name}: ${what}`, ...cells]);
    });
  });
}

function rowCells({ result, published, here, tolerance, holds, why }: Row): readonly string[] {
  return [result, published, here, tolerance, holds ? "yes" : `no: ${why ?? "not explained"}`];
}

function departureCells({ result, published, here, why }: Departure): readonly string[] {
  return [result, published, here, why];
}

function rowsOf(findings: ReadonlyMap<string, Findings>): Map<string, readonly Row[]> {
  return new Map([...findings].map(([name, { rows }]) => [name, rows]));
}

function departuresOf(findings: ReadonlyMap<string, Findings>): Map<string, readonly Departure[]> {
  return new Map([...findings].map(([name, { departures = [] }]) => [name, departures]));
}
