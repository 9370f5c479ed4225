/**
 * `npm run bench:scale`: latency, large bodies, memory, and how flat heddle stays as its surroundings grow.
 *
 * Beside bench/load, which compares CPU time per request, and apart from it, as each scene wants processes of its own.
 * Exit codes: 0 measured, 1 something failed, 2 wrong usage.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { contenders } from "../load/contenders.ts";
import { examineMachine } from "../load/machine.ts";
import { Processes } from "../load/processes.ts";
import { replaceBetweenMarkers } from "../load/report.ts";
import { Ground } from "./ground.ts";
import { type Figure, table } from "./report.ts";
import { SCENES } from "./scenes.ts";

const PAGE = join(import.meta.dirname, "../../docs/benchmarks.md");
const USAGE = `usage: npm run bench:scale -- [--only ${Object.keys(SCENES).join(",")}] [--rounds 3] [--json] [--no-write]\n`;

try {
  const { values } = parseArgs({
    options: {
      only: { type: "string" },
      rounds: { type: "string", default: "3" },
      json: { type: "boolean" },
      "no-write": { type: "boolean" },
    },
  });
  const only = values.only?.split(",") ?? Object.keys(SCENES);
  const rounds = Number(values.rounds);
  if (!only.every((name) => Object.hasOwn(SCENES, name)) || !(rounds >= 1))
    throw new TypeError("no such scene");
  const figures = await measure(only, rounds);
  process.stdout.write(
    values.json === true ? `${JSON.stringify(figures, null, 2)}\n` : `${table(figures)}\n`,
  );
  if (values["no-write"] !== true) {
    const page = readFileSync(PAGE, "utf8");
    const earlier = page.slice(page.indexOf("<!-- scale:begin -->"), page.indexOf("<!-- scale:end -->"));
    const before = earlier.split("\n").filter((line) => /^\| (?!what )/.test(line));
    writeFileSync(PAGE, replaceBetweenMarkers(page, table(figures, before), "scale"));
  }
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof TypeError ? 2 : 1;
  if (process.exitCode === 2) process.stderr.write(USAGE);
}

async function measure(only: readonly string[], rounds: number): Promise<Figure[]> {
  const machine = examineMachine(contenders.filter(({ id }) => id === "nginx" || id === "heddle"));
  const figures: Figure[] = [];
  for (const name of only) {
    // Each scene with processes of its own, so that none learns from the one before.
    await using processes = new Processes();
    const figure = await SCENES[name]!(await Ground.prepare(processes, machine), rounds);
    process.stderr.write(`${figure.what}: ${figure.measured}, target ${figure.target} (${figure.from})\n`);
    figures.push(figure);
  }
  return figures;
}
