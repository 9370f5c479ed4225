/**
 * Total outages of every kind: what they cost those who are already down.
 */
import { test } from "tap";
import { FAULTS } from "../fault-matrix/faults.ts";
import { runOutages } from "../fault-matrix/matrix.ts";
import { brokenInOutage } from "../fault-matrix/prove.ts";
import { outageTable } from "../fault-matrix/table.ts";

test("when all endpoints fail, in whatever way, they are asked for a fifth more at most, and for less where breakers are on", async (t) => {
  const outages = await runOutages(t, FAULTS);
  for (const outage of outages) t.same(brokenInOutage(outage), []);
  t.comment(outageTable(outages));
});
