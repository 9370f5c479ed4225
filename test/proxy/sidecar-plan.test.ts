import { test } from "tap";
import { type Config, parseConfig, usualUpstream } from "../../config/index.ts";
import { readSidecarDefinition, readTuning } from "../../discovery/consul/sidecar-definition.ts";
import { NO_BALANCING } from "../../discovery/index.ts";
import { planOfChain } from "../../proxy/control/chain-plan.ts";
import { originOf, tuned } from "../../proxy/control/name-spec.ts";
import {
  type CentralTuning,
  NO_TUNING,
  planOfSidecar,
  type SidecarPlan,
} from "../../proxy/control/sidecar-plan.ts";

const CONSUL = "discovery: { consul: { sidecarFor: web-1 } }\n";

function configOf(yaml = ""): Config {
  return parseConfig(`${CONSUL}${yaml}`, "test.yaml", {});
}

interface Parts {
  readonly config?: object | undefined;
  readonly upstreams?: readonly object[];
  readonly proxy?: object;
  readonly central?: CentralTuning;
  readonly yaml?: string;
}

function planOf({ config, upstreams, proxy, central = NO_TUNING, yaml }: Parts = {}): SidecarPlan {
  const definition = readSidecarDefinition({
    Kind: "connect-proxy",
    ID: "web-1-sidecar-proxy",
    Port: 21_000,
    Proxy: {
      DestinationServiceName: "web",
      DestinationServiceID: "web-1",
      LocalServicePort: 8080,
      Config: config,
      Upstreams: upstreams,
      ...proxy,
    },
  });
  if (definition === undefined) throw new Error("no definition");
  return planOfSidecar(definition, central, configOf(yaml));
}

function upstream(DestinationName: string, LocalBindPort: number, more: object = {}) {
  return { DestinationName, LocalBindPort, ...more };
}

function optionsOf(plan: SidecarPlan, name = "orders") {
  return plan.names.find((spec) => spec.name === name)?.options;
}

test("the port for peers leads to the app, with what the definition says of both", async (t) => {
  const { listeners, app, warnings } = planOf({
    config: {
      bind_address: "10.0.0.1",
      bind_port: 20_000,
      local_connect_timeout_ms: 250,
      local_request_timeout_ms: 3000,
      max_inbound_connections: 9,
    },
  });
  t.match(listeners["inbound"], {
    direction: "inbound",
    leadsTo: app?.key,
    options: { listen: { host: "10.0.0.1", port: 20_000 }, maxConnections: 9 },
  });
  t.match(app, { address: "127.0.0.1", port: 8080 });
  t.match(app?.destination.upstreams[app.key], {
    name: "web",
    options: { timeouts: { connectMs: 250, requestMs: 3000, attemptMs: 3000 } },
  });
  t.same(app?.destination.routes, []);
  t.same(warnings, []);
});

test("a subset of the file holds for the upstream of the same name", async (t) => {
  const { names } = planOf({
    upstreams: [upstream("orders", 9191), upstream("stock", 9192)],
    yaml: "upstreams: { orders: { subset: { tags: [v2] } } }",
  });
  t.same(
    names.map(({ name, subset }) => [name, subset]),
    [
      ["orders", { tags: ["v2"], meta: {} }],
      ["stock", undefined],
    ],
  );
});

test("an app has the usual time, none, or no limit", async (t) => {
  const timeouts = (config?: object) => {
    const { app } = planOf({ config });
    return app?.destination.upstreams[app.key]?.options.timeouts;
  };
  t.match(timeouts(), { connectMs: 1000, requestMs: 60_000, attemptMs: 60_000 });
  const day = 24 * 3_600_000;
  t.match(timeouts({ local_request_timeout_ms: 0 }), { requestMs: day, attemptMs: day });
  t.match(timeouts({ local_request_timeout_ms: "100" }), { requestMs: 100, attemptMs: 100, connectMs: 100 });
  t.match(
    timeouts({ local_request_timeout_ms: -5 }),
    { requestMs: 60_000 },
    "which is none, and is warned of",
  );
});

test("without a port of its service nothing comes in, and calls go out all the same", async (t) => {
  const plan = planOf({ proxy: { LocalServicePort: 0 }, upstreams: [upstream("orders", 9191)] });
  t.equal(plan.app, undefined);
  t.same(Object.keys(plan.listeners), ["local:service orders on 127.0.0.1:9191"]);
  t.same(plan.warnings, [
    "expected the port of the service in local_service_port, got none; nothing comes in",
  ]);
});

test("each upstream has its port and its chain, and the address of every one of the machine is the usual one", async (t) => {
  const { listeners, names, warnings } = planOf({
    upstreams: [
      upstream("orders", 9191, { LocalBindAddress: "127.0.0.2" }),
      upstream("geo", 9192, { DestinationType: "prepared_query" }),
      upstream("cloud", 9193, { DestinationPeer: "west" }),
      upstream("eu", 9194, { Datacenter: "dc2", DestinationNamespace: "shop" }),
    ],
  });
  t.match(listeners, {
    inbound: { options: { listen: { host: "0.0.0.0", port: 21_000 } } },
    "local:service orders on 127.0.0.2:9191": {
      direction: "outbound",
      leadsTo: "orders",
      options: { listen: { host: "127.0.0.2", port: 9191 } },
    },
    "local:query geo on 127.0.0.1:9192": { leadsTo: "geo" },
    "local:service cloud on 127.0.0.1:9193": { leadsTo: "cloud" },
    "local:service eu@dc2 on 127.0.0.1:9194": { leadsTo: "eu" },
  });
  const common = { connect: true, stale: true };
  const origins = Object.fromEntries(names.map(({ name, origin }) => [name, origin]));
  t.same(origins["orders"], { type: "chain", service: "orders", ...common });
  t.same(origins["eu"], { type: "chain", service: "eu", ...common, datacenter: "dc2", namespace: "shop" });
  t.same(origins["geo"], {
    type: "sources",
    from: [{ kind: "query", query: "geo", connect: true }],
    merge: "union",
  });
  t.same(origins["cloud"], {
    type: "sources",
    from: [{ kind: "consul", service: "cloud", ...common, peer: "west" }],
    merge: "union",
  });
  t.same(warnings, []);
});

test("names are distinct, and the plain one is that of who is here, in any order", async (t) => {
  const here = upstream("orders", 9191);
  const there = upstream("orders", 9192, { Datacenter: "dc2" });
  const shop = upstream("orders", 9193, { Datacenter: "dc2", DestinationNamespace: "shop" });
  const query = upstream("orders", 9194, { DestinationType: "prepared_query" });
  const leads = (upstreams: readonly object[]) =>
    Object.fromEntries(
      Object.values(planOf({ upstreams }).listeners).map(({ options, leadsTo }) => [
        options.listen.port,
        leadsTo,
      ]),
    );
  for (const order of [
    [here, there, shop],
    [shop, there, here],
    [there, here, shop],
  ])
    t.match(leads(order), { 9191: "orders", 9192: "orders@dc2", 9193: "orders@dc2.shop" });
  t.match(leads([there]), { 9192: "orders" }, "alone, it is found by its plain name");
  t.match(leads([here, query]), { 9191: "orders", 9194: "query orders on 127.0.0.1:9194" });
  t.match(leads([here, upstream("Orders", 9195)]), {
    9191: "orders",
    9195: "service Orders on 127.0.0.1:9195",
  });
  t.match(leads([upstream("Orders", 9195)]), { 9195: "orders" }, "a host has no case");
});

test("what is neither HTTP nor TCP is left out, and what says nothing is HTTP", async (t) => {
  const plan = planOf({
    config: { protocol: "grpc" },
    upstreams: [
      upstream("a", 9191, { Config: { protocol: "tcp" } }),
      upstream("b", 9192, { Config: { protocol: "gRPC" } }),
      upstream("c", 9193, { Config: { protocol: "http2" } }),
      upstream("d", 9194, { Config: { protocol: "http" } }),
      upstream("e", 9195),
      upstream("f", 9196),
    ],
    // What is said to everybody may be said otherwise to the service itself, which the chain knows.
    central: {
      ...NO_TUNING,
      everyone: readTuning({ protocol: "tcp" }),
      overrides: { f: readTuning({ protocol: "tcp" }) },
    },
  });
  t.same(
    plan.names.map(({ name, options }) => [name, options.protocol]),
    [
      ["a", "tcp"],
      ["d", "http"],
      ["e", "http"],
      ["f", "tcp"],
    ],
  );
  t.equal(plan.listeners["local:service a on 127.0.0.1:9191"]?.protocol, "tcp");
  t.equal(planOf({ config: { protocol: "tcp" } }).listeners["inbound"]?.protocol, "tcp");
  t.same(plan.warnings, [
    "proxy.config.protocol grpc is not built; heddle expects HTTP/1.1 from peers",
    "upstream b: the protocol grpc is not built; it is left out",
    "upstream c: the protocol http2 is not built; it is left out",
  ]);
});

test("the first word about each thing counts: the upstream's, its override, the defaults, everybody's, the file", async (t) => {
  const central: CentralTuning = {
    everyone: readTuning({
      connect_timeout_ms: 4,
      limits: { max_connections: 4, max_pending_requests: 4, max_concurrent_requests: 4 },
    }),
    defaults: readTuning({ ConnectTimeoutMs: 3, Limits: { MaxConnections: 3, MaxPendingRequests: 3 } }),
    overrides: { orders: readTuning({ ConnectTimeoutMs: 2, Limits: { MaxConnections: 2 } }) },
  };
  const yaml =
    "upstreams: { orders: { timeouts: { connect: 5ms, attempt: 500ms }, limits: { requests: 5 }, balancing: { algorithm: roundRobin } } }";
  const upstreams = [
    upstream("orders", 9191, { Config: { connect_timeout_ms: 1 } }),
    upstream("other", 9192),
  ];
  const plan = planOf({ central, yaml, upstreams });
  t.match(optionsOf(plan), {
    timeouts: { connectMs: 1, attemptMs: 500 },
    limits: { connections: 2, pending: 3, requests: 4 },
    balancing: { algorithm: "roundRobin" },
  });
  t.match(optionsOf(plan, "other"), {
    timeouts: { connectMs: 3, attemptMs: 10_000 },
    limits: { connections: 3, pending: 3, requests: 4 },
  });
  t.match(optionsOf(planOf({ yaml, upstreams: [upstream("orders", 9191)] })), {
    timeouts: { connectMs: 5 },
    limits: { connections: 1024, requests: 5 },
  });
});

test("a name that every object has is a name like others", async (t) => {
  const plan = planOf({ upstreams: [upstream("constructor", 9191), upstream("toString", 9192)] });
  t.same(
    plan.names.map(({ name }) => name),
    ["constructor", "tostring"],
  );
  t.same(plan.names[0]?.options, usualUpstream.options);
});

test("the connect timeout of the caller counts for more than the chain's, as with Envoy", async (t) => {
  const { names } = planOf({
    upstreams: [upstream("orders", 9191, { Config: { connect_timeout_ms: 300 } })],
  });
  const [spec] = names;
  if (spec?.origin.type !== "chain") throw new Error("no chain");
  t.equal(spec.origin.connectMs, 300);
  const headers = { request: undefined, response: undefined };
  const target = {
    id: "orders.default.dc1",
    service: "orders",
    subset: undefined,
    datacenter: undefined,
    namespace: undefined,
    partition: undefined,
    peer: undefined,
    filter: undefined,
    onlyPassing: false,
    connectMs: 7000,
    requestMs: undefined,
    balancing: NO_BALANCING,
    failover: [],
  };
  const plan = planOfChain(spec, spec.origin, {
    service: "orders",
    protocol: "http",
    routes: [
      {
        match: { path: undefined, ignoreCase: false, headers: [], query: [], methods: [] },
        destination: { ...headers, prefixRewrite: undefined, requestMs: undefined, retries: undefined },
        to: [{ weight: 100, target, headers }],
      },
    ],
    warnings: [],
  });
  t.equal(plan.destination.upstreams["orders"]?.options.timeouts.connectMs, 300);
});

test("passive health is the breaker's, which is then on", async (t) => {
  const { options } = usualUpstream;
  const off = { ...options, breaker: { ...options.breaker, mode: "off" as const } };
  const breaker = (config: object, of = off) => tuned(of, readTuning(config)).breaker;
  t.same(breaker({}), off.breaker);
  t.same(breaker({ passive_health_check: { max_failures: 7, base_ejection_time: "12s" } }), {
    ...options.breaker,
    consecutiveFailures: 7,
    openForMs: 12_000,
  });
  t.same(breaker({ passive_health_check: { interval: "5s" } }), options.breaker, "with what is usual");
  t.equal(
    breaker({ passive_health_check: { max_failures: 7, enforcing_consecutive_5xx: 0 } }).consecutiveFailures,
    0,
  );
});

test("a connection has no longer than its request", async (t) => {
  const { options } = usualUpstream;
  t.equal(tuned(options, readTuning({ connect_timeout_ms: 60_000 })).timeouts.connectMs, 15_000);
});

test("what the file says of a name comes before its chain", async (t) => {
  const { upstreams } = configOf(
    "upstreams: { a: { endpoints: [ '10.0.0.1:80' ] }, b: { service: bee }, c: {}, d: { from: [ { consul: { query: geo } } ], merge: union } }",
  );
  const consul = { chain: true, stale: false };
  t.match(originOf("a", upstreams["a"]!, consul), { type: "sources", from: [{ kind: "static" }] });
  t.same(originOf("b", upstreams["b"]!, consul), {
    type: "chain",
    service: "bee",
    connect: false,
    stale: false,
  });
  t.match(originOf("c", upstreams["c"]!, consul), { type: "chain", service: "c" });
  t.match(originOf("c", upstreams["c"]!, { chain: false, stale: true }), {
    type: "sources",
    from: [{ kind: "consul", service: "c", stale: true }],
  });
  t.match(originOf("d", upstreams["d"]!, consul), {
    type: "sources",
    from: [{ kind: "query", query: "geo" }],
    merge: "union",
  });
});
