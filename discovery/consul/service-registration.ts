/**
 * What is registered for a service with a sidecar. A decision without I/O.
 *
 * Peers are sent to the inbound port, not to the app: what the sidecar does for the app it does for calls that pass through
 * it. An HTTP check goes the same way and proves both. Without one, a TCP check asks the app itself, as the sidecar would
 * always accept, and another one asks the sidecar. With a time to live the agent asks nobody: for agents that cannot
 * reach the sidecar.
 */
import { endpointKey } from "../../core/index.ts";
import type { ProbeOptions } from "../health/probe.ts";

/** The service as the configuration describes it. */
export interface ServiceDefinition {
  readonly name: string;
  readonly id?: string | undefined;
  /** Where the app listens. */
  readonly address: string;
  readonly port: number;
  /** The address under which peers reach the sidecar, if not that of its inbound port. */
  readonly advertise?: string | undefined;
  readonly tags: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
  readonly zone?: string | undefined;
  readonly weight: number;
  readonly warningWeight: number;
  readonly check: {
    readonly httpPath?: string | undefined;
    /** The agent takes the instance for critical when it has heard nothing for so long. */
    readonly ttlMs?: number | undefined;
    readonly intervalMs: number;
    readonly timeoutMs: number;
    readonly deregisterAfterMs: number;
  };
}

export interface ServiceRegistration {
  readonly id: string;
  readonly name: string;
  /** The body of the call, in Consul's words. */
  readonly body: Readonly<Record<string, unknown>>;
  /** With a time to live: what is asked of whom, how often, and what is then told to which check. */
  readonly report?: {
    readonly checkId: string;
    readonly ask: { readonly address: string; readonly port: number };
    readonly probe: ProbeOptions;
    readonly intervalMs: number;
    readonly timeoutMs: number;
  };
}

/** @param inbound where the inbound port listens, with its real port */
export function serviceRegistration(
  service: ServiceDefinition,
  inbound: { readonly host: string; readonly port: number },
  hostname: string,
): ServiceRegistration {
  const wildcard = inbound.host === "0.0.0.0" || inbound.host === "::";
  const loopback = inbound.host === "::" ? "::1" : "127.0.0.1";
  const sidecarAt = { address: wildcard ? loopback : inbound.host, port: inbound.port };
  const id = service.id ?? `${service.name}-${hostname}-${inbound.port}`;
  const address = service.advertise ?? (wildcard ? "" : inbound.host);
  const { ttlMs, httpPath, intervalMs, timeoutMs } = service.check;
  const checkId = `service:${id}`;
  return {
    id,
    name: service.name,
    body: {
      ID: id,
      Name: service.name,
      ...(address === "" ? {} : { Address: address }),
      Port: inbound.port,
      Tags: service.tags,
      Meta: { ...service.meta, ...(service.zone === undefined ? {} : { zone: service.zone }) },
      Weights: { Passing: service.weight, Warning: service.warningWeight },
      Checks: checks(service, checkId, endpointKey(sidecarAt)),
    },
    ...(ttlMs === undefined
      ? {}
      : {
          report: {
            checkId,
            ask: httpPath === undefined ? { address: service.address, port: service.port } : sidecarAt,
            probe:
              httpPath === undefined
                ? { type: "tcp" as const }
                : {
                    type: "http" as const,
                    path: httpPath,
                    host: service.name,
                    statuses: [200, 299] as const,
                  },
            // Two may be lost, and the third comes in time.
            intervalMs: Math.min(intervalMs, ttlMs / 3),
            timeoutMs,
          },
        }),
  };
}

function checks(service: ServiceDefinition, checkId: string, sidecar: string): object[] {
  const { httpPath, ttlMs, intervalMs, timeoutMs, deregisterAfterMs } = service.check;
  const DeregisterCriticalServiceAfter = `${Math.round(deregisterAfterMs / 1000)}s`;
  if (ttlMs !== undefined)
    return [
      {
        CheckID: checkId,
        Name: service.name,
        TTL: `${Math.round(ttlMs)}ms`,
        DeregisterCriticalServiceAfter,
      },
    ];
  const often = {
    Interval: `${Math.round(intervalMs)}ms`,
    Timeout: `${Math.round(timeoutMs)}ms`,
    DeregisterCriticalServiceAfter,
  };
  if (httpPath !== undefined)
    return [{ CheckID: checkId, Name: service.name, HTTP: `http://${sidecar}${httpPath}`, ...often }];
  return [
    { CheckID: `${checkId}:app`, Name: service.name, TCP: endpointKey(service), ...often },
    { CheckID: `${checkId}:sidecar`, Name: "its sidecar", TCP: sidecar, ...often },
  ];
}
