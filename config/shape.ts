/**
 * The shape of the configuration: every setting once, with its unit, its default and what is expected of it.
 * Types, validation, defaults and docs/heddle.schema.json all come from here.
 *
 * Each group ends in a transform to what the rooms ask for, with units in the names; a disagreement is found by
 * the compiler where the parts are put together (proxy/sidecar.ts).
 */
import * as v from "valibot";
import { BALANCING_ALGORITHMS } from "../balancing/index.ts";
import type { ConsulOptions } from "../discovery/index.ts";
import { LOG_LEVELS } from "../telemetry/index.ts";
import { mappingOf, section } from "./mapping.ts";
import {
  discovery,
  endpoints,
  flag,
  follow,
  from,
  healthCheck,
  merge,
  TEXT,
  withDefaults,
} from "./shape-discovery.ts";
import { address, duration, host, percent, size, text, wholeNumber } from "./units.ts";

const HOST_NAME = /^[a-z0-9]([a-z0-9._-]{0,252})$/;
const UPSTREAM_NAME =
  "a name such as orders: lower-case letters, digits, '-', '_' and '.', the first a letter or a digit";

const name = v.pipe(v.string(UPSTREAM_NAME), v.regex(HOST_NAME, UPSTREAM_NAME));

const timeoutsWith = (attemptMs: number, request: string) =>
  withDefaults(
    v.pipe(
      section({
        connect: v.optional(duration()),
        attempt: v.optional(duration()),
        request: v.optional(duration(), request),
        idle: v.optional(duration(), "60s"),
        tunnelIdle: v.optional(duration(), "1h"),
      }),
      v.transform((t) => ({
        // Without a word about them, a short request time-out is not contradicted by what is usual.
        connectMs: t.connect ?? Math.min(1_000, t.request),
        attemptMs: t.attempt ?? Math.min(attemptMs, t.request),
        requestMs: t.request,
        idleMs: t.idle,
        tunnelIdleMs: t.tunnelIdle,
      })),
    ),
  );

const limits = withDefaults(
  section({
    connections: v.optional(wholeNumber(1, 65_535), 1024),
    pending: v.optional(wholeNumber(0, 1_000_000), 1024),
    requests: v.optional(wholeNumber(1, 1_000_000), 1024),
  }),
);

const RETRY_CONDITION = "one of connectFailure, reset, timeout, or a status from 400 to 599";
const retryCondition = v.union(
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

const retriesWith = (attempts: number, on: v.InferInput<typeof retryCondition>[]) =>
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
        budget: withDefaults(
          v.pipe(
            section({
              ratio: v.optional(percent(0, 100), "20%"),
              minPerSecond: v.optional(wholeNumber(0, 10_000), 10),
              window: v.optional(duration(1000), "10s"),
            }),
            v.transform((b) => ({ ratio: b.ratio, minPerSecond: b.minPerSecond, windowMs: b.window })),
          ),
        ),
        replay: v.optional(size(1024 * 1024), "64KiB"),
      }),
      v.transform(({ replay, ...rest }) => ({ ...rest, replayBytes: replay })),
    ),
  );

const breakerWith = (enabled: boolean) =>
  withDefaults(
    v.pipe(
      section({
        enabled: v.optional(flag, enabled),
        errorRate: v.optional(percent(1, 100), "50%"),
        minimumRequests: v.optional(wholeNumber(1, 1_000_000), 20),
        consecutiveFailures: v.optional(wholeNumber(0, 1_000_000), 5),
        window: v.optional(duration(100), "10s"),
        openFor: v.optional(duration(10), "5s"),
      }),
      v.transform(({ window, openFor, ...rest }) => ({ ...rest, windowMs: window, openForMs: openFor })),
    ),
  );

const ALGORITHM = `one of ${BALANCING_ALGORITHMS.join(", ")}`;
const FACTOR = "a number from 1.01 to 100, such as 1.25";
const HASH = "exactly one of header, cookie, query, path, source";
const hashKey = v.pipe(
  section({
    header: v.optional(text("the name of a header field")),
    cookie: v.optional(text("the name of a cookie")),
    query: v.optional(text("the name of a parameter of the query")),
    path: v.optional(flag),
    source: v.optional(flag),
  }),
  v.check(
    (given) => Object.values(given).filter((value) => value !== undefined && value !== false).length === 1,
    HASH,
  ),
  v.transform(({ header, cookie, query, path: byPath }) =>
    header !== undefined
      ? { of: "header" as const, name: header.toLowerCase() }
      : cookie !== undefined
        ? { of: "cookie" as const, name: cookie }
        : query !== undefined
          ? { of: "query" as const, name: query }
          : { of: byPath === true ? ("path" as const) : ("source" as const) },
  ),
);

const balancing = withDefaults(
  v.pipe(
    section({
      algorithm: v.optional(v.picklist(BALANCING_ALGORITHMS, ALGORITHM), BALANCING_ALGORITHMS[0]),
      choices: v.optional(wholeNumber(2, 1000), 2),
      hash: v.optional(v.array(hashKey, "a list of what a request is known by"), []),
      loadFactor: v.optional(v.pipe(v.number(FACTOR), v.minValue(1.01, FACTOR), v.maxValue(100, FACTOR))),
    }),
    // Undefined members are left out: each algorithm has its own defaults.
    v.transform(({ algorithm, choices, hash, loadFactor }) => ({
      hash,
      options: { algorithm, choices, ...(loadFactor === undefined ? {} : { loadFactor }) },
    })),
  ),
);

const UPGRADE = "a protocol such as websocket, in lower case; not h2c, whose requests would pass unread";
const upgrades = v.optional(
  v.array(
    v.pipe(
      v.string(UPGRADE),
      v.regex(/^(?!h2c$|h2$|http\/)[a-z0-9][a-z0-9._+-]*(?:\/[a-z0-9._+-]+)?$/, UPGRADE),
    ),
    "a list of protocols",
  ),
  [],
);

const upstream = v.pipe(
  section({
    endpoints: v.optional(endpoints),
    service: v.optional(text("the name of a service in Consul")),
    from: v.optional(from),
    merge,
    follow,
    healthCheck,
    localPort: v.optional(wholeNumber(0, 65_535)),
    balancing,
    timeouts: timeoutsWith(10_000, "15s"),
    retries: retriesWith(2, ["connectFailure", "reset", 502, 503, 504]),
    breaker: breakerWith(true),
    limits,
    keepAlive: v.optional(duration(), "4s"),
    upgrades,
  }),
  v.transform(
    ({
      endpoints: named,
      service,
      from: sources,
      merge: together,
      follow: when,
      healthCheck: check,
      ...rest
    }) => {
      const { localPort, keepAlive, balancing: how, ...options } = rest;
      return {
        endpoints: named,
        service,
        from: sources,
        merge: together,
        follow: when,
        healthCheck: check,
        localPort,
        options: { ...options, balancing: how.options, hash: how.hash, keepAliveMs: keepAlive },
      };
    },
  ),
);

export type UpstreamConfig = v.InferOutput<typeof upstream>;

/** An upstream of which nothing has been said. */
export const usualUpstream: UpstreamConfig = v.parse(upstream, {});

const listenerWith = (listen: string) => ({
  listen: v.optional(address(0), listen),
  headTimeout: v.optional(duration(), "10s"),
  bodyTimeout: v.optional(duration(), "30s"),
  keepAlive: v.optional(duration(), "60s"),
  maxHead: v.optional(size(1024 * 1024, 1024), "64KiB"),
  maxFields: v.optional(wholeNumber(1, 1000), 128),
  maxConnections: v.optional(wholeNumber(1, 1_000_000), 20_000),
});

interface ListenerSettings {
  readonly listen: { readonly host: string; readonly port: number };
  readonly headTimeout: number;
  readonly bodyTimeout: number;
  readonly keepAlive: number;
  readonly maxHead: number;
  readonly maxFields: number;
  readonly maxConnections: number;
}

function listenerOptions(settings: ListenerSettings) {
  return {
    listen: settings.listen,
    headMs: settings.headTimeout,
    bodyMs: settings.bodyTimeout,
    keepAliveMs: settings.keepAlive,
    maxConnections: settings.maxConnections,
    limits: { startLineBytes: 8192, headBytes: settings.maxHead, fieldCount: settings.maxFields },
  };
}

const inbound = withDefaults(
  v.pipe(
    section({
      ...listenerWith("0.0.0.0:15006"),
      timeouts: timeoutsWith(60_000, "60s"),
      retries: retriesWith(1, ["connectFailure", "reset"]),
      breaker: breakerWith(false),
      limits,
      keepAliveToApp: v.optional(duration(), "4s"),
      upgrades,
    }),
    v.transform(
      ({ timeouts, retries, breaker, limits: most, keepAliveToApp, upgrades: to, ...listener }) => ({
        listener: listenerOptions(listener),
        app: {
          balancing: { algorithm: "random" as const },
          hash: [],
          timeouts,
          retries,
          breaker,
          limits: most,
          keepAliveMs: keepAliveToApp,
          upgrades: to,
        },
      }),
    ),
  ),
);

const outbound = withDefaults(
  v.pipe(
    section(listenerWith("127.0.0.1:15001")),
    v.transform((settings) => ({ listener: listenerOptions(settings) })),
  ),
);

const CHECK_PATH = "a path such as /health";
const check = withDefaults(
  v.pipe(
    section({
      http: v.optional(v.pipe(v.string(CHECK_PATH), v.regex(/^\/\S*$/, CHECK_PATH))),
      ttl: v.optional(duration(3_000)),
      interval: v.optional(duration(100), "2s"),
      timeout: v.optional(duration(10), "1s"),
      deregisterAfter: v.optional(duration(60_000), "10m"),
    }),
    v.transform((c) => ({
      httpPath: c.http,
      ttlMs: c.ttl,
      intervalMs: c.interval,
      timeoutMs: c.timeout,
      deregisterAfterMs: c.deregisterAfter,
    })),
  ),
);

const service = section({
  name,
  id: v.optional(text("an id that no other instance has")),
  port: wholeNumber(1, 65_535),
  address: v.optional(host(), "127.0.0.1"),
  advertise: v.optional(host()),
  tags: v.optional(v.array(text("a tag"), "a list of tags"), []),
  meta: v.optional(mappingOf(text("a key that is not empty"), v.string(TEXT), "a mapping of texts"), {}),
  zone: v.optional(text("a zone's name")),
  weight: v.optional(wholeNumber(1, 65_535), 1),
  warningWeight: v.optional(wholeNumber(0, 65_535), 1),
  check,
});

const ROUTE_HOST = "a host name without a port, such as orders";
const ROUTE_PATH = "a path that begins with / and has no query";
const path = v.pipe(v.string(ROUTE_PATH), v.regex(/^\/[^?#]*$/, ROUTE_PATH));
const METHOD = "a method in upper case such as GET";

const route = section({
  name: v.optional(text("a route's name")),
  match: withDefaults(
    v.pipe(
      section({
        host: v.optional(
          v.pipe(v.string(ROUTE_HOST), v.regex(/^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])$/, ROUTE_HOST)),
        ),
        path: v.optional(path),
        pathPrefix: v.optional(path),
        methods: v.optional(
          v.pipe(
            v.array(v.pipe(v.string(METHOD), v.regex(/^[A-Z]+$/, METHOD)), "a list of methods"),
            v.minLength(1, "at least one method"),
          ),
        ),
        headers: v.optional(mappingOf(v.string(), v.string(TEXT), "a mapping of header names to values")),
      }),
      v.transform(({ headers, ...rest }) => ({
        ...rest,
        ...(headers === undefined
          ? {}
          : {
              headers: Object.fromEntries(
                Object.entries(headers).map(([header, value]) => [header.toLowerCase(), value]),
              ),
            }),
      })),
    ),
  ),
  to: v.pipe(
    v.array(
      section({ upstream: name, weight: v.optional(wholeNumber(0, 1_000_000), 1) }),
      "a list of { upstream, weight }",
    ),
    v.minLength(1, "at least one { upstream, weight }"),
  ),
});

const LOG_LEVEL = `one of ${LOG_LEVELS.join(", ")}`;

/** The whole file. The input type is what a user writes, the output type what the program believes. */
export const shape = section({
  service: v.optional(service),
  inbound,
  outbound,
  admin: withDefaults(section({ listen: v.optional(address(0), "127.0.0.1:15000") })),
  discovery,
  upstreams: v.optional(mappingOf(name, upstream, "a mapping of names to upstreams"), {}),
  routes: v.optional(v.array(route, "a list of routes"), []),
  telemetry: withDefaults(
    section({
      accessLog: v.optional(flag, true),
      logLevel: v.optional(v.picklist(LOG_LEVELS, LOG_LEVEL), "info"),
    }),
  ),
  shutdown: withDefaults(
    v.pipe(
      section({ grace: v.optional(duration(0), "30s") }),
      v.transform(({ grace }) => ({ graceMs: grace })),
    ),
  ),
  workers: v.optional(wholeNumber(1, 64), 1),
});

type Believed = v.InferOutput<typeof shape>;

/** What the program believes: the file, with what the environment says about Consul. */
export type Config = Omit<Believed, "discovery"> & {
  readonly discovery: Omit<Believed["discovery"], "consul"> & {
    readonly consul?: (NonNullable<Believed["discovery"]["consul"]> & ConsulOptions) | undefined;
  };
};
