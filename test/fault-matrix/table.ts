/**
 * The matrix as tables: one for each fault with a line for each policy, and one of total outages.
 */
import { wordsTable } from "../../bench/table.ts";
import { type Cell, countOf } from "./cell.ts";
import type { MatrixFault } from "./faults.ts";
import type { Scope } from "./ground.ts";
import type { Outage } from "./outage.ts";
import { type Policy, SHORT } from "./policies.ts";

/** The matrix by fault, in the order in which the cells come. */
export function matrixTables(cells: readonly Cell[]): string {
  const faults = [...new Set(cells.map(({ fault }) => fault))];
  return faults
    .map((fault) =>
      faultSection(
        fault,
        cells.filter((cell) => cell.fault === fault),
      ),
    )
    .join("\n\n");
}

function faultSection(fault: MatrixFault, cells: readonly Cell[]): string {
  const policies = [...new Set(cells.map(({ policy }) => policy))];
  const requests = cells[0]!.calls.length;
  const rows = policies.map((policy) => {
    const of = (scope: Scope) => cells.find((cell) => cell.policy === policy && cell.scope === scope)!;
    const [one, all] = [of("one of three"), of("all three")];
    const refused = { ...one.refused };
    for (const [reason, count] of Object.entries(all.refused))
      refused[reason] = (refused[reason] ?? 0) + count;
    return [
      policy.name,
      ...[one, all].flatMap((cell) => [tally(errorsOf(cell)), perRequest(cell)]),
      `${one.duplicates.length + all.duplicates.length}`,
      tally(refused),
    ];
  });
  const head = [
    "policy",
    "errors, one of three",
    "attempts",
    "errors, all three",
    "attempts",
    "delivered twice",
    "retries refused",
  ];
  return `### ${fault.name}\n\n${fault.says} ${requests} requests in each cell.\n\n${wordsTable(head, rows)}`;
}

/** Total outages, by fault. */
export function outageTable(outages: readonly Outage[]): string {
  const faults = [...new Set(outages.map(({ fault }) => fault))];
  const rows = faults.map((fault) => {
    const of = (breaker: Outage["breaker"]) =>
      outages.find((outage) => outage.fault === fault && outage.breaker === breaker)!;
    const [on, off] = [of("on"), of("off")];
    const share = (count: number, { requests }: Outage) => (count / requests).toFixed(2);
    return [
      fault.name,
      `${on.requests}`,
      share(on.attempts + on.resent, on),
      share(off.attempts + off.resent, off),
      share(off.sent + off.resent, off),
    ];
  });
  return wordsTable(
    ["fault", "requests", "attempts per request", "breakers off", "breakers off, without mere connecting"],
    rows,
  );
}

/** What is written into the file for each policy. */
export function policyTable(policies: readonly Policy[]): string {
  const code = (text: string) => `\`${text}\``;
  const rows = policies.map(({ name, algorithm, upstream, timeouts, top, route, headers }) => [
    name,
    [
      algorithm === undefined ? [] : code(`balancing: { algorithm: ${algorithm} }`),
      upstream === undefined ? [] : code(upstream),
      timeouts === undefined ? [] : `in \`timeouts\` ${code(timeouts)}`,
      top === undefined ? [] : `at the top ${code(top)}`,
      route === undefined ? [] : `in a route ${code(route(SHORT))}`,
      headers === undefined ? [] : `callers send ${code(JSON.stringify(headers(SHORT)))}`,
    ]
      .flat()
      .join(", "),
  ]);
  return wordsTable(["policy", "settings"], rows);
}

function errorsOf({ outcomes }: Cell): Record<string, number> {
  const errors: Record<string, number> = {};
  for (const outcome of outcomes.values())
    if (outcome !== "200") errors[outcome] = (errors[outcome] ?? 0) + 1;
  return errors;
}

function tally(counts: Readonly<Record<string, number>>): string {
  const names = Object.keys(counts).sort();
  return names.map((name) => `${counts[name]} \`${name}\``).join(", ");
}

/** Of those after the fault had set in; what was before took one each. */
function perRequest({ attempts, before, resent, calls }: Cell): string {
  return ((countOf(attempts) - before + resent) / calls.length).toFixed(2);
}
