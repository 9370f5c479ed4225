/**
 * `npm run fault-matrix`: every fault under every policy and every total outage, written into docs/fault-matrix.md. A run that
 * breaks a promise is not written: the page shows what is tested.
 *
 * Exit codes: 0 written, 1 a promise was broken or something failed.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { today } from "../../bench/occasion.ts";
import { replaceBetweenMarkers } from "../../bench/page.ts";
import { FAULTS } from "./faults.ts";
import { runMatrix, runOutages } from "./matrix.ts";
import { POLICIES } from "./policies.ts";
import { brokenIn, brokenInOutage } from "./prove.ts";
import { matrixTables, outageTable, policyTable } from "./table.ts";

const PAGE = join(import.meta.dirname, "../../docs/fault-matrix.md");

const ends: (() => unknown)[] = [];
const teardown = { teardown: (end: () => unknown) => ends.push(end) };

const cells = await runMatrix(teardown, FAULTS);
const outages = await runOutages(teardown, FAULTS);
for (const end of ends.reverse()) await end();

const broken = [...cells.flatMap(brokenIn), ...outages.flatMap(brokenInOutage)];
for (const promise of broken) process.stderr.write(`${promise}\n`);
if (broken.length > 0) {
  process.exitCode = 1;
} else {
  const made = `Made on ${today()} with Node ${process.versions.node}.`;
  const parts = {
    policies: policyTable(POLICIES),
    outages: `${made}\n\n${outageTable(outages)}`,
    matrix: `${made}\n\n${matrixTables(cells)}`,
  };
  const before = readFileSync(PAGE, "utf8");
  writeFileSync(
    PAGE,
    Object.entries(parts).reduce((page, [name, text]) => replaceBetweenMarkers(page, text, name), before),
  );
}
