/**
 * Answers that break after they have begun, or that are not what the app has said, under every policy. What holds in each cell is in
 * test/fault-matrix/prove.ts.
 */
import { test } from "tap";
import { FAULTS } from "../fault-matrix/faults.ts";
import { runMatrix } from "../fault-matrix/matrix.ts";
import { brokenIn } from "../fault-matrix/prove.ts";
import { matrixTables } from "../fault-matrix/table.ts";

test("an answer that breaks, or is falsified, under any policy: no POST twice, no more attempts than are paid for, nothing kept, every request seen", async (t) => {
  const cells = await runMatrix(
    t,
    FAULTS.filter(({ ending }) => ending === "begun" || ending === "garbled"),
  );
  for (const cell of cells) t.same(brokenIn(cell), []);
  t.comment(matrixTables(cells));
});
