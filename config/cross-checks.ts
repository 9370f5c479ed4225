/**
 * Faults that no single setting shows: names that lead nowhere, ports wanted twice, a registry that is needed
 * and not there.
 *
 * Only what the file says can be at fault: where a default disagrees with a setting, the setting is meant.
 */
import type { Path } from "./document.ts";
import type { Complaint } from "./issues.ts";
import type { Config } from "./shape.ts";
import { suggestion } from "./suggest.ts";
import { durationText } from "./units.ts";

type IsSet = (path: Path) => boolean;

/** @param isSet whether the file itself has a value at a path */
export function crossFaults(config: Config, isSet: IsSet): Complaint[] {
  return [
    ...sourceFaults(config),
    ...loopFaults(config),
    ...routeFaults(config),
    ...portFaults(config, isSet),
    ...timeoutFaults(config, isSet),
    ...usefulFaults(config),
  ];
}

function sourceFaults(config: Config): Complaint[] {
  const faults: Complaint[] = [];
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

/** An upstream that is heddle's own way out: each request would come back until its deadline. */
function loopFaults(config: Config): Complaint[] {
  const faults: Complaint[] = [];
  const own = new Set([config.outbound.listener.listen.port]);
  for (const { localPort } of Object.values(config.upstreams))
    if (localPort !== undefined) own.add(localPort);
  for (const [name, { endpoints }] of Object.entries(config.upstreams))
    for (const [i, { address, port }] of (endpoints ?? []).entries())
      if (port !== 0 && own.has(port) && /^(?:127\.|::1$|localhost$)/.test(address))
        faults.push({
          path: ["upstreams", name, "endpoints", i],
          message: `expected the address of a peer, got ${address}:${port}, where heddle itself listens`,
        });
  return faults;
}

function routeFaults(config: Config): Complaint[] {
  const faults: Complaint[] = [];
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

interface Claim {
  readonly path: Path;
  readonly host: string;
  readonly port: number;
}

function portFaults(config: Config, isSet: IsSet): Complaint[] {
  const { service, inbound, outbound, admin, upstreams } = config;
  const local = outbound.listener.listen.host;
  // An app on another address may be on another machine, where its port takes none of ours.
  const appIsHere = service !== undefined && /^(?:127\.|::1$|localhost$)/.test(service.address);
  const claims: Claim[] = [
    ...(appIsHere ? [{ path: ["service", "port"], host: service.address, port: service.port }] : []),
    ...(service === undefined ? [] : [{ path: ["inbound", "listen"], ...inbound.listener.listen }]),
    { path: ["outbound", "listen"], ...outbound.listener.listen },
    { path: ["admin", "listen"], ...admin.listen },
    ...Object.entries(upstreams).flatMap(([name, { localPort = 0 }]) => [
      { path: ["upstreams", name, "localPort"], host: local, port: localPort },
    ]),
  ];
  return claims.flatMap((claim, i) => {
    const other = claims.slice(0, i).find((earlier) => collide(earlier, claim));
    if (other === undefined) return [];
    const [mine, theirs] = isSet(claim.path) ? [claim, other] : [other, claim];
    const message = `expected a port of its own, got ${mine.port}, which ${theirs.path.join(".")} has`;
    return [{ path: mine.path, message }];
  });
}

/** Port 0 is any that is free; the same port on two addresses of the machine is two ports. */
function collide(a: Claim, b: Claim): boolean {
  const isEvery = (host: string) => host === "0.0.0.0" || host === "::";
  return a.port === b.port && a.port !== 0 && (a.host === b.host || isEvery(a.host) || isEvery(b.host));
}

function timeoutFaults(config: Config, isSet: IsSet): Complaint[] {
  const faults: Complaint[] = [];
  const callers = [
    { path: ["inbound"], options: config.inbound.app },
    ...Object.entries(config.upstreams).map(([name, { options }]) => ({
      path: ["upstreams", name],
      options,
    })),
  ];
  for (const { path, options } of callers) {
    const { timeouts, retries } = options;
    const bound = (within: readonly string[], ms: number, most: string, mostMs: number) => {
      if (ms > mostMs && isSet([...path, ...within]))
        faults.push({
          path: [...path, ...within],
          message: `expected at most ${most}, which is ${durationText(mostMs)}, got ${durationText(ms)}`,
        });
    };
    bound(["timeouts", "attempt"], timeouts.attemptMs, "timeouts.request", timeouts.requestMs);
    bound(["timeouts", "connect"], timeouts.connectMs, "timeouts.request", timeouts.requestMs);
    bound(["retries", "backoff", "base"], retries.backoff.baseMs, "backoff.max", retries.backoff.maxMs);
  }
  return faults;
}

/** A sidecar that has nothing to do is a file that was cut off or a section that was misspelt. */
function usefulFaults(config: Config): Complaint[] {
  if (config.service !== undefined || Object.keys(config.upstreams).length > 0) return [];
  return [{ path: [], message: "expected a service to stand beside or upstreams to call, got neither" }];
}
