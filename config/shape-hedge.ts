/**
 * What may be said of hedges, of an upstream and of a route. Not a part of `retries`, as it answers to slowness and not to a
 * failure, and absent unless asked for, as it sends more than was asked for.
 */
import * as v from "valibot";
import type { HedgeAfter, RoutedHedge } from "../core/index.ts";
import { defined, section } from "./mapping.ts";
import { flag } from "./shape-discovery.ts";
import { duration, percent, wholeNumber } from "./units.ts";

const AFTER = "a duration from 1ms to 24h, such as 50ms, or a percentile from p50 to p99.9, such as p95";
const PERCENTILE = /^p([5-9]\d(?:\.\d)?)$/;
const DURATION = duration();

const after = v.pipe(
  v.string(AFTER),
  v.regex(/^(?:p[5-9]\d(?:\.\d)?|\d+(?:\.\d+)?(?:ms|s|m|h))$/, AFTER),
  v.check((text) => PERCENTILE.test(text) || v.is(DURATION, text), AFTER),
  v.transform((text): HedgeAfter => {
    const percentile = PERCENTILE.exec(text)?.[1];
    // To a tenth of a per cent: 0.999 and not what the division makes of it.
    return percentile === undefined
      ? { ms: v.parse(DURATION, text) }
      : { share: Math.round(Number(percentile) * 10) / 1000 };
  }),
);

const attempts = wholeNumber(1, 3);

/** Of an upstream; without it no request is sent twice at a time. */
export const hedge = v.optional(
  v.pipe(
    section({
      enabled: v.optional(flag, true),
      after: v.optional(after, "p95"),
      window: v.optional(duration(1000), "30s"),
      attempts: v.optional(attempts, 1),
      ratio: v.optional(percent(0, 100), "5%"),
    }),
    v.transform(({ window, ...rest }) => ({ ...rest, windowMs: window })),
  ),
);

/** Of a route, in place of what its upstream has. */
export const routedHedge = v.optional(
  v.pipe(
    section({
      enabled: v.optional(flag, true),
      after: v.optional(after),
      attempts: v.optional(attempts),
    }),
    v.transform((said): RoutedHedge => defined(said)),
  ),
);
