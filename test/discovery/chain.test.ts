import fc from "fast-check";
import { test } from "tap";
import { usualUpstream } from "../../config/index.ts";
import { type Chain, chainQuery, readChain } from "../../discovery/consul/chain.ts";
import { planOfChain } from "../../proxy/control/chain-plan.ts";
import { withoutConsul } from "../support/consul.ts";
import { type Cluster, startCluster } from "../support/consul-cluster.ts";

/** Everything that 1.8 knows of routes, splits and resolvers. */
async function writeEntries(cluster: Cluster): Promise<void> {
  await cluster.configEntry("proxy-defaults", { Name: "global", Config: { protocol: "http" } });
  await cluster.configEntry("service-defaults", { Name: "orders", Protocol: "http" });
  await cluster.configEntry("service-resolver", {
    Name: "orders",
    DefaultSubset: "v1",
    ConnectTimeout: "7s",
    Subsets: {
      v1: { Filter: "Service.Meta.version == v1" },
      v2: { Filter: "Service.Meta.version == v2", OnlyPassing: true },
    },
    Failover: {
      v1: { ServiceSubset: "v2" },
      v2: { Service: "payments", Datacenters: ["dc2", "dc1", "dc3"] },
    },
  });
  await cluster.configEntry("service-resolver", {
    Name: "ledger",
    Failover: { "*": { Service: "payments" } },
  });
  await cluster.configEntry("service-resolver", { Name: "old-orders", Redirect: { Service: "orders" } });
  await cluster.configEntry("service-resolver", {
    Name: "new-orders",
    Redirect: { Service: "orders", ServiceSubset: "v2" },
  });
  await cluster.configEntry("service-resolver", {
    Name: "far-orders",
    Redirect: { Service: "orders", Datacenter: "dc2" },
  });
  await cluster.configEntry("service-splitter", {
    Name: "orders",
    Splits: [
      { Weight: 80, ServiceSubset: "v1" },
      { Weight: 10, ServiceSubset: "v2" },
      { Weight: 10, Service: "orders-next" },
    ],
  });
  await cluster.configEntry("service-splitter", {
    Name: "orders-next",
    Splits: [{ Weight: 25.5, Service: "payments" }, { Weight: 74.5 }],
  });
  await cluster.configEntry("service-router", {
    Name: "orders",
    Routes: [
      {
        Match: { HTTP: { PathExact: "/health" } },
        Destination: { ServiceSubset: "v2", RequestTimeout: "1m30s" },
      },
      {
        Match: { HTTP: { PathPrefix: "/pay", Methods: ["get", "POST"] } },
        Destination: {
          Service: "payments",
          PrefixRewrite: "/",
          NumRetries: 3,
          RetryOnConnectFailure: true,
          RetryOnStatusCodes: [500, 503],
        },
      },
      {
        Match: {
          HTTP: {
            PathRegex: "/v[0-9]+/.*",
            Header: [
              { Name: "X-Debug", Present: true },
              { Name: "x-a", Exact: "1" },
              { Name: "x-b", Prefix: "p" },
              { Name: "x-c", Suffix: "s", Invert: true },
              { Name: "x-d", Regex: "a+b" },
            ],
            QueryParam: [
              { Name: "q", Present: true },
              { Name: "r", Exact: "1" },
              { Name: "s", Regex: "[a-z]+" },
            ],
          },
        },
      },
      { Match: { HTTP: { PathRegex: "/(([a-z]+/?)+)+" } }, Destination: { Service: "payments" } },
      { Match: { HTTP: { PathPrefix: "/endless" } }, Destination: { RequestTimeout: "-1s" } },
    ],
  });
}

/** Asks as the watch does. */
async function ask(cluster: Cluster, service: string, datacenter?: string): Promise<unknown> {
  const { path, params = {}, query = {} } = chainQuery(service, { datacenter });
  const filled = path.replace(/\{(\w+)\}/, (_, name: string) => params[name]!);
  return await cluster.client.ask(`/v1${filled}?${new URLSearchParams(query)}`);
}

/** The targets of a route with their shares, such as `v1.orders.default.dc1 90`. */
function shares(chain: Chain | undefined, route = -1): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { target, weight } of chain?.routes.at(route)?.to ?? [])
    found[target.id] = (found[target.id] ?? 0) + weight;
  return Object.fromEntries(Object.entries(found).map(([id, weight]) => [id, Number(weight.toFixed(6))]));
}

test("what a real agent compiles is read", { skip: withoutConsul }, async (t) => {
  const cluster = await startCluster(t);
  const answers: unknown[] = [];
  const chainOf = async (service: string, datacenter?: string) => {
    const answer = await ask(cluster, service, datacenter);
    answers.push(answer);
    const chain = readChain(answer);
    if (chain === undefined) throw new Error(`no chain: ${JSON.stringify(answer)}`);
    return chain;
  };

  const unknown = await chainOf("nobody");
  t.equal(unknown.protocol, "tcp", "which it says where nothing has been said");
  t.equal(unknown.routes.length, 1);
  t.same(shares(unknown), { "nobody.default.dc1": 100 });
  t.match(unknown.routes[0]?.to[0]?.target, {
    service: "nobody",
    subset: undefined,
    datacenter: undefined,
    namespace: undefined,
    filter: undefined,
    connectMs: 5000,
    failover: [],
  });
  t.same(unknown.warnings, []);

  await writeEntries(cluster);

  const orders = await chainOf("orders");
  t.equal(orders.protocol, "http");
  t.same(
    orders.routes.map(({ place, match: { path } }) => [place, path?.type, path?.value]),
    [
      [0, "exact", "/health"],
      [1, "prefix", "/pay"],
      [2, "regex", "/v[0-9]+/.*"],
      [4, "prefix", "/endless"],
      [5, "prefix", "/"],
    ],
    "the order is kept, and the one that cannot be compared is left out",
  );
  t.same(orders.warnings, [
    'routes[3]: its pattern "/(([a-z]+/?)+)+": a repetition within a repetition may take for ever; it is left out',
  ]);
  const [health, pay, regex, endless] = orders.routes;
  t.same(shares(orders, 0), { "v2.orders.default.dc1": 100 });
  t.equal(health?.destination.requestMs, 90_000);
  t.same(pay?.match.methods, ["GET", "POST"]);
  t.match(pay?.destination, {
    prefixRewrite: "/",
    requestMs: undefined,
    retries: { attempts: 3, on: ["connect-failure", 500, 503] },
  });
  t.same(
    regex?.match.headers.map(({ name, type, value, invert }) => [name, type, value, invert]),
    [
      ["X-Debug", "present", "", false],
      ["x-a", "exact", "1", false],
      ["x-b", "prefix", "p", false],
      ["x-c", "suffix", "s", true],
      ["x-d", "regex", "a+b", false],
    ],
  );
  t.same(
    regex?.match.query.map(({ name, type, value }) => [name, type, value]),
    [
      ["q", "present", ""],
      ["r", "exact", "1"],
      ["s", "regex", "[a-z]+"],
    ],
  );
  t.equal(regex?.destination.retries, undefined, "nothing is said of retries");
  t.equal(endless?.destination.requestMs, 24 * 3_600_000, "a negative time is none");
  t.same(
    shares(orders),
    {
      "v1.orders.default.dc1": 80,
      "v2.orders.default.dc1": 10,
      "payments.default.dc1": 2.55,
      "orders-next.default.dc1": 7.45,
    },
    "a splitter that leads to a splitter is multiplied out",
  );
  const [v1, v2] = orders.routes.at(-1)?.to ?? [];
  t.match(v1?.target, {
    subset: "v1",
    filter: "Service.Meta.version == v1",
    onlyPassing: false,
    connectMs: 7000,
    failover: [{ id: "v2.orders.default.dc1" }],
  });
  t.match(v2?.target, { subset: "v2", onlyPassing: true });
  t.same(
    v2?.target.failover.map(({ service, datacenter }) => [service, datacenter]),
    [
      ["payments", "dc2"],
      ["payments", undefined],
      ["payments", "dc3"],
    ],
    "in the order in which they are written; the datacenter of the chain is not named",
  );

  const redirected = await chainOf("old-orders");
  t.equal(redirected.service, "old-orders");
  t.same(shares(redirected), { "v1.orders.default.dc1": 100 }, "to the default subset, past the splitter");
  t.same(shares(await chainOf("new-orders")), { "v2.orders.default.dc1": 100 });
  const far = await chainOf("far-orders");
  t.match(far.routes[0]?.to[0]?.target, {
    service: "orders",
    subset: "v1",
    datacenter: "dc2",
    failover: [{ subset: "v2", datacenter: "dc2" }],
  });
  t.match((await chainOf("ledger")).routes[0]?.to[0]?.target, {
    service: "ledger",
    failover: [{ service: "payments" }],
  });
  const there = await chainOf("orders", "dc2");
  t.equal(there.routes.at(-1)?.to[0]?.target.datacenter, undefined, "compiled for dc2, dc2 is at home");
  t.equal(
    chainQuery("orders", { datacenter: "dc2" }).name,
    "consul:chain:orders@dc2",
    "with a copy of its own",
  );

  t.comment("the same answers, damaged");
  surviveDamage(t, answers);
});

/** An answer in the form of Consul 1.17 and later, with what 1.8 does not know. */
function newerAnswer() {
  const target = (id: string, more: object = {}) => ({
    ID: id,
    Service: id.split(".").at(-4) ?? id,
    Namespace: "default",
    Partition: "default",
    Datacenter: "dc1",
    MeshGateway: {},
    Subset: {},
    ConnectTimeout: "5s",
    SNI: `${id}.internal.consul`,
    Name: `${id}.internal.consul`,
    ...more,
  });
  const resolver = (id: string, more: object = {}, node: object = {}) => ({
    Type: "resolver",
    Name: id,
    Resolver: { ConnectTimeout: "5s", RequestTimeout: "0s", Target: id, Failover: null, ...more },
    LoadBalancer: null,
    ...node,
  });
  return {
    Chain: {
      ServiceName: "orders",
      Namespace: "default",
      Partition: "default",
      Datacenter: "dc1",
      Protocol: "HTTP",
      ServiceMeta: null,
      Default: false,
      EnvoyExtensions: null,
      StartNode: "router:orders.default.default",
      Nodes: {
        "router:orders.default.default": {
          Type: "router",
          Name: "orders.default.default",
          Routes: [
            {
              Definition: {
                Match: {
                  HTTP: {
                    PathExact: "",
                    PathPrefix: "/Shop",
                    PathRegex: "",
                    CaseInsensitive: true,
                    Header: [
                      { Name: "x-tenant", Contains: "EU", IgnoreCase: true },
                      { Name: "x-agent", Regex: "(?i)curl/.*" },
                    ],
                    QueryParam: null,
                    Methods: null,
                  },
                },
                Destination: {
                  Service: "orders",
                  RequestTimeout: "0s",
                  IdleTimeout: "30s",
                  NumRetries: 0,
                  RetryOn: ["5xx", "reset"],
                  RequestHeaders: { Add: { "x-a": "1" }, Set: null, Remove: ["X-Old"] },
                  ResponseHeaders: { Set: { "x-served-by": "mesh" } },
                },
              },
              NextNode: "splitter:orders.default.default",
            },
            {
              Definition: { Match: { HTTP: { PathPrefix: "/" } }, Destination: { Service: "orders" } },
              NextNode: "resolver:orders.default.default.dc1",
            },
          ],
        },
        "splitter:orders.default.default": {
          Type: "splitter",
          Name: "orders.default.default",
          Splits: [
            {
              Definition: {
                Weight: 99.99,
                RequestHeaders: { Set: { "x-split": "a", "x-outer": "1" } },
                ResponseHeaders: { Set: { "x-split": "a" } },
              },
              Weight: 99.99,
              NextNode: "splitter:inner.default.default",
            },
            { Definition: { Weight: 0.01 }, Weight: 0.01, NextNode: "resolver:orders.default.default.dc1" },
          ],
        },
        "splitter:inner.default.default": {
          Type: "splitter",
          Name: "inner.default.default",
          Splits: [
            {
              Definition: {
                Weight: 100,
                RequestHeaders: { Set: { "x-split": "b" } },
                ResponseHeaders: { Set: { "x-split": "b" } },
              },
              Weight: 100,
              NextNode: "resolver:next.default.default.dc1",
            },
          ],
        },
        "resolver:orders.default.default.dc1": resolver(
          "orders.default.default.dc1",
          {
            RequestTimeout: "20s",
            Failover: {
              Targets: ["orders.default.eu.dc1", "orders.default.default.external.cloud"],
              Policy: { Mode: "order-by-locality", Regions: ["eu"] },
            },
          },
          { LoadBalancer: { Policy: "ring_hash", RingHashConfig: { MinimumRingSize: 1024 } } },
        ),
        "resolver:next.default.default.dc1": resolver(
          "next.default.default.dc1",
          {},
          { LoadBalancer: { Policy: "least_request", LeastRequestConfig: { ChoiceCount: 2 } } },
        ),
      },
      Targets: {
        "orders.default.default.dc1": target("orders.default.default.dc1"),
        "next.default.default.dc1": target("next.default.default.dc1", {
          Service: "next",
          MeshGateway: { Mode: "local" },
        }),
        "orders.default.eu.dc1": target("orders.default.eu.dc1", { Service: "orders", Partition: "eu" }),
        "orders.default.default.external.cloud": target("orders.default.default.external.cloud", {
          Service: "orders",
          Datacenter: "",
          Peer: "cloud",
          External: true,
          MeshGateway: { Mode: "local" },
        }),
      },
    },
  };
}

test("what newer agents write is read, or said not to be done", async (t) => {
  const chain = readChain(newerAnswer());
  t.equal(chain?.protocol, "http");
  const [shop, rest] = chain?.routes ?? [];
  t.same(shop?.match, {
    path: { type: "prefix", value: "/Shop" },
    ignoreCase: true,
    headers: [
      { name: "x-tenant", invert: false, type: "contains", value: "EU", ignoreCase: true },
      { name: "x-agent", invert: false, type: "regex", value: "curl/.*", ignoreCase: true },
    ],
    query: [],
    methods: [],
  });
  t.same(shop?.destination, {
    prefixRewrite: undefined,
    requestMs: undefined,
    retries: { attempts: 1, on: ["5xx", "reset"] },
    request: { add: { "x-a": "1" }, set: {}, remove: ["x-old"] },
    response: { add: {}, set: { "x-served-by": "mesh" }, remove: [] },
  });
  t.same(shares(chain, 0), { "next.default.default.dc1": 99.99, "orders.default.default.dc1": 0.01 });
  t.same(
    shop?.to[0]?.headers,
    {
      request: { add: {}, set: { "x-split": "b", "x-outer": "1" }, remove: [] },
      response: { add: {}, set: { "x-split": "a" }, remove: [] },
    },
    "the request passes the outer splitter first, and its answer last",
  );
  t.equal(shop?.to[0]?.target.balancing.policy, "least_request");
  t.equal(shop?.to[0]?.target.requestMs, undefined, "0 is no wish");
  const orders = rest?.to[0]?.target;
  t.equal(orders?.requestMs, 20_000);
  t.equal(orders?.balancing.policy, "ring_hash");
  t.same(
    orders?.failover.map(({ datacenter, partition, peer }) => [datacenter, partition, peer]),
    [
      [undefined, "eu", undefined],
      [undefined, undefined, "cloud"],
    ],
  );
  t.same(chain?.warnings, [
    "resolver:orders.default.default.dc1: the policy of its fail-over is not built; its targets are tried in order",
    "target orders.default.default.external.cloud: it is external and may want TLS, which is not built",
    "target orders.default.default.external.cloud: mesh gateways need TLS, which is not built; it is called directly",
    "routes[0]: IdleTimeout of its destination has no effect",
  ]);
});

test("a match that is not understood takes nothing, where it could take what is others'", async (t) => {
  const everything = { HTTP: { PathPrefix: "/" } };
  for (const [match, why] of [
    [{ HTTP: { PathPrefix: "/a", GRPC: { Service: "x" } } }, 'its match has "GRPC", which is not understood'],
    [{ TCP: { Port: 1 } }, 'its match has "TCP", which is not understood'],
    ["everything", 'its match has "everything" in place of an object'],
    [{ HTTP: [] }, "its match has [] in place of an object"],
    [{ HTTP: { PathExact: 7 } }, "its match has no text as PathExact, but 7"],
    [{ HTTP: { PathExact: "/a", PathPrefix: "/a" } }, "its match has more than one path"],
    [{ HTTP: { Methods: "GET" } }, 'its match has no list as Methods, but "GET"'],
    [{ HTTP: { Methods: [1] } }, "its match has no text as Methods, but 1"],
    [{ HTTP: { Header: { Name: "x-a" } } }, 'its match has no list as Header, but {"Name":"x-a"}'],
    [{ HTTP: { Header: [null] } }, "its match has no list as Header, but [null]"],
    [{ HTTP: { Header: [{ Exact: "1" }] } }, "its match names the field null"],
    [{ HTTP: { Header: [{ Name: ":authority", Exact: "a" }] } }, 'its match names the field ":authority"'],
    [{ HTTP: { Header: [{ Name: "x-a" }] } }, "its match of x-a has no test"],
    [{ HTTP: { Header: [{ Name: "x-a", Exact: "1", Prefix: "2" }] } }, "its match of x-a has several tests"],
    [
      { HTTP: { QueryParam: [{ Name: "q", Range: { Start: 1 } }] } },
      'its match has "Range", which is not understood',
    ],
    [
      { HTTP: { QueryParam: [{ Name: "q", Regex: "(?=a)" }] } },
      'its pattern "(?=a)": flags within a pattern and look-around are not understood',
    ],
  ] as const) {
    const answer = newerAnswer();
    const [first, last] = answer.Chain.Nodes["router:orders.default.default"].Routes;
    Object.assign(first!.Definition, { Match: match });
    Object.assign(last!.Definition, { Match: everything });
    const chain = readChain(answer);
    t.same(
      chain?.routes.map(({ place }) => place),
      [1],
      JSON.stringify(match),
    );
    t.ok(chain?.warnings.includes(`routes[0]: ${why}; it is left out`), `${chain?.warnings}`);
  }
});

test("a graph that leads nowhere, in a circle or to too much is no chain", async (t) => {
  const splitter = (...next: readonly string[]) => ({
    Type: "splitter",
    Splits: next.map((NextNode) => ({ Weight: 100 / next.length, NextNode })),
  });
  const resolver = { Type: "resolver", Resolver: { Target: "a" } };
  const chainOf = (nodes: object, start = "s0", targets: object = { a: { Service: "a" } }) =>
    readChain({ Chain: { ServiceName: "a", StartNode: start, Nodes: nodes, Targets: targets } });
  const line = (length: number, width: number) =>
    Object.fromEntries(
      Array.from({ length }, (_, i) => [`s${i}`, splitter(...new Array<string>(width).fill(`s${i + 1}`))]),
    );
  t.same(shares(chainOf({ s0: resolver })), { a: 100 }, "a resolver alone");
  t.same(
    shares(chainOf({ ...line(20, 1), s20: resolver })),
    { a: 100 },
    "twenty splitters one behind the other",
  );
  t.same(shares(chainOf({ ...line(10, 2), s10: resolver })), { a: 100 }, "a thousand ways to one target");
  for (const [what, chain] of [
    ["one that leads to itself", chainOf({ s0: splitter("s0") })],
    ["two that lead to each other", chainOf({ s0: splitter("s1", "s1"), s1: splitter("s0", "s0") })],
    ["too deep", chainOf({ ...line(21, 1), s21: resolver })],
    ["too wide: ten to the twentieth ways", chainOf({ ...line(20, 10), s20: resolver })],
    ["without its start", chainOf({ s0: resolver }, "s1")],
    ["without its target", chainOf({ s0: resolver }, "s0", {})],
    ["a name that every object has", chainOf({ s0: resolver }, "constructor")],
    ["a splitter without splits", chainOf({ s0: splitter() })],
    [
      "weights that are all 0",
      chainOf({ s0: { Type: "splitter", Splits: [{ Weight: 0, NextNode: "s1" }] }, s1: resolver }),
    ],
    [
      "a router behind a router",
      chainOf({ s0: { Type: "router", Routes: [{ Definition: {}, NextNode: "s0" }] } }),
    ],
    ["a router without routes", chainOf({ s0: { Type: "router", Routes: null } })],
    ["a kind of node that is not known", chainOf({ s0: { Type: "mirror", Resolver: { Target: "a" } } })],
    ["no object", readChain("chain")],
    ["nothing", readChain(null)],
  ] as const)
    t.equal(chain, undefined, what);
  const half = chainOf({
    s0: { Type: "resolver", Resolver: { Target: "a", Failover: { Targets: ["b", 7, "a"] } } },
  });
  t.same(
    half?.routes[0]?.to[0]?.target.failover.map(({ id }) => id),
    ["a"],
  );
  t.same(half?.warnings, ['s0: its fail-over "b" is not there', "s0: its fail-over 7 is not there"]);
  const negative = chainOf({
    s0: {
      Type: "splitter",
      Splits: [
        { Weight: -50, NextNode: "s1" },
        { Weight: "50", NextNode: "s1" },
      ],
    },
    s1: resolver,
  });
  t.same(
    negative?.routes[0]?.to.map(({ weight }) => weight),
    [0, 50],
    "a weight below 0 is none",
  );
});

/** Takes parts of an answer away and puts others in their place, which no agent does, and sees that nothing breaks. */
function surviveDamage(t: { ok(holds: unknown, what: string): unknown }, answers: readonly unknown[]): void {
  let read = 0;
  const places = fc.array(fc.nat(), { minLength: 1, maxLength: 12 });
  const values = fc.constantFrom(...ODD_VALUES);
  const damages = fc.array(fc.tuple(places, fc.option(values), fc.boolean()), { minLength: 1, maxLength: 4 });
  const property = fc.property(fc.constantFrom(...answers), damages, (answer, all) => {
    const damaged = structuredClone(answer);
    for (const [path, value, isTaken] of all) damage(damaged, path, isTaken ? REMOVED : value);
    const chain = readChain(damaged);
    if (chain === undefined) return;
    read++;
    if (chain.routes.length === 0) throw new Error("a chain without routes");
    for (const { to } of chain.routes)
      if (!to.every(({ weight }) => weight >= 0) || !to.some(({ weight }) => weight > 0))
        throw new Error("a route without weights");
    if (JSON.stringify(chain).length > 1e6) throw new Error("a chain without end");
    const { destination, sources } = planOfChain(SPEC, ORIGIN, chain);
    for (const { upstream } of destination.routes.flatMap(({ to }) => to))
      if (!Object.hasOwn(sources, destination.lanes[upstream]?.upstream ?? ""))
        throw new Error("a way to nowhere");
    // It must be the plain values that are sent to workers.
    structuredClone(destination);
  });
  fc.assert(property, { seed: 20261121, numRuns: 3000 });
  t.ok(read > 300 && read < 2900, `${read} of 3,000 damaged answers were still chains`);
}

const ORIGIN = { type: "chain", service: "orders", connect: true, stale: true } as const;
const SPEC = { name: "orders", origin: ORIGIN, ...usualUpstream };
const REMOVED = Symbol("removed");
const ODD_VALUES: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1e308,
  "",
  "x",
  "splitter:orders.default",
  "splitter:orders.default.default",
  "router:orders.default",
  "__proto__",
  "constructor",
  "-9223372036854775808ns",
  [],
  [[]],
  {},
  { __proto__: null, toString: 1 },
];

/** Walks down by the numbers as far as there is something, and changes what is there. */
function damage(value: unknown, [step = 0, ...rest]: readonly number[], to: unknown): void {
  if (typeof value !== "object" || value === null) return;
  const keys = Object.keys(value);
  const key = keys[step % keys.length];
  if (key === undefined) return;
  const holder = value as Record<string, unknown>;
  const inner = holder[key];
  if (rest.length > 0 && typeof inner === "object" && inner !== null && Object.keys(inner).length > 0)
    damage(inner, rest, to);
  else if (to === REMOVED) delete holder[key];
  else holder[key] = to;
}

test("an answer that is damaged anywhere is no chain, or one that can be used", async (t) => {
  surviveDamage(t, [newerAnswer()]);
});
