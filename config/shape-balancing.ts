/**
 * What may be said of how an endpoint is chosen: the algorithm, who is chosen from at all, and who is left out for a while.
 */
import * as v from "valibot";
import { BALANCING_ALGORITHMS } from "../balancing/index.ts";
import { defined, section } from "./mapping.ts";
import { flag, withDefaults } from "./shape-discovery.ts";
import { cookieName, cookiePath, cookieTtl, sticky } from "./shape-sessions.ts";
import { duration, numberFrom, percent, text, wholeNumber } from "./units.ts";

const ALGORITHM = `one of ${BALANCING_ALGORITHMS.join(", ")}`;
/** What Envoy allows; more would be gigabytes. */
const MOST_RING = 8_388_608;
const HASH = "exactly one of header, cookie, query, path, source";
/** `path` is a thing to go by, or where a cookie that is set is good for. */
const hashKey = v.pipe(
  section({
    header: v.optional(text("the name of a header field")),
    cookie: v.optional(cookieName),
    ttl: v.optional(cookieTtl),
    query: v.optional(text("the name of a parameter of the query")),
    path: v.optional(v.union([flag, cookiePath], "true or false, or the path of a cookie that has a ttl")),
    source: v.optional(flag),
  }),
  v.check(
    ({ header, cookie, query, path, source }) =>
      [header, cookie, query, path === true || undefined, source || undefined].filter(
        (value) => value !== undefined,
      ).length === 1,
    HASH,
  ),
  v.check(({ cookie, ttl }) => ttl === undefined || cookie !== undefined, "a ttl only with a cookie"),
  v.check(
    ({ ttl, path }) => typeof path !== "string" || ttl !== undefined,
    "a path in words only with a ttl",
  ),
  v.transform(({ header, cookie, ttl, query, path: byPath }) =>
    header !== undefined
      ? { of: "header" as const, name: header.toLowerCase() }
      : cookie !== undefined
        ? {
            of: "cookie" as const,
            name: cookie,
            ...(ttl === undefined
              ? {}
              : { sets: { ttlMs: ttl, path: typeof byPath === "string" ? byPath : "/" } }),
          }
        : query !== undefined
          ? { of: "query" as const, name: query }
          : { of: byPath === true ? ("path" as const) : ("source" as const) },
  ),
);

export const balancing = withDefaults(
  v.pipe(
    section({
      algorithm: v.optional(v.picklist(BALANCING_ALGORITHMS, ALGORITHM), BALANCING_ALGORITHMS[0]),
      choices: v.optional(wholeNumber(2, 1000), 2),
      hash: v.optional(v.array(hashKey, "a list of what a request is known by"), []),
      minimumRingSize: v.optional(wholeNumber(1, MOST_RING)),
      maximumRingSize: v.optional(wholeNumber(1, MOST_RING)),
      bias: v.optional(numberFrom(0, 10, 1)),
      loadFactor: v.optional(numberFrom(1.01, 100, 1.25)),
      prequal: v.optional(
        v.pipe(
          section({
            probes: v.optional(numberFrom(0, 10, 0.5)),
            quantile: v.optional(percent(0, 100)),
            maxAge: v.optional(duration(10, 60_000)),
          }),
          v.transform(({ probes, quantile, maxAge }) =>
            defined({ probesPerRequest: probes, quantile, maxAgeMs: maxAge }),
          ),
        ),
      ),
      sticky,
      panicThreshold: v.optional(percent(0, 100), "50%"),
      overprovisioning: v.optional(numberFrom(1, 100, 1.4), 1.4),
      aperture: v.optional(wholeNumber(0, 10_000), 0),
      zones: withDefaults(
        section({
          enabled: v.optional(flag, false),
          minimumEndpoints: v.optional(wholeNumber(1, 10_000), 6),
          tolerance: v.optional(numberFrom(1, 100, 1.4), 1.4),
        }),
      ),
    }),
    v.transform(({ hash, sticky: kept, panicThreshold, overprovisioning, aperture, zones, ...options }) => {
      const { enabled, ...zoneOptions } = zones;
      return {
        hash,
        sticky: kept,
        options: defined(options),
        candidates: {
          priority: { panicThreshold, overprovisioning },
          aperture,
          ...(enabled ? { zones: zoneOptions } : {}),
        },
      };
    }),
  ),
);

export const slowStart = withDefaults(
  v.pipe(
    section({
      window: v.optional(duration(0), "30s"),
      aggression: v.optional(numberFrom(0.01, 100, 1.5), 1),
      floor: v.optional(percent(1, 100), "10%"),
    }),
    v.transform(({ window, ...rest }) => ({ ...rest, windowMs: window })),
  ),
);

/** How many there may be in a row; 0 turns a rule off. */
const inARow = wholeNumber(0, 1_000_000);

export const outliers = withDefaults(
  v.pipe(
    section({
      enabled: v.optional(flag, true),
      interval: v.optional(duration(100), "10s"),
      minimumRequests: v.optional(wholeNumber(1, 1_000_000), 20),
      minimumEndpoints: v.optional(wholeNumber(2, 10_000), 3),
      successRateFactor: v.optional(numberFrom(0, 100, 1.9), 1.9),
      successRateMargin: v.optional(percent(0.1, 100), "10%"),
      failureShare: v.optional(percent(0, 100), "0%"),
      latencyFactor: v.optional(numberFrom(0, 1000, 5), 0),
      latencyFloor: v.optional(duration(), "100ms"),
      consecutiveFailures: v.optional(inARow, 0),
      consecutiveGatewayFailures: v.optional(inARow, 0),
      ejection: withDefaults(
        v.pipe(
          section({
            base: v.optional(duration(100), "30s"),
            max: v.optional(duration(100), "5m"),
            share: v.optional(percent(1, 100), "30%"),
            keep: v.optional(wholeNumber(1, 10_000), 1),
          }),
          v.transform(({ base, max, ...rest }) => ({ ...rest, baseMs: base, maxMs: max })),
        ),
      ),
      probes: v.optional(wholeNumber(1, 1000), 3),
    }),
    v.transform(({ enabled, interval, latencyFloor, ...rest }) =>
      enabled ? { ...rest, intervalMs: interval, latencyFloorMs: latencyFloor } : undefined,
    ),
  ),
);
