/**
 * The part of the shape that says where endpoints come from and how they are looked after: the registry, other sources,
 * what holds in an outage, and health checks.
 */
import * as v from "valibot";
import { isConsulAddress, isConsulToken, type LabelledEndpoint, MERGES } from "../discovery/index.ts";
import { mappingOf, section } from "./mapping.ts";
import { address, duration, host, percent, text, wholeNumber } from "./units.ts";

export const TEXT = "a text, in quotes if it looks like a number";
export const flag = v.boolean("true or false");

/** A section that may be left out as a whole: each of its settings then has its default. */
export function withDefaults<const S extends v.GenericSchema>(schema: S) {
  return v.optional(schema, {} as v.InferInput<S>);
}

const weight = wholeNumber(1, 1000);
const tags = v.array(text("a tag"), "a list of tags");
const meta = mappingOf(text("a key that is not empty"), v.string(TEXT), "a mapping of texts");

/** Which instances belong to an upstream; that it asks for anything is a cross-check. */
export const subset = v.optional(
  v.pipe(
    section({ tags: v.optional(tags), meta: v.optional(meta) }),
    v.transform((given) => ({ tags: given.tags ?? [], meta: given.meta ?? {} })),
  ),
);

const ENDPOINT = "an address such as 10.0.0.1:8080, or { address, weight, zone, priority, tags, meta }";
const endpoint = v.union(
  [
    v.pipe(
      address(1),
      v.transform(
        ({ host, port }): LabelledEndpoint => ({ address: host, port, weight: 1, source: "static" }),
      ),
    ),
    v.pipe(
      section({
        address: address(1),
        weight: v.optional(weight, 1),
        zone: v.optional(text("a zone's name")),
        priority: v.optional(wholeNumber(0, 15), 0),
        tags: v.optional(tags),
        meta: v.optional(meta),
      }),
      v.transform(
        ({ address: at, zone, weight: share, priority, tags: some, meta: more }): LabelledEndpoint => ({
          address: at.host,
          port: at.port,
          weight: share,
          source: "static",
          ...(zone === undefined ? {} : { zone }),
          ...(priority === 0 ? {} : { priority }),
          ...(some === undefined && more === undefined
            ? {}
            : { labels: { tags: some ?? [], meta: more ?? {} } }),
        }),
      ),
    ),
  ],
  ENDPOINT,
);

export const endpoints = v.pipe(
  v.array(endpoint, "a list of endpoints"),
  v.minLength(1, "at least one endpoint"),
);

const FILE = "the path of a file";
const DNS_SERVER = "the address of a DNS server with its port, such as 10.0.0.2:53 or [::1]:53";

/** One source of `from`; that there is exactly one kind in each is a cross-check. */
const origin = section({
  endpoints: v.optional(endpoints),
  consul: v.optional(
    section({
      service: v.optional(text("the name of a service in Consul")),
      query: v.optional(text("the name or id of a prepared query")),
      datacenter: v.optional(text("a datacenter's name")),
      filter: v.optional(text("an expression in Consul's filter language")),
      onlyPassing: v.optional(flag, false),
      connect: v.optional(flag, false),
    }),
  ),
  file: v.optional(text(FILE)),
  dns: v.optional(
    v.pipe(
      section({
        name: text("a domain name"),
        type: v.optional(v.picklist(["A", "SRV"], "A or SRV"), "A"),
        port: v.optional(wholeNumber(1, 65_535)),
        resolvers: v.optional(
          v.pipe(
            v.array(
              v.pipe(v.string(DNS_SERVER), v.regex(/^(?:\[[0-9A-Fa-f:.]+\]|[0-9.]+):\d{1,5}$/, DNS_SERVER)),
              "a list of servers",
            ),
            v.minLength(1, "at least one server"),
          ),
        ),
        minTtl: v.optional(duration(100), "1s"),
        maxTtl: v.optional(duration(1000), "5m"),
      }),
      v.transform(({ minTtl, maxTtl, resolvers, ...rest }) => ({
        ...rest,
        resolver: resolvers,
        minTtlMs: minTtl,
        maxTtlMs: maxTtl,
      })),
    ),
  ),
  kubernetes: v.optional(
    section({
      service: text("the name of a Service"),
      namespace: v.optional(text("a namespace")),
      port: v.optional(
        v.union(
          [text("a port's name"), wholeNumber(1, 65_535)],
          "a port's name, or its number from 1 to 65535",
        ),
      ),
      server: v.optional(text("the URL of an API server")),
      tokenFile: v.optional(text(FILE)),
      caFile: v.optional(text(FILE)),
    }),
  ),
});

export const from = v.pipe(v.array(origin, "a list of sources"), v.minLength(1, "at least one source"));

const MERGE = `one of ${MERGES.join(", ")}`;
export const merge = v.optional(v.picklist(MERGES, MERGE), MERGES[0]);

const CHECK_PATH = "a path such as /health";
const STATUS = wholeNumber(100, 599);

export const healthCheck = v.optional(
  v.pipe(
    section({
      type: v.optional(v.picklist(["http", "tcp", "grpc"], "one of http, tcp, grpc")),
      path: v.optional(v.pipe(v.string(CHECK_PATH), v.regex(/^\/[\x21-\x7e]*$/, CHECK_PATH)), "/"),
      host: v.optional(host()),
      statusFrom: v.optional(STATUS, 200),
      statusTo: v.optional(STATUS, 299),
      service: v.optional(v.string("the name of a gRPC service"), ""),
      interval: v.optional(duration(100), "5s"),
      fastInterval: v.optional(duration(50), "1s"),
      timeout: v.optional(duration(10), "1s"),
      rise: v.optional(wholeNumber(1, 100), 2),
      fall: v.optional(wholeNumber(1, 100), 3),
      jitter: v.optional(percent(0, 100), "10%"),
    }),
    v.transform((c) => ({
      probe:
        c.type === "grpc"
          ? { type: "grpc" as const, service: c.service }
          : c.type === "tcp"
            ? { type: "tcp" as const }
            : {
                type: "http" as const,
                path: c.path,
                host: c.host,
                statuses: [c.statusFrom, c.statusTo] as const,
              },
      intervalMs: c.interval,
      fastIntervalMs: Math.min(c.fastInterval, c.interval),
      timeoutMs: c.timeout,
      rise: c.rise,
      fall: c.fall,
      jitter: c.jitter,
    })),
  ),
);

export const follow = v.optional(v.picklist(["called", "always"], "called or always"), "called");

const CONSUL_ADDRESS =
  "an address such as http://127.0.0.1:8500, https://consul:8501 or unix:///run/consul.sock";

const TOKEN = "a token without spaces or line ends";

const consul = v.pipe(
  section({
    address: v.optional(
      v.pipe(
        v.string(CONSUL_ADDRESS),
        v.check((given) => isConsulAddress(given) && /^(?:https?|unix):\/\//.test(given), CONSUL_ADDRESS),
      ),
    ),
    token: v.optional(v.pipe(v.string(TOKEN), v.check(isConsulToken, TOKEN))),
    tokenFile: v.optional(text(FILE)),
    basicAuth: v.optional(v.string("user:password")),
    datacenter: v.optional(text("a datacenter's name")),
    namespace: v.optional(text("a namespace")),
    partition: v.optional(text("a partition")),
    tls: withDefaults(
      section({
        caFile: v.optional(text(FILE)),
        caDirectory: v.optional(text("the path of a directory")),
        certFile: v.optional(text(FILE)),
        keyFile: v.optional(text(FILE)),
        serverName: v.optional(host()),
        verify: v.optional(flag),
      }),
    ),
    // Consul itself answers after ten minutes at the latest.
    wait: v.optional(duration(1000, 600_000), "60s"),
    poll: v.optional(duration(1000)),
    stale: v.optional(flag, true),
    chain: v.optional(flag, true),
    register: v.optional(v.picklist(["self", "none"], "self or none"), "self"),
    sidecarFor: v.optional(text("the id of a service instance")),
    proxyId: v.optional(text("the id of a proxy")),
  }),
  v.transform(({ wait, poll, token, ...rest }) => ({
    ...rest,
    token: token === "" ? undefined : token,
    waitMs: wait,
    pollMs: poll,
  })),
);

const LONGEST_KEPT_MS = 30 * 24 * 3_600_000;

const outage = withDefaults(
  v.pipe(
    section({
      keepFor: v.optional(duration(1000, LONGEST_KEPT_MS), "24h"),
      suspicious: v.optional(percent(1, 100), "50%"),
      believeAfter: v.optional(duration(0, LONGEST_KEPT_MS), "10m"),
      probeTimeout: v.optional(duration(10), "1s"),
      copy: v.optional(text(FILE)),
    }),
    v.transform(({ keepFor, suspicious, believeAfter, probeTimeout, copy }) => ({
      policy: { keepForMs: keepFor, suspiciousShare: suspicious, believeAfterMs: believeAfter },
      probeTimeoutMs: probeTimeout,
      copy,
    })),
  ),
);

export const discovery = withDefaults(
  v.pipe(
    section({
      consul: v.optional(consul),
      outage,
      idleAfter: v.optional(duration(1000), "10m"),
    }),
    v.transform(({ idleAfter, ...rest }) => ({ ...rest, idleAfterMs: idleAfter })),
  ),
);
