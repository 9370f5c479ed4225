/**
 * Faults that no single setting shows: names that lead nowhere, ports wanted twice, a registry that is needed
 * and not there.
 *
 * Only what the file says can be at fault: where a default disagrees with a setting, the setting is meant.
 */
import { inSubset, subsetText } from "../discovery/index.ts";
import { candidateFaults, hashFaults, sessionFaults } from "./cross-checks-balancing.ts";
import { breakerFaults } from "./cross-checks-breaker.ts";
import { hedgeFaults } from "./cross-checks-hedge.ts";
import { interceptFaults } from "./cross-checks-intercept.ts";
import { limitFaults } from "./cross-checks-overload.ts";
import { rateLimitFaults } from "./cross-checks-rate-limits.ts";
import { fallbackFaults, injectedFaults } from "./cross-checks-routes.ts";
import { tcpFaults } from "./cross-checks-tcp.ts";
import type { IsSet, Path } from "./document.ts";
import type { Complaint } from "./issues.ts";
import type { Config } from "./shape.ts";
import { suggestion } from "./suggest.ts";
import { durationText } from "./units.ts";

/** @param isSet whether the file itself has a value at a path */
export function crossFaults(config: Config, isSet: IsSet): Complaint[] {
  return [
    ...sourceFaults(config),
    ...subsetFaults(config),
    ...sidecarFaults(config),
    ...healthCheckFaults(config),
    ...hashFaults(config),
    ...sessionFaults(config),
    ...candidateFaults(config, isSet),
    ...loopFaults(config),
    ...routeFaults(config),
    ...rateLimitFaults(config, isSet),
    ...fallbackFaults(config, isSet),
    ...injectedFaults(config),
    ...portFaults(config, isSet),
    ...timeoutFaults(config, isSet),
    ...limitFaults(config, isSet),
    ...breakerFaults(config, isSet),
    ...hedgeFaults(config),
    ...tcpFaults(config, isSet),
    ...interceptFaults(config),
    ...usefulFaults(config),
  ];
}

function sourceFaults(config: Config): Complaint[] {
  const faults: Complaint[] = [];
  for (const [name, upstream] of Object.entries(config.upstreams)) {
    const { endpoints, service, from } = upstream;
    const path = ["upstreams", name];
    const given = ["endpoints", "service", "from"].filter((key) => upstream[key as "from"] !== undefined);
    if (given.length === 0 && config.discovery.consul === undefined)
      faults.push({
        path,
        message: "expected endpoints, or discovery.consul to find them in; neither came",
      });
    if (endpoints !== undefined && service !== undefined)
      faults.push({
        path: [...path, "service"],
        message: "expected either endpoints or a service in Consul, got both",
      });
    else if (given.length > 1)
      faults.push({
        path: [...path, "from"],
        message: `expected either from or ${given[0]}, got both`,
      });
    faults.push(...repeatedFaults(endpoints, [...path, "endpoints"]));
    for (const [i, origin] of (from ?? []).entries())
      faults.push(...originFaults(config, origin, [...path, "from", i]));
  }
  return faults;
}

type Origin = NonNullable<Config["upstreams"][string]["from"]>[number];

function originFaults(config: Config, origin: Origin, path: Path): Complaint[] {
  const kinds = Object.entries(origin).flatMap(([kind, value]) => (value === undefined ? [] : [kind]));
  const faults = repeatedFaults(origin.endpoints, [...path, "endpoints"]);
  if (kinds.length !== 1)
    faults.push({
      path,
      message: `expected exactly one of endpoints, consul, file, dns, kubernetes, got ${
        kinds.length === 0 ? "none" : kinds.join(" and ")
      }`,
    });
  const { consul, dns } = origin;
  if (consul !== undefined && config.discovery.consul === undefined)
    faults.push({ path: [...path, "consul"], message: "expected discovery.consul to be set, got none" });
  if (consul?.service !== undefined && consul.query !== undefined)
    faults.push({ path: [...path, "consul"], message: "expected service or query, got both" });
  if (dns !== undefined && dns.type === "A" && dns.port === undefined)
    faults.push({
      path: [...path, "dns"],
      message: "expected a port, which records of type A do not have; none came",
    });
  if (dns !== undefined && dns.minTtlMs > dns.maxTtlMs)
    faults.push({
      path: [...path, "dns", "minTtl"],
      message: `expected at most maxTtl, which is ${durationText(dns.maxTtlMs)}, got ${durationText(dns.minTtlMs)}`,
    });
  return faults;
}

/** Subsets in which nobody can ever be. */
function subsetFaults(config: Config): Complaint[] {
  return Object.entries(config.upstreams).flatMap(([name, { subset, endpoints, from }]) => {
    if (subset === undefined) return [];
    const path = ["upstreams", name];
    if (subset.tags.length === 0 && Object.keys(subset.meta).length === 0)
      return [{ path: [...path, "subset"], message: "expected tags, metadata or both, got neither" }];
    const nobodyIn = (named: Origin["endpoints"], at: Path) =>
      named === undefined || inSubset(named, subset).length > 0
        ? []
        : [
            {
              path: at,
              message: `expected an endpoint in the subset ${subsetText(subset)}, got none`,
            },
          ];
    const faults = nobodyIn(endpoints, [...path, "endpoints"]);
    for (const [i, origin] of (from ?? []).entries()) {
      const at = [...path, "from", i];
      faults.push(...nobodyIn(origin.endpoints, [...at, "endpoints"]));
      if (origin.dns !== undefined)
        faults.push({
          path: [...at, "dns"],
          message: "expected a source that knows tags or metadata, which the subset asks for, got DNS",
        });
      if (origin.kubernetes !== undefined && subset.tags.length > 0)
        faults.push({
          path: [...at, "kubernetes"],
          message: "expected a source that knows tags, which the subset asks for, got Kubernetes",
        });
    }
    return faults;
  });
}

function repeatedFaults(endpoints: Origin["endpoints"], path: Path): Complaint[] {
  return (endpoints ?? []).flatMap(({ address, port }, i) => {
    const first = endpoints!.findIndex((other) => other.address === address && other.port === port);
    if (first === i) return [];
    const message = `expected each endpoint once, got the one of endpoints[${first}] again`;
    return [{ path: [...path, i], message }];
  });
}

/** With a definition in Consul, ports and app are told there. */
function sidecarFaults({ service, discovery }: Config): Complaint[] {
  const { sidecarFor, proxyId } = discovery.consul ?? {};
  const path = ["discovery", "consul", sidecarFor === undefined ? "proxyId" : "sidecarFor"];
  if (sidecarFor !== undefined && proxyId !== undefined)
    return [{ path, message: "expected sidecarFor or proxyId, got both" }];
  if (service !== undefined && (sidecarFor !== undefined || proxyId !== undefined))
    return [{ path, message: "expected it without service, which the definition in Consul names, got both" }];
  return [];
}

/** Checks that no answer could pass. */
function healthCheckFaults(config: Config): Complaint[] {
  return Object.entries(config.upstreams).flatMap(([name, { healthCheck }]) => {
    if (healthCheck?.probe.type !== "http") return [];
    const [from, to] = healthCheck.probe.statuses;
    if (from <= to) return [];
    const path = ["upstreams", name, "healthCheck", "statusTo"];
    return [{ path, message: `expected at least statusFrom, which is ${from}, got ${to}` }];
  });
}

/**
 * An upstream that is heddle's own way out: each request would come back until its deadline. Who connects to "every
 * address" comes out on this machine too.
 */
function loopFaults(config: Config): Complaint[] {
  const faults: Complaint[] = [];
  const own = new Set([config.outbound.listener.listen.port]);
  for (const { localPort } of Object.values(config.upstreams))
    if (localPort !== undefined) own.add(localPort);
  for (const [name, { endpoints }] of Object.entries(config.upstreams))
    for (const [i, { address, port }] of (endpoints ?? []).entries())
      if (port !== 0 && own.has(port) && /^(?:127\.|::1?$|0\.0\.0\.0$|localhost$)/.test(address))
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
  const { service, inbound, outbound, admin, health, upstreams } = config;
  const local = outbound.listener.listen.host;
  // An app on another address may be on another machine, where its port takes none of ours.
  const appIsHere = service !== undefined && /^(?:127\.|::1$|localhost$)/.test(service.address);
  const claims: Claim[] = [
    ...(appIsHere ? [{ path: ["service", "port"], host: service.address, port: service.port }] : []),
    ...(service === undefined ? [] : [{ path: ["inbound", "listen"], ...inbound.listener.listen }]),
    { path: ["outbound", "listen"], ...outbound.listener.listen },
    { path: ["admin", "listen"], ...admin.listen },
    ...(health === undefined ? [] : [{ path: ["health", "listen"], ...health.listen }]),
    ...Object.entries(upstreams).flatMap(([name, { localPort = 0 }]) => [
      { path: ["upstreams", name, "localPort"], host: local, port: localPort },
    ]),
  ];
  // By port: an upstream without one claims 0, and there may be thousands.
  const earlier = new Map<number, Claim[]>();
  return claims.flatMap((claim) => {
    if (claim.port === 0) return [];
    const same = earlier.get(claim.port) ?? [];
    const other = same.find((one) => collide(one, claim));
    same.push(claim);
    earlier.set(claim.port, same);
    if (other === undefined) return [];
    const [mine, theirs] = isSet(claim.path) ? [claim, other] : [other, claim];
    const message = `expected a port of its own, got ${mine.port}, which ${theirs.path.join(".")} has`;
    return [{ path: mine.path, message }];
  });
}

/** Two with one port, which is not 0: on two addresses of the machine it is two ports. */
function collide(a: Claim, b: Claim): boolean {
  const isEvery = (host: string) => host === "0.0.0.0" || host === "::";
  return a.host === b.host || isEvery(a.host) || isEvery(b.host);
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
    const { shadowRequestMs = 0, shadowAttemptMs = 0 } = timeouts;
    bound(["timeouts", "shadowRequest"], shadowRequestMs, "timeouts.request", timeouts.requestMs);
    bound(["timeouts", "shadowAttempt"], shadowAttemptMs, "timeouts.attempt", timeouts.attemptMs);
    bound(["retries", "backoff", "base"], retries.backoff.baseMs, "backoff.max", retries.backoff.maxMs);
  }
  return faults;
}

/** A sidecar that has nothing to do is a file that was cut off or a section that was misspelt. */
function usefulFaults(config: Config): Complaint[] {
  const { sidecarFor, proxyId } = config.discovery.consul ?? {};
  if (sidecarFor !== undefined || proxyId !== undefined) return [];
  if (config.service !== undefined || Object.keys(config.upstreams).length > 0) return [];
  return [{ path: [], message: "expected a service to stand beside or upstreams to call, got neither" }];
}
