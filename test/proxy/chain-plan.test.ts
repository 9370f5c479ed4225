import fc from "fast-check";
import { test } from "tap";
import { usualUpstream } from "../../config/index.ts";
import { type Chain, readChain } from "../../discovery/consul/chain.ts";
import { type NamePlan, planOfChain } from "../../proxy/control/chain-plan.ts";
import type { NameSpec, Origin } from "../../proxy/control/name-spec.ts";
import type { LanePlan } from "../../proxy/plan.ts";
import { rewrite } from "../../proxy/rewrite.layer.ts";
import { RouteTable } from "../../proxy/route.ts";
import { type ExchangeSettings, exchangeOf, responseOf } from "../support/exchange.ts";
import { seededRandom } from "../support/seeded-random.ts";

type ChainOrigin = Extract<Origin, { type: "chain" }>;

const ORIGIN: ChainOrigin = { type: "chain", service: "orders", connect: true, stale: true };

interface TargetSettings {
  readonly Service?: string;
  readonly [member: string]: unknown;
}

interface ChainSettings {
  readonly protocol?: string;
  /** By name; what is not said of a target is as for the service itself, in the same place. */
  readonly targets?: Readonly<Record<string, TargetSettings>>;
  /** Members of the resolver node of a target. */
  readonly resolvers?: Readonly<
    Record<string, { readonly Resolver?: object; readonly LoadBalancer?: object }>
  >;
  readonly routes?: readonly {
    readonly http?: object;
    readonly destination?: object;
    /** Targets with their weights, or one. */
    readonly to: string | Readonly<Record<string, number>>;
    /** Members of the definition of a split, by target. */
    readonly splits?: Readonly<Record<string, object>>;
  }[];
}

/** An answer of an agent, and what is read of it. */
function chainOf({ protocol = "http", targets = {}, resolvers = {}, routes }: ChainSettings = {}): Chain {
  const all: Readonly<Record<string, TargetSettings>> = { own: {}, ...targets };
  const nodes: Record<string, object> = {};
  for (const id of Object.keys(all))
    nodes[`resolver:${id}`] = {
      Type: "resolver",
      ...resolvers[id],
      Resolver: { ConnectTimeout: "5s", Target: id, ...resolvers[id]?.Resolver },
    };
  const Routes = (routes ?? []).map(({ http, destination, to, splits }, i) => {
    const Definition = { Match: { HTTP: http ?? { PathPrefix: "/" } }, Destination: destination };
    if (typeof to === "string") return { Definition, NextNode: `resolver:${to}` };
    nodes[`splitter:${i}`] = {
      Type: "splitter",
      Splits: Object.entries(to).map(([id, Weight]) => ({
        Weight,
        Definition: splits?.[id],
        NextNode: `resolver:${id}`,
      })),
    };
    return { Definition, NextNode: `splitter:${i}` };
  });
  if (routes !== undefined) nodes["router"] = { Type: "router", Routes };
  const chain = readChain({
    Chain: {
      ServiceName: "orders",
      Namespace: "default",
      Datacenter: "dc1",
      Protocol: protocol,
      StartNode: routes === undefined ? "resolver:own" : "router",
      Nodes: nodes,
      Targets: Object.fromEntries(
        Object.entries(all).map(([id, target]) => [
          id,
          { ID: id, Service: "orders", Namespace: "default", Datacenter: "dc1", ...target },
        ]),
      ),
    },
  });
  if (chain === undefined) throw new Error("no chain");
  return chain;
}

const { options, healthCheck, follow } = usualUpstream;

function planOf(settings: ChainSettings = {}, origin: ChainOrigin = ORIGIN, own = options): NamePlan {
  const spec: NameSpec = { name: "orders", origin, options: own, healthCheck, follow };
  return planOfChain(spec, origin, chainOf(settings));
}

/** The way that a request takes. */
function laneFor({ destination }: NamePlan, request: ExchangeSettings, random = { next: () => 0 }) {
  const found = new RouteTable(destination.routes).match(exchangeOf(request), random);
  return found === undefined ? undefined : destination.lanes[found.upstream];
}

test("a service of which nothing is configured is one upstream, as without a chain", async (t) => {
  for (const settings of [{}, { protocol: "tcp" }, { routes: [{ to: "own" }] }]) {
    const { destination, sources, warnings } = planOf(settings);
    t.same(destination.routes, []);
    t.same(destination.lanes, { orders: { upstream: "orders" } });
    t.same(destination.upstreams, { orders: { name: "orders", options } });
    t.same(sources, { orders: [{ kind: "consul", service: "orders", connect: true, stale: true }] });
    t.same(warnings, []);
  }
});

test("upstreams are called by what tells them from the service itself", async (t) => {
  const targets = {
    v2: { ServiceSubset: "v2", Subset: { Filter: "Service.Meta.version == v2", OnlyPassing: true } },
    payments: { Service: "payments" },
    "v2-far": { ServiceSubset: "v2", Datacenter: "dc2" },
    "pay-eu": { Service: "payments", Namespace: "eu", Partition: "west" },
    peer: { Datacenter: "", Peer: "cloud" },
  };
  const to = { own: 50, v2: 10, payments: 10, "v2-far": 10, "pay-eu": 10, peer: 10 };
  const { destination, sources } = planOf({ targets, routes: [{ to }] });
  t.same(Object.keys(destination.upstreams), [
    "orders",
    "orders/v2",
    "orders/payments",
    "orders/v2.dc2",
    "orders/payments.eu.west",
    "orders/cloud",
  ]);
  const common = { kind: "consul", connect: true, stale: true };
  t.same(sources, {
    orders: [{ ...common, service: "orders" }],
    "orders/v2": [{ ...common, service: "orders", filter: "Service.Meta.version == v2", onlyPassing: true }],
    "orders/payments": [{ ...common, service: "payments" }],
    "orders/v2.dc2": [{ ...common, service: "orders", datacenter: "dc2" }],
    "orders/payments.eu.west": [{ ...common, service: "payments", namespace: "eu", partition: "west" }],
    "orders/cloud": [{ ...common, service: "orders", peer: "cloud" }],
  });
  t.same(
    destination.routes[0]?.to,
    Object.entries(to).map(([id, weight]) => ({
      upstream: Object.keys(destination.upstreams)[Object.keys(to).indexOf(id)],
      weight,
    })),
  );
});

test("a subset that is called like another service is not taken for it", async (t) => {
  const targets = { "payments.orders": { ServiceSubset: "payments" }, "payments.": { Service: "payments" } };
  const routes = [{ to: { "payments.orders": 50, "payments.": 50 } }];
  const keys = (settings: ChainSettings) => Object.keys(planOf(settings).sources).sort();
  const expected = ["orders/payments.", "orders/payments.orders"];
  t.same(keys({ targets, routes }), expected);
  t.same(
    keys({ targets, routes: [{ to: "payments." }, { to: "payments.orders" }] }),
    expected,
    "in any order",
  );
  const { sources } = planOf({ targets, routes });
  t.match(sources["orders/payments."], [{ service: "payments" }]);
  t.match(sources["orders/payments.orders"], [{ service: "orders" }]);
});

test("fail-over is several sources of one upstream, in order", async (t) => {
  const targets = {
    v2: { ServiceSubset: "v2", Subset: { Filter: "v2" } },
    far: { Datacenter: "dc2" },
    payments: { Service: "payments", Datacenter: "dc3" },
  };
  const resolvers = { own: { Resolver: { Failover: { Targets: ["far", "v2", "payments"] } } } };
  const { destination, sources } = planOf({ targets, resolvers });
  t.same(Object.keys(destination.upstreams), ["orders"]);
  t.same(
    sources["orders"]?.map((source) => ({
      ...source,
      kind: undefined,
      connect: undefined,
      stale: undefined,
    })),
    [
      { service: "orders" },
      { service: "orders", datacenter: "dc2" },
      { service: "orders", filter: "v2" },
      { service: "payments", datacenter: "dc3" },
    ].map((source) => ({ ...source, kind: undefined, connect: undefined, stale: undefined })),
  );
});

test("what is elsewhere is asked for elsewhere, and a peer in no datacenter of ours", async (t) => {
  const targets = {
    far: { Datacenter: "dc3" },
    peer: { Datacenter: "", Peer: "cloud" },
    ns: { Namespace: "eu" },
  };
  const resolvers = { own: { Resolver: { Failover: { Targets: ["far", "peer", "ns"] } } } };
  const { sources } = planOf({ targets, resolvers }, { ...ORIGIN, datacenter: "dc2", namespace: "shop" });
  const common = { kind: "consul", service: "orders", connect: true, stale: true };
  t.same(sources["orders"], [
    { ...common, datacenter: "dc2", namespace: "shop" },
    { ...common, datacenter: "dc3", namespace: "shop" },
    { ...common, namespace: "shop", peer: "cloud" },
    { ...common, datacenter: "dc2", namespace: "eu" },
  ]);
});

test("each way that differs is a lane, and the same way twice is one", async (t) => {
  const { destination } = planOf({
    targets: { payments: { Service: "payments" } },
    routes: [
      { http: { PathPrefix: "/a" }, destination: { RequestTimeout: "20s" }, to: "own" },
      { http: { PathPrefix: "/b" }, destination: { RequestTimeout: "20s" }, to: { own: 50, payments: 50 } },
      { http: { PathPrefix: "/c" }, destination: { NumRetries: 4, RetryOn: ["reset"] }, to: "own" },
      { to: { own: 90, payments: 10 } },
    ],
  });
  t.same(Object.keys(destination.upstreams), ["orders", "orders/payments"]);
  t.same(Object.keys(destination.lanes), [
    "orders",
    "orders/payments",
    "orders#2",
    "orders#3",
    "orders/payments#2",
  ]);
  t.same(
    destination.routes.map(({ name, to }) => [name, ...to.map(({ upstream }) => upstream)]),
    [
      ["routes[0]", "orders"],
      ["routes[1]", "orders", "orders/payments"],
      ["routes[2]", "orders#2"],
      ["routes[3]", "orders#3", "orders/payments#2"],
    ],
  );
  t.match(destination.lanes, {
    orders: { requestMs: 20_000 },
    "orders#2": { retries: { ...options.retries, attempts: 4, on: ["connectFailure", "reset", "timeout"] } },
    "orders#3": { requestMs: undefined, retries: undefined },
  });
});

test("a router of a thousand routes is a plan of a thousand lanes", async (t) => {
  const routes = Array.from({ length: 1000 }, (_, i) => ({
    http: { PathPrefix: `/${i}` },
    destination: { PrefixRewrite: `/to/${i}` },
    to: "own",
  }));
  const { destination } = planOf({ routes });
  t.equal(Object.keys(destination.lanes).length, 1000);
  t.equal(
    laneFor({ destination, sources: {}, warnings: [] }, { target: "/9" })?.rewrite?.prefix?.to,
    "/to/9",
  );
});

test("requests find their routes as in Consul", async (t) => {
  const targets = Object.fromEntries("abcdefgh".split("").map((id) => [id, { Service: id }]));
  const plan = planOf({
    targets,
    routes: [
      { http: { PathExact: "/health" }, to: "a" },
      { http: { PathPrefix: "/v1" }, to: "b" },
      { http: { PathRegex: "/(v2|v3)/.*", Methods: ["GET"] }, to: "c" },
      { http: { PathPrefix: "/Shop", CaseInsensitive: true }, to: "d" },
      { http: { Header: [{ Name: "X-Tenant", Exact: "grün" }] }, to: "e" },
      { http: { QueryParam: [{ Name: "debug", Present: true }] }, to: "f" },
      { http: { PathPrefix: "/w", Header: [{ Name: "x-w", Regex: "(?i)yes" }] }, to: "g" },
      { to: "own" },
    ],
  });
  const cases: [ExchangeSettings, string][] = [
    [{ target: "/health" }, "orders/a"],
    [{ target: "/health?x=1" }, "orders/a"],
    [{ target: "/health/" }, "orders"],
    [{ target: "/v10" }, "orders/b"],
    [{ target: "/v1?x" }, "orders/b"],
    [{ target: "/v3/x" }, "orders/c"],
    [{ target: "/v3/x", method: "POST" }, "orders"],
    [{ target: "/sHOPs" }, "orders/d"],
    // As it comes on the wire, one character for each byte.
    [{ headers: ["x-tenant", "gr\xc3\xbcn"] }, "orders/e"],
    [{ target: "/?debug" }, "orders/f"],
    [{ target: "/w", headers: ["X-W", "YES"] }, "orders/g"],
    [{ target: "*", method: "OPTIONS" }, "orders"],
    [{}, "orders"],
  ];
  for (const [request, expected] of cases)
    t.equal(laneFor(plan, request)?.upstream, expected, JSON.stringify(request));
});

test("weights are shared out as they are written, to within four standard errors", async (t) => {
  const weights = { own: 90, v2: 2.55, payments: 7.44, never: 0, rare: 0.01 };
  const targets = {
    v2: { ServiceSubset: "v2" },
    payments: { Service: "payments" },
    never: { Service: "never" },
    rare: { Service: "rare" },
  };
  const { destination } = planOf({
    targets,
    routes: [{ http: { PathPrefix: "/x" }, to: "v2" }, { to: weights }],
  });
  const table = new RouteTable(destination.routes);
  const random = seededRandom(42);
  const total = 100_000;
  const counts = new Map<string, number>();
  for (let i = 0; i < total; i++) {
    const lane = table.match(exchangeOf(), random)?.upstream ?? "";
    counts.set(lane, (counts.get(lane) ?? 0) + 1);
  }
  for (const [id, weight] of Object.entries(weights)) {
    const count = counts.get(id === "own" ? "orders" : `orders/${id}`) ?? 0;
    const share = weight / 100;
    const error = Math.sqrt(total * share * (1 - share));
    t.ok(
      Math.abs(count - total * share) <= 4 * error,
      `${count} of ${total} for ${weight} %, ± ${error.toFixed(1)}`,
    );
  }
  t.equal(
    [...counts.values()].reduce((sum, count) => sum + count),
    total,
  );
});

test("time limits: what is said counts, and no attempt is cut before its request", async (t) => {
  const timeouts = (settings: ChainSettings, origin = ORIGIN, own = options) =>
    planOf(settings, origin, own).destination.upstreams["orders"]?.options.timeouts;
  const resolver = (members: object): ChainSettings => ({ resolvers: { own: { Resolver: members } } });
  const route = (RequestTimeout: string, members: object = {}): ChainSettings => ({
    ...resolver(members),
    routes: [{ http: { PathPrefix: "/a" }, destination: { RequestTimeout }, to: "own" }, { to: "own" }],
  });
  t.match(timeouts({}), { connectMs: 1000, attemptMs: 10_000, requestMs: 15_000 }, "what is usual");
  t.equal(timeouts(resolver({ ConnectTimeout: "5s" }))?.connectMs, 1000, "what Consul says where nobody has");
  t.equal(timeouts(resolver({ ConnectTimeout: "7s" }))?.connectMs, 7000);
  t.equal(timeouts(resolver({ ConnectTimeout: "250ms" }))?.connectMs, 250);
  t.equal(timeouts(resolver({ ConnectTimeout: "0s" }))?.connectMs, 1000);
  t.equal(
    timeouts(resolver({ ConnectTimeout: "7s" }), { ...ORIGIN, connectMs: 300 })?.connectMs,
    300,
    "the caller's",
  );
  t.match(timeouts(resolver({ RequestTimeout: "1m" })), { requestMs: 60_000, attemptMs: 60_000 });
  t.match(timeouts(resolver({ RequestTimeout: "2s" })), { requestMs: 2000, attemptMs: 2000 });
  t.match(timeouts(resolver({ RequestTimeout: "0s" })), { requestMs: 15_000, attemptMs: 10_000 });
  t.match(timeouts(route("1m30s")), { requestMs: 15_000, attemptMs: 90_000 });
  t.match(timeouts(route("1s")), { requestMs: 15_000, attemptMs: 10_000 });
  t.match(timeouts(route("-1s")), { attemptMs: 24 * 3_600_000 });
  t.match(timeouts(route("3s", { RequestTimeout: "20s" })), { requestMs: 20_000, attemptMs: 20_000 });
  const lanes = Object.values(planOf(route("1m30s")).destination.lanes);
  t.same(
    lanes.map(({ requestMs }) => requestMs),
    [90_000, undefined],
  );
});

test("retries: Envoy's words, statuses, and what is usual where nothing is said", async (t) => {
  const noAnswer = ["connectFailure", "reset", "timeout"];
  const all5xx = Array.from({ length: 100 }, (_, i) => 500 + i);
  for (const [destination, attempts, on, warned] of [
    [{ RetryOnConnectFailure: true }, 1, ["connectFailure"], []],
    [{ RetryOnStatusCodes: [503, 429] }, 1, [503, 429], []],
    [{ NumRetries: 3 }, 3, options.retries.on, []],
    [{ NumRetries: 3, RetryOn: ["reset", "refused-stream"] }, 3, noAnswer.toSorted(), []],
    [{ RetryOn: ["gateway-error"] }, 1, [...noAnswer, 502, 503, 504], []],
    [{ RetryOn: ["5xx"], RetryOnStatusCodes: [503] }, 1, [...noAnswer, ...all5xx], []],
    [{ RetryOn: ["retriable-4xx", "retriable-status-codes"], RetryOnStatusCodes: [418] }, 1, [409, 418], []],
    [
      { RetryOn: ["reset", "unavailable", "constructor"], RetryOnStatusCodes: [200, 4.5, -1, 600] },
      1,
      noAnswer,
      ["unavailable", "constructor", "200", "4.5", "-1", "600"],
    ],
  ] as const) {
    const plan = planOf({ routes: [{ http: { PathPrefix: "/a" }, destination, to: "own" }, { to: "own" }] });
    const [lane, usual] = Object.values(plan.destination.lanes);
    t.equal(lane?.retries?.attempts, attempts, JSON.stringify(destination));
    t.same(lane?.retries?.on.toSorted(), [...on].sort(), JSON.stringify(destination));
    t.same(lane?.retries?.budget, options.retries.budget, "the budget is ours");
    t.equal(usual?.retries, undefined);
    t.same(
      plan.warnings,
      warned.map((word) => `routes[0]: the retry condition ${word} is not understood, and has no effect`),
    );
  }
});

/** What a request looks like behind a lane. */
async function behind(lane: LanePlan | undefined, request: ExchangeSettings) {
  const exchange = exchangeOf(request);
  const answer = responseOf();
  const layer = rewrite(lane?.rewrite ?? {});
  await layer.wrap(() => Promise.resolve(answer))(exchange);
  return { target: exchange.target, headers: exchange.headers, response: answer.headers };
}

test("paths and fields are changed as a route and its split ask for it", async (t) => {
  const plan = planOf({
    targets: { v2: { ServiceSubset: "v2" } },
    routes: [
      {
        http: { PathPrefix: "/pay" },
        destination: {
          PrefixRewrite: "/",
          RequestHeaders: { Add: { "x-list": "route" }, Set: { "x-env": "route" }, Remove: ["X-Old"] },
          ResponseHeaders: { Set: { "x-mesh": "grün" } },
        },
        to: { own: 1, v2: 99 },
        splits: {
          v2: {
            RequestHeaders: { Add: { "x-list": "split" }, Set: { "x-env": "split", "x-split": "v2" } },
            ResponseHeaders: { Remove: ["server"] },
          },
        },
      },
      {
        http: { PathExact: "/Old", CaseInsensitive: true },
        destination: { PrefixRewrite: "/new" },
        to: "own",
      },
      { to: "own" },
    ],
  });
  t.same(plan.warnings, []);
  const own = laneFor(plan, { target: "/pay/1" });
  t.same(await behind(own, { target: "/pay/1?x=1", headers: ["x-old", "1", "X-Env", "app"] }), {
    target: "/1?x=1",
    headers: ["x-list", "route", "x-env", "route"],
    response: ["x-mesh", "gr\xc3\xbcn"],
  });
  const split = laneFor(plan, { target: "/pay" }, { next: () => 0.5 });
  t.same(
    await behind(split, { target: "/pay" }),
    {
      target: "/",
      headers: ["x-list", "split", "x-split", "v2", "x-list", "route", "x-env", "route"],
      response: ["x-mesh", "gr\xc3\xbcn"],
    },
    "the split first, so that the route has the last word",
  );
  t.equal((await behind(laneFor(plan, { target: "/OLD" }), { target: "/OLD?a" })).target, "/new?a");
  t.equal(laneFor(plan, {})?.rewrite, undefined);
});

test("what would not be one field or one path on the wire is refused when the plan is made", async (t) => {
  const plan = planOf({
    routes: [
      {
        http: { PathPrefix: "/a" },
        destination: {
          PrefixRewrite: "/x HTTP/1.1\r\nX-Evil: 1",
          RequestHeaders: {
            Add: { "x-a": "1\r\nX-Evil: 1", "x-b": "fine", "x-c\r\n": "1" },
            Set: {
              "x-d": "1\n",
              "content-length": "5",
              Host: "elsewhere",
              "x-e": "%DOWNSTREAM_REMOTE_ADDRESS%",
            },
            Remove: ["transfer-encoding", "x y", "x-f"],
          },
          ResponseHeaders: {
            Set: { "x-g": "\0" },
            Add: { "Transfer-Encoding": "chunked", "x-h": "100% sure" },
          },
        },
        to: "own",
      },
      { http: { PathRegex: "/r/.*" }, destination: { PrefixRewrite: "/" }, to: "own" },
    ],
  });
  t.same(plan.warnings, [
    'routes[0]: expected the beginning of a path as PrefixRewrite, got "/x HTTP/1.1\\r\\nX-Evil: 1"; it has no effect',
    'routes[0]: the field "transfer-encoding" is not changed: it is heddle\'s own',
    'routes[0]: the field "x y" is not changed: expected a field name',
    'routes[0]: the field "x-a" is not changed: expected a field value, got "1\\r\\nX-Evil: 1"',
    'routes[0]: the field "x-c\\r\\n" is not changed: expected a field name',
    'routes[0]: the field "x-d" is not changed: expected a field value, got "1\\n"',
    'routes[0]: the field "content-length" is not changed: it is heddle\'s own',
    'routes[0]: the field "Host" is not changed: it is heddle\'s own',
    'routes[0]: the field "x-e" is not changed: the variables of Envoy in "%DOWNSTREAM_REMOTE_ADDRESS%" are not understood',
    'routes[0]: the field "Transfer-Encoding" is not changed: it is heddle\'s own',
    'routes[0]: the field "x-g" is not changed: expected a field value, got "\\u0000"',
    "routes[1]: PrefixRewrite needs a path or a prefix that is matched, not a pattern; it has no effect",
  ]);
  const lane = laneFor(plan, { target: "/a" });
  t.same(await behind(lane, { target: "/a", headers: ["X-F", "1"] }), {
    target: "/a",
    headers: ["x-b", "fine"],
    response: ["x-h", "100% sure"],
  });
});

test("whatever texts a registry has, no field and no path is more than one", async (t) => {
  const text = fc.string({
    unit: fc.oneof(fc.constantFrom("\r", "\n", "\0", ":", " ", "/", "x"), fc.string()),
  });
  const edits = fc.record({
    Add: fc.dictionary(text, text),
    Set: fc.dictionary(text, text),
    Remove: fc.array(text),
  });
  const property = fc.asyncProperty(edits, text, async (RequestHeaders, PrefixRewrite) => {
    const http = { PathPrefix: "/" };
    const plan = planOf({ routes: [{ http, destination: { RequestHeaders, PrefixRewrite }, to: "own" }] });
    const { target, headers } = await behind(Object.values(plan.destination.lanes)[0], { target: "/" });
    return /^\/[\x21-\x7e]*$/.test(target) && headers.every((part) => !/[\r\n\0]/.test(part));
  });
  await fc.assert(property, { seed: 20261121, numRuns: 500 });
  t.pass("of 500 registries");
});

test("how endpoints are chosen is taken over where it is built, and otherwise said", async (t) => {
  const usual = options.balancing.algorithm;
  for (const [Policy, expected, said] of [
    ["random", "random", undefined],
    ["round_robin", "roundRobin", undefined],
    ["least_request", "leastRequest", undefined],
    ["", usual, undefined],
    ["ring_hash", usual, "names nothing to go by"],
    ["maglev", usual, "names nothing to go by"],
    ["constructor", usual, "is not built"],
  ] as const) {
    const { destination, warnings } = planOf({ resolvers: { own: { LoadBalancer: { Policy } } } });
    t.equal(destination.upstreams["orders"]?.options.balancing.algorithm, expected, Policy);
    t.same(
      warnings,
      said === undefined ? [] : [`target own: the policy ${Policy} ${said}; ${usual} is used`],
    );
  }
});

test("what a request is known by is taken over in its order, with the sizes that go with it", async (t) => {
  const LoadBalancer = {
    Policy: "ring_hash",
    RingHashConfig: { MinimumRingSize: 2048, MaximumRingSize: 1024 },
    LeastRequestConfig: { ChoiceCount: 1 },
    HashPolicies: [
      { Field: "header", FieldValue: "X-User", Terminal: true },
      { Field: "cookie", FieldValue: "Session", CookieConfig: { Session: true } },
      { Field: "query_parameter", FieldValue: "user" },
      { Field: "constructor", FieldValue: "user" },
      { SourceIP: true },
    ],
  };
  const { destination, warnings } = planOf({ resolvers: { own: { LoadBalancer } } });
  const { balancing, hash } = destination.upstreams["orders"]!.options;
  t.match(balancing, { algorithm: "ringHash", minimumRingSize: 2048, maximumRingSize: 2048 });
  t.equal(balancing.choices, options.balancing.choices, "one choice is none");
  t.same(hash, [
    { of: "header", name: "x-user" },
    { of: "cookie", name: "Session", sets: { ttlMs: 0, path: "/" } },
    { of: "query", name: "user" },
    { of: "source" },
  ]);
  t.same(warnings, []);
});

test("a cookie is set as a resolver says, if it can be written; a session without an end goes before a life", async (t) => {
  for (const [FieldValue, CookieConfig, sets] of [
    ["s", undefined, undefined],
    ["s", {}, undefined],
    ["s", { TTL: "0s", Path: "/shop" }, undefined],
    ["s", { TTL: "-1s" }, undefined],
    ["s", { TTL: "soon" }, undefined],
    ["s", { TTL: "1h30m", Path: "/shop" }, { ttlMs: 5_400_000, path: "/shop" }],
    ["s", { TTL: 2_000_000_000 }, { ttlMs: 2_000, path: "/" }],
    ["s", { Session: true, TTL: "1h", Path: "" }, { ttlMs: 0, path: "/" }],
    ["s", { Session: true, Path: "/; Domain=example.org" }, "not set"],
    ["s\r\nX-Evil: 1", { Session: true }, "not set"],
    ["s", { Session: true, Path: "/\n" }, "not set"],
  ] as const) {
    const HashPolicies = [{ Field: "cookie", FieldValue, ...(CookieConfig && { CookieConfig }) }];
    const resolvers = { own: { LoadBalancer: { Policy: "maglev", HashPolicies } } };
    const { destination, warnings } = planOf({ resolvers });
    const expected = { of: "cookie", name: FieldValue, ...(typeof sets === "object" && { sets }) };
    t.same(destination.upstreams["orders"]!.options.hash, [expected], JSON.stringify(CookieConfig));
    const said = `target own: the cookie ${JSON.stringify(FieldValue)} is gone by and not set: its name or its path is none`;
    t.same(warnings, sets === "not set" ? [said] : []);
  }
});

test("what is not carried is said, once", async (t) => {
  const gateway = { MeshGateway: { Mode: "remote" } };
  const routes = [{ http: { PathPrefix: "/a" }, to: "far" }, { to: "far" }];
  const { warnings } = planOf({
    protocol: "GRPC",
    targets: { far: { Datacenter: "dc2", ...gateway } },
    routes,
  });
  t.same(warnings, [
    "target far: mesh gateways need TLS, which is not built; it is called directly",
    "the protocol of orders is grpc; heddle speaks HTTP/1.1 to it",
  ]);
  t.equal(planOf({ protocol: "http2" }).warnings.length, 1);
  t.same(planOf({ targets: { own: { MeshGateway: { Mode: "none" } } } }).warnings, []);
});
