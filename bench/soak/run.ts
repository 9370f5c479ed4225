/**
 * `npm run soak`: half of what goes, for minutes, while things go wrong; nothing may be lost, counted wrongly or kept.
 *
 * Exit codes: 0 every rule holds, 1 one does not or something failed, 2 wrong usage.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { UsageError } from "../load/options.ts";
import { replaceBetweenMarkers } from "../load/report.ts";
import { soak } from "./course.ts";
import { complaints, report } from "./report.ts";
import { exactRows, memoryRows } from "./verdict.ts";

const PAGE = join(import.meta.dirname, "../../docs/benchmarks.md");
/** A shorter run leaves the page as it is, unless it is told to write. */
const FULL_MINUTES = 10;
const USAGE = `usage: npm run soak -- [--minutes ${FULL_MINUTES}] [--seed 1] [--write | --no-write]\n`;

const ends: (() => unknown)[] = [];
const ground = { teardown: (end: () => unknown) => ends.push(end) };
try {
  const { minutes, seed, writesPage } = readOptions();
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const found = await soak(ground, {
    seed,
    warmUpSeconds: 30,
    seconds: minutes * 60,
    troubleEveryMs: 4_000,
    mostQuietMs: 60_000,
    say,
  });
  const text = report(found, {
    date: new Date().toISOString().slice(0, 10),
    processor: cpus()[0]?.model ?? "unknown",
    kernel: release(),
    version: process.versions.node,
  });
  process.stdout.write(`${text}\n`);
  for (const line of complaints(found)) say(line);
  if (writesPage) writeFileSync(PAGE, replaceBetweenMarkers(readFileSync(PAGE, "utf8"), text, "soak"));
  if ([...exactRows(found), ...memoryRows(found)].some(({ holds }) => !holds)) process.exitCode = 1;
} catch (error) {
  // What parseArgs throws has a code of its own.
  const isUsage = error instanceof UsageError || String(Object(error).code).startsWith("ERR_PARSE_ARGS");
  process.exitCode = isUsage ? 2 : 1;
  process.stderr.write(
    `soak: ${error instanceof Error ? error[isUsage ? "message" : "stack"] : String(error)}\n`,
  );
  if (isUsage) process.stderr.write(USAGE);
} finally {
  for (const end of ends.reverse()) await end();
}
process.exit();

function readOptions() {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: String(FULL_MINUTES) },
      seed: { type: "string", default: "1" },
      write: { type: "boolean" },
      "no-write": { type: "boolean" },
    },
  });
  const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
  if (!(minutes > 0)) throw new UsageError("--minutes: expected a number above 0");
  if (!Number.isInteger(seed)) throw new UsageError("--seed: expected a whole number");
  const isFull = minutes >= FULL_MINUTES;
  return { minutes, seed, writesPage: values.write === true || (isFull && values["no-write"] !== true) };
}
