/**
 * What is particular to requests that come in, of which the way out knows nothing. Apart from the policy of the way in: it is what a
 * route or an upstream may ask for as well.
 */
import type { Config } from "../config/index.ts";

export interface WayIn {
  /** What a registry asks for to learn whether the app is well. */
  readonly healthPath?: string | undefined;
  /** Whether callers are believed who say how much their requests matter. */
  readonly criticality: Config["inbound"]["criticality"];
}

export function wayInOf({ inbound, service }: Config): WayIn {
  return { healthPath: service?.check.httpPath, criticality: inbound.criticality };
}
