/**
 * Faults of which a request does not notice more than time, or that keep it from being sent, under every policy. What holds in each cell is in
 * test/fault-matrix/prove.ts.
 */
import { test } from "tap";
import { FAULTS } from "../fault-matrix/faults.ts";
import { runMatrix } from "../fault-matrix/matrix.ts";
import { brokenIn } from "../fault-matrix/prove.ts";
import { matrixTables } from "../fault-matrix/table.ts";

test("what could not be sent, or only comes late, under any policy: no POST twice, no more attempts than are paid for, nothing kept, every request seen", async (t) => {
  const cells = await runMatrix(
    t,
    FAULTS.filter(({ ending }) => ending === "none" || ending === "unsent"),
  );
  for (const cell of cells) t.same(brokenIn(cell), []);
  t.comment(matrixTables(cells));
});
