/**
 * `npm run simulate`: the balancers that run in the proxy, in virtual time, against closed forms and published results.
 *
 * It fails where a row does not hold: they are promises.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { command, say } from "../command.ts";
import { chosen, optionsOf, wholeNumber, writesPage } from "../options.ts";
import { EXPERIMENTS } from "./experiments.ts";
import { svg } from "./plot.ts";
import { page, report } from "./report.ts";
import type { Findings } from "./rows.ts";
import { runInThreads } from "./threads.ts";

const DOCS = join(import.meta.dirname, "../../docs");
const PAGE = join(DOCS, "balancing.md");
const PLOTS = join(DOCS, "plots");
const NAMES = Object.keys(EXPERIMENTS);
const usage = `usage: npm run simulate -- [--only NAME[,NAME]] [--seed 1] [--no-write]\nnames: ${NAMES.join(", ")}\n`;

await command("simulate", { usage, options: optionsOf("only", "seed", "no-write") }, async (values) => {
  const only = chosen(values, NAMES);
  const seed = wholeNumber(values, "seed", 1, { least: Number.MIN_SAFE_INTEGER });
  const findings = await runInThreads(only, seed, {
    onEnd: (name, cpuMs) => say(`${name}: ${(cpuMs / 1000).toFixed(1)} s of CPU`),
  });
  process.stdout.write(`${report(NAMES, findings)}\n`);
  // The page shows the seed that everybody gets; another one is for trying.
  if (writesPage(values, seed === 1)) write(findings);
  return [...findings.values()].flatMap(({ rows }) => rows).every(({ holds }) => holds) ? 0 : 1;
});

function write(findings: ReadonlyMap<string, Findings>): void {
  const before = readFileSync(PAGE, "utf8");
  writeFileSync(PAGE, page(before, NAMES, findings));
  mkdirSync(PLOTS, { recursive: true });
  for (const { plots } of findings.values())
    for (const plot of plots) writeFileSync(join(PLOTS, `${plot.name}.svg`), svg(plot));
}
