import { test } from "tap";
import type { Handler, Layer } from "../../core/index.ts";
import { route } from "../../proxy/route.layer.ts";
import type { RouteOptions } from "../../proxy/route.ts";
import { exchangeOf, responseOf } from "../support/exchange.ts";
import { seededRandom } from "../support/seeded-random.ts";

const ROUTES: readonly RouteOptions[] = [
  {
    name: "pay",
    match: { path: "/pay" },
    to: [
      { upstream: "orders", weight: 1 },
      { upstream: "stock", weight: 1 },
    ],
    policy: { requestMs: 50 },
  },
  { name: "rest", match: { path: "/rest" }, to: [{ upstream: "orders", weight: 1 }] },
];

/** A layer that notes what it sees. */
function noting(name: string, seen: string[]): Layer {
  return {
    name,
    wrap: (next) => (exchange) => {
      seen.push(`${name}: ${exchange.route} to ${exchange.upstream}`);
      return next(exchange);
    },
  };
}

test("the layers of a route see its requests, whichever upstream they are for, and no others", async (t) => {
  const seen: string[] = [];
  const names = new Map<string, Handler>(
    ["orders", "stock"].map((name) => [
      name,
      async () => {
        seen.push(`at ${name}`);
        return responseOf();
      },
    ]),
  );
  const made: string[] = [];
  const handle = route(ROUTES, names, seededRandom(1), ({ name, policy }) => {
    made.push(name);
    return policy === undefined ? [] : [noting("outer", seen), noting("inner", seen)];
  });
  const reached = new Set<string>();
  for (let i = 0; i < 20; i++) {
    seen.length = 0;
    await handle(exchangeOf({ target: "/pay" }));
    const [, , last] = seen;
    const upstream = last!.slice("at ".length);
    t.same(seen, [`outer: pay to ${upstream}`, `inner: pay to ${upstream}`, `at ${upstream}`]);
    reached.add(upstream);
  }
  t.equal(reached.size, 2);
  seen.length = 0;
  await handle(exchangeOf({ target: "/rest" }));
  await handle(exchangeOf({ target: "/none", authority: "orders" }));
  await handle(exchangeOf({ target: "/pay", boundUpstream: "stock" }));
  t.same(seen, ["at orders", "at orders", "at stock"]);
  t.same(made, ["pay", "rest"], "layers are made with the routes and not for requests");
});

test("a name that is forgotten leads nowhere, also behind the layers of a route", async (t) => {
  const names = new Map<string, Handler>([["orders", async () => responseOf()]]);
  const forgetting: Layer = {
    name: "forgetting",
    wrap: (next) => (exchange) => {
      names.delete(exchange.upstream);
      return next(exchange);
    },
  };
  const [, rest] = ROUTES;
  const handle = route([rest!], names, seededRandom(1), () => [forgetting]);
  await t.rejects(handle(exchangeOf({ target: "/rest" })), { code: "no_route" });
  const unknown = exchangeOf({ target: "/rest" });
  await t.rejects(handle(unknown), { code: "no_route" });
  t.equal(unknown.upstream, "", "what no name is does not become one");
});
