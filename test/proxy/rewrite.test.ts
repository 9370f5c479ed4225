import { test } from "tap";
import { Body, type Exchange, type Handler, headerValue, ProxyError, stack } from "../../core/index.ts";
import { type Rewrite, rewrite } from "../../proxy/rewrite.layer.ts";
import { DEFAULT_RETRY_BUDGET, RetryBudget, retry } from "../../resilience/index.ts";
import { exchangeOf, responseOf } from "../support/exchange.ts";
import { ManualClock } from "../support/manual-clock.ts";

/** What an endpoint gets of a request. */
async function sent(how: Rewrite, exchange: Exchange): Promise<Exchange> {
  const seen: Exchange[] = [];
  const last: Handler = (at) => {
    seen.push(at);
    return Promise.resolve(responseOf());
  };
  await stack([rewrite(how)], last)(exchange);
  return seen[0]!;
}

test("the beginning of a path is replaced, and what is left is always a path", async (t) => {
  for (const [from, to, target, expected] of [
    ["/foo", "/xyz", "/foo/bar", "/xyz/bar"],
    ["/foo", "/xyz", "/foo", "/xyz"],
    ["/foo", "/xyz", "/foo?x=1", "/xyz?x=1"],
    ["/foo", "/xyz", "/foobar", "/xyzbar"],
    ["/foo", "/xyz", "/foo/foo", "/xyz/foo"],
    ["/foo", "/", "/foo", "/"],
    ["/foo", "/", "/foo/bar", "/bar"],
    ["/foo", "/", "/foo?x=1", "/?x=1"],
    ["/foo", "/", "/foobar", "/bar"],
    ["/foo/", "/", "/foo/bar", "/bar"],
    ["/foo/", "/", "/foo/", "/"],
    ["/foo", "/xyz/", "/foo/bar", "/xyz/bar"],
    ["/", "/xyz/", "/bar", "/xyz/bar"],
    ["/", "/xyz", "/bar", "/xyzbar"],
    ["/", "/xyz", "/", "/xyz"],
    ["/foo", "", "/foo/bar", "/bar"],
    ["/foo", "", "/foo?x=1", "/?x=1"],
    ["/foo", "", "/foo", "/"],
    ["/foo", "xyz", "/foo/bar", "/xyz/bar"],
    ["/foo", "/xyz", "/bar/foo", "/bar/foo"],
    ["/foo", "/xyz", "*", "*"],
    ["/", "/xyz/", "*", "*"],
  ] as const)
    t.equal(
      (await sent({ prefix: { from, to } }, exchangeOf({ target }))).target,
      expected,
      `${from} to ${to}: ${target}`,
    );
  const ignoring = { from: "/Foo", to: "/xyz", ignoreCase: true };
  t.equal((await sent({ prefix: ignoring }, exchangeOf({ target: "/fOO/Bar" }))).target, "/xyz/Bar");
  t.equal(
    (await sent({ prefix: { ...ignoring, ignoreCase: false } }, exchangeOf({ target: "/fOO" }))).target,
    "/fOO",
  );
});

test("fields are removed, added and set, on the way there and on the way back", async (t) => {
  const how: Rewrite = {
    request: [
      { remove: ["x-old"], add: { "x-list": "b" }, set: { "X-Env": "split" } },
      { set: { "x-env": "route" }, add: { "x-old": "new" } },
    ],
    response: [{ remove: ["server"], add: { "Set-Cookie": "b=2" }, set: { "x-env": "mesh" } }],
  };
  const exchange = exchangeOf({ headers: ["X-Old", "1", "x-list", "a", "X-ENV", "caller", "x-old", "2"] });
  const answer = responseOf(200, Body.empty(), ["Server", "x", "Set-Cookie", "a=1", "X-Env", "app"]);
  const response = await stack([rewrite(how)], () => Promise.resolve(answer))(exchange);
  t.same(exchange.headers, ["x-list", "a", "x-list", "b", "x-old", "new", "x-env", "route"]);
  t.same(response.headers, ["Set-Cookie", "a=1", "Set-Cookie", "b=2", "x-env", "mesh"]);
  t.equal(response, answer);
});

test("a request that is sent again is not changed again", async (t) => {
  const clock = new ManualClock();
  const random = { next: () => 0 };
  const attempts: [string, readonly string[]][] = [];
  const failing: Handler = (exchange) => {
    exchange.attempts++;
    attempts.push([exchange.target, [...exchange.headers]]);
    return attempts.length < 3
      ? Promise.reject(new ProxyError("connect_failed", "no"))
      : Promise.resolve(responseOf(200, Body.empty(), []));
  };
  const way = stack(
    [
      // As in stack.ts: outside of the retries.
      rewrite({
        prefix: { from: "/a", to: "/a/a" },
        request: [{ add: { "x-seen": "1" } }],
        response: [{ add: { "x-by": "1" } }],
      }),
      retry(
        { clock, random, budget: new RetryBudget(DEFAULT_RETRY_BUDGET), onRefused: () => {} },
        {
          attempts: 5,
          on: ["connectFailure"],
          backoff: { baseMs: 1, maxMs: 1 },
          budget: DEFAULT_RETRY_BUDGET,
          replayBytes: 0,
        },
      ),
    ],
    failing,
  );
  const answered = way(exchangeOf({ target: "/a/b" }));
  await clock.pass(20);
  const response = await answered;
  t.same(attempts, [
    ["/a/a/b", ["x-seen", "1"]],
    ["/a/a/b", ["x-seen", "1"]],
    ["/a/a/b", ["x-seen", "1"]],
  ]);
  t.equal(headerValue(response.headers, "x-by"), "1");
  t.equal(response.headers.length, 2, "and the answer once");
});

test("an error passes as it is", async (t) => {
  const error = new ProxyError("no_endpoint", "none");
  const way = stack([rewrite({ response: [{ set: { a: "b" } }] })], () => Promise.reject(error));
  await t.rejects(way(exchangeOf()), error);
});
