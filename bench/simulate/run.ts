/**
 * `npm run simulate`: the balancers that run in the proxy, in virtual time, against closed forms and published results.
 *
 * Exit codes: 0 every row holds, 1 one does not or something failed, 2 wrong usage.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { EXPERIMENTS } from "./experiments.ts";
import { svg } from "./plot.ts";
import { page, report } from "./report.ts";
import type { Findings } from "./rows.ts";
import { runInThreads } from "./threads.ts";

const DOCS = join(import.meta.dirname, "../../docs");
const PAGE = join(DOCS, "balancing.md");
const PLOTS = join(DOCS, "plots");
const NAMES = Object.keys(EXPERIMENTS);
const USAGE = `usage: npm run simulate -- [--only NAME[,NAME]] [--seed 1] [--no-write]\nnames: ${NAMES.join(", ")}\n`;

try {
  const { values } = parseArgs({
    options: {
      only: { type: "string" },
      seed: { type: "string", default: "1" },
      "no-write": { type: "boolean" },
    },
  });
  const only = values.only?.split(",") ?? NAMES;
  const seed = Number(values.seed);
  if (!only.every((name) => NAMES.includes(name)) || !Number.isInteger(seed))
    throw new TypeError("no such experiment, or no such seed");
  const findings = await runInThreads(only, seed, {
    onEnd: (name, cpuMs) => process.stderr.write(`${name}: ${(cpuMs / 1000).toFixed(1)} s of CPU\n`),
  });
  process.stdout.write(`${report(NAMES, findings)}\n`);
  // The page shows the seed that everybody gets; another one is for trying.
  if (values["no-write"] !== true && seed === 1) write(findings);
  if ([...findings.values()].flatMap(({ rows }) => rows).some(({ holds }) => !holds)) process.exitCode = 1;
} catch (error) {
  process.stderr.write(`simulate: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof TypeError ? 2 : 1;
  if (process.exitCode === 2) process.stderr.write(USAGE);
}

function write(findings: ReadonlyMap<string, Findings>): void {
  const before = readFileSync(PAGE, "utf8");
  writeFileSync(PAGE, page(before, NAMES, findings));
  mkdirSync(PLOTS, { recursive: true });
  for (const { plots } of findings.values())
    for (const plot of plots) writeFileSync(join(PLOTS, `${plot.name}.svg`), svg(plot));
}
