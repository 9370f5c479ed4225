import fc from "fast-check";
import { test } from "tap";
import { proxyDefaultsQuery, serviceDefaultsQuery } from "../../discovery/consul/central-config.ts";
import {
  proxiesFor,
  readSidecarDefinition,
  readTuning,
  type SidecarDefinition,
  sidecarQuery,
} from "../../discovery/consul/sidecar-definition.ts";
import { withoutConsul } from "../support/consul.ts";
import { startCluster } from "../support/consul-cluster.ts";

/** As it stands in the files of those who have run `consul connect proxy`. */
const WEB = {
  name: "web",
  id: "web-1",
  port: 8080,
  connect: {
    sidecar_service: {
      port: 21_000,
      proxy: {
        config: {
          protocol: "HTTP",
          bind_address: "127.0.0.1",
          bind_port: "20000",
          local_service_address: "127.0.0.1:8081",
          local_connect_timeout_ms: "1500",
          local_request_timeout_ms: 0,
          handshake_timeout_ms: 5000,
          max_inbound_connections: "77",
          envoy_prometheus_bind_addr: "0.0.0.0:9102",
        },
        upstreams: [
          {
            destination_name: "orders",
            local_bind_port: 9191,
            config: {
              connect_timeout_ms: "5000",
              limits: { max_connections: 3, max_pending_requests: "4", max_concurrent_requests: 5 },
              passive_health_check: { interval: "30s", max_failures: 10 },
            },
          },
          {
            destination_name: "orders",
            datacenter: "dc2",
            local_bind_port: 9192,
            local_bind_address: "127.0.0.2",
          },
          { destination_name: "geo", destination_type: "prepared_query", local_bind_port: 9193 },
          {
            destination_name: "legacy",
            local_bind_port: 9194,
            config: { envoy_cluster_json: "{}", protocol: "tcp" },
          },
        ],
      },
    },
  },
};

test("what a real agent says of a sidecar is read", { skip: withoutConsul }, async (t) => {
  const cluster = await startCluster(t, { services: [WEB, { name: "api", id: "api-1", port: 8090 }] });
  const services = await cluster.client.ask("/v1/agent/services");
  t.same(proxiesFor(services, "web-1"), ["web-1-sidecar-proxy"]);
  t.same(proxiesFor(services, "web"), [], "by the id of an instance, not by its name");
  t.same(proxiesFor(services, "api-1"), [], "which has no sidecar");

  const { path, params = {} } = sidecarQuery("web-1-sidecar-proxy");
  const answer = await cluster.client.ask(`/v1${path.replace("{id}", params["id"]!)}`);
  const definition = readSidecarDefinition(answer);
  const untold = { protocol: undefined, connectMs: undefined, maxConnections: undefined };
  const usual = { ...untold, maxPending: undefined, maxRequests: undefined, passiveHealth: undefined };
  const here = { namespace: undefined, partition: undefined, peer: undefined };
  t.same(definition, {
    id: "web-1-sidecar-proxy",
    service: "web-sidecar-proxy",
    destination: { service: "web", id: "web-1" },
    inbound: { address: "127.0.0.1", port: 20_000 },
    app: { address: "127.0.0.1", port: 8081 },
    protocol: "http",
    localConnectMs: 1500,
    localRequestMs: 0,
    maxInboundConnections: 77,
    upstreams: [
      {
        ...here,
        key: "service orders on 127.0.0.1:9191",
        type: "service",
        name: "orders",
        datacenter: undefined,
        listen: { address: "127.0.0.1", port: 9191 },
        protocol: undefined,
        connectMs: 5000,
        maxConnections: 3,
        maxPending: 4,
        maxRequests: 5,
        passiveHealth: { maxFailures: 10, baseEjectionMs: undefined },
      },
      {
        ...here,
        ...usual,
        key: "service orders@dc2 on 127.0.0.2:9192",
        type: "service",
        name: "orders",
        datacenter: "dc2",
        listen: { address: "127.0.0.2", port: 9192 },
      },
      {
        ...here,
        ...usual,
        key: "query geo on 127.0.0.1:9193",
        type: "query",
        name: "geo",
        datacenter: undefined,
        listen: { address: "127.0.0.1", port: 9193 },
      },
      {
        ...here,
        ...usual,
        key: "service legacy on 127.0.0.1:9194",
        type: "service",
        name: "legacy",
        datacenter: undefined,
        listen: { address: "127.0.0.1", port: 9194 },
        protocol: "tcp",
      },
    ],
    warnings: [
      "upstream legacy: config.envoy_cluster_json is not understood, and has no effect",
      "proxy.config.envoy_prometheus_bind_addr is not understood, and has no effect",
    ],
  });

  await cluster.configEntry("proxy-defaults", {
    Name: "global",
    Config: { protocol: "http", connect_timeout_ms: 3000 },
  });
  await cluster.configEntry("service-defaults", { Name: "web", Protocol: "http" });
  const everyone = proxyDefaultsQuery();
  t.match(everyone.read(await cluster.client.ask(`/v1${everyone.path}`)), {
    protocol: "http",
    connectMs: 3000,
  });
  const defaults = serviceDefaultsQuery("web");
  t.same(defaults.read(await cluster.client.ask("/v1/config/service-defaults/web")), {
    defaults: undefined,
    overrides: {},
  });
  t.equal((await cluster.client.request("/v1/config/service-defaults/api")).status, 404);
  t.same(defaults.absent, { defaults: undefined, overrides: {} }, "which is no fault");
});

interface Parts {
  readonly config?: unknown;
  readonly upstreams?: unknown;
  readonly proxy?: object;
  readonly body?: object;
}

function answerOf({ config, upstreams, proxy, body }: Parts = {}): object {
  return {
    Kind: "connect-proxy",
    ID: "web-1-sidecar-proxy",
    Service: "web-sidecar-proxy",
    Port: 21_000,
    Address: "",
    ...body,
    Proxy: {
      DestinationServiceName: "web",
      DestinationServiceID: "web-1",
      LocalServiceAddress: "127.0.0.1",
      LocalServicePort: 8080,
      Config: config,
      Upstreams: upstreams,
      ...proxy,
    },
  };
}

function read(parts: Parts = {}): SidecarDefinition {
  const definition = readSidecarDefinition(answerOf(parts));
  if (definition === undefined) throw new Error("no definition");
  return definition;
}

test("a definition of almost nothing has what is usual", async (t) => {
  t.match(read(), {
    inbound: { address: undefined, port: 21_000 },
    app: { address: "127.0.0.1", port: 8080 },
    protocol: undefined,
    localRequestMs: undefined,
    upstreams: [],
    warnings: [],
  });
  t.match(read({ body: { Address: "10.0.0.1" } }).inbound, { address: "10.0.0.1", port: 21_000 });
  t.equal(read({ proxy: { LocalServicePort: 0 } }).app, undefined);
  t.equal(read({ proxy: { LocalServiceAddress: "" } }).app?.address, "127.0.0.1");
});

test("what is no definition of a sidecar is none", async (t) => {
  for (const [what, body] of [
    ["nothing", null],
    ["a text", "connect-proxy"],
    ["a service", { ...answerOf(), Kind: "" }],
    ["one without an id", answerOf({ body: { ID: "" } })],
    ["one of no service", answerOf({ proxy: { DestinationServiceName: "" } })],
    ["one without a port", answerOf({ body: { Port: 0 } })],
  ] as const)
    t.equal(readSidecarDefinition(body), undefined, what);
  t.equal(proxiesFor([], "web-1"), undefined);
  t.equal(proxiesFor(null, "web-1"), undefined);
  t.same(proxiesFor({ a: null, b: { Kind: "connect-proxy" } }, "web-1"), []);
});

test("numbers may be texts, in either spelling of their names, and what is none is said", async (t) => {
  const config = {
    bindPort: "20000",
    LOCAL_CONNECT_TIMEOUT_MS: " 250 ",
    local_request_timeout_ms: "0",
    max_inbound_connections: 12.0,
  };
  const definition = read({ config });
  t.match(definition, {
    inbound: { port: 20_000 },
    localConnectMs: 250,
    localRequestMs: 0,
    maxInboundConnections: 12,
    warnings: [],
  });
  t.equal(read({ config: { local_request_timeout_ms: "1e300" } }).localRequestMs, 24 * 3_600_000);
  const wrong = {
    bind_port: 70_000,
    bind_address: 7,
    protocol: ["http"],
    local_service_address: "localhost",
    local_connect_timeout_ms: "soon",
    local_request_timeout_ms: -1,
    max_inbound_connections: 0,
    handshake_timeout_ms: null,
    envoy_extra_static_clusters_json: "{}",
    anything: "",
  };
  t.match(read({ config: wrong }), {
    inbound: { address: undefined, port: 21_000 },
    app: { port: 8080 },
    localRequestMs: undefined,
    warnings: [
      "proxy.config.bind_port: expected a port from 1 to 65535, got 70000; it has no effect",
      "proxy.config.bind_address: expected a text, got 7; it has no effect",
      'proxy.config.local_service_address: expected host:port, got "localhost"; it has no effect',
      'proxy.config.protocol: expected a text, got ["http"]; it has no effect',
      'proxy.config.local_connect_timeout_ms: expected a whole number above 0, got "soon"; it has no effect',
      "proxy.config.local_request_timeout_ms: expected a whole number, or 0, got -1; it has no effect",
      "proxy.config.max_inbound_connections: expected a whole number above 0, got 0; it has no effect",
      "proxy.config.envoy_extra_static_clusters_json is not understood, and has no effect",
    ],
  });
});

test("the address of the app may be given in one text", async (t) => {
  for (const [given, expected] of [
    ["localhost:8081", { address: "localhost", port: 8081 }],
    ["[::1]:8081", { address: "::1", port: 8081 }],
    [":8081", { address: "127.0.0.1", port: 8081 }],
    ["localhost:0", { address: "127.0.0.1", port: 8080 }],
  ] as const)
    t.same(read({ config: { local_service_address: given } }).app, expected, given);
});

test("an upstream that cannot be listened for is left out, and the others are not", async (t) => {
  const definition = read({
    upstreams: [
      { DestinationName: "a", LocalBindPort: 9191 },
      { DestinationName: "b" },
      { DestinationName: "c", LocalBindPort: 0 },
      { DestinationName: "d", LocalBindPort: "9192" },
      { DestinationName: "e", LocalBindPort: 9191 },
      { DestinationName: "f", LocalBindPort: 9191, LocalBindAddress: "127.0.0.2" },
      { DestinationName: "g", LocalBindSocketPath: "/run/g.sock" },
      { LocalBindPort: 9193 },
      null,
      { DestinationName: "a", LocalBindPort: 9194, DestinationPeer: "cloud", DestinationPartition: "west" },
    ],
  });
  t.same(
    definition.upstreams.map(({ key }) => key),
    [
      "service a on 127.0.0.1:9191",
      "service d on 127.0.0.1:9192",
      "service f on 127.0.0.2:9191",
      "service a on 127.0.0.1:9194",
    ],
  );
  t.match(definition.upstreams.at(-1), { peer: "cloud", partition: "west" });
  t.same(definition.warnings, [
    "upstream b: expected a port from 1 to 65535 as local_bind_port, got null; it is left out",
    "upstream c: expected a port from 1 to 65535 as local_bind_port, got 0; it is left out",
    "upstream e: expected a port of its own, got 127.0.0.1:9191, which another one has; it is left out",
    "upstream g: listening on a unix socket is not built; it is left out",
    "upstream [7]: expected a destination_name, got none; it is left out",
    "upstream [8]: expected a destination_name, got none; it is left out",
  ]);
  t.same(read({ upstreams: "orders" }).upstreams, []);
});

test("what newer agents say of a sidecar is read, or said not to be done", async (t) => {
  const { warnings, upstreams } = read({
    proxy: {
      Mode: "transparent",
      TransparentProxy: { OutboundListenerPort: 15_001 },
      LocalServiceSocketPath: "/run/web.sock",
      Expose: { Checks: true, Paths: null },
      EnvoyExtensions: [{ Name: "builtin/lua" }],
      MeshGateway: { Mode: "local" },
    },
    upstreams: [
      {
        DestinationType: "service",
        DestinationName: "orders",
        LocalBindPort: 9191,
        CentrallyConfigured: true,
        MeshGateway: {},
        // As central configuration is put in.
        Config: {
          protocol: "http",
          connect_timeout_ms: 300,
          envoy_listener_json: "",
          limits: { MaxConnections: 7, MaxPendingRequests: null, max_concurrent_requests: 8 },
          passive_health_check: {
            Interval: 22_000_000_000,
            MaxFailures: 4,
            EnforcingConsecutive5xx: 100,
            MaxEjectionPercent: 50,
            BaseEjectionTime: "1m30s",
          },
          mesh_gateway: { Mode: "local" },
          balance_outbound_connections: "exact_balance",
        },
      },
    ],
  });
  t.match(upstreams[0], {
    protocol: "http",
    connectMs: 300,
    maxConnections: 7,
    maxPending: undefined,
    maxRequests: 8,
    passiveHealth: { maxFailures: 4, baseEjectionMs: 90_000 },
  });
  t.same(warnings, [
    "upstream orders: config.balance_outbound_connections is not understood, and has no effect",
    "upstream orders: config.passive_health_check.MaxEjectionPercent is not understood, and has no effect",
    "proxy.expose: there is no TLS yet, so every path is reachable; no further listeners are opened",
    "proxy.mode transparent: traffic is not redirected by heddle; the upstreams are listened for",
    "proxy.local_service_socket_path: an app on a unix socket is not built",
    "proxy.envoy_extensions are not understood, and have no effect",
  ]);
});

test("limits and passive health are read as they are meant, and what is not is said", async (t) => {
  for (const [config, expected, warned] of [
    [{ limits: { max_pending_requests: 0 } }, { maxPending: 0 }, []],
    [
      { limits: { max_connections: 0 } },
      { maxConnections: undefined },
      ["c.limits.max_connections: expected a whole number above 0, got 0; it has no effect"],
    ],
    [{ limits: "none" }, { maxConnections: undefined }, []],
    [{ passive_health_check: {} }, { passiveHealth: undefined }, []],
    [{ passive_health_check: { max_failures: 3 } }, { passiveHealth: { maxFailures: 3 } }, []],
    [
      { passive_health_check: { max_failures: 3, enforcing_consecutive_5xx: "0" } },
      { passiveHealth: { maxFailures: 0 } },
      [],
    ],
    [
      {
        passive_health_check: { enforcing_consecutive_5xx: 50, interval: "often", base_ejection_time: "-1s" },
      },
      { passiveHealth: { maxFailures: undefined, baseEjectionMs: undefined } },
      [
        'c.passive_health_check.interval: expected a duration such as 30s, got "often"; it has no effect',
        "c.passive_health_check.enforcing_consecutive_5xx: expected 100, or 0 for never, got 50; it has no effect",
        'c.passive_health_check.base_ejection_time: expected a duration such as 30s, got "-1s"; it has no effect',
      ],
    ],
    [{ protocol: "GRPC" }, { protocol: "grpc" }, []],
    [7, { protocol: undefined }, []],
  ] as const) {
    const warnings: string[] = [];
    t.match(readTuning(config, "c", warnings), expected, JSON.stringify(config));
    t.same(warnings, warned, JSON.stringify(config));
  }
});

test("durations are Go's", async (t) => {
  for (const [given, expected] of [
    ["1m30s", 90_000],
    ["1.5h", 5_400_000],
    [".5s", 500],
    ["2s500ms", 2500],
    ["1500us", 1.5],
    ["0", undefined],
    ["0s", undefined],
    ["10", undefined],
    ["5 s", undefined],
    ["", undefined],
    [3_000_000_000, 3000],
    [null, undefined],
    ["1000h", 24 * 3_600_000],
    [1e308, 24 * 3_600_000],
    [`${"9".repeat(400)}h`, undefined],
  ] as const)
    t.equal(
      readTuning({ passive_health_check: { base_ejection_time: given } }).passiveHealth?.baseEjectionMs,
      expected,
      `${given}`.slice(0, 20),
    );
});

test("service-defaults of newer agents have what is said of single upstreams", async (t) => {
  const { read: readEntry } = serviceDefaultsQuery("web");
  const entry = readEntry({
    Kind: "service-defaults",
    Name: "web",
    UpstreamConfig: {
      Defaults: { ConnectTimeoutMs: 3000, Limits: { MaxConnections: 9 } },
      Overrides: [
        { Name: "orders", Protocol: "http", PassiveHealthCheck: { MaxFailures: 2 } },
        { Name: "constructor", ConnectTimeoutMs: 1 },
        { Protocol: "http" },
        7,
      ],
    },
  });
  t.match(entry?.defaults, { connectMs: 3000, maxConnections: 9 });
  t.same(Object.keys(entry?.overrides ?? {}), ["orders", "constructor"]);
  t.match(entry?.overrides["orders"], { protocol: "http", passiveHealth: { maxFailures: 2 } });
  t.equal(readEntry("not found"), undefined);
  t.equal(proxyDefaultsQuery().read([]), undefined);
});

test("whatever an agent says, it is a definition or none", async (t) => {
  const full = () =>
    answerOf({
      config: { ...WEB.connect.sidecar_service.proxy.config },
      upstreams: [
        { DestinationName: "orders", LocalBindPort: 9191, Config: { limits: { max_connections: 1 } } },
        { DestinationName: "geo", DestinationType: "prepared_query", LocalBindPort: 9192 },
      ],
    });
  const odd = fc.oneof(
    fc.constantFrom<unknown>(null, "", "x", 0, -1, 1e308, [], {}, [[]], true, "9191", "__proto__"),
    fc.jsonValue(),
  );
  let definitions = 0;
  const property = fc.property(fc.array(fc.nat(), { minLength: 1, maxLength: 6 }), odd, (path, value) => {
    const answer = full();
    let at = answer as Record<string, unknown>;
    for (const [i, step] of path.entries()) {
      const keys = Object.keys(at);
      const key = keys[step % keys.length];
      if (key === undefined) break;
      const inner = at[key];
      if (i === path.length - 1 || typeof inner !== "object" || inner === null) {
        at[key] = value;
        break;
      }
      at = inner as Record<string, unknown>;
    }
    const definition = readSidecarDefinition(answer);
    if (definition === undefined) return;
    definitions++;
    for (const { listen } of definition.upstreams)
      if (!(listen.port >= 1 && listen.port <= 65_535)) throw new Error(`port ${listen.port}`);
  });
  fc.assert(property, { seed: 20261121, numRuns: 2000 });
  t.ok(definitions > 500, `${definitions} of 2,000`);
});
