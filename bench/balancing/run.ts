/**
 * `npm run bench:balancing`: what each balancing algorithm makes of a slow replica and of a busy one, on real sockets.
 *
 * Beside `npm run simulate`, which proves the same code in virtual time: here are connections, timers, and the questions that prequal
 * asks. A missed target is said and is no failure, as in the other benches. Exit codes: 0 measured, 1 something failed,
 * 2 wrong usage.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { UsageError } from "../load/options.ts";
import { replaceBetweenMarkers } from "../load/report.ts";
import { report } from "./report.ts";
import { type Course, oneIsBusy, oneIsSlow } from "./scenes.ts";

const PAGE = join(import.meta.dirname, "../../docs/benchmarks.md");
/** A run that is shorter leaves the page as it is, unless it is told to write. */
const FULL = { rounds: 5, seconds: 10 };
const USAGE = `usage: npm run bench:balancing -- [--rounds ${FULL.rounds}] [--seconds ${FULL.seconds}] [--write | --no-write]\n`;

const ends: (() => unknown)[] = [];
const ground = { teardown: (end: () => unknown) => ends.push(end) };
try {
  const { writesPage, ...spans } = readOptions();
  const text = await measure({ ...spans, say: (line) => process.stderr.write(`${line}\n`) });
  process.stdout.write(`${text}\n`);
  if (writesPage) writeFileSync(PAGE, replaceBetweenMarkers(readFileSync(PAGE, "utf8"), text, "balancing"));
} catch (error) {
  // What parseArgs throws has a code of its own.
  const isUsage = error instanceof UsageError || String(Object(error).code).startsWith("ERR_PARSE_ARGS");
  process.exitCode = isUsage ? 2 : 1;
  process.stderr.write(
    `bench: ${error instanceof Error ? error[isUsage ? "message" : "stack"] : String(error)}\n`,
  );
  if (isUsage) process.stderr.write(USAGE);
} finally {
  await endAll();
}
process.exit();

function readOptions() {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: String(FULL.rounds) },
      seconds: { type: "string", default: String(FULL.seconds) },
      write: { type: "boolean" },
      "no-write": { type: "boolean" },
    },
  });
  const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)];
  if (!(Number.isInteger(rounds) && rounds >= 1)) throw new UsageError("--rounds: expected a whole number");
  if (!(seconds > 0)) throw new UsageError("--seconds: expected a number above 0");
  const isFull = rounds >= FULL.rounds && seconds >= FULL.seconds;
  return { rounds, seconds, writesPage: values.write === true || (isFull && values["no-write"] !== true) };
}

async function measure(course: Course): Promise<string> {
  const slow = await oneIsSlow(ground, course);
  // What the first scene needed is not to be in the way of the second.
  await endAll();
  const busy = await oneIsBusy(ground, course);
  return report(slow, busy, {
    date: new Date().toISOString().slice(0, 10),
    rounds: course.rounds,
    seconds: course.seconds,
    processor: cpus()[0]?.model ?? "unknown",
    kernel: release(),
    version: process.versions.node,
  });
}

async function endAll(): Promise<void> {
  for (const end of ends.splice(0).reverse()) await end();
}
