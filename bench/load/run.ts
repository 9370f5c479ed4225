/**
 * The load benchmark, `npm run bench`: heddle beside nginx, HAProxy and a Node proxy, on two cores.
 *
 * How it is measured, and what the figures do not show, is told in docs/benchmarks.md. Exit codes: 0 every
 * contender was measured, 1 something failed, 2 wrong usage, 130 interrupted.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { contenders } from "./contenders.ts";
import { examineMachine } from "./machine.ts";
import { type Options, readOptions, UsageError, usage } from "./options.ts";
import { replaceBetweenMarkers, report } from "./report.ts";
import { runRounds } from "./rounds.ts";
import { summarize } from "./summary.ts";

const PAGE = join(import.meta.dirname, "../../docs/benchmarks.md");
const say = (line: string) => void process.stderr.write(`${line}\n`);
const ids = contenders.map(({ id }) => id);

const interruption = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  // Stays in place for a second Ctrl-C, which must not cut the cleaning up short.
  process.on(signal, () => interruption.abort());
}

try {
  const options = readOptions(process.argv.slice(2), ids);
  if (options.help) process.stdout.write(usage(ids));
  else process.exitCode = await bench(options);
} catch (error) {
  const isUsage = error instanceof UsageError;
  if (interruption.signal.aborted) say("interrupted; everything that was started has been ended");
  else say(`bench: ${error instanceof Error ? error.message : String(error)}`);
  if (isUsage) say("try npm run bench -- --help");
  process.exitCode = interruption.signal.aborted ? 130 : isUsage ? 2 : 1;
}

async function bench(options: Options): Promise<number> {
  const chosen = contenders.filter(({ id }) => options.only.includes(id));
  const machine = examineMachine(chosen);
  say(`proxies on core ${machine.proxyCore}, load and upstream on core ${machine.loadCore}`);
  const results = await runRounds(chosen, { options, machine, signal: interruption.signal, say });
  const rows = summarize(results);

  const date = new Date().toISOString().slice(0, 10);
  const text = report(rows, results, { date, machine, options });
  const { rounds, seconds, connections } = options;
  const figures = { date, machine, rounds, seconds, connections, rows, results };
  process.stdout.write(options.json ? `${JSON.stringify(figures, null, 2)}\n` : `${text}\n`);
  if (options.json) say(text);

  if (options.writesPage) {
    writeFileSync(PAGE, replaceBetweenMarkers(readFileSync(PAGE, "utf8"), text));
    say("written to docs/benchmarks.md");
  }
  return rows.some(({ failure }) => failure !== undefined) ? 1 : 0;
}
