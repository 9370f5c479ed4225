/**
 * Total outages that only a time limit tells of: what they cost those who are already down.
 */
import { test } from "tap";
import { FAULTS } from "../fault-matrix/faults.ts";
import { runOutages } from "../fault-matrix/matrix.ts";
import { brokenInOutage } from "../fault-matrix/prove.ts";
import { outageTable } from "../fault-matrix/table.ts";

test("when all endpoints fail in silence, they are asked for a fifth more at most, and for less where breakers are on", async (t) => {
  const outages = await runOutages(
    t,
    FAULTS.filter(({ silent }) => silent),
  );
  for (const outage of outages) t.same(brokenInOutage(outage), []);
  t.comment(outageTable(outages));
});
