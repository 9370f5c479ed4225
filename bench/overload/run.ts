/**
 * `npm run bench:overload`: what is left of an app, and of heddle, when there is three times as much to do as can be done.
 *
 * Beside the end-to-end tests, which promise in which order requests are let in and refused, and by no clock: here are the figures. A
 * missed target is said and is no failure, as in the other benches. Exit codes: 0 measured, 1 something failed, 2 wrong usage.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { UsageError } from "../load/options.ts";
import { replaceBetweenMarkers } from "../load/report.ts";
import { sidecarIsFull } from "./own-scene.ts";
import { report } from "./report.ts";
import { appIsFull, type Plan } from "./scenes.ts";

const PAGE = join(import.meta.dirname, "../../docs/benchmarks.md");
/** A run that is shorter leaves the page as it is, unless it is told to write. */
const FULL = { rounds: 3, seconds: 20 };
/** A closed loop needs no longer: it has no queue that must first be full. */
const OWN_SECONDS = 5;
const USAGE = `usage: npm run bench:overload -- [--rounds ${FULL.rounds}] [--seconds ${FULL.seconds}] [--write | --no-write]\n`;

try {
  const { writesPage, ...spans } = readOptions();
  const text = await measure({ ...spans, say: (line) => process.stderr.write(`${line}\n`) });
  process.stdout.write(`${text}\n`);
  if (writesPage) writeFileSync(PAGE, replaceBetweenMarkers(readFileSync(PAGE, "utf8"), text, "overload"));
} catch (error) {
  // What parseArgs throws has a code of its own.
  const isUsage = error instanceof UsageError || String(Object(error).code).startsWith("ERR_PARSE_ARGS");
  process.exitCode = isUsage ? 2 : 1;
  process.stderr.write(
    `bench: ${error instanceof Error ? error[isUsage ? "message" : "stack"] : String(error)}\n`,
  );
  if (isUsage) process.stderr.write(USAGE);
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

async function measure(plan: Plan): Promise<string> {
  const app = await appIsFull(plan);
  const own = await sidecarIsFull({ ...plan, seconds: Math.min(OWN_SECONDS, plan.seconds) });
  return report(app, own, {
    date: new Date().toISOString().slice(0, 10),
    rounds: plan.rounds,
    seconds: plan.seconds,
    processor: cpus()[0]?.model ?? "unknown",
    kernel: release(),
    version: process.versions.node,
  });
}
