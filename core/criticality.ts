/**
 * How much it matters that a request is answered, as its caller says in a header that is sent on like any other: who is
 * short of something gives up `sheddable` requests first and `critical` ones last.
 *
 * Three words and no numbers: with numbers every team finds that its own are the most important ones. A word that is
 * not known is `default`, so that nobody gains by a new one.
 */
import type { Exchange } from "./exchange.ts";
import { headerValue } from "./headers.ts";

/** The most critical first; the place in this list is the rank. */
export const CRITICALITIES = ["critical", "default", "sheddable"] as const;

export type Criticality = (typeof CRITICALITIES)[number];

export const CRITICALITY_HEADER = "x-heddle-criticality";

/** 0 for critical, 1 for default, 2 for sheddable. */
export function criticalityRank({ headers }: Pick<Exchange, "headers">): number {
  switch (headerValue(headers, CRITICALITY_HEADER)) {
    case "critical":
      return 0;
    case "sheddable":
      return 2;
    default:
      return 1;
  }
}
