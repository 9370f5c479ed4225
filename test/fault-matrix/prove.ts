/**
 * What holds in every cell of the matrix, whatever chance and the machine do: it is these bounds that are tested, and the
 * numbers in docs/fault-matrix.md are one run within them.
 */
import type { Test } from "tap";
import { type Cell, countOf } from "./cell.ts";
import type { MatrixFault } from "./faults.ts";
import type { Kind, Policy } from "./policies.ts";

/** Over how long the budgets of retries and requeues count by default, in milliseconds. */
const BUDGET_WINDOW_MS = 10_000;

export function proveCell(t: Test, cell: Cell): void {
  const { fault, policy, scope, calls, outcomes, before } = cell;
  const at = `${fault.name}, ${scope}, ${policy.name}`;
  const requests = calls.length + before;
  t.same(cell.duplicates, [], `${at}: no POST without a key is delivered twice`);

  const seen = new Set(outcomes.values());
  t.same(
    [...seen].filter((outcome) => !mayBeSeen(cell, outcome)),
    [],
    `${at}: callers see what fits the fault`,
  );
  for (const kind of isRepaired(cell)) {
    const errors = calls.filter(({ name, kind: its }) => its === kind && !isGood(outcomes.get(name)!));
    t.same(
      errors.map(({ name }) => outcomes.get(name)),
      [],
      `${at}: no caller of ${kind} sees an error`,
    );
  }

  t.ok(Math.max(...cell.attempts) <= policy.attempts, `${at}: attempts of one request`);
  const attempts = countOf(cell.attempts);
  const most = mostAttempts(cell, requests);
  t.ok(attempts <= most, `${at}: ${attempts} attempts for ${requests} requests, at most ${most}`);
  t.ok(
    cell.resent <= before,
    `${at}: ${cell.resent} were sent again for lost connections, of ${before} that had served`,
  );

  t.equal(cell.leftovers, "", `${at}: all is given back`);
  t.same(cell.unlogged, [], `${at}: each request has one line in the access log`);
  t.equal(cell.requestsByMetric, requests, `${at}: each request is counted`);
}

const isGood = (outcome: string) => outcome === "200" || outcome === "fallback";

/** `breaker_open` where nobody else is left; limits of a policy where the fault is one of time. */
function mayBeSeen({ fault, policy, scope }: Cell, outcome: string): boolean {
  if (outcome === "200") return true;
  if (fault.ending === "none") return false;
  if (outcome === "breaker_open") return policy.breaks && scope === "all three";
  if (outcome === "deadline_exceeded") return fault.silent && policy.outcomes?.includes(outcome) === true;
  return fault.outcomes.includes(outcome) || policy.outcomes?.includes(outcome) === true;
}

/** The kinds of requests whose callers must see no error. */
function isRepaired({ fault, policy, scope }: Cell): Kind[] {
  if (scope === "all three") return [];
  const kinds: readonly Kind[] = ["GET", "PUT", "POST", "POST with a key"];
  return kinds.filter((kind) => policy.repairs(fault.ending, kind, fault));
}

/** One for each request, and what the budgets let through; a run that is longer than their window has more windows. */
function mostAttempts({ fault, policy, tookMs }: Cell, requests: number): number {
  const windows = 1 + Math.ceil(tookMs / BUDGET_WINDOW_MS);
  const most = ({ ratio, minPerSecond }: Policy["retries"]) =>
    ratio * requests + (minPerSecond * BUDGET_WINDOW_MS * windows) / 1_000;
  return requests + most(policy.retries) + (isRequeued(fault) ? most(policy.requeues) : 0);
}

function isRequeued({ outcomes }: MatrixFault): boolean {
  return outcomes.includes("connect_failed") || outcomes.includes("connect_timeout");
}
