/**
 * One replica of a service, as discovery knows it: where it is and how much it should get.
 *
 * What the proxy has learned about it (latency, breaker, connections) is kept elsewhere under the same key, so
 * that a new snapshot of endpoints loses nothing about those that stay.
 */
import type { PeerIdentity } from "./identity.ts";

export interface Endpoint {
  /** IPv4, IPv6 (without brackets) or a name. */
  readonly address: string;
  readonly port: number;
  /** Share of traffic relative to its peers; at least 1. */
  readonly weight: number;
  readonly zone?: string;
  /** 0, the default, is preferred; a level gets requests as far as those before it cannot carry them. */
  readonly priority?: number;
  /** Known and counted in its level, but used only where health is not believed (panic). */
  readonly unwell?: boolean;
  /** Who it must be, where discovery knows; to be proved when there is TLS. */
  readonly identity?: PeerIdentity;
  /** Which discovery source named it, for /endpoints. */
  readonly source: string;
}

/** The identity of an endpoint across snapshots: `10.0.0.1:8080`, `[::1]:8080`. */
export function endpointKey(endpoint: Pick<Endpoint, "address" | "port">): string {
  return endpoint.address.includes(":")
    ? `[${endpoint.address}]:${endpoint.port}`
    : `${endpoint.address}:${endpoint.port}`;
}
