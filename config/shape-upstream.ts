/**
 * What may be said of an upstream: where its endpoints are, how one is chosen, and what keeps calls to it safe. The app
 * behind the inbound side is one, too, and shares what it has in common.
 */
import * as v from "valibot";
import { section } from "./mapping.ts";
import { balancing, outliers, slowStart } from "./shape-balancing.ts";
import { breakerWith } from "./shape-breaker.ts";
import { endpoints, follow, from, healthCheck, merge, subset, withDefaults } from "./shape-discovery.ts";
import { hedge } from "./shape-hedge.ts";
import { virtualAddresses } from "./shape-intercept.ts";
import { limits } from "./shape-overload.ts";
import { policyEntries, policyOf } from "./shape-policy.ts";
import { duration, percent, size, text, wholeNumber } from "./units.ts";

const HOST_NAME = /^[a-z0-9]([a-z0-9._-]{0,252})$/;
const UPSTREAM_NAME =
  "a name such as orders: lower-case letters, digits, '-', '_' and '.', the first a letter or a digit";

export const name = v.pipe(v.string(UPSTREAM_NAME), v.regex(HOST_NAME, UPSTREAM_NAME));

export const timeoutsWith = (attemptMs: number, request: string) =>
  withDefaults(
    v.pipe(
      section({
        connect: v.optional(duration()),
        attempt: v.optional(duration()),
        request: v.optional(duration(), request),
        idle: v.optional(duration(), "60s"),
        tunnelIdle: v.optional(duration(), "1h"),
        shadowRequest: v.optional(duration()),
        shadowAttempt: v.optional(duration()),
      }),
      v.transform((t) => ({
        // Without a word about them, a short request time-out is not contradicted by what is usual.
        connectMs: t.connect ?? Math.min(1_000, t.request),
        attemptMs: t.attempt ?? Math.min(attemptMs, t.request),
        requestMs: t.request,
        idleMs: t.idle,
        tunnelIdleMs: t.tunnelIdle,
        ...(t.shadowRequest === undefined ? {} : { shadowRequestMs: t.shadowRequest }),
        ...(t.shadowAttempt === undefined ? {} : { shadowAttemptMs: t.shadowAttempt }),
      })),
    ),
  );

const RETRY_CONDITION = "one of connectFailure, reset, timeout, or a status from 400 to 599";
export const retryCondition = v.union(
  [
    v.picklist(["connectFailure", "reset", "timeout"], RETRY_CONDITION),
    v.pipe(
      v.number(RETRY_CONDITION),
      v.integer(RETRY_CONDITION),
      v.minValue(400, RETRY_CONDITION),
      v.maxValue(599, RETRY_CONDITION),
    ),
  ],
  RETRY_CONDITION,
);

/**
 * A request that could not be sent costs an endpoint a refused connection and no work, so as many requeues are allowed
 * as there are answers: half of the endpoints may be gone and each request still finds one. Where all are gone there are no
 * answers, and nothing is knocked at twice beyond the floor.
 */
const REQUEUE_RATIO = "100%";

const budgetWith = (ratio: string) =>
  withDefaults(
    v.pipe(
      section({
        ratio: v.optional(percent(0, 100), ratio),
        minPerSecond: v.optional(wholeNumber(0, 10_000), 10),
        window: v.optional(duration(1000), "10s"),
      }),
      v.transform((b) => ({ ratio: b.ratio, minPerSecond: b.minPerSecond, windowMs: b.window })),
    ),
  );

export const retriesWith = (attempts: number, on: v.InferInput<typeof retryCondition>[]) =>
  withDefaults(
    v.pipe(
      section({
        attempts: v.optional(wholeNumber(0, 10), attempts),
        on: v.optional(v.array(retryCondition, "a list of conditions"), on),
        backoff: withDefaults(
          v.pipe(
            section({ base: v.optional(duration(), "25ms"), max: v.optional(duration(), "250ms") }),
            v.transform((b) => ({ baseMs: b.base, maxMs: b.max })),
          ),
        ),
        budget: budgetWith("20%"),
        requeues: withDefaults(
          section({ attempts: v.optional(wholeNumber(0, 10)), budget: budgetWith(REQUEUE_RATIO) }),
        ),
        replay: v.optional(size(1024 * 1024), "64KiB"),
      }),
      v.transform(({ replay, ...rest }) => ({ ...rest, replayBytes: replay })),
    ),
  );

const UPGRADE = "a protocol such as websocket, in lower case; not h2c, whose requests would pass unread";
export const upgrades = v.optional(
  v.array(
    v.pipe(
      v.string(UPGRADE),
      v.regex(/^(?!h2c$|h2$|http\/)[a-z0-9][a-z0-9._+-]*(?:\/[a-z0-9._+-]+)?$/, UPGRADE),
    ),
    "a list of protocols",
  ),
  [],
);

export const protocol = v.optional(v.picklist(["http", "tcp"], "http or tcp"), "http");

export const upstream = v.pipe(
  section({
    endpoints: v.optional(endpoints),
    service: v.optional(text("the name of a service in Consul")),
    from: v.optional(from),
    merge,
    subset,
    follow,
    healthCheck,
    protocol,
    localPort: v.optional(wholeNumber(0, 65_535)),
    virtualAddresses,
    balancing,
    outliers,
    slowStart,
    timeouts: timeoutsWith(10_000, "15s"),
    retries: retriesWith(2, ["connectFailure", "reset", 502, 503, 504]),
    hedge,
    breaker: breakerWith("enforce"),
    limits,
    ...policyEntries,
    keepAlive: v.optional(duration(), "4s"),
    upgrades,
  }),
  v.transform(
    ({
      endpoints: named,
      service,
      from: sources,
      merge: together,
      subset: part,
      follow: when,
      healthCheck: check,
      rateLimits,
      fallback,
      faults,
      ...rest
    }) => {
      const {
        localPort,
        virtualAddresses: virtual,
        keepAlive,
        balancing: how,
        slowStart: ramp,
        ...options
      } = rest;
      return {
        endpoints: named,
        service,
        from: sources,
        merge: together,
        subset: part,
        follow: when,
        healthCheck: check,
        localPort,
        ...policyOf({ rateLimits, fallback }),
        faults,
        virtualAddresses: virtual,
        options: {
          ...options,
          balancing: how.options,
          hash: how.hash,
          ...(how.sticky === undefined ? {} : { sticky: how.sticky }),
          candidates: { ...how.candidates, slowStart: ramp },
          keepAliveMs: keepAlive,
        },
      };
    },
  ),
);

export type UpstreamConfig = v.InferOutput<typeof upstream>;

/** An upstream of which nothing has been said. */
export const usualUpstream: UpstreamConfig = v.parse(upstream, {});
