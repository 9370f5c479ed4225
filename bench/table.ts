/**
 * A table in Markdown, as it goes to the terminal and into a page.
 *
 * Figures stand in columns of one width, with numbers to the right, so that they can be compared in a terminal too. Sentences do not:
 * the longest would make every line as long.
 */

/** Of names and their numbers. */
export function numbersTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map((row) => row.map(escaped));
  const widths = head.map((_, i) => Math.max(3, ...cells.map((row) => row[i]?.length ?? 0)));
  const padded = cells.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))),
  );
  const rule = widths.map((width, i) => (i === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [padded[0]!, rule, ...padded.slice(1)].map(line).join("\n");
}

/** Of words. */
export function wordsTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [...headOf(head), ...rows.map(row)].join("\n");
}

/** The head of a table of words and the rule below it, for tables that keep lines of an earlier one. */
export function headOf(cells: readonly string[]): readonly string[] {
  return [row(cells), row(cells.map(() => "---"))];
}

export function row(cells: readonly string[]): string {
  return line(cells.map(escaped));
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

function escaped(cell: string): string {
  return cell.replaceAll("|", "\\|");
}
