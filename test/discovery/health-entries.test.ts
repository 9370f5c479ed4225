import { test } from "tap";
import { type ReadingOptions, readHealthEntries } from "../../discovery/consul/health-entries.ts";

const check = (Status: unknown, more: object = {}) => ({ CheckID: "c", Status, ...more });
const SERF = { CheckID: "serfHealth", Name: "Serf Health Status" };
const MAINTENANCE = {
  CheckID: "_service_maintenance:orders-1",
  Name: "Service Maintenance Mode",
  Status: "critical",
  Notes: "a new disk",
};

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

function readAs(options: Partial<ReadingOptions>, ...entries: unknown[]) {
  return readHealthEntries(entries, { source: "consul:orders", ...options });
}

function read(...entries: unknown[]) {
  return readAs({}, ...entries);
}

const weights = { Weights: { Passing: 10, Warning: 2 } };

test("the worst check decides about the health of an instance, which is listed all the same", async (t) => {
  const table: readonly [string, unknown, string, number][] = [
    ["all pass", [check("passing"), check("passing")], "passing", 10],
    ["no checks", [], "passing", 10],
    ["checks are missing", undefined, "passing", 10],
    ["one warns", [check("passing"), check("warning")], "warning", 2],
    [
      "one is critical among passing ones",
      [check("passing"), check("critical"), check("passing")],
      "critical",
      10,
    ],
    ["critical after a warning", [check("warning"), check("critical")], "critical", 10],
    ["critical before a warning", [check("critical"), check("warning")], "critical", 10],
    ["in maintenance", [check("passing"), MAINTENANCE], "maintenance", 10],
    [
      "its node in maintenance",
      [{ ...MAINTENANCE, CheckID: "_node_maintenance" }, check("warning")],
      "maintenance",
      10,
    ],
    ["its node's agent is away", [{ ...SERF, Status: "critical" }, check("passing")], "unreachable", 10],
    ["its node's agent is well", [{ ...SERF, Status: "passing" }], "passing", 10],
    [
      "the agent away, and the app critical as well",
      [{ ...SERF, Status: "critical" }, check("critical")],
      "critical",
      10,
    ],
    [
      "the agent away from one in maintenance",
      [{ ...SERF, Status: "critical" }, MAINTENANCE],
      "maintenance",
      10,
    ],
    ["a status that Consul does not have", [check("splendid")], "critical", 10],
    ["a check without a status", [{}], "critical", 10],
    ["a check that is no check", [null], "critical", 10],
  ];
  for (const [name, checks, health, weight] of table) {
    const reading = read(entry({ service: weights, checks }));
    t.match(reading?.instances, [{ health, weight }], name);
    t.equal(reading?.instances.length, 1, `${name}: listed`);
    t.equal(reading?.unusable, 0, `${name}: not taken for a faulty entry`);
  }
});

test("where only passing instances are wanted, a warning is as bad as critical", async (t) => {
  const warned = entry({
    checks: [check("passing"), check("warning", { Name: "disk", Output: "90 % full" })],
  });
  t.match(readAs({ onlyPassing: true }, warned)?.instances, [
    { health: "critical", note: "disk: 90 % full" },
  ]);
  t.match(read(warned)?.instances, [{ health: "warning", note: "disk: 90 % full" }]);
  t.match(readAs({ onlyPassing: true }, entry({}))?.instances, [{ health: "passing" }]);
});

test("an instance that is not passing carries the words of the check that says so", async (t) => {
  const table: readonly [unknown[], string | undefined][] = [
    [[check("passing", { Name: "app", Output: "fine" })], undefined],
    [[check("critical", { Name: "app", Output: "connection\n\trefused" })], "app: connection refused"],
    [[check("critical", { Name: "app", Output: "" })], "app"],
    [[check("critical")], "c"],
    [[MAINTENANCE], "Service Maintenance Mode: a new disk"],
    [
      [{ ...SERF, Status: "critical", Output: "Agent not live or unreachable" }],
      "Serf Health Status: Agent not live or unreachable",
    ],
    [
      [
        check("warning", { Name: "disk" }),
        check("critical", { Name: "a" }),
        check("critical", { Name: "b" }),
      ],
      "a",
    ],
    [[null], ""],
  ];
  for (const [checks, note] of table) t.equal(read(entry({ checks }))?.instances[0]?.note, note, `${note}`);
  const long = read(entry({ checks: [check("critical", { Name: "app", Output: "x".repeat(4096) })] }));
  t.equal(long?.instances[0]?.note?.length, 160, "and not more of them than a log can bear");
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
    t.equal(read(entry(parts))?.instances[0]?.address, address, name);
});

test("for callers in other datacenters its addresses there count, if it has any", async (t) => {
  const wan = (Address: unknown, Port?: unknown) => ({ TaggedAddresses: { wan: { Address, Port } } });
  const node = { Address: "10.0.0.9", TaggedAddresses: { wan: "198.51.100.9" } };
  const table: readonly [string, EntryParts, string][] = [
    ["the service's own", { service: wan("198.51.100.1", 443) }, "198.51.100.1:443"],
    [
      "a port of 0, which Consul says when none was given",
      { service: wan("198.51.100.1", 0) },
      "198.51.100.1:8080",
    ],
    ["no port", { service: wan("198.51.100.1") }, "198.51.100.1:8080"],
    ["the node's, for a service without an address", { node, service: { Address: "" } }, "198.51.100.9:8080"],
    ["not the node's, for a service with one", { node }, "10.0.0.1:8080"],
    ["none", {}, "10.0.0.1:8080"],
    ["an empty one", { service: wan("", 443) }, "10.0.0.1:8080"],
    ["one that is no port", { service: wan("198.51.100.1", 70_000) }, "10.0.0.1:8080"],
  ];
  for (const [name, parts, expected] of table) {
    const [instance] = readAs({ wan: true }, entry(parts))!.instances;
    t.equal(`${instance?.address}:${instance?.port}`, expected, name);
    t.match(read(entry(parts))?.instances, [{ port: 8080 }], `${name}: and not for others`);
  }
});

test("its zone is what its registration says, or else where Consul has placed it", async (t) => {
  const table: readonly [Record<string, unknown>, string | undefined][] = [
    [{ Meta: { zone: "b" } }, "b"],
    [{ Locality: { Region: "north", Zone: "north-1" } }, "north-1"],
    [{ Meta: { zone: "b" }, Locality: { Zone: "north-1" } }, "b"],
    [{ Meta: { zone: "" }, Locality: { Zone: "north-1" } }, "north-1"],
    [{ Meta: null, Locality: null }, undefined],
  ];
  for (const [service, zone] of table)
    t.equal(read(entry({ service }))?.instances[0]?.zone, zone, JSON.stringify(service));
  const all = {
    address: "10.0.0.1",
    port: 8080,
    weight: 1,
    source: "consul:orders",
    zone: "b",
    health: "passing",
  };
  t.same(read(entry({ service: { Meta: { zone: "b" } } }))?.instances, [all], "and that is all there is");
});

test("tags and metadata are read where they are wanted, and only texts among them", async (t) => {
  const services: readonly [Record<string, unknown>, object][] = [
    [
      { Tags: ["v2", "eu"], Meta: { version: "2" } },
      { tags: ["v2", "eu"], meta: { version: "2" } },
    ],
    [
      { Tags: null, Meta: null },
      { tags: [], meta: {} },
    ],
    [{}, { tags: [], meta: {} }],
    [
      { Tags: "v2", Meta: 2 },
      { tags: [], meta: {} },
    ],
    [
      { Tags: ["v2", 2, null], Meta: { a: "b", c: 1 } },
      { tags: ["v2"], meta: { a: "b" } },
    ],
  ];
  for (const [service, labels] of services) {
    t.strictSame(readAs({ labelled: true }, entry({ service }))?.instances[0]?.labels, labels);
    t.notOk("labels" in read(entry({ service }))!.instances[0]!, "nothing is held that nobody goes by");
  }
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
    reading?.instances.map(({ address, port }) => [address, port]),
    [["10.0.0.1", 8080]],
  );
});

test("a weight is a whole number of at least 0, and 1 when Consul says something else", async (t) => {
  const table: readonly [unknown, number][] = [
    [3, 3],
    [65_535, 65_535],
    [-1, 1],
    [1.5, 1],
    ["5", 1],
    [null, 1],
  ];
  for (const [Passing, weight] of table) {
    const reading = read(entry({ service: { Weights: { Passing } } }));
    t.match(reading?.instances, [{ weight, health: "passing" }], `${JSON.stringify(Passing)} is ${weight}`);
    t.equal(reading?.unusable, 0);
  }
});

test("a weight of 0 is a wish for no traffic", async (t) => {
  const Weights = { Passing: 10, Warning: 0 };
  const warned = entry({ service: { Weights }, checks: [check("warning")] });
  t.match(read(warned)?.instances, [{ health: "maintenance", note: "its weight while warning is 0" }]);
  t.match(read(entry({ service: { Weights } }))?.instances, [{ health: "passing", weight: 10 }]);
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
  t.equal(reading?.instances.length, 3);
});

test("of two registrations for one address the better one counts", async (t) => {
  const as = (ID: string, status: string, more: object = weights) =>
    entry({ service: { ID, ...more }, checks: [check(status)] });
  const table: readonly [string, unknown, unknown, object][] = [
    [
      "the one that passes",
      as("new", "passing", {}),
      as("old", "critical"),
      { health: "passing", weight: 1 },
    ],
    [
      "the one that only warns",
      as("new", "warning"),
      as("old", "critical"),
      { health: "warning", weight: 2 },
    ],
    ["the heavier of equals", as("new", "passing", {}), as("old", "passing"), { weight: 10 }],
    [
      "one that is unreachable before one that is critical",
      as("old", "critical"),
      entry({ checks: [{ ...SERF, Status: "critical" }] }),
      { health: "unreachable" },
    ],
  ];
  for (const [name, one, other, expected] of table) {
    t.match(read(one, other)?.instances, [expected], name);
    t.same(read(one, other), read(other, one), `${name}, in either order`);
    t.equal(read(one, other)?.instances.length, 1);
  }
});

test("what is not a list is no answer, unlike a list without entries", async (t) => {
  for (const body of [undefined, null, "<html>", {}, { 0: entry({}) }, 4])
    t.equal(readHealthEntries(body, { source: "consul:orders" }), undefined);
  t.same(read(), { instances: [], unusable: 0 });
});
