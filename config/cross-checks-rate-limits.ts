/**
 * Faults in rate limits: settings that say nothing without another one, and names that would mean two limits.
 */
import type { RateLimitOptions } from "../core/index.ts";
import type { IsSet, Path } from "./document.ts";
import type { Complaint } from "./issues.ts";
import type { Config } from "./shape.ts";

export function rateLimitFaults({ routes, inbound, outbound, upstreams }: Config, isSet: IsSet): Complaint[] {
  const { host } = outbound.listener.listen;
  // The address of whoever calls from this machine is that of the machine.
  const outboundCaller = /^(?:127\.|::1$|localhost$)/.test(host) ? host : undefined;
  return [
    ...limitFaults(inbound.policy?.rateLimits ?? [], ["inbound", "rateLimits"], isSet, undefined),
    ...routes.flatMap(({ policy }, i) =>
      limitFaults(policy?.rateLimits ?? [], ["routes", i, "rateLimits"], isSet, outboundCaller),
    ),
    ...Object.entries(upstreams).flatMap(([name, { policy }]) =>
      limitFaults(policy?.rateLimits ?? [], ["upstreams", name, "rateLimits"], isSet, outboundCaller),
    ),
  ];
}

/** @param onlyCaller the address on which nobody but the app calls */
function limitFaults(
  limits: readonly RateLimitOptions[],
  path: Path,
  isSet: IsSet,
  onlyCaller: string | undefined,
): Complaint[] {
  const faults: Complaint[] = [];
  for (const [i, { name, by, mode, fields }] of limits.entries()) {
    const at = [...path, i];
    const first = limits.findIndex((other) => other.name === name);
    if (first !== i) {
      const message = `expected a name of its own, got ${name}, which rateLimits[${first}] has`;
      faults.push({ path: isSet([...at, "name"]) ? [...at, "name"] : at, message });
    }
    if (by.of === "all" && isSet([...at, "maxKeys"]))
      faults.push({ path: [...at, "maxKeys"], message: "expected by with maxKeys, got none" });
    if (by.of === "address" && onlyCaller !== undefined) {
      const message = `expected a header, as on ${onlyCaller} all callers have the address of this machine`;
      faults.push({ path: [...at, "by", "caller"], message });
    }
    if (mode === "shadow" && fields === "all")
      faults.push({
        path: [...at, "fields"],
        message: "expected mode: enforce with all, as in shadow mode callers are told nothing",
      });
  }
  return faults;
}
