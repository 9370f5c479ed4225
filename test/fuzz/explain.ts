/**
 * A disagreement as somebody needs it who is to decide who was right: how to repeat it, the bytes, both readings, and
 * the shortest text that still shows it.
 */
import type { BrokenCase } from "./campaign.ts";
import { shrunk } from "./shrink.ts";
import { type Readers, tryCase } from "./try-case.ts";

export function explain(seed: number, found: BrokenCase, readers: Readers): string {
  const { broken, caseNumber, connection, own, theirs } = found;
  const { kind, methods, limits, text } = connection;
  const withText = (shorter: string) => tryCase({ ...connection, text: shorter }, readers);
  const shortest = shrunk(text, (shorter) => kindOf(withText(shorter).broken) === kindOf(broken));
  const least = withText(shortest);
  const lines = [
    `DISAGREEMENT: ${broken}`,
    `repeat: npm run fuzz -- --seed ${seed} --only ${caseNumber}`,
    `case:   ${kind}, methods ${methods.join(" ")}, limits ${JSON.stringify(limits)}`,
    `bytes:  ${JSON.stringify(text)}`,
    `heddle: ${JSON.stringify(own)}`,
    `llhttp: ${JSON.stringify(theirs)}`,
    `shrunk: ${JSON.stringify(shortest)}`,
    `heddle: ${JSON.stringify(least.own)}`,
    `llhttp: ${JSON.stringify(least.theirs)}`,
    "",
  ];
  return lines.map(escaped).join("\n");
}

/** Without the particulars, which change when bytes are deleted. */
function kindOf(broken: string | undefined): string | undefined {
  return broken?.replace(/ \(.*/s, "");
}

/** In visible ASCII, to be pasted into a test. */
function escaped(line: string): string {
  const hex = (character: string) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
  return line.replace(/\\u00([0-9a-f]{2})/g, "\\x$1").replace(/[\x7f-\xff]/g, hex);
}
