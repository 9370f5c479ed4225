/**
 * The shape of the configuration: every setting once, with its unit, its default and what is expected of it.
 * Types, validation, defaults and docs/heddle.schema.json all come from here.
 *
 * Each group ends in a transform to what the rooms ask for, with units in the names; a disagreement is found by
 * the compiler where the rooms are handed what they ask for (proxy/sidecar.ts, proxy/control/).
 */
import * as v from "valibot";
import type { ConsulOptions } from "../discovery/index.ts";
import { INHERITING } from "../resilience/index.ts";
import { LOG_LEVELS } from "../telemetry/index.ts";
import { mappingOf, section } from "./mapping.ts";
import { breakerWith } from "./shape-breaker.ts";
import { discovery, flag, TEXT, withDefaults } from "./shape-discovery.ts";
import { health } from "./shape-health.ts";
import { intercepted, mode } from "./shape-intercept.ts";
import { limits, overload } from "./shape-overload.ts";
import { policyEntries, policyOf } from "./shape-policy.ts";
import { route } from "./shape-route.ts";
import { name, protocol, retriesWith, timeoutsWith, upgrades, upstream } from "./shape-upstream.ts";
import { address, duration, host, size, text, wholeNumber } from "./units.ts";

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

/** The app is one endpoint: there is nobody to compare it with or to prefer. */
const ALONE = {
  balancing: { algorithm: "random" as const },
  hash: [],
  candidates: {
    priority: { panicThreshold: 0, overprovisioning: 1 },
    aperture: 0,
    slowStart: { windowMs: 0, aggression: 1, floor: 1 },
  },
};

const CRITICALITY = "believe or ignore";
const inbound = withDefaults(
  v.pipe(
    section({
      ...listenerWith("0.0.0.0:15006"),
      mode,
      timeouts: timeoutsWith(60_000, "60s"),
      retries: retriesWith(1, ["connectFailure", "reset"]),
      breaker: breakerWith("off"),
      limits,
      ...policyEntries,
      criticality: v.optional(v.picklist(["believe", "ignore"], CRITICALITY), "believe"),
      keepAliveToApp: v.optional(duration(), "4s"),
      upgrades,
    }),
    v.transform(
      ({
        timeouts,
        retries,
        breaker,
        limits: most,
        rateLimits,
        fallback,
        faults,
        criticality,
        keepAliveToApp,
        upgrades: to,
        mode: how,
        ...listener
      }) => ({
        listener: listenerOptions(listener),
        ...policyOf({ rateLimits, fallback }),
        faults,
        criticality,
        mode: how,
        app: {
          ...ALONE,
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

const INHERITS = `one of ${INHERITING.join(", ")}`;

const outbound = withDefaults(
  v.pipe(
    section({
      ...listenerWith("127.0.0.1:15001"),
      ...intercepted,
      zone: v.optional(text("a zone's name")),
      inheritDeadlines: v.optional(v.picklist(INHERITING, INHERITS), "repeatable"),
    }),
    v.transform(({ zone, inheritDeadlines, mode: how, ports, detectTimeout, unknown, ...settings }) => ({
      listener: listenerOptions(settings),
      zone,
      inheritDeadlines,
      mode: how,
      intercepted: { ports, detectMs: detectTimeout, unknown },
    })),
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
  protocol,
  address: v.optional(host(), "127.0.0.1"),
  advertise: v.optional(host()),
  tags: v.optional(v.array(text("a tag"), "a list of tags"), []),
  meta: v.optional(mappingOf(text("a key that is not empty"), v.string(TEXT), "a mapping of texts"), {}),
  zone: v.optional(text("a zone's name")),
  weight: v.optional(wholeNumber(1, 65_535), 1),
  warningWeight: v.optional(wholeNumber(0, 65_535), 1),
  check,
});

const LOG_LEVEL = `one of ${LOG_LEVELS.join(", ")}`;

/** The whole file. The input type is what a user writes, the output type what the program believes. */
export const shape = section({
  service: v.optional(service),
  inbound,
  outbound,
  admin: withDefaults(
    section({ listen: v.optional(address(0), "127.0.0.1:15000"), faults: v.optional(flag, false) }),
  ),
  health,
  discovery,
  upstreams: v.optional(mappingOf(name, upstream, "a mapping of names to upstreams"), {}),
  routes: v.optional(v.array(route, "a list of routes"), []),
  retries: withDefaults(section({ enabled: v.optional(flag, true) })),
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
  overload,
  workers: v.optional(wholeNumber(1, 64), 1),
});

type Believed = v.InferOutput<typeof shape>;

/** What the program believes: the file, with what the environment says about Consul. */
export type Config = Omit<Believed, "discovery"> & {
  readonly discovery: Omit<Believed["discovery"], "consul"> & {
    readonly consul?: (NonNullable<Believed["discovery"]["consul"]> & ConsulOptions) | undefined;
  };
};
