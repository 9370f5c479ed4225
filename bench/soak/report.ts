/**
 * A soak in Markdown: the rules with what was measured, how requests ended and by which rule they were explained, and what happened.
 *
 * The same text goes to the terminal and into docs/benchmarks.md, so that no figure is copied by hand.
 */
import { type Occasion, placeWords } from "../occasion.ts";
import { wordsTable } from "../table.ts";
import type { Findings } from "./course.ts";
import type { Sample } from "./gauges.ts";
import { RULE_NAMES } from "./rules.ts";
import { exactRows, memoryRows, mib } from "./verdict.ts";

export function report(found: Findings, { date, ...place }: Occasion): string {
  const { ledger, course, samples } = found;
  const rows = [...exactRows(found), ...memoryRows(found)];
  const resident = samples.map(({ residentBytes }) => residentBytes);
  const minutes = (course.seconds / 60).toFixed(course.seconds % 60 === 0 ? 0 : 1);
  return [
    wordsTable(
      ["what", "measured", "target", "holds"],
      rows.map(({ what, measured, target, holds }) => [what, measured, target, holds ? "yes" : "**no**"]),
    ),
    `By which rule each of ${ledger.sent} requests was explained:`,
    wordsTable(
      ["what its caller saw, and what the log says", "requests"],
      RULE_NAMES.map((name) => [name, String(ledger.byRule.get(name) ?? 0)]),
    ),
    [
      `- Requests ended as (seen by their callers): ${listed(ledger.outcomes)}`,
      `- Meanwhile: ${listed([...found.happened].sort())}; ${found.pagesRead} admin pages read`,
      `- RSS under load: ${mib(Math.min(...resident))} to ${mib(Math.max(...resident))}`,
      `- Held under load, at most: ${listed(Object.entries(most(samples)))}`,
      `- ${found.saturated === undefined ? "" : `Saturated, all in this set-up: ${Math.round(found.saturated)} requests/s. `}Sent: ${found.rate}/s for ${minutes} minutes after ${course.warmUpSeconds} s of the same; 99 % of them within ${found.kept.lateMs.toFixed(1)} ms of when they were due, and ${found.kept.skipped} not, as the load generator had no time`,
      `- Measured on ${date}, seed ${course.seed}. ${placeWords(place)}`,
    ].join("\n"),
  ].join("\n\n");
}

/** Of each gauge that was above zero the highest value that was seen. */
function most(samples: readonly Sample[]): Record<string, number> {
  const highest: Record<string, number> = {};
  for (const { held } of samples)
    for (const [name, count] of Object.entries(held)) if (count > (highest[name] ?? 0)) highest[name] = count;
  return highest;
}

/** What does not hold, request by request. */
export function complaints(found: Findings): string[] {
  return [
    ...found.ledger.faults,
    ...found.differences,
    ...found.duplicates,
    ...found.errors,
    ...found.leaked,
  ];
}

function listed(entries: readonly (readonly [string, number])[]): string {
  return entries.map(([name, count]) => `${name} ${count}`).join(", ");
}
