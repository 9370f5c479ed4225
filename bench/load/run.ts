/**
 * The load benchmark, `npm run bench`: heddle beside nginx, HAProxy and a Node proxy, on two cores.
 *
 * How it is measured, and what the figures do not show, is told in docs/benchmarks.md. A contender that could not be measured to the
 * end is a failure.
 */
import { command, say } from "../command.ts";
import { today } from "../occasion.ts";
import { writeIntoPage } from "../page.ts";
import { contenders } from "./contenders.ts";
import { examineMachine } from "./machine.ts";
import { OPTIONS, readOptions, usage } from "./options.ts";
import { report } from "./report.ts";
import { runRounds } from "./rounds.ts";
import { summarize } from "./summary.ts";

const ids = contenders.map(({ id }) => id);

await command("bench", { usage: usage(ids), options: OPTIONS }, async (values, { signal }) => {
  const options = readOptions(values, ids);
  const chosen = contenders.filter(({ id }) => options.only.includes(id));
  const machine = examineMachine(chosen);
  say(`proxies on core ${machine.proxyCore}, load and upstream on core ${machine.loadCore}`);
  const results = await runRounds(chosen, { options, machine, signal, say });
  const rows = summarize(results);

  const date = today();
  const text = report(rows, results, { date, machine, options });
  const { rounds, seconds, connections } = options;
  const figures = { date, machine, rounds, seconds, connections, rows, results };
  process.stdout.write(options.json ? `${JSON.stringify(figures, null, 2)}\n` : `${text}\n`);
  if (options.json) say(text);
  if (options.writesPage) writeIntoPage("benchmarks.md", "bench", text);
  return rows.some(({ failure }) => failure !== undefined) ? 1 : 0;
});
