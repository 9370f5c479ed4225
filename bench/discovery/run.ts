/**
 * `npm run bench:discovery`: how soon a change in a real Consul is felt by traffic, and what it costs to follow a large mesh.
 *
 * With a server and a client agent apart, as machines have them, so that a change takes the way that it takes there: from the
 * agent to the server, and from there to the sidecar through its own agent. Timings are measured here and not in tests,
 * as no timing decides a test. Exit codes: 0 measured, 1 something failed.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startCluster } from "../../test/support/consul-cluster.ts";
import { replaceBetweenMarkers } from "../load/report.ts";
import { type Figure, table } from "../scale/report.ts";
import { changes } from "./changes.ts";
import { mesh } from "./mesh.ts";

const PAGE = join(import.meta.dirname, "../../docs/benchmarks.md");

const ends: (() => unknown)[] = [];
const ground = { teardown: (end: () => unknown) => ends.push(end) };
try {
  const figures: Figure[] = [];
  const say = (figure: Figure) => {
    process.stderr.write(`${figure.what}: ${figure.measured}, target ${figure.target} (${figure.from})\n`);
    figures.push(figure);
  };
  for (const figure of await changes(ground, await startCluster(ground))) say(figure);
  for (const figure of await mesh(ground, await startCluster(ground))) say(figure);
  process.stdout.write(`${table(figures)}\n`);
  const page = readFileSync(PAGE, "utf8");
  writeFileSync(PAGE, replaceBetweenMarkers(page, table(figures), "discovery"));
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = 1;
} finally {
  for (const end of ends.reverse()) await end();
}
process.exit();
