/**
 * `npm run simulate`: the balancers that run in the proxy, in virtual time, against closed forms and published results.
 *
 * Exit codes: 0 every row holds, 1 one does not or something failed, 2 wrong usage.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { replaceBetweenMarkers } from "../load/report.ts";
import { EXPERIMENTS } from "./experiments.ts";
import { type Plot, svg } from "./plot.ts";
import { table } from "./report.ts";
import type { Row } from "./rows.ts";

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
  const { found, plots } = simulate(only, seed);
  process.stdout.write(`${table(NAMES, found)}\n`);
  // The page shows the seed that everybody gets; another one is for trying.
  if (values["no-write"] !== true && seed === 1) write(found, plots);
  if ([...found.values()].flat().some(({ holds }) => !holds)) process.exitCode = 1;
} catch (error) {
  process.stderr.write(`simulate: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof TypeError ? 2 : 1;
  if (process.exitCode === 2) process.stderr.write(USAGE);
}

function simulate(
  names: readonly string[],
  seed: number,
): { found: Map<string, readonly Row[]>; plots: Plot[] } {
  const found = new Map<string, readonly Row[]>();
  const plots: Plot[] = [];
  for (const name of names) {
    const began = process.cpuUsage();
    const findings = EXPERIMENTS[name]!(seed);
    found.set(name, findings.rows);
    plots.push(...findings.plots);
    const { user, system } = process.cpuUsage(began);
    process.stderr.write(`${name}: ${((user + system) / 1e6).toFixed(1)} s of CPU\n`);
  }
  return { found, plots };
}

function write(found: ReadonlyMap<string, readonly Row[]>, plots: readonly Plot[]): void {
  const page = readFileSync(PAGE, "utf8");
  const earlier = page.slice(page.indexOf("<!-- simulate:begin -->"), page.indexOf("<!-- simulate:end -->"));
  writeFileSync(PAGE, replaceBetweenMarkers(page, table(NAMES, found, earlier.split("\n")), "simulate"));
  mkdirSync(PLOTS, { recursive: true });
  for (const plot of plots) writeFileSync(join(PLOTS, `${plot.name}.svg`), svg(plot));
}
