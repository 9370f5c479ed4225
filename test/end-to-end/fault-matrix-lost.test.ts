/**
 * Faults after which nobody knows whether a request was processed, under every policy. What holds in each cell is in
 * test/fault-matrix/prove.ts.
 */
import { test } from "tap";
import { FAULTS } from "../fault-matrix/faults.ts";
import { runMatrix } from "../fault-matrix/matrix.ts";
import { brokenIn } from "../fault-matrix/prove.ts";
import { matrixTables } from "../fault-matrix/table.ts";

test("what may have been processed, under any policy: no POST twice, no more attempts than are paid for, nothing kept, every request seen", async (t) => {
  const cells = await runMatrix(
    t,
    FAULTS.filter(({ ending }) => ending === "lost"),
  );
  for (const cell of cells) t.same(brokenIn(cell), []);
  t.comment(matrixTables(cells));
});
