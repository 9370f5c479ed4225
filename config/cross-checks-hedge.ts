/**
 * What of hedges cannot go together: what would never be sent is a mistake that nobody would notice.
 */
import type { Complaint } from "./issues.ts";
import type { Config } from "./shape.ts";
import { durationText } from "./units.ts";

export function hedgeFaults(config: Config): Complaint[] {
  const faults: Complaint[] = [];
  for (const [name, { options }] of Object.entries(config.upstreams)) {
    const { hedge, timeouts, retries } = options;
    if (hedge === undefined) continue;
    const path = ["upstreams", name, "hedge"];
    if ("ms" in hedge.after && hedge.after.ms >= timeouts.attemptMs)
      faults.push({
        path: [...path, "after"],
        message: `expected less than timeouts.attempt, which is ${durationText(timeouts.attemptMs)}, got ${durationText(hedge.after.ms)}`,
      });
    if (retries.budget.ratio === 0 && retries.budget.minPerSecond === 0)
      faults.push({ path, message: "expected a retries.budget to pay hedges from, got one of nothing" });
  }
  for (const [i, { to, policy }] of config.routes.entries()) {
    if (policy?.hedge?.enabled !== true) continue;
    const { after } = policy.hedge;
    const attempts = to.map(
      ({ upstream }) => policy.attemptMs ?? config.upstreams[upstream]?.options.timeouts.attemptMs ?? 0,
    );
    const longestMs = Math.max(...attempts);
    if (after !== undefined && "ms" in after && after.ms >= longestMs && longestMs > 0)
      faults.push({
        path: ["routes", i, "hedge", "after"],
        message: `expected less than timeouts.attempt, which is ${durationText(longestMs)}, got ${durationText(after.ms)}`,
      });
    const without = to.find(({ upstream }) => config.upstreams[upstream]?.options.hedge === undefined);
    if (without !== undefined)
      faults.push({
        path: ["routes", i, "hedge"],
        message: `expected upstreams.${without.upstream}.hedge, which counts latencies and bounds hedges, got none`,
      });
  }
  return faults;
}
