/**
 * What is registered for a service with a sidecar. A decision without I/O.
 *
 * Peers are sent to the inbound port, not to the app: what the sidecar does for the app it does for calls that
 * pass through it. An HTTP check goes the same way and proves both. Without one, a TCP check asks the app itself, as
 * the sidecar would always accept, and another one asks the sidecar.
 */
import { endpointKey } from "../../core/index.ts";
import type { ServiceRegistration } from "./agent.ts";

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
  readonly check: {
    readonly httpPath?: string | undefined;
    readonly intervalMs: number;
    readonly timeoutMs: number;
    readonly deregisterAfterMs: number;
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
  const sidecar = endpointKey({ address: wildcard ? loopback : inbound.host, port: inbound.port });
  const { httpPath, ...times } = service.check;
  return {
    id: service.id ?? `${service.name}-${hostname}-${inbound.port}`,
    name: service.name,
    address: service.advertise ?? (wildcard ? "" : inbound.host),
    port: inbound.port,
    tags: service.tags,
    meta: service.meta,
    check: {
      ...times,
      http: httpPath === undefined ? undefined : `http://${sidecar}${httpPath}`,
      tcp: endpointKey(service),
      sidecar: httpPath === undefined ? sidecar : undefined,
    },
  };
}
