/**
 * What comes back through the layers: a head, and a body that may still be arriving.
 */
import type { Body } from "./body.ts";
import type { HeaderPairs } from "./headers.ts";

/**
 * What follows a 101, or what a TCP connection is from its beginning: bytes both ways that are not read here. Those for the
 * caller come as the body of the answer.
 */
export interface Tunnel {
  /** The protocol as the endpoint names it. */
  readonly protocol: string;
  /** Takes the caller's bytes from here on; to be called once. */
  connect(fromCaller: Body): void;
  /** Asks the caller to go elsewhere, as far as the protocol has words for it. */
  leave(): void;
  /**
   * Resolves when the endpoint's connection has closed, with whether both of its sides had ended before; of TCP only, where either may
   * end before the other.
   */
  readonly closed?: Promise<boolean>;
}

export interface ProxyResponse {
  readonly status: number;
  /** The reason phrase as it came; may be empty. */
  readonly reason: string;
  /** End-to-end fields only: the codec has taken framing and hop-by-hop fields out. */
  readonly headers: HeaderPairs;
  readonly body: Body;
  /** The end of the body was told by that of the connection alone: a part of it looks like the whole. */
  readonly untilClose?: boolean;
  /** With status 101, and of every TCP connection. */
  readonly tunnel?: Tunnel;
}
