/**
 * `npm run soak`: half of what goes, for minutes, while things go wrong; nothing may be lost, counted wrongly or kept.
 *
 * It fails where a rule does not hold: unlike a bench, it promises something.
 */
import { command, say } from "../command.ts";
import { occasion } from "../occasion.ts";
import { aboveZero, optionsOf, wholeNumber, writesPage } from "../options.ts";
import { writeIntoPage } from "../page.ts";
import { soak } from "./course.ts";
import { complaints, report } from "./report.ts";
import { exactRows, memoryRows } from "./verdict.ts";

/** A shorter run leaves the page as it is, unless it is told to write. */
const FULL_MINUTES = 10;
const usage = `usage: npm run soak -- [--minutes ${FULL_MINUTES}] [--seed 1] [--write | --no-write]\n`;
const options = optionsOf("minutes", "seed", "write", "no-write");

await command("soak", { usage, options }, async (values, { ends }) => {
  const minutes = aboveZero(values, "minutes", FULL_MINUTES);
  const seed = wholeNumber(values, "seed", 1, { least: Number.MIN_SAFE_INTEGER });
  const writes = writesPage(values, minutes >= FULL_MINUTES);
  const found = await soak(ends, {
    seed,
    warmUpSeconds: 30,
    seconds: minutes * 60,
    troubleEveryMs: 4_000,
    mostQuietMs: 60_000,
    say,
  });
  const text = report(found, occasion());
  process.stdout.write(`${text}\n`);
  for (const line of complaints(found)) say(line);
  if (writes) writeIntoPage("benchmarks.md", "soak", text);
  return [...exactRows(found), ...memoryRows(found)].every(({ holds }) => holds) ? 0 : 1;
});
