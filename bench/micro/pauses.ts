/**
 * How long a sidecar stands still when one endpoint among 10,000 changes: by each algorithm the longest pick after it, and
 * the reconciliation of the list before it. A mean over picks would hide it.
 *
 * The same work is done at the same pick after each change, so the median over many changes is taken for each pick,
 * and of those the longest. The longest that was seen at all is given beside it: it has what collections of garbage take,
 * and what else the machine does meanwhile. How much that is on a machine shows a row of arithmetic that makes no garbage.
 */
import { BALANCING_ALGORITHMS, createBalancer, hash32 } from "../../balancing/index.ts";
import { parseConfig } from "../../config/index.ts";
import type { Endpoint } from "../../core/index.ts";
import { systemClock, systemRandom } from "../../proxy/system.ts";
import { Upstream } from "../../proxy/upstream/index.ts";
import { makeBusy, median, replicas } from "./candidates.ts";

const ENDPOINTS = 10_000;
const CHANGES = 200;
/** The first ones meet code that has not been compiled yet. */
const WARM_UP = 50;
/** More than a circle of so many needs. */
const PICKS = 60;
const TARGET_MS = 5;

export function printPauses(): void {
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
      const times = afterChanges((change) => {
        candidates = candidates.with((change * 7919) % ENDPOINTS, all[ENDPOINTS + change]!);
        return Array.from({ length: PICKS }, (_, i) =>
          timed(() => balancer.pick(candidates, change, hash32(`${change} ${i}`))),
        );
      });
      printLine(`${algorithm}, ${weights}`, times);
    }
  printLine("Upstream.update", updates());
  printLine(
    "nothing but arithmetic",
    afterChanges(() => [timed(arithmetic)]),
  );
}

function updates(): number[][] {
  const { options } = parseConfig('upstreams: { bench: { endpoints: ["127.0.0.1:1"] } }', "bench.yaml", {})
    .upstreams["bench"]!;
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const upstream = new Upstream("bench", options, { clock: systemClock, random: systemRandom, log }, () => {
    throw new Error("nothing is sent");
  });
  const endpoint = (i: number): Endpoint => ({
    address: `10.1.${i >> 8}.${i & 255}`,
    port: 8080,
    weight: 1,
    source: "static",
  });
  // Of others' making at each change, as sources make them.
  const listed = Array.from({ length: ENDPOINTS }, (_, i) => i);
  upstream.update(listed.map(endpoint));
  const times = afterChanges((change) => {
    listed[(change * 7919) % ENDPOINTS] = ENDPOINTS + change;
    const endpoints = listed.map(endpoint);
    return [timed(() => upstream.update(endpoints))];
  });
  upstream.stop();
  return times;
}

function afterChanges(change: (count: number) => number[]): number[][] {
  return Array.from({ length: CHANGES }, (_, count) => change(count)).slice(WARM_UP);
}

function printLine(name: string, times: readonly (readonly number[])[]): void {
  const usual = times[0]!.map((_, i) => median(times.map((pauses) => pauses[i]!)));
  const longest = Math.max(...usual);
  const seen = Math.max(...times.flat());
  const cells = [usual[0]!, longest, usual.reduce((sum, ms) => sum + ms), seen].map((ms) =>
    ms.toFixed(2).padStart(14),
  );
  const over = times.filter((pauses) => Math.max(...pauses) > TARGET_MS).length;
  const verdict = longest > TARGET_MS ? "MISSED" : over === 0 ? "met" : `met but for ${over} changes`;
  console.log(`${name.padEnd(28)}${cells.join("")}  ${verdict}`);
}

function timed(work: () => unknown): number {
  const before = performance.now();
  work();
  return performance.now() - before;
}

/** About a millisecond. */
function arithmetic(): number {
  let value = 1;
  for (let i = 0; i < 200_000; i++) value = Math.imul(value, 31) + i;
  return value;
}
