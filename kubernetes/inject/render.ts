/**
 * New values as text, in the manner of the text around them.
 */
import { stringify } from "yaml";

export interface Layout {
  readonly lineEnd: "\n" | "\r\n";
  /** Whether lists stand further in than their keys. */
  readonly indentsLists: boolean;
}

/** In lines, each indented by so many blanks, without a line end behind the last one. */
export function blockText(value: unknown, { lineEnd, indentsLists }: Layout, indent: number): string {
  const text = stringify(value, {
    indentSeq: indentsLists,
    // A long line that is folded reads differently from how it was meant.
    lineWidth: 0,
    // Kubernetes reads YAML 1.1, in which `on` and `0o7` are not texts.
    compat: "yaml-1.1",
    aliasDuplicateObjects: false,
  });
  const margin = " ".repeat(indent);
  return text
    .replace(/\n$/, "")
    .split("\n")
    .map((line) => (line === "" ? "" : margin + line))
    .join(lineEnd);
}

/** As JSON, on one line, or in lines when it is given what they begin with. */
export function flowText(value: unknown, { lineEnd }: Layout, lineStart: string | undefined): string {
  if (lineStart === undefined) return JSON.stringify(value);
  const unit = lineStart.startsWith("\t") ? "\t" : "  ";
  return JSON.stringify(value, null, unit).replaceAll("\n", lineEnd + lineStart);
}
