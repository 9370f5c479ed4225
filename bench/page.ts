/**
 * Figures in a page of docs/: what a run has measured stands between two markers, and everything else stays as it was written.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { say } from "./command.ts";

const DOCS = join(import.meta.dirname, "../docs");

/** @param name of the markers, `<!-- name:begin -->` and `<!-- name:end -->` */
export function replaceBetweenMarkers(page: string, text: string, name: string): string {
  const { begin, end } = markersIn(page, name);
  return `${page.slice(0, begin)}\n${text}\n${page.slice(end)}`;
}

export function linesBetweenMarkers(page: string, name: string): readonly string[] {
  const { begin, end } = markersIn(page, name);
  return page.slice(begin, end).split("\n");
}

/** @param text or what makes it of the lines that stand there */
export function writeIntoPage(
  file: string,
  name: string,
  text: string | ((before: readonly string[]) => string),
): void {
  const path = join(DOCS, file);
  const page = readFileSync(path, "utf8");
  const made = typeof text === "string" ? text : text(linesBetweenMarkers(page, name));
  writeFileSync(path, replaceBetweenMarkers(page, made, name));
  say(`written to docs/${file}`);
}

/** Where the text between the markers begins and ends. */
function markersIn(page: string, name: string): { readonly begin: number; readonly end: number } {
  const [opening, closing] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const begin = page.indexOf(opening);
  const end = page.indexOf(closing);
  if (begin < 0 || end < begin) throw new Error(`expected ${opening} and then ${closing} in the page`);
  return { begin: begin + opening.length, end };
}
