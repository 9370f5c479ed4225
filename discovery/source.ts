/**
 * Where endpoints come from. A source pushes whole lists: who uses it never has to ask what has changed, and
 * a list that is the same as before is not pushed again.
 */
import type { Endpoint } from "../core/index.ts";

export interface Source {
  /** For the log and /endpoints, such as `static` or `consul:orders`. */
  readonly name: string;
  /** Begins to push lists, the first as soon as there is one. */
  start(onEndpoints: (endpoints: readonly Endpoint[]) => void): void;
  stop(): void;
}
