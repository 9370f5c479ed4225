/**
 * What comes back through the layers: a head, and a body that may still be arriving.
 */
import type { Body } from "./body.ts";
import type { HeaderPairs } from "./headers.ts";

export interface ProxyResponse {
  readonly status: number;
  /** The reason phrase as it came; may be empty. */
  readonly reason: string;
  /** End-to-end fields only: the codec has taken framing and hop-by-hop fields out. */
  readonly headers: HeaderPairs;
  readonly body: Body;
}
