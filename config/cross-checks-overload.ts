/**
 * Limits that contradict each other or what they are to measure.
 */
import type { IsSet } from "./document.ts";
import type { Complaint } from "./issues.ts";
import type { Config } from "./shape.ts";
import { durationText } from "./units.ts";

export function limitFaults(config: Config, isSet: IsSet): Complaint[] {
  const callees = [
    { path: ["inbound"], options: config.inbound.app },
    ...Object.entries(config.upstreams).map(([name, { options }]) => ({
      path: ["upstreams", name],
      options,
    })),
  ];
  return callees.flatMap(({ path, options }) => {
    const { limits, timeouts, upgrades } = options;
    const faults: Complaint[] = [];
    const queueTimeout = [...path, "limits", "queueTimeout"];
    if (isSet(queueTimeout) && limits.queueMs > timeouts.requestMs)
      faults.push({
        path: queueTimeout,
        message: `expected at most timeouts.request, which is ${durationText(timeouts.requestMs)}, got ${durationText(limits.queueMs)}`,
      });
    if (limits.adaptive === undefined) return faults;
    const adaptive = [...path, "limits", "adaptive"];
    const { minimum } = limits.adaptive;
    if (minimum > limits.requests && isSet([...adaptive, "minimum"]))
      faults.push({
        path: [...adaptive, "minimum"],
        message: `expected at most limits.requests, which is ${limits.requests}, got ${minimum}`,
      });
    if (upgrades.length > 0)
      faults.push({
        path: adaptive,
        message: "expected no upgrades beside it, as a tunnel counts as a request for as long as it is open",
      });
    if (config.workers > 1)
      faults.push({
        path: adaptive,
        message: `expected workers: 1, as each worker would measure the load of the others, got ${config.workers}`,
      });
    return faults;
  });
}
