/**
 * What is said of TCP and needs a request to mean anything. Who has written it believes that it holds.
 */
import type { RoutePolicy } from "../core/index.ts";
import type { IsSet, Path } from "./document.ts";
import type { Complaint } from "./issues.ts";
import type { Config } from "./shape.ts";

/** Settings of an upstream that are about requests, answers or connections that are used again. */
const OF_UPSTREAMS: readonly Path[] = [
  ["timeouts", "attempt"],
  ["timeouts", "idle"],
  ["retries", "replay"],
  ["hedge"],
  ["fallback"],
  ["balancing", "sticky"],
  ["balancing", "prequal"],
  ["limits", "adaptive"],
  ["keepAlive"],
  ["upgrades"],
];
/** The same of the way in. */
const OF_INBOUND: readonly Path[] = [
  ...OF_UPSTREAMS.filter(([section]) => section === "timeouts" || section === "retries"),
  ["limits", "adaptive"],
  ["fallback"],
  ["headTimeout"],
  ["bodyTimeout"],
  ["keepAlive"],
  ["keepAliveToApp"],
  ["maxHead"],
  ["maxFields"],
  ["upgrades"],
];

const NO_REQUESTS = "which carries no requests";

export function tcpFaults(config: Config, isSet: IsSet): Complaint[] {
  const faults: Complaint[] = [];
  const isDefined = [config.discovery.consul?.sidecarFor, config.discovery.consul?.proxyId].some(Boolean);
  const isIntercepted = config.outbound.mode === "transparent";
  for (const [name, upstream] of Object.entries(config.upstreams)) {
    const { options, localPort, healthCheck, virtualAddresses } = upstream;
    if (options.protocol !== "tcp") continue;
    const path = ["upstreams", name];
    // Where connections are redirected it is known by its endpoints, too.
    const isReached = localPort !== undefined || virtualAddresses.length > 0 || isIntercepted || isDefined;
    if (!isReached)
      faults.push({
        path,
        message: "expected a localPort with protocol tcp, as no host names it; none came",
      });
    faults.push(...unread(path, OF_UPSTREAMS, isSet), ...failureFaults(options, path, isSet));
    faults.push(...rateFaults(upstream.policy, path));
    if (options.balancing.algorithm === "prequal")
      faults.push({
        path: [...path, "balancing", "algorithm"],
        message: "expected another one with protocol tcp: prequal asks endpoints by requests",
      });
    for (const [i, { of }] of options.hash.entries())
      if (of !== "source")
        faults.push({
          path: [...path, "balancing", "hash", i],
          message: `expected source with protocol tcp, ${NO_REQUESTS}, got ${of}`,
        });
    if (healthCheck?.probe.type === "http" && !isSet([...path, "healthCheck", "type"]))
      faults.push({
        path: [...path, "healthCheck"],
        message:
          "expected a type with protocol tcp: tcp, or http where its port answers that, too; none came",
      });
  }
  return [...faults, ...inboundFaults(config, isSet), ...routeFaults(config)];
}

function inboundFaults({ service, inbound }: Config, isSet: IsSet): Complaint[] {
  if (service?.protocol !== "tcp") return [];
  return [
    ...unread(["inbound"], OF_INBOUND, isSet),
    ...failureFaults(inbound.app, ["inbound"], isSet),
    ...rateFaults(inbound.policy, ["inbound"]),
  ];
}

/** Connections are counted as requests are, but have no fields to go by, and nobody to tell one. */
function rateFaults(policy: Pick<RoutePolicy, "rateLimits"> | undefined, path: Path): Complaint[] {
  const faults: Complaint[] = [];
  for (const [i, { by, fields }] of (policy?.rateLimits ?? []).entries()) {
    const at = [...path, "rateLimits", i];
    if (by.of === "header")
      faults.push({ path: [...at, "by"], message: `expected no header with protocol tcp, ${NO_REQUESTS}` });
    if (fields === "all")
      faults.push({ path: [...at, "fields"], message: "expected refused with protocol tcp, got all" });
  }
  return faults;
}

function unread(path: Path, settings: readonly Path[], isSet: IsSet): Complaint[] {
  return settings.flatMap((setting) => {
    const at = [...path, ...setting];
    return isSet(at) ? [{ path: at, message: `expected none with protocol tcp, ${NO_REQUESTS}` }] : [];
  });
}

type Options = Pick<Config["inbound"]["app"], "retries" | "breaker">;

/** Of a connection there is one failure that can be seen before anything is said on it: that it could not be made. */
function failureFaults({ retries, breaker }: Options, path: Path, isSet: IsSet): Complaint[] {
  const faults: Complaint[] = [];
  const only = (within: Path, values: readonly unknown[], sole: string) => {
    if (!isSet([...path, ...within])) return;
    for (const [i, value] of values.entries())
      if (value !== sole)
        faults.push({
          path: [...path, ...within, i],
          message: `expected only ${sole} with protocol tcp, ${NO_REQUESTS}, got ${value}`,
        });
  };
  only(["retries", "on"], retries.on, "connectFailure");
  only(["breaker", "failures"], breaker.failures, "connect");
  return faults;
}

function routeFaults({ routes, upstreams }: Config): Complaint[] {
  return routes.flatMap(({ to }, i) =>
    to.flatMap(({ upstream }, j) =>
      Object.hasOwn(upstreams, upstream) && upstreams[upstream]!.options.protocol === "tcp"
        ? [
            {
              path: ["routes", i, "to", j, "upstream"],
              message: `expected an upstream that carries requests, got ${upstream}, whose protocol is tcp`,
            },
          ]
        : [],
    ),
  );
}
