// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to variables are what is tested here
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { test } from "tap";
import { parse } from "yaml";
import { type Config, ConfigError, type Environment, parseConfig } from "../../config/index.ts";
import { settings } from "../../config/reference.ts";
import { suggestion } from "../../config/suggest.ts";

const SEED = 20_260_101;

function config(text: string, environment: Environment = {}): Config {
  return parseConfig(text, "heddle.yaml", environment);
}

function faultsOf(text: string, environment: Environment = {}): ConfigError | undefined {
  try {
    config(text, environment);
    return undefined;
  } catch (thrown) {
    if (thrown instanceof ConfigError) return thrown;
    throw thrown;
  }
}

// --- what is refused

interface FaultyFile {
  readonly promise: string;
  readonly environment?: Environment;
  readonly file: string;
  readonly says: string;
}

for (const about of ["yaml", "settings", "environment", "cross-checks", "routes", "tcp", "intercept"]) {
  const table = readFileSync(join(import.meta.dirname, `faults/${about}.yaml`), "utf8");
  for (const { promise, environment, file, says } of parse(table) as FaultyFile[])
    test(promise, async (t) => t.equal(`${faultsOf(file, environment)?.message}\n`, says));
}

test("lines without end and nesting without end are faults and not a crash", async (t) => {
  const deep = faultsOf(`service: ${"[".repeat(100_000)}`);
  t.match(deep?.message, /^heddle\.yaml:1:\d+ {2}expected less nesting, got more than can be followed$/);
  const key = faultsOf(`${"x".repeat(2000)}: 1`);
  t.match(key?.message, /^heddle\.yaml:1:1 {2}not valid YAML: The : indicator must be at most 1024 chars/);
  t.ok(key!.message.length < 200);
});

test("whatever is done to a file, it is a configuration or has faults with places inside it", async (t) => {
  const scraps = [
    "",
    " ",
    "\n",
    "\t",
    ":",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    '"',
    "'",
    "#",
    "&a ",
    "*a",
    "|",
    ">",
  ];
  const more = [
    "!t ",
    "%",
    "@",
    ",",
    "?",
    "0",
    "null",
    "\r\n",
    "\uFEFF",
    "<<: ",
    "${A}",
    "${B}",
    "${",
    "---\n",
  ];
  const change = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    cut: fc.nat({ max: 12 }),
    paste: fc.constantFrom(...scraps, ...more),
  });
  let refused = 0;
  const property = fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
    let text = FULL;
    for (const { at, cut, paste } of changes) {
      const offset = Math.floor(at * text.length);
      text = text.slice(0, offset) + paste + text.slice(offset + cut);
    }
    const faults = faultsOf(text, { A: "a" })?.faults ?? [];
    if (faults.length > 0) refused++;
    const lines = text.replace(/^\uFEFF/, "").split("\n");
    for (const [i, { line, column, path, message }] of faults.entries()) {
      assert.ok(column >= 1 && column <= lines[line - 1]!.length + 1, "a place in the file");
      assert.doesNotMatch(
        `${path}${message}`,
        /[\p{Cc}\uE000-\uE8FF]/u,
        "one line, and no placeholder in it",
      );
      const before = faults[i - 1] ?? { line: 1, column: 1 };
      assert.ok(before.line < line || (before.line === line && before.column <= column), "in order");
    }
  });
  t.doesNotThrow(() => fc.assert(property, { seed: SEED, numRuns: 1500 }));
  t.ok(refused > 500, `${refused} of 1500 were refused`);
});

test("a slip of one letter in any setting is understood", async (t) => {
  const siblings = new Map<string, string[]>();
  for (const { path } of settings()) {
    const cut = path.lastIndexOf(".");
    const names = siblings.get(path.slice(0, cut + 1)) ?? [];
    siblings.set(path.slice(0, cut + 1), [...names, path.slice(cut + 1)]);
  }
  for (const names of siblings.values())
    for (const name of names) {
      if (name.length < 4 || name.startsWith("<")) continue;
      const slips = [
        `${name}s`,
        name.slice(1),
        name.slice(0, -1),
        name.slice(0, -2) + name.at(-1) + name.at(-2),
      ];
      for (const slip of [...slips, name.toUpperCase(), name.replace(/[A-Z]/, "_$&")])
        if (!names.includes(slip)) t.equal(suggestion(slip, names), name, `${slip} is ${name}`);
    }
  t.equal(
    suggestion("minmumRequets", ["errorRate", "minimumRequests"]),
    "minimumRequests",
    "two slips in a long one",
  );
  t.equal(suggestion("opnFro", ["openFor", "window"]), "openFor");
  t.equal(suggestion("tls", ["to", "tags"]), undefined, "two slips in a short one are another word");
  t.equal(suggestion("completelyElse", ["timeouts", "retries"]), undefined, "nothing is near");
});

// --- what is accepted

/** The example of the contract, with the upstream that its route leads to. */
const FULL = `
service:                      # the app this sidecar stands beside; registered in Consul when discovery.consul is set
  name: web
  port: 3000                  # where the app listens (address: 127.0.0.1)
inbound:  { listen: 0.0.0.0:15006 }
outbound: { listen: 127.0.0.1:15001 }
admin:    { listen: 127.0.0.1:15000 }
discovery:
  consul: { address: http://127.0.0.1:8500, token: \${CONSUL_HTTP_TOKEN:-} }
upstreams:
  orders:                     # the name the app calls: Host: orders. Endpoints come from Consul unless given here
    balancing: { algorithm: peakEwma }
    timeouts: { connect: 1s, attempt: 2s, request: 10s }
    retries:  { attempts: 2, on: [connectFailure, reset, 502, 503, 504], backoff: { base: 25ms, max: 250ms } }
    breaker:  { errorRate: 50%, minimumRequests: 20, window: 10s, openFor: 5s }
    limits:   { connections: 1024, pending: 1024, requests: 1024 }
  orders-v2: {}
  search:
    endpoints: [127.0.0.1:9001, { address: 127.0.0.1:9002, weight: 3, zone: b }]
    localPort: 9190           # optional: an explicit port for this upstream alone
telemetry: { accessLog: true, logLevel: info }
shutdown:  { grace: 30s }
workers: 1
routes:                       # optional: first match wins, in the order written; without routes the Host names the upstream
  - match: { host: orders, pathPrefix: /v2, headers: { X-Canary: "1" } }
    to: [{ upstream: orders-v2, weight: 10 }, { upstream: orders, weight: 90 }]
`;

test("the example of the contract is accepted and means what it says", async (t) => {
  const { service, discovery, upstreams, routes, telemetry, shutdown } = config(FULL, {});
  t.match(service, { name: "web", port: 3000, address: "127.0.0.1" });
  t.match(discovery.consul, { address: "http://127.0.0.1:8500", token: undefined, waitMs: 60_000 });
  const { orders, search } = upstreams;
  t.equal(orders!.endpoints, undefined);
  t.match(orders!.options, {
    balancing: { algorithm: "peakEwma" },
    timeouts: { connectMs: 1000, attemptMs: 2000, requestMs: 10_000, idleMs: 60_000 },
    breaker: {
      mode: "enforce",
      errorRate: 0.5,
      minimumRequests: 20,
      windowMs: 10_000,
      failures: ["connect", "timeout", "reset", "5xx"],
      openForMs: 5000,
      openForMaxMs: 30_000,
      probes: 1,
    },
    limits: { connections: 1024, pending: 1024, requests: 1024 },
  });
  t.same(orders!.options.retries.on, ["connectFailure", "reset", 502, 503, 504]);
  t.same(orders!.options.retries.backoff, { baseMs: 25, maxMs: 250 });
  t.equal(search!.localPort, 9190);
  t.same(search!.endpoints, [
    { address: "127.0.0.1", port: 9001, weight: 1, source: "static" },
    { address: "127.0.0.1", port: 9002, weight: 3, source: "static", zone: "b" },
  ]);
  t.same(routes, [
    {
      match: { host: "orders", pathPrefix: "/v2", headers: { "x-canary": "1" } },
      to: [
        { upstream: "orders-v2", weight: 10 },
        { upstream: "orders", weight: 90 },
      ],
    },
  ]);
  t.same(
    { telemetry, grace: shutdown.graceMs },
    { telemetry: { accessLog: true, logLevel: "info" }, grace: 30_000 },
  );
  t.equal(config(FULL, { CONSUL_HTTP_TOKEN: "s3cr3t" }).discovery.consul?.token, "s3cr3t");
});

test("one upstream with endpoints is enough, and so is a service", async (t) => {
  const caller = config("upstreams: { orders: { endpoints: [127.0.0.1:9001] } }");
  t.same(Object.keys(caller.upstreams), ["orders"]);
  t.equal(caller.service, undefined);
  t.same(caller.outbound.listener.listen, { host: "127.0.0.1", port: 15_001 });
  t.same(caller.admin.listen, { host: "127.0.0.1", port: 15_000 });
  const called = config("service: { name: web, port: 3000 }");
  t.same(called.upstreams, {});
  t.same(called.inbound.listener.listen, { host: "0.0.0.0", port: 15_006 });
});

test("the configuration is frozen through and through", async (t) => {
  const loose: string[] = [];
  const look = (value: unknown, path: string) => {
    if (typeof value !== "object" || value === null) return;
    if (!Object.isFrozen(value)) loose.push(path);
    for (const [key, inner] of Object.entries(value)) look(inner, `${path}.${key}`);
  };
  look(config(FULL), "config");
  look(config("service: { name: web, port: 3000, tags: [a], meta: { b: c } }"), "config");
  t.same(loose, []);
});

test("two configurations share nothing, not even a default", async (t) => {
  const text = "service: { name: web, port: 3000 }";
  const [one, other] = [config(text), config(text)];
  t.same(one, other);
  t.not(one.inbound.app.retries.on, other.inbound.app.retries.on);
});

test("durations, sizes and shares mean what they say", async (t) => {
  const grace = (text: string) =>
    config(`{ service: { name: web, port: 1 }, shutdown: { grace: ${text} } }`).shutdown;
  const durations = {
    "0s": 0,
    "250ms": 250,
    "1.5s": 1500,
    "2s": 2000,
    "0.5m": 30_000,
    "1m": 60_000,
    "24h": 86_400_000,
  };
  for (const [text, graceMs] of Object.entries(durations)) t.same(grace(text), { graceMs }, text);

  const inbound = (text: string) => config(`{ service: { name: web, port: 1 }, inbound: ${text} }`).inbound;
  const sizes = { "0B": 0, "512B": 512, "64KiB": 65_536, "1024KiB": 1_048_576, "1MiB": 1_048_576 };
  for (const [text, bytes] of Object.entries(sizes))
    t.equal(inbound(`{ retries: { replay: ${text} } }`).app.retries.replayBytes, bytes, text);

  const shares = { "0%": 0, "0.5%": 0.005, "20%": 0.2, "100%": 1 };
  for (const [text, ratio] of Object.entries(shares))
    t.equal(inbound(`{ retries: { budget: { ratio: ${text} } } }`).app.retries.budget.ratio, ratio, text);
});

test("addresses are host names, IPv4 and IPv6", async (t) => {
  const addresses = {
    "db.internal:80": ["db.internal", 80],
    "[::1]:65535": ["::1", 65_535],
    "a_b-c:1": ["a_b-c", 1],
  };
  for (const [text, [address, port]] of Object.entries(addresses)) {
    const { orders } = config(`upstreams: { orders: { endpoints: ["${text}"] } }`).upstreams;
    t.match(orders?.endpoints, [{ address, port }], text);
  }
  t.same(config('{ service: { name: a, port: 1 }, admin: { listen: "[::]:0" } }').admin.listen, {
    host: "::",
    port: 0,
  });
  for (const address of ["::1", "localhost", "10.0.0.1", "web.internal"])
    t.equal(config(`service: { name: a, port: 1, address: "${address}" }`).service?.address, address);
});

test("a port may come twice where it is not the same port", async (t) => {
  const upstreams = "upstreams: { orders: { endpoints: [127.0.0.1:9001], localPort: 0 } }";
  const listen = (inbound: string, outbound: string) =>
    `inbound: { listen: "${inbound}" }\noutbound: { listen: "${outbound}" }\n${upstreams}\n`;
  const service = "service: { name: web, port: 3000 }\n";
  t.ok(config(`${service}${listen("10.0.0.1:3000", "127.0.0.1:15006")}`), "on two addresses");
  t.ok(config(`${service}${listen("10.0.0.1:0", "10.0.0.1:0")}`), "any port");
  const beside = "service: { name: web, port: 3000, address: app }\n";
  t.ok(config(`${beside}${listen("0.0.0.0:3000", "127.0.0.1:15001")}`), "the app is on another machine");
  t.ok(config(listen("127.0.0.1:15001", "127.0.0.1:15001")), "no inbound side without a service");
});

test("endpoints have a priority and what a subset goes by, and nothing of it where it is not written", async (t) => {
  const { orders } = config(`upstreams:
  orders:
    subset: { tags: [v2] }
    endpoints:
      - 10.0.0.1:80
      - { address: 10.0.0.2:80, priority: 0 }
      - { address: 10.0.0.3:80, priority: 15, tags: [v2, eu] }
      - { address: 10.0.0.4:80, meta: { version: "2" } }
`).upstreams;
  const common = { port: 80, weight: 1, source: "static" };
  t.strictSame(orders!.endpoints, [
    { address: "10.0.0.1", ...common },
    { address: "10.0.0.2", ...common },
    { address: "10.0.0.3", ...common, priority: 15, labels: { tags: ["v2", "eu"], meta: {} } },
    { address: "10.0.0.4", ...common, labels: { tags: [], meta: { version: "2" } } },
  ]);
  t.strictSame(orders!.subset, { tags: ["v2"], meta: {} });
});

test("a short request time-out shortens the defaults that it bounds", async (t) => {
  const timeouts = (text: string) =>
    config(`upstreams: { orders: { endpoints: [127.0.0.1:9001], timeouts: ${text} } }`).upstreams["orders"]!
      .options.timeouts;
  t.match(timeouts("{}"), { connectMs: 1000, attemptMs: 10_000, requestMs: 15_000 });
  t.match(timeouts("{ request: 5s }"), { connectMs: 1000, attemptMs: 5000, requestMs: 5000 });
  t.match(timeouts("{ request: 500ms }"), { connectMs: 500, attemptMs: 500, requestMs: 500 });
  t.match(timeouts("{ request: 1h }"), { connectMs: 1000, attemptMs: 10_000, requestMs: 3_600_000 });
  const { app } = config(
    "{ service: { name: web, port: 3000 }, inbound: { timeouts: { request: 2s } } }",
  ).inbound;
  t.match(app.timeouts, { connectMs: 1000, attemptMs: 2000, requestMs: 2000 });
});

test("what is just within a bound is fine, and a default never is at fault", async (t) => {
  const upstream = (text: string) =>
    config(`upstreams: { orders: { endpoints: [127.0.0.1:9001], ${text} } }`);
  t.ok(upstream("timeouts: { connect: 15s, attempt: 15s }"));
  t.ok(upstream("retries: { backoff: { base: 250ms } }"));
  const { retries } = upstream("retries: { backoff: { max: 10ms } }").upstreams["orders"]!.options;
  t.same(retries.backoff, { baseMs: 25, maxMs: 10 });
  const routes = "routes: [{ to: [{ upstream: orders, weight: 0 }, { upstream: orders, weight: 1 }] }]";
  t.ok(
    config(`upstreams: { orders: { endpoints: [127.0.0.1:9001] } }\n${routes}`),
    "one weight above 0 is enough",
  );
});

// --- YAML and the environment

test("a section may be written once and used by hundreds of upstreams", async (t) => {
  const names = Array.from({ length: 300 }, (_, i) => `upstream-${i}`);
  const upstreams = names.map(
    (name, i) => `  ${name}: ${i === 0 ? "&all { timeouts: { request: 5s } }" : "*all"}\n`,
  );
  const { upstreams: read } = config(`discovery: { consul: {} }\nupstreams:\n${upstreams.join("")}`);
  t.same(Object.keys(read), names);
  t.ok(Object.values(read).every(({ options }) => options.timeouts.requestMs === 5000));
});

test("JSON, CRLF line ends and a byte order mark are all the same to it", async (t) => {
  const plain = config(FULL);
  t.same(config(`\uFEFF${FULL.replaceAll("\n", "\r\n")}`), plain);
  t.same(config(JSON.stringify(parse(FULL.replace("${CONSUL_HTTP_TOKEN:-}", '""')))), plain);
});

test("keys are the texts that were written, also when they look like numbers", async (t) => {
  const { upstreams } = config(
    "upstreams: { 1.10: { endpoints: [127.0.0.1:9001] }, 0x10: { endpoints: [127.0.0.1:9002] } }",
  );
  t.same(Object.keys(upstreams), ["1.10", "0x10"]);
});

test("whatever a variable contains becomes that one value and nothing else", async (t) => {
  const nasty = fc.constantFrom(
    "a: b",
    "a #b",
    "x\ny: z",
    '"q"',
    "it's",
    "{a: 1}",
    "[1]",
    "*a",
    "&a b",
    "!t",
    "|",
    "- a",
    "~",
    "null",
  );
  const value = fc.oneof(
    nasty,
    fc.string({ unit: "grapheme", minLength: 1 }),
    fc.constantFrom(" ", "\t", "\0", "\\n", "${A}"),
  );
  const text = `
service:
  name: web
  port: 3000
  tags: ["\${X}", '\${X}', "<\${X}>", a-\${X}-\${X}]
  id: "\${X}"
  meta: { x: \${X}!, y: "\${X}" }
`;
  const property = fc.property(value, (x) => {
    const { service, upstreams } = config(text, { X: x });
    assert.deepEqual(service!.tags, [x, x, `<${x}>`, `a-${x}-${x}`]);
    assert.deepEqual([service!.id, service!.meta], [x, { x: `${x}!`, y: x }]);
    assert.deepEqual([service!.name, service!.port, upstreams], ["web", 3000, {}]);
  });
  t.doesNotThrow(() => fc.assert(property, { seed: SEED, numRuns: 300 }));
});

test("without quotes a variable is a number or a flag if all of it looks like one, else a text", async (t) => {
  const text = "{ service: { name: web, port: ${PORT}, id: ${ID} }, telemetry: { accessLog: ${LOG} } }";
  const read = (id: string) => config(text, { PORT: "3000", LOG: "false", ID: id });
  t.equal(read("a").service?.port, 3000);
  t.equal(read("a").telemetry.accessLog, false);
  for (const id of ["12 # twelve", '"12"', "12: 13", "null", "~", "truely", "1-2", "12 13", " true"])
    t.equal(read(id).service?.id, id, JSON.stringify(id));
  t.match(faultsOf(text, { PORT: "3000", LOG: "yes", ID: "12" })?.faults, [
    { path: "service.id", message: /got 12$/ },
    { path: "telemetry.accessLog", message: /got "yes"$/ },
  ]);
  t.equal(
    config(text.replace("${PORT}", "${HIGH}${LOW}"), { HIGH: "30", LOW: "00", LOG: "true", ID: "a" }).service
      ?.port,
    3000,
  );
});

test("a default is taken as it stands, up to its brace", async (t) => {
  const read = (id: string) =>
    config(`{ service: { name: web, port: 3000, id: ${id} } }`, { EMPTY: "" }).service?.id;
  t.equal(read("${X:-a: b}"), "a: b");
  t.equal(read("${X:-a #b, c}"), "a #b, c");
  t.equal(read('"${X:-it\'s}"'), "it's");
  t.equal(read("${EMPTY:-x}${EMPTY}y"), "xy");
  t.equal(read("a-${X:-}"), "a-");
});

test("a dollar sign is only a dollar sign, and a brace behind it can be written as an escape", async (t) => {
  const read = (id: string) =>
    config(`{ service: { name: web, port: 3000, id: ${id} } }`, { X: "x" }).service?.id;
  t.equal(read("$X"), "$X");
  t.equal(read("a$"), "a$");
  t.equal(read("$${X}"), "$x");
  t.equal(read('"\\x24{X}"'), "${X}");
});

test("a thousand variables, the shortest there are, keep their values and their columns", async (t) => {
  const tags = Array.from({ length: 3000 }, (_, i) => ["${A}7", "${B}", "${C}"][i % 3]!);
  const text = `service: { name: web, port: 3000, tags: [${tags.join(", ")}], `;
  const environment = { A: "a", B: "b", C: "c" };
  const { service } = config(`${text}id: x }`, environment);
  t.ok(service!.tags.every((tag, i) => tag === ["a7", "b", "c"][i % 3]));
  const error = faultsOf(`${text}ids: x }`, environment);
  t.match(error?.faults, [{ line: 1, column: text.length + 1, path: "service.ids" }]);
});

test("characters of the private area that the file itself has stand for themselves", async (t) => {
  const id = "\uE000\uE100\uE100\uE001 \uE000";
  t.equal(config(`service: { name: web, port: 3000, id: "${id}" }`).service?.id, id);
});
