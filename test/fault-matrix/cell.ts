/**
 * One cell of the matrix: a sidecar of its own with one policy, before endpoints of which one or all have one fault.
 *
 * A sidecar for each cell, so that no breaker, budget or pool has a past, and what is left when the callers have gone is its own.
 */

import type { Teardown } from "../support/apps.ts";
import { type InProcess, startInProcess, sumOf } from "../support/in-process.ts";
import type { MatrixFault } from "./faults.ts";
import { ask, type Call, type Ground, type Outcome, type Scope, startControl } from "./ground.ts";
import { KINDS, limitsFor, type Policy } from "./policies.ts";

export interface Cell {
  readonly fault: MatrixFault;
  readonly policy: Policy;
  readonly scope: Scope;
  readonly calls: readonly Call[];
  readonly outcomes: ReadonlyMap<string, Outcome>;
  /** Requests before the fault has set in. */
  readonly before: number;
  /** Attempts of each request, by the access log; also of those before. */
  readonly attempts: readonly number[];
  /** Sent again at once on a new connection, as the endpoint had closed a pooled one; no attempts of the retries. */
  readonly resent: number;
  /** What an app has got more than once: of POSTs without a key, and, where nothing may be sent again, of all. */
  readonly duplicates: readonly string[];
  /** Refused retries by their reasons. */
  readonly refused: Readonly<Record<string, number>>;
  readonly requestsByMetric: number;
  /** Requests that have not exactly one line in the access log. */
  readonly unlogged: readonly string[];
  readonly tookMs: number;
  /** What was not given back after all had been answered; empty when all was. */
  readonly leftovers: string;
}

/** Of each kind of request in a cell. */
const PER_KIND = 20;
/** Each has one request at a time. */
const CALLERS = 16;
/** Requests before the fault sets in, where there are to be pooled connections. */
const WARM_UP = CALLERS;
/**
 * Endpoints that are well must not be taken for silent ones. A call of an app without a sidecar that took longer than this says that
 * the machine was elsewhere, and that the cell shows nothing.
 */
const DISTURBED_MS = 100;
const TRIES = 5;

/** The first run of a cell that the machine has not disturbed; without a time limit that tells, nothing can. */
export async function runCell(
  t: Teardown,
  ground: Ground,
  fault: MatrixFault,
  policy: Policy,
  scope: Scope,
): Promise<Cell> {
  for (let tries = 1; ; tries++) {
    const stop = startControl(ground);
    const cell = await tryCell(t, ground, fault, policy, scope);
    if ((await stop()) < DISTURBED_MS || !fault.silent || tries === TRIES) return cell;
  }
}

let cells = 0;

async function tryCell(
  t: Teardown,
  ground: Ground,
  fault: MatrixFault,
  policy: Policy,
  scope: Scope,
): Promise<Cell> {
  const limits = limitsFor(fault);
  const began = performance.now();
  const heddle = await startInProcess(t, configuration(ground, fault, policy));
  const { port } = heddle.addresses.outbound;
  const prefix = `${cells++}`;
  const calls = Array.from({ length: PER_KIND * KINDS.length }, (_, n) => ({
    name: `${prefix}-${n}`,
    kind: KINDS[n % KINDS.length]!,
    headers: policy.headers?.(limits) ?? {},
  }));
  const warmUp = fault.pooled === "none" ? [] : callsBefore(prefix);
  await ground.become({ kind: "none" }, scope);
  await ask(port, warmUp, CALLERS);
  await ground.become(fault.fault, scope, fault.pooled === "reset");
  const outcomes = await ask(port, calls, CALLERS);
  const leftovers = await leftoversOf(heddle);
  const metrics = await heddle.admin("/metrics");
  await heddle.sidecar.destroy();
  return {
    fault,
    policy,
    scope,
    calls,
    outcomes,
    before: warmUp.length,
    attempts: heddle.access.map((record) => Number(record["attempts"])),
    resent: sumOf(metrics, "heddle_pool_resent_total"),
    duplicates: calls
      .filter(({ kind }) => kind === "POST" || policy.attempts === 1)
      .filter(({ name }) => (ground.deliveries.get(name) ?? 0) > 1)
      .map(({ name }) => name),
    refused: refusalsIn(metrics),
    requestsByMetric: sumOf(metrics, "heddle_requests_total"),
    unlogged: unloggedIn(heddle, [...warmUp, ...calls]),
    tookMs: performance.now() - began,
    leftovers,
  };
}

function unloggedIn({ access }: InProcess, calls: readonly Call[]): string[] {
  const lines = new Map<unknown, number>();
  for (const { path } of access as { path: unknown }[]) lines.set(path, (lines.get(path) ?? 0) + 1);
  return calls.map(({ name }) => `/${name}`).filter((path) => lines.get(path) !== 1);
}

export function countOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}

/** Calls after which there are pooled connections to all endpoints. */
function callsBefore(prefix: string): Call[] {
  return Array.from({ length: WARM_UP }, (_, n) => ({
    name: `${prefix}-before-${n}`,
    kind: "GET",
    headers: {},
  }));
}

export function configuration(ground: Ground, fault: MatrixFault, policy: Policy): string {
  const limits = limitsFor(fault);
  const { connect, attempt, request, idle } = limits;
  const endpoints = ground.injectors.map(({ address }) => `"${address}"`).join(", ");
  const besides = policy.timeouts === undefined ? "" : `, ${policy.timeouts}`;
  const own = policy.upstream === undefined ? "" : `, ${policy.upstream}`;
  const route = policy.route?.(limits);
  return [
    `upstreams: { orders: { endpoints: [${endpoints}], balancing: { algorithm: ${policy.algorithm ?? "roundRobin"} }, timeouts: { connect: ${connect}, attempt: ${attempt}, request: ${request}, idle: ${idle}${besides} }${own} } }`,
    policy.top ?? "",
    route === undefined
      ? ""
      : `routes: [{ name: orders, match: { host: orders }, to: [{ upstream: orders }], ${route} }]`,
  ].join("\n");
}

/** What must be nothing when nobody is calling any more. */
const TAKEN: readonly (readonly [metric: string, labels: Readonly<Record<string, string>>])[] = [
  ["heddle_requests_in_flight", {}],
  ["heddle_pending_requests", {}],
  ["heddle_pool_connections", { state: "connecting" }],
  ["heddle_pool_connections", { state: "busy" }],
];
/** How often it is looked before what is left is called so, and how long in between, in milliseconds. */
const LOOKS = 100;
const BETWEEN_MS = 20;

/** Callers are answered before everything is put away, so that a look may come too soon. */
async function leftoversOf(heddle: InProcess): Promise<string> {
  for (let looks = 0; ; looks++) {
    const metrics = await heddle.admin("/metrics");
    const taken = TAKEN.map(([metric, labels]) => [metric, sumOf(metrics, metric, labels)] as const);
    const left = taken.filter(([, count]) => count !== 0).map((pair) => pair.join(" "));
    const requests = JSON.parse(await heddle.admin("/requests")) as readonly unknown[];
    if (requests.length > 0) left.push(`/requests ${JSON.stringify(requests)}`);
    const inFlight = await heddle.admin("/endpoints");
    for (const [, count] of inFlight.matchAll(/"inFlight":\s*(\d+)/g))
      if (count !== "0") left.push(`inFlight ${count}`);
    if (left.length === 0 || looks === LOOKS) return left.join(", ");
    await new Promise((resolve) => setTimeout(resolve, BETWEEN_MS));
  }
}

function refusalsIn(metrics: string): Record<string, number> {
  const refused: Record<string, number> = {};
  for (const [, reason, count] of metrics.matchAll(
    /^heddle_retries_refused_total\{.*reason="(\w+)".*\} (\d+)$/gm,
  ))
    if (count !== "0") refused[reason!] = (refused[reason!] ?? 0) + Number(count);
  return refused;
}
