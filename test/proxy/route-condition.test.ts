import { test } from "tap";
import { type Condition, holds, type ValueTest } from "../../proxy/route-condition.ts";
import { type ExchangeSettings, exchangeOf } from "../support/exchange.ts";

const present: ValueTest = { type: "present" };
const exact = (value: string): ValueTest => ({ type: "exact", value });

test("values are compared as a whole, at their ends, anywhere, or by a pattern", async (t) => {
  for (const [type, wanted, value, expected] of [
    ["exact", "/a", "/a", true],
    ["exact", "/a", "/a/", false],
    ["exact", "/a", "/A", false],
    ["prefix", "/v1", "/v10/x", true],
    ["prefix", "/v1", "/v", false],
    ["suffix", ".css", "/a.css", true],
    ["suffix", ".css", "/a.css.gz", false],
    ["contains", "/b/", "/a/b/c", true],
    ["contains", "/b/", "/a/b", false],
    ["regex", "/v[0-9]+", "/v12", true],
    ["regex", "/v[0-9]+", "/v12/", false],
    ["regex", "/a|/b", "/b", true],
    ["regex", "/a|/b", "/b/c", false],
    ["regex", "/a|/b", "/x/b", false],
  ] as const) {
    const condition: Condition = { of: "path", test: { type, value: wanted } };
    t.equal(holds(condition, exchangeOf({ target: value })), expected, `${type} ${wanted} and ${value}`);
    t.equal(
      holds({ ...condition, invert: true }, exchangeOf({ target: value })),
      !expected,
      `not ${type} ${wanted} and ${value}`,
    );
  }
});

test("letters of any case are equal only where it is asked for", async (t) => {
  for (const [type, wanted] of [
    ["exact", "/Orders/ABC"],
    ["prefix", "/ORDERS"],
    ["suffix", "aBc"],
    ["contains", "DERS/"],
    ["regex", "/ORDERS/[A-C]+"],
  ] as const) {
    const exchange = exchangeOf({ target: "/orders/abc?x" });
    t.equal(holds({ of: "path", test: { type, value: wanted } }, exchange), false, type);
    t.equal(holds({ of: "path", ignoreCase: true, test: { type, value: wanted } }, exchange), true, type);
  }
});

test("a path ends before its query", async (t) => {
  for (const target of ["/a", "/a?", "/a?/b", "/a?x=1&y=2"])
    t.ok(holds({ of: "path", test: exact("/a") }, exchangeOf({ target })), target);
  t.ok(holds({ of: "path", test: exact("*") }, exchangeOf({ target: "*" })));
});

test("of a field or parameter that is not there only its presence has an opposite, as in Envoy", async (t) => {
  const somewhere: ExchangeSettings = { headers: ["X-A", "1"], target: "/?a=1" };
  const nowhere: ExchangeSettings = { headers: ["X-B", "1"], target: "/?b=1" };
  for (const where of [
    { of: "header", name: "x-a" },
    { of: "query", name: "a" },
  ] as const)
    for (const [test, invert, request, expected] of [
      [present, false, somewhere, true],
      [present, true, somewhere, false],
      [present, false, nowhere, false],
      [present, true, nowhere, true],
      [exact("1"), false, somewhere, true],
      [exact("1"), true, somewhere, false],
      [exact("2"), true, somewhere, true],
      [exact("1"), false, nowhere, false],
      [exact("1"), true, nowhere, false],
      [{ type: "regex", value: ".*" }, true, nowhere, false],
    ] as const)
      t.equal(
        holds({ ...where, test, invert }, exchangeOf(request)),
        expected,
        `${where.of} ${JSON.stringify(test)} ${invert} ${request.target}`,
      );
});

test("fields are found in any case, empty is there, and of several the first counts", async (t) => {
  const headers = ["X-Tenant", "a", "x-tenant", "b", "X-EMPTY", ""];
  for (const [name, test, expected] of [
    ["x-tenant", exact("a"), true],
    ["x-tenant", exact("b"), false],
    ["x-empty", present, true],
    ["x-empty", exact(""), true],
    ["x-missing", exact(""), false],
  ] as const)
    t.equal(
      holds({ of: "header", name, test }, exchangeOf({ headers })),
      expected,
      `${name} ${JSON.stringify(test)}`,
    );
});

test("parameters are decoded, and of several the first counts", async (t) => {
  for (const [query, name, test, expected] of [
    ["?a=1&a=2", "a", exact("1"), true],
    ["?a=1&a=2", "a", exact("2"), false],
    ["?a=x%20y", "a", exact("x y"), true],
    ["?a=x+y", "a", exact("x y"), true],
    ["?%61=1", "a", exact("1"), true],
    ["?a=%C3%BC", "a", exact("ü"), true],
    ["?a=1%262", "a", exact("1&2"), true],
    ["?a", "a", present, true],
    ["?a", "a", exact(""), true],
    ["?a=", "a", exact(""), true],
    ["?a==b", "a", exact("=b"), true],
    ["?A=1", "a", present, false],
    ["?ab=1", "a", present, false],
    ["?", "a", present, false],
    ["", "a", present, false],
    ["?b=1&&a=2&", "a", exact("2"), true],
    // A second question mark belongs to the name.
    ["??a=1", "a", present, false],
    ["??a=1", "?a", exact("1"), true],
    // What cannot be decoded is taken as it is.
    ["?a=%zz", "a", exact("%zz"), true],
    ["?a=%ff", "a", exact("\ufffd"), true],
  ] as const)
    t.equal(
      holds({ of: "query", name, test }, exchangeOf({ target: `/path${query}` })),
      expected,
      `${query} ${name} ${JSON.stringify(test)}`,
    );
});

test("one request's parameters are not another's", async (t) => {
  const condition: Condition = { of: "query", name: "a", test: exact("1") };
  for (const [target, expected] of [
    ["/?a=1", true],
    ["/?a=2", false],
    ["/?a=2", false],
    ["/", false],
    ["/?", false],
    ["/?a=1", true],
  ] as const)
    t.equal(holds(condition, exchangeOf({ target })), expected, target);
});

test("a thousand patterns and one more are compared like the first", async (t) => {
  for (let i = 0; i <= 1001; i++)
    if (!holds({ of: "path", test: { type: "regex", value: `/${i}` } }, exchangeOf({ target: `/${i}` })))
      t.fail(`/${i}`);
  t.ok(holds({ of: "path", test: { type: "regex", value: "/0" } }, exchangeOf({ target: "/0" })));
});
