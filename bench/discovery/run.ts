/**
 * `npm run bench:discovery`: how soon a change in a real Consul is felt by traffic, and what it costs to follow a large mesh.
 *
 * With a server and a client agent apart, as machines have them, so that a change takes the way that it takes there: from the
 * agent to the server, and from there to the sidecar through its own agent. Timings are measured here and not in tests,
 * as no timing decides a test.
 */
import { startCluster } from "../../test/support/consul-cluster.ts";
import { command, say } from "../command.ts";
import { type Figure, figureLine, figureTable } from "../figure.ts";
import { writeIntoPage } from "../page.ts";
import { changes } from "./changes.ts";
import { mesh } from "./mesh.ts";

const usage = "usage: npm run bench:discovery\n";

await command("bench", { usage, options: {} }, async (_, { ends }) => {
  const figures: Figure[] = [];
  for (const part of [changes, mesh])
    for (const figure of await part(ends, await startCluster(ends))) {
      say(figureLine(figure));
      figures.push(figure);
    }
  process.stdout.write(`${figureTable(figures)}\n`);
  writeIntoPage("benchmarks.md", "discovery", figureTable(figures));
});
