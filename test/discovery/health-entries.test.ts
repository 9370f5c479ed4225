import { test } from "tap";
import { readHealthEntries } from "../../discovery/index.ts";

const check = (Status: unknown) => ({ CheckID: "c", Status });

interface EntryParts {
  readonly node?: unknown;
  readonly service?: Record<string, unknown>;
  readonly checks?: unknown;
}

/** As Consul answers, with the parts that matter. */
function entry({ node = { Address: "10.0.0.9" }, service = {}, checks = [check("passing")] }: EntryParts) {
  const registered = { ID: "orders-1", Service: "orders", Address: "10.0.0.1", Port: 8080, ...service };
  return { Node: node, Service: registered, Checks: checks };
}

function read(...entries: unknown[]) {
  return readHealthEntries(entries, "orders");
}

const weights = { Weights: { Passing: 10, Warning: 2 } };

test("the worst check decides whether an instance is used, and with which weight", async (t) => {
  const table: readonly [string, unknown, number | undefined][] = [
    ["all pass", [check("passing"), check("passing")], 10],
    ["no checks", [], 10],
    ["checks are missing", undefined, 10],
    ["one warns", [check("passing"), check("warning")], 2],
    [
      "one is critical among passing ones",
      [check("passing"), check("critical"), check("passing")],
      undefined,
    ],
    ["critical after a warning", [check("warning"), check("critical")], undefined],
    [
      "in maintenance",
      [check("passing"), { CheckID: "_service_maintenance:o", Status: "critical" }],
      undefined,
    ],
    ["a status that Consul does not have", [check("splendid")], undefined],
    ["a check without a status", [{}], undefined],
    ["a check that is no check", [null], undefined],
  ];
  for (const [name, checks, weight] of table) {
    const reading = read(entry({ service: weights, checks }));
    t.same(
      reading?.endpoints.map((endpoint) => endpoint.weight),
      weight === undefined ? [] : [weight],
      name,
    );
    t.equal(reading?.critical, weight === undefined ? 1 : 0, `${name}: counted`);
    t.equal(reading?.unusable, 0, `${name}: not taken for a faulty entry`);
  }
});

test("an instance is where its service says, or else where its node is", async (t) => {
  const table: readonly [string, EntryParts, string][] = [
    ["the service's address", {}, "10.0.0.1"],
    ["an empty one: the node's", { service: { Address: "" } }, "10.0.0.9"],
    ["none: the node's", { service: { Address: undefined } }, "10.0.0.9"],
    ["IPv6", { service: { Address: "fd00::1" } }, "fd00::1"],
    ["a name", { service: { Address: "orders.internal" } }, "orders.internal"],
  ];
  for (const [name, parts, address] of table)
    t.equal(read(entry(parts))?.endpoints[0]?.address, address, name);
  t.same(read(entry({ service: { Meta: { zone: "b" } } }))?.endpoints, [
    { address: "10.0.0.1", port: 8080, weight: 1, source: "consul:orders", zone: "b" },
  ]);
});

test("an entry that names no usable address is left out, counted, and hides no other", async (t) => {
  const faulty = [
    entry({ node: {}, service: { Address: "" } }),
    entry({ node: null, service: { Address: 1 } }),
    ...[undefined, 0, -1, 65_536, 80.5, "8080"].map((Port) => entry({ service: { Port } })),
    { Checks: [] },
    null,
    "orders",
    7,
  ];
  const reading = read(...faulty, entry({}));
  t.equal(reading?.unusable, faulty.length);
  t.same(
    reading?.endpoints.map(({ address, port }) => [address, port]),
    [["10.0.0.1", 8080]],
  );
});

test("a weight is a whole number of at least 0, and 1 when Consul says something else", async (t) => {
  const table: readonly [unknown, number | undefined][] = [
    [3, 3],
    [65_535, 65_535],
    [0, undefined],
    [-1, 1],
    [1.5, 1],
    ["5", 1],
    [null, 1],
  ];
  for (const [Passing, weight] of table) {
    const reading = read(entry({ service: { Weights: { Passing } } }));
    t.equal(reading?.endpoints[0]?.weight, weight, `${JSON.stringify(Passing)} is ${weight ?? "no traffic"}`);
    t.equal(reading?.unusable, 0);
  }
});

test("the same set reads the same in whatever order it is listed, each address once", async (t) => {
  const a = entry({ service: { Address: "10.0.0.1" } });
  const b = entry({ service: { Address: "10.0.0.2" } });
  const c = entry({ service: { Address: "10.0.0.2", Port: 9 } });
  const reading = read(a, b, c);
  for (const order of [
    [a, c, b],
    [b, a, c],
    [c, b, a],
    [c, c, b, a, a],
  ])
    t.same(read(...order), reading);
  t.equal(reading?.endpoints.length, 3);
  const heavy = entry({ service: { ID: "orders-2", ...weights } });
  t.same(read(a, heavy)?.endpoints, read(heavy, a)?.endpoints, "two instances at one address");
  t.equal(read(a, heavy)?.endpoints[0]?.weight, 10, "count as the heavier one");
});

test("what is not a list is no answer, unlike a list without entries", async (t) => {
  for (const body of [undefined, null, "<html>", {}, { 0: entry({}) }, 4])
    t.equal(readHealthEntries(body, "orders"), undefined);
  t.same(read(), { endpoints: [], critical: 0, unusable: 0 });
});
