/**
 * Rows of text as aligned columns, and a place on the terminal where they are shown again and again.
 */

/** The first row is the head. Numbers are aligned to the right. */
export function alignColumns(rows: readonly (readonly (string | number)[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          typeof cell === "number" ? String(cell).padStart(widths[column]!) : cell.padEnd(widths[column]!),
        )
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Shows a text in place on a terminal; elsewhere, one below the other. */
export function livePlace(out: NodeJS.WriteStream): (text: string) => void {
  let shownLines = 0;
  return (text) => {
    if (out.isTTY && shownLines > 0) out.write(`\x1b[${shownLines}A\x1b[J`);
    out.write(`${text}\n`);
    shownLines = text.split("\n").length;
  };
}
