/**
 * Faults that no single setting shows: names that lead nowhere, ports wanted twice, a registry that is needed
 * and not there.
 */
import type { Path } from "./document.ts";
import type { Config } from "./shape.ts";
import { suggestion } from "./suggest.ts";

export interface CrossFault {
  readonly path: Path;
  readonly message: string;
}

export function crossFaults(config: Config): CrossFault[] {
  return [
    ...sourceFaults(config),
    ...routeFaults(config),
    ...portFaults(config),
    ...timeoutFaults(config),
    ...usefulFaults(config),
  ];
}

function sourceFaults(config: Config): CrossFault[] {
  const faults: CrossFault[] = [];
  for (const [name, { endpoints, service }] of Object.entries(config.upstreams)) {
    if (endpoints === undefined && config.discovery.consul === undefined)
      faults.push({
        path: ["upstreams", name],
        message: "expected endpoints, or discovery.consul to find them in; neither came",
      });
    if (endpoints !== undefined && service !== undefined)
      faults.push({
        path: ["upstreams", name, "service"],
        message: "expected either endpoints or a service in Consul, got both",
      });
    for (const [i, { address, port }] of (endpoints ?? []).entries()) {
      const first = endpoints!.findIndex((other) => other.address === address && other.port === port);
      if (first < i)
        faults.push({
          path: ["upstreams", name, "endpoints", i],
          message: `expected each endpoint once, got the one of endpoints[${first}] again`,
        });
    }
  }
  return faults;
}

function routeFaults(config: Config): CrossFault[] {
  const faults: CrossFault[] = [];
  const names = Object.keys(config.upstreams);
  for (const [i, { to, match }] of config.routes.entries()) {
    for (const [j, { upstream }] of to.entries()) {
      if (names.includes(upstream)) continue;
      const near = suggestion(upstream, names);
      faults.push({
        path: ["routes", i, "to", j, "upstream"],
        message: `expected the name of an upstream, got ${JSON.stringify(upstream)}${
          near === undefined ? "" : `; did you mean ${near}?`
        }`,
      });
    }
    if (to.every(({ weight }) => weight === 0))
      faults.push({ path: ["routes", i, "to"], message: "expected at least one weight above 0, got only 0" });
    if (match.path !== undefined && match.pathPrefix !== undefined)
      faults.push({ path: ["routes", i, "match"], message: "expected path or pathPrefix, got both" });
  }
  return faults;
}

function portFaults(config: Config): CrossFault[] {
  const faults: CrossFault[] = [];
  const taken = new Map<number, string>();
  const claim = (port: number, path: Path, what: string) => {
    if (port === 0) return;
    const owner = taken.get(port);
    if (owner !== undefined)
      faults.push({ path, message: `expected a port of its own, got ${port}, which ${owner} has` });
    else taken.set(port, what);
  };
  claim(config.outbound.listener.listen.port, ["outbound", "listen"], "outbound.listen");
  claim(config.inbound.listener.listen.port, ["inbound", "listen"], "inbound.listen");
  claim(config.admin.listen.port, ["admin", "listen"], "admin.listen");
  for (const [name, { localPort }] of Object.entries(config.upstreams))
    if (localPort !== undefined)
      claim(localPort, ["upstreams", name, "localPort"], `upstreams.${name}.localPort`);
  return faults;
}

function timeoutFaults(config: Config): CrossFault[] {
  const faults: CrossFault[] = [];
  for (const [name, { options }] of Object.entries(config.upstreams)) {
    const { connectMs, attemptMs, requestMs } = options.timeouts;
    if (attemptMs > requestMs)
      faults.push({
        path: ["upstreams", name, "timeouts", "attempt"],
        message: `expected at most timeouts.request (${requestMs}ms), got ${attemptMs}ms`,
      });
    if (connectMs > requestMs)
      faults.push({
        path: ["upstreams", name, "timeouts", "connect"],
        message: `expected at most timeouts.request (${requestMs}ms), got ${connectMs}ms`,
      });
    if (options.retries.backoff.baseMs > options.retries.backoff.maxMs)
      faults.push({
        path: ["upstreams", name, "retries", "backoff", "base"],
        message: `expected at most backoff.max (${options.retries.backoff.maxMs}ms), got ${options.retries.backoff.baseMs}ms`,
      });
  }
  return faults;
}

/** A sidecar that has nothing to do is a file that was cut off or a section that was misspelt. */
function usefulFaults(config: Config): CrossFault[] {
  if (config.service !== undefined || Object.keys(config.upstreams).length > 0) return [];
  return [{ path: [], message: "expected a service to stand beside or upstreams to call, got neither" }];
}
