/**
 * Asking an endpoint itself whether it is well: what is asked, and what counts as a yes.
 */
import type { Endpoint } from "../../core/index.ts";

export type ProbeOptions =
  /** A connection is made: something listens. */
  | { readonly type: "tcp" }
  /** GET is answered with a status of `statuses`. */
  | {
      readonly type: "http";
      readonly path: string;
      /** The Host field; undefined for the endpoint's own address. */
      readonly host?: string | undefined;
      /** Lowest and highest status that count as well. */
      readonly statuses: readonly [number, number];
    }
  /** grpc.health.v1.Health/Check answers SERVING for this service; empty for the server as a whole. */
  | { readonly type: "grpc"; readonly service: string };

export interface ProbeResult {
  readonly passing: boolean;
  /** What was seen, in a few words: `connected`, `200`, `ECONNREFUSED`, `no answer within 1000 ms`, `NOT_SERVING`. */
  readonly note: string;
}

/** Asks once. Never rejects: what cannot be asked is not passing. Ends early, as not passing, when the signal is aborted. */
export type Probe = (
  endpoint: Pick<Endpoint, "address" | "port">,
  signal: AbortSignal,
) => Promise<ProbeResult>;
