/**
 * How long a sidecar stands still when one endpoint among 10,000 changes: by each algorithm the longest pick after it, and
 * the reconciliation of the list before it. A mean over picks would hide it.
 *
 * The same work is done at the same pick after each change, so the median over many changes is taken for each pick,
 * and of those the longest. The longest that was seen at all is given beside it, and of those over the target, in how many
 * V8 collected garbage for most of the time. How restless a machine is shows a row of arithmetic that makes no garbage.
 *
 * Each change has a turn of the event loop, as in a sidecar: within one turn V8 can do none of its work in small steps.
 */
import { PerformanceObserver } from "node:perf_hooks";
import { setImmediate as nextTurn } from "node:timers/promises";
import { BALANCING_ALGORITHMS, createBalancer, hash32 } from "../../balancing/index.ts";
import { parseConfig } from "../../config/index.ts";
import type { Endpoint } from "../../core/index.ts";
import { systemClock, systemRandom } from "../../proxy/system.ts";
import { Upstream } from "../../proxy/upstream/index.ts";
import { SILENT_LOG } from "../../test/support/silent-log.ts";
import { median } from "../median.ts";
import { makeBusy, replicas } from "./candidates.ts";

const ENDPOINTS = 10_000;
const CHANGES = 200;
/** The first ones meet code that has not been compiled yet. */
const WARM_UP = 50;
/** More than a circle of so many needs. */
const PICKS = 60;
const TARGET_MS = 5;

export async function printPauses(): Promise<void> {
  console.log(
    `\none of ${ENDPOINTS} endpoints changes, ${CHANGES - WARM_UP} times: milliseconds, target ${TARGET_MS}`,
  );
  console.log(
    `${"".padEnd(28)}${["first pick", "longest pick", `all ${PICKS}`, "longest seen"].map((head) => head.padStart(14)).join("")}`,
  );
  for (const algorithm of BALANCING_ALGORITHMS)
    for (const weights of ["equal", "unequal"] as const) {
      const balancer = createBalancer({ algorithm }, systemRandom);
      const all = replicas(ENDPOINTS + CHANGES, weights);
      makeBusy(all, 0, systemRandom);
      let candidates = all.slice(0, ENDPOINTS);
      balancer.pick(candidates, 0, 1);
      const times = await afterChanges((change) => {
        balancer.forget?.(candidates);
        candidates = candidates.with((change * 7919) % ENDPOINTS, all[ENDPOINTS + change]!);
        return Array.from({ length: PICKS }, (_, i) =>
          timed(() => balancer.pick(candidates, change, hash32(`${change} ${i}`))),
        );
      });
      printLine(`${algorithm}, ${weights}`, times);
    }
  printLine("Upstream.update", await updates());
  printLine("nothing but arithmetic", await afterChanges(() => [timed(arithmetic)]));
}

async function updates(): Promise<Pause[][]> {
  const { options } = parseConfig('upstreams: { bench: { endpoints: ["127.0.0.1:1"] } }', "bench.yaml", {})
    .upstreams["bench"]!;
  const upstream = new Upstream(
    "bench",
    options,
    { clock: systemClock, random: systemRandom, log: SILENT_LOG },
    () => {
      throw new Error("nothing is sent");
    },
  );
  const endpoint = (i: number): Endpoint => ({
    address: `10.1.${i >> 8}.${i & 255}`,
    port: 8080,
    weight: 1,
    source: "static",
  });
  // Of others' making at each change, as sources make them.
  const listed = Array.from({ length: ENDPOINTS }, (_, i) => i);
  upstream.update(listed.map(endpoint));
  const times = await afterChanges((change) => {
    listed[(change * 7919) % ENDPOINTS] = ENDPOINTS + change;
    const endpoints = listed.map(endpoint);
    return [timed(() => upstream.update(endpoints))];
  });
  upstream.stop();
  return times;
}

/** In milliseconds, since when and for how long. */
interface Timed {
  readonly from: number;
  readonly ms: number;
}

interface Pause extends Timed {
  /** How much of it V8 collected garbage. */
  readonly collectingMs: number;
}

async function afterChanges(change: (count: number) => readonly Timed[]): Promise<Pause[][]> {
  const collections: Timed[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries())
      collections.push({ from: startTime, ms: duration });
  });
  observer.observe({ entryTypes: ["gc"] });
  const times: (readonly Timed[])[] = [];
  for (let count = 0; count < CHANGES; count++) {
    times.push(change(count));
    await nextTurn();
  }
  await nextTurn();
  observer.disconnect();
  return times.slice(WARM_UP).map((pauses) =>
    pauses.map(({ from, ms }) => {
      const collectingMs = collections.reduce(
        (sum, one) => sum + Math.max(0, Math.min(one.from + one.ms, from + ms) - Math.max(one.from, from)),
        0,
      );
      return { from, ms, collectingMs };
    }),
  );
}

function printLine(name: string, times: readonly (readonly Pause[])[]): void {
  const usual = times[0]!.map((_, i) => median(times.map((pauses) => pauses[i]!.ms)));
  const longest = Math.max(...usual);
  const seen = Math.max(...times.flat().map(({ ms }) => ms));
  const cells = [usual[0]!, longest, usual.reduce((sum, ms) => sum + ms), seen].map((ms) =>
    ms.toFixed(2).padStart(14),
  );
  console.log(`${name.padEnd(28)}${cells.join("")}  ${verdictOf(times, longest)}`);
}

function verdictOf(times: readonly (readonly Pause[])[], longest: number): string {
  if (longest > TARGET_MS) return "MISSED";
  const over = times.flat().filter(({ ms }) => ms > TARGET_MS);
  if (over.length === 0) return "met";
  const collected = over.filter(({ ms, collectingMs }) => collectingMs > ms / 2).length;
  return `met but for ${over.length} changes, ${collected} of them by collections`;
}

function timed(work: () => unknown): Timed {
  const from = performance.now();
  work();
  return { from, ms: performance.now() - from };
}

/** About a millisecond. */
function arithmetic(): number {
  let value = 1;
  for (let i = 0; i < 200_000; i++) value = Math.imul(value, 31) + i;
  return value;
}
