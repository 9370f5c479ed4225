/**
 * What is said of redirected connections and contradicts itself, or says nothing as none are redirected.
 */
import { endpointKey } from "../core/index.ts";
import type { Complaint } from "./issues.ts";
import type { Config } from "./shape.ts";

export function interceptFaults(config: Config): Complaint[] {
  const { outbound, inbound, upstreams } = config;
  const faults: Complaint[] = [];
  if (outbound.mode !== "transparent") {
    const { ports, unknown } = outbound.intercepted;
    const said = [
      ...(Object.keys(ports).length > 0 ? ["ports"] : []),
      ...(unknown === "refuse" ? ["unknown"] : []),
    ];
    for (const setting of said)
      faults.push({
        path: ["outbound", setting],
        message: "expected it only with mode transparent, got explicit",
      });
  }
  for (const [side, { mode, listener }] of Object.entries({ outbound, inbound }))
    if (mode === "transparent" && listener.listen.port === 0)
      faults.push({
        path: [side, "listen"],
        message: "expected a port with mode transparent, to which the kernel can redirect, got 0",
      });
  const taken = new Map<string, string>();
  for (const [name, { virtualAddresses }] of Object.entries(upstreams))
    for (const [i, { host, port }] of virtualAddresses.entries()) {
      const path = ["upstreams", name, "virtualAddresses", i];
      const key = endpointKey({ address: host, port });
      const other = taken.get(key);
      if (outbound.mode !== "transparent")
        faults.push({ path, message: "expected it only with outbound.mode transparent, got explicit" });
      else if (!/^[\d.]+$|:/.test(host))
        faults.push({ path, message: `expected an IP address, by which connections are known, got ${host}` });
      else if (other !== undefined)
        faults.push({ path, message: `expected each address once, got that of ${other} again` });
      taken.set(key, `upstreams.${name}`);
    }
  return faults;
}
