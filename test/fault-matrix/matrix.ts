/**
 * All cells of some faults, some at a time: most of a cell is waiting for time limits.
 */
import type { Teardown } from "../support/apps.ts";
import { type Cell, runCell } from "./cell.ts";
import type { MatrixFault } from "./faults.ts";
import { type Ground, SCOPES, startGround } from "./ground.ts";
import { type Outage, runOutage } from "./outage.ts";
import { POLICIES } from "./policies.ts";

/** How many cells run together; more would be late for reasons of their own. */
const TOGETHER = 4;

/** In the order of the lists. */
export function runMatrix(t: Teardown, faults: readonly MatrixFault[]): Promise<Cell[]> {
  const todo = faults.flatMap((fault) =>
    SCOPES.flatMap((scope) => POLICIES.map((policy) => ({ fault, scope, policy }))),
  );
  return together(t, todo, (ground, { fault, scope, policy }) => runCell(t, ground, fault, policy, scope));
}

/** Each of these faults as that of all endpoints, with breakers and without. */
export function runOutages(t: Teardown, faults: readonly MatrixFault[]): Promise<Outage[]> {
  const todo = faults
    .filter(({ ending }) => ending !== "none")
    .flatMap((fault) => (["on", "off"] as const).map((breaker) => ({ fault, breaker })));
  return together(t, todo, (ground, { fault, breaker }) => runOutage(t, ground, fault, breaker));
}

async function together<Task, Result>(
  t: Teardown,
  todo: readonly Task[],
  run: (ground: Ground, task: Task) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  const go = async () => {
    const ground = await startGround(t);
    while (next < todo.length) {
      const at = next++;
      results[at] = await run(ground, todo[at]!);
    }
  };
  await Promise.all(Array.from({ length: TOGETHER }, go));
  return results;
}
