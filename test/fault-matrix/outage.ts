/**
 * A total outage: all endpoints have the fault while requests keep coming at a rate, as from callers who do not know of it. What
 * is counted is how much more the endpoints are asked for it.
 *
 * All are GETs, and time limits are a reason to try again as well: that is as much as anybody may send again.
 */
import type { Teardown } from "../support/apps.ts";
import { startInProcess, sumOf } from "../support/in-process.ts";
import { countOf } from "./cell.ts";
import type { MatrixFault } from "./faults.ts";
import { askAtRate, type Ground } from "./ground.ts";

export interface Outage {
  readonly fault: MatrixFault;
  readonly breaker: "on" | "off";
  readonly requests: number;
  /** Before the fault set in; each entitles to its share of the budgets, too. */
  readonly before: number;
  readonly attempts: number;
  /** Made by the pool besides, for connections that had served and were lost. */
  readonly resent: number;
  /** Attempts that were no mere connecting. */
  readonly sent: number;
  /** Whole requests that came to an app. */
  readonly deliveries: number;
  readonly tookMs: number;
}

const REQUESTS = 2_000;
const PER_SECOND = 1_000;
/** Before the fault sets in, so that there are pooled connections. */
const BEFORE = 20;

let outages = 0;

const TIMEOUTS = "{ connect: 100ms, attempt: 100ms, request: 10s, idle: 500ms }";
const RETRIES = "{ on: [connectFailure, reset, timeout, 502, 503, 504] }";

export async function runOutage(
  t: Teardown,
  ground: Ground,
  fault: MatrixFault,
  breaker: Outage["breaker"],
): Promise<Outage> {
  const endpoints = ground.injectors.map(({ address }) => `"${address}"`).join(", ");
  const heddle = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${endpoints}], timeouts: ${TIMEOUTS}, retries: ${RETRIES}, breaker: { mode: ${breaker === "on" ? "enforce" : "off"} } } }`,
  );
  const { port } = heddle.addresses.outbound;
  const prefix = `outage-${outages++}-`;
  const calls = (when: string, count: number) =>
    Array.from({ length: count }, (_, n) => ({
      name: `${prefix}${when}-${n}`,
      kind: "GET" as const,
      headers: {},
    }));
  await ground.become({ kind: "none" }, "all three");
  const warmUp = calls("before", fault.pooled === "none" ? 0 : BEFORE);
  await askAtRate(port, warmUp, PER_SECOND);
  while (heddle.access.length < warmUp.length) await new Promise(setImmediate);
  // A machine that is busy may be late with a connection even then.
  const connectingBefore = connectFailures(await heddle.admin("/metrics"));
  await ground.become(fault.fault, "all three", fault.pooled === "reset");
  const began = performance.now();
  await askAtRate(port, calls("during", REQUESTS), PER_SECOND);
  const tookMs = performance.now() - began;
  // A caller has its answer before the line is written.
  while (heddle.access.length < warmUp.length + REQUESTS) await new Promise(setImmediate);
  const metrics = await heddle.admin("/metrics");
  await heddle.sidecar.destroy();
  const attempts = countOf(heddle.access.slice(warmUp.length).map((record) => Number(record["attempts"])));
  return {
    fault,
    breaker,
    requests: REQUESTS,
    before: warmUp.length,
    attempts,
    resent: sumOf(metrics, "heddle_pool_resent_total"),
    sent: attempts - (connectFailures(metrics) - connectingBefore),
    deliveries: ground.deliveredOf(`${prefix}during`),
    tookMs,
  };
}

function connectFailures(metrics: string): number {
  const count = (outcome: string) => sumOf(metrics, "heddle_attempts_total", { outcome });
  return count("connect_failed") + count("connect_timeout");
}
