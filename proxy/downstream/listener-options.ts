/**
 * What a listening port is told: where to listen, and how long and how much it bears from a caller.
 */
import type { MessageLimits } from "../http1/index.ts";

/** Where to listen; port 0 takes any that is free. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export interface ListenerOptions {
  readonly listen: ListenAddress;
  /** For a head, from its first byte to its last; and for the first byte of a connection. */
  readonly headMs: number;
  /** Between two pieces of a request's body, and for a caller that does not read its answer. */
  readonly bodyMs: number;
  /** How long a connection may stay unused between two requests. */
  readonly keepAliveMs: number;
  /** Open connections at the most; further ones are hung up on. */
  readonly maxConnections: number;
  readonly limits: MessageLimits;
}
