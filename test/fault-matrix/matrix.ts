/**
 * All cells of some faults, some at a time: most of a cell is waiting for time limits.
 */
import type { Teardown } from "../support/apps.ts";
import { type Cell, runCell } from "./cell.ts";
import type { MatrixFault } from "./faults.ts";
import { SCOPES, startGround } from "./ground.ts";
import { POLICIES } from "./policies.ts";

/** How many cells run together; more would be late for reasons of their own. */
const TOGETHER = 4;

/** In the order of the lists. */
export async function runMatrix(t: Teardown, faults: readonly MatrixFault[]): Promise<Cell[]> {
  const todo = faults.flatMap((fault) =>
    SCOPES.flatMap((scope) => POLICIES.map((policy) => ({ fault, scope, policy }))),
  );
  const cells: Cell[] = [];
  let next = 0;
  const run = async () => {
    const ground = await startGround(t);
    while (next < todo.length) {
      const at = next++;
      const { fault, scope, policy } = todo[at]!;
      cells[at] = await runCell(t, ground, fault, policy, scope);
    }
  };
  await Promise.all(Array.from({ length: TOGETHER }, run));
  return cells;
}
