/**
 * What may be said of limits, and of the sidecar's own overload.
 *
 * Both ways of finding a limit out by itself are off unless asked for: what they refuse depends on the machine and on
 * what else runs there, and nobody's payment shall be refused by a guess of ours. The bounds that are numbers are always there.
 */
import * as v from "valibot";
import { section } from "./mapping.ts";
import { flag, withDefaults } from "./shape-discovery.ts";
import { duration, percent, size, wholeNumber } from "./units.ts";

const adaptive = withDefaults(
  v.pipe(
    section({
      enabled: v.optional(flag, false),
      minimum: v.optional(wholeNumber(1, 1_000_000), 10),
      tolerance: v.optional(percent(1, 500), "25%"),
      window: v.optional(duration(10, 60_000), "100ms"),
      percentile: v.optional(percent(1, 99), "50%"),
      measureEvery: v.optional(duration(1_000), "30s"),
    }),
    v.transform((a) =>
      a.enabled
        ? {
            minimum: a.minimum,
            tolerance: a.tolerance,
            windowMs: a.window,
            percentile: a.percentile,
            measureMs: a.measureEvery,
          }
        : undefined,
    ),
  ),
);

const LIMIT_MODE = "enforce or shadow";

export const limits = withDefaults(
  v.pipe(
    section({
      connections: v.optional(wholeNumber(1, 65_535), 1024),
      pending: v.optional(wholeNumber(0, 1_000_000), 1024),
      requests: v.optional(wholeNumber(1, 1_000_000), 1024),
      queueTimeout: v.optional(duration(), "1s"),
      mode: v.optional(v.picklist(["enforce", "shadow"], LIMIT_MODE), "enforce"),
      adaptive,
    }),
    v.transform(({ queueTimeout, adaptive: found, ...most }) => ({
      ...most,
      queueMs: queueTimeout,
      ...(found === undefined ? {} : { adaptive: found }),
    })),
  ),
);

export const overload = withDefaults(
  v.pipe(
    section({
      enabled: v.optional(flag, false),
      eventLoopDelay: v.optional(duration(20, 10_000), "100ms"),
      memory: v.optional(percent(1, 99), "90%"),
      memoryLimit: v.optional(size(1024 ** 4, 16 * 1024 ** 2)),
    }),
    v.transform((o) => ({
      enabled: o.enabled,
      eventLoopDelayMs: o.eventLoopDelay,
      memory: o.memory,
      memoryBytes: o.memoryLimit,
    })),
  ),
);
