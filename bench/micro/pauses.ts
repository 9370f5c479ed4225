/**
 * How long the longest pick takes while a change of one endpoint among 10,000 is being applied: a mean would hide what a
 * sidecar stands still for.
 *
 * The same work is done at the same pick after each change, so the median over many changes is taken for each pick,
 * and of those the longest. What else the machine does falls on any of them, and so do collections of garbage: the longest
 * that was seen at all is given beside it.
 */
import { createBalancer, hash32 } from "../../balancing/index.ts";
import { systemRandom } from "../../proxy/system.ts";
import { hosts } from "./hashing.ts";

const ENDPOINTS = 10_000;
const CHANGES = 200;
/** The first ones meet code that has not been compiled yet. */
const WARM_UP = 50;
/** More than a circle of so many needs. */
const PICKS = 60;

export function printPauses(): void {
  console.log(`\none of ${ENDPOINTS} endpoints changes, ${CHANGES - WARM_UP} times (milliseconds)`);
  for (const algorithm of ["ringHash", "maglev"] as const) {
    const balancer = createBalancer({ algorithm }, systemRandom);
    const all = hosts(ENDPOINTS + CHANGES);
    let candidates = all.slice(0, ENDPOINTS);
    const first = timed(() => balancer.pick(candidates, 0, 1));
    const times: number[][] = [];
    for (let change = 0; change < CHANGES; change++) {
      candidates = candidates.with((change * 7919) % ENDPOINTS, all[ENDPOINTS + change]!);
      const picks = Array.from({ length: PICKS }, (_, i) =>
        timed(() => balancer.pick(candidates, 0, hash32(`${change} ${i}`))),
      );
      if (change >= WARM_UP) times.push(picks);
    }
    const usual = Array.from({ length: PICKS }, (_, i) => median(times.map((picks) => picks[i]!)));
    const [longest, all60] = [Math.max(...usual), usual.reduce((sum, ms) => sum + ms)];
    console.log(
      `${algorithm}: the longest pick ${longest.toFixed(2)}, all ${PICKS} together ${all60.toFixed(2)}; ` +
        `the longest seen ${Math.max(...times.flat()).toFixed(2)}; the first of all, not compiled yet, ${first.toFixed(2)}`,
    );
  }
}

function timed(work: () => unknown): number {
  const before = performance.now();
  work();
  return performance.now() - before;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}
