import fc from "fast-check";
import { test } from "tap";
import { type Exchange, headerValue, type Random } from "../../core/index.ts";
import {
  hostOf,
  type RouteChoice,
  type RouteMatch,
  type RouteOptions,
  RouteTable,
} from "../../proxy/route.ts";
import { type ExchangeSettings, exchangeOf } from "../support/exchange.ts";
import { seededRandom } from "../support/seeded-random.ts";

const FIRST: Random = { next: () => 0 };

function routeTo(upstream: string, match: RouteMatch): RouteOptions {
  return { name: `route-to-${upstream}`, match, to: [{ upstream, weight: 1 }] };
}

function choose(routes: readonly RouteOptions[], exchange: Exchange, random: Random): RouteChoice {
  return new RouteTable(routes).choose(exchange, random);
}

/** The upstream that a request is led to. */
function upstreamFor(routes: readonly RouteOptions[], request: ExchangeSettings): string {
  return choose(routes, exchangeOf(request), FIRST).upstream;
}

test("the first route that matches wins, in the order in which they were written", async (t) => {
  const routes = [
    routeTo("v2", { host: "orders", pathPrefix: "/v2" }),
    routeTo("any-v2", { pathPrefix: "/v2" }),
    routeTo("orders-rest", { host: "orders" }),
  ];
  const decisions: [string, string, string][] = [
    ["orders", "/v2/items", "v2"],
    ["search", "/v2/items", "any-v2"],
    ["orders", "/v1", "orders-rest"],
  ];
  for (const [authority, target, expected] of decisions)
    t.equal(upstreamFor(routes, { authority, target }), expected, `${authority}${target}`);
  t.equal(
    upstreamFor(routes.toReversed(), { authority: "orders", target: "/v2/items" }),
    "orders-rest",
    "a route that stands above takes it all",
  );
  t.same(choose(routes, exchangeOf({ authority: "orders" }), FIRST), {
    upstream: "orders-rest",
    route: "route-to-orders-rest",
  });
});

test("without a matching route the host names the upstream, and no route is named", async (t) => {
  const routes = [routeTo("v2", { pathPrefix: "/v2" })];
  t.same(choose(routes, exchangeOf({ authority: "Search:8080" }), FIRST), {
    upstream: "search",
    route: "",
  });
  t.same(choose([], exchangeOf({ authority: "" }), FIRST), { upstream: "", route: "" });
});

test("a port that stands for one upstream leads there, whatever the host and the routes say", async (t) => {
  const routes = [routeTo("elsewhere", {})];
  const exchange = exchangeOf({ authority: "orders", boundUpstream: "search" });
  t.same(choose(routes, exchange, FIRST), { upstream: "search", route: "" });
});

test("a host is compared without its port and without regard to case", async (t) => {
  const hosts: [string, string][] = [
    ["orders", "orders"],
    ["ORDERS:80", "orders"],
    ["orders.shop.local:8080", "orders.shop.local"],
    ["10.0.0.1:80", "10.0.0.1"],
    ["[::1]:8080", "[::1]"],
    ["[FE80::1]", "[fe80::1]"],
    ["", ""],
  ];
  for (const [authority, host] of hosts) t.equal(hostOf(authority), host, authority);
  const routes = [routeTo("matched", { host: "Orders" })];
  for (const authority of ["orders", "ORDERS", "oRders:8080"])
    t.equal(upstreamFor(routes, { authority }), "matched", authority);
  for (const authority of ["orders.local", "my-orders", "order"])
    t.not(upstreamFor(routes, { authority }), "matched", authority);
});

test("a path prefix ends at a slash, and the query does not belong to the path", async (t) => {
  const cases: [string, string, boolean][] = [
    ["/v2", "/v2", true],
    ["/v2", "/v2/", true],
    ["/v2", "/v2/items", true],
    ["/v2", "/v2?x=1", true],
    ["/v2", "/v20", false],
    ["/v2", "/v", false],
    ["/v2", "/V2", false],
    ["/v2", "/x/v2", false],
    ["/v2", "/?p=/v2", false],
    ["/v2/", "/v2/items", true],
    ["/v2/", "/v2", false],
    ["/", "/anything", true],
    ["/", "*", false],
  ];
  for (const [pathPrefix, target, expected] of cases)
    t.equal(
      upstreamFor([routeTo("matched", { pathPrefix })], { target }) === "matched",
      expected,
      `${pathPrefix} and ${target}`,
    );
});

test("a path matches as a whole", async (t) => {
  for (const [target, expected] of [
    ["/health", true],
    ["/health?verbose", true],
    ["/health/", false],
    ["/health/live", false],
  ] as const)
    t.equal(
      upstreamFor([routeTo("matched", { path: "/health" })], { target }) === "matched",
      expected,
      target,
    );
});

test("methods and headers must match, the headers' names in any case and their values exactly", async (t) => {
  const routes = [
    routeTo("matched", { methods: ["POST", "PUT"], headers: { "x-canary": "1", "x-tenant": "a" } }),
  ];
  const headers = ["X-Canary", "1", "X-TENANT", "a"];
  const cases: [string, ExchangeSettings, boolean][] = [
    ["all of it", { method: "PUT", headers }, true],
    ["another method", { method: "GET", headers }, false],
    ["a method in lower case", { method: "post", headers }, false],
    ["a header is missing", { method: "PUT", headers: ["x-canary", "1"] }, false],
    ["a header has another value", { method: "PUT", headers: ["x-canary", "10", "x-tenant", "a"] }, false],
    ["a value has another case", { method: "PUT", headers: ["x-canary", "1", "x-tenant", "A"] }, false],
  ];
  for (const [why, request, expected] of cases)
    t.equal(upstreamFor(routes, request) === "matched", expected, why);
});

test("an empty match takes every request", async (t) => {
  t.equal(upstreamFor([routeTo("all", {})], { method: "OPTIONS", target: "*", authority: "" }), "all");
});

test("weights divide a route's requests, and a weight of 0 gets none", async (t) => {
  const route: RouteOptions = {
    name: "canary",
    match: {},
    to: [
      { upstream: "off", weight: 0 },
      { upstream: "new", weight: 10 },
      { upstream: "old", weight: 90 },
      { upstream: "also-off", weight: 0 },
    ],
  };
  const random = seededRandom(12);
  const counts: Record<string, number> = {};
  for (let i = 0; i < 20_000; i++) {
    const { upstream } = choose([route], exchangeOf(), random);
    counts[upstream] = (counts[upstream] ?? 0) + 1;
  }
  t.same(Object.keys(counts).sort(), ["new", "old"]);
  // 2,000 are expected; 200 are almost five standard deviations.
  t.ok(Math.abs(counts["new"]! - 2000) < 200, `${counts["new"]} of 20,000 for 10 %`);
  for (const [chance, expected] of [
    [0, "new"],
    [0.0999, "new"],
    [0.1, "old"],
    [1 - 2 ** -53, "old"],
  ] as const)
    t.equal(choose([route], exchangeOf(), { next: () => chance }).upstream, expected, `${chance}`);
});

/** The rule as it is written down: the first route of the list whose every condition holds. */
function firstByTheList(routes: readonly RouteOptions[], exchange: Exchange): string {
  const path = exchange.target.split("?", 1)[0]!;
  const found = routes.find(({ match }) => {
    const { host, path: exact, pathPrefix: prefix, methods, headers } = match;
    const withinPrefix = (of: string) => path === of || path.startsWith(of.endsWith("/") ? of : `${of}/`);
    return (
      (host === undefined || host.toLowerCase() === hostOf(exchange.authority)) &&
      (exact === undefined || exact === path) &&
      (prefix === undefined || withinPrefix(prefix)) &&
      (methods === undefined || methods.includes(exchange.method)) &&
      Object.entries(headers ?? {}).every(([name, value]) => headerValue(exchange.headers, name) === value)
    );
  });
  return found?.name ?? "";
}

test("a table that looks up decides like a walk along the list", async (t) => {
  const hosts = fc.constantFrom("a", "b", "B", "c");
  const paths = fc.constantFrom("/", "/x", "/x/", "/x/y", "/xy", "/x/y/", "/x//y", "//", "/x/y/z");
  const match = fc.record(
    {
      host: hosts,
      path: paths,
      pathPrefix: paths,
      methods: fc.constantFrom(["GET"], ["PUT", "GET"]),
      headers: fc.constantFrom({ "x-a": "1" }, { "x-a": "2" }),
    },
    { requiredKeys: [] },
  );
  const routes = fc.array(match, { maxLength: 30 });
  const requests = fc.array(
    fc.tuple(hosts, paths, fc.constantFrom("GET", "PUT"), fc.constantFrom("1", "2")),
    {
      minLength: 20,
      maxLength: 20,
    },
  );
  let routed = 0;
  const property = fc.property(routes, requests, (matches, asked) => {
    const list = matches.map((match, i) => ({ ...routeTo("x", match), name: `route-${i}` }));
    const table = new RouteTable(list);
    return asked.every(([authority, target, method, value]) => {
      const exchange = exchangeOf({ authority, target: `${target}?q=/x`, method, headers: ["X-A", value] });
      const expected = firstByTheList(list, exchange);
      if (expected !== "") routed++;
      return table.choose(exchange, FIRST).route === expected;
    });
  });
  fc.assert(property, { seed: 20261121, numRuns: 3000 });
  t.ok(routed > 5000, `${routed} of 60,000 requests met a route`);
});
