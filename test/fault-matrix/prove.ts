/**
 * What holds in every cell of the matrix and in every outage, whatever chance and the machine do: it is these bounds that are
 * tested, and the numbers in docs/fault-matrix.md are one run within them.
 */
import { type Cell, countOf } from "./cell.ts";
import type { MatrixFault } from "./faults.ts";
import type { Outage } from "./outage.ts";
import { type Allowance, DEFAULT_REQUEUES, DEFAULT_RETRIES, KINDS, type Kind } from "./policies.ts";

/** What a cell has broken of what is promised, in words. */
export function brokenIn(cell: Cell): string[] {
  const { fault, policy, scope, calls, outcomes, before, resent } = cell;
  const broken: string[] = [];
  const promise = (holds: boolean, otherwise: string) => {
    if (!holds) broken.push(`${fault.name}, ${scope}, ${policy.name}: ${otherwise}`);
  };
  const requests = calls.length + before;
  promise(cell.duplicates.length === 0, `delivered twice: ${cell.duplicates}`);

  const unfit = [...new Set(outcomes.values())].filter((outcome) => !mayBeSeen(cell, outcome));
  promise(unfit.length === 0, `callers see what does not fit the fault: ${unfit}`);
  for (const kind of repairedIn(cell)) {
    const seen = calls.filter((call) => call.kind === kind).map(({ name }) => outcomes.get(name)!);
    const errors = seen.filter((outcome) => outcome !== "200" && outcome !== "fallback");
    promise(errors.length === 0, `callers of ${kind} see ${errors}`);
  }

  const most = Math.max(...cell.attempts);
  promise(most <= policy.attempts, `${most} attempts for one request, of ${policy.attempts}`);
  const [attempts, paid] = [countOf(cell.attempts), mostAttempts(cell, requests)];
  promise(attempts <= paid, `${attempts} attempts for ${requests} requests, at most ${paid}`);
  promise(resent <= before, `${resent} sent again by the pool, of ${before} that had served`);

  promise(cell.leftovers === "", `not given back: ${cell.leftovers}`);
  promise(cell.unlogged.length === 0, `without exactly one line in the access log: ${cell.unlogged}`);
  promise(cell.requestsByMetric === requests, `${cell.requestsByMetric} counted of ${requests} requests`);
  return broken;
}

/** `breaker_open` where nobody else is left; limits of a policy where the fault is one of time. */
function mayBeSeen({ fault, policy, scope }: Cell, outcome: string): boolean {
  if (outcome === "200") return true;
  if (fault.ending === "none") return false;
  if (outcome === "breaker_open") return policy.breaks && scope === "all three";
  if (outcome === "deadline_exceeded") return fault.silent && policy.outcomes?.includes(outcome) === true;
  return fault.outcomes.includes(outcome) || policy.outcomes?.includes(outcome) === true;
}

/** The kinds of requests whose callers must see no error. */
function repairedIn({ fault, policy, scope }: Cell): Kind[] {
  if (scope === "all three") return [];
  return KINDS.filter((kind) => policy.repairs(fault.ending, kind, fault));
}

/** One for each request, and what the budgets let through. */
function mostAttempts({ fault, policy, tookMs }: Cell, requests: number): number {
  const most = (allowance: Allowance) => mostOf(allowance, requests, tookMs);
  return requests + most(policy.retries) + (isRequeued(fault) ? most(policy.requeues) : 0);
}

/**
 * What an outage has cost that it may not. Each attempt that was no mere connecting is a request, or a retry out of the budget.
 * Connecting has a budget of its own, of the answers before the outage and the floor, and a breaker makes an end of it.
 * What the pool sends again is no more than the connections that it had.
 */
export function brokenInOutage(outage: Outage): string[] {
  const { fault, breaker, requests, before, attempts, resent, sent, deliveries, tookMs } = outage;
  const most = (allowance: Allowance) => mostOf(allowance, requests + before, tookMs);
  const paid = requests + most(DEFAULT_RETRIES);
  const inAll = breaker === "on" ? paid : paid + mostOf(DEFAULT_REQUEUES, before, tookMs);
  const bounds: readonly (readonly [what: string, count: number, most: number])[] = [
    ["attempts that sent something", sent, paid],
    ["attempts", attempts, inAll],
    ["sent again by the pool", resent, before],
    ["requests that came to an app", deliveries, sent + resent],
  ];
  return bounds
    .filter(([, count, bound]) => count > bound)
    .map(([what, count, bound]) => `${fault.name}, breaker ${breaker}: ${count} ${what}, at most ${bound}`);
}

/** The budgets count over 10 s, in slices of one; who takes longer than that gets another floor. */
const WINDOW_S = 10;
const WHOLE_WINDOW_MS = 9_000;

function mostOf({ ratio, minPerSecond }: Allowance, requests: number, tookMs: number): number {
  return ratio * requests + minPerSecond * WINDOW_S * Math.ceil(tookMs / WHOLE_WINDOW_MS);
}

function isRequeued({ outcomes }: MatrixFault): boolean {
  return outcomes.includes("connect_failed") || outcomes.includes("connect_timeout");
}
