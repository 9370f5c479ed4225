import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { type App, call, say, startApp, type Teardown } from "../support/apps.ts";
import { type Consul, startConsul, withoutConsul } from "../support/consul.ts";
import { a, srv, startDnsServer } from "../support/dns-server.ts";
import { eventually } from "../support/eventually.ts";
import { startInProcess } from "../support/in-process.ts";
import { KubernetesApiServer, slice } from "../support/kubernetes-api.ts";
import { startSidecar } from "../support/sidecar.ts";

function register(consul: Consul, service: string, app: App, more: object = {}): Promise<void> {
  return consul.tell("/v1/agent/service/register", {
    ID: `${service}-${app.port}`,
    Name: service,
    Address: "127.0.0.1",
    Port: app.port,
    ...more,
  });
}

/** What came back, as `200 text` or `503 no_endpoint`. */
async function answer(port: number, host: string): Promise<string> {
  const { status, headers, body } = await call(port, host);
  return `${status} ${headers["x-heddle-error"] ?? body}`;
}

interface Page {
  readonly [name: string]: {
    readonly sources: readonly { readonly source: string; readonly state: string; readonly why?: string }[];
    readonly endpoints: readonly {
      readonly address: string;
      readonly used: boolean;
      readonly check?: string;
      readonly why?: string;
    }[];
  };
}

async function used(admin: (path: string) => Promise<string>, name: string): Promise<string[]> {
  const page = JSON.parse(await admin("/endpoints")) as Page;
  return page[name]!.endpoints.filter((endpoint) => endpoint.used).map(({ address }) => address);
}

async function apps(t: Teardown, ...names: string[]): Promise<App[]> {
  return Promise.all(names.map((name) => startApp(t, say(name))));
}

test("a service is followed when it is first called, and no longer when it is not called any more", {
  skip: withoutConsul,
}, async (t) => {
  const consul = await startConsul(t);
  const [app] = await apps(t, "orders");
  await register(consul, "orders", app!);
  const names = Array.from({ length: 200 }, (_, i) => `never-${i}`);
  const { addresses, admin, metric, records } = await startInProcess(
    t,
    `discovery: { consul: { address: "${consul.address}" }, idleAfter: 1s }
upstreams: { orders: {}, ${names.map((name) => `${name}: {}`).join(", ")} }`,
  );
  const { port } = addresses.outbound;
  t.equal(await metric("heddle_discovery_watches"), 0, "nothing is asked before");
  const first = await Promise.all(Array.from({ length: 20 }, () => answer(port, "orders")));
  t.same(new Set(first), new Set(["200 orders"]), "callers that come together wait together");
  t.equal(await metric("heddle_discovery_watches"), 2, "its chain and its instances");
  t.same(await used(admin, "orders"), [app!.address]);
  await eventually("its end", async () => (await metric("heddle_discovery_watches")) === 0);
  t.ok(records.some(({ message }) => message.includes("no longer followed")));
  t.same(await used(admin, "orders"), []);
  t.equal(await answer(port, "orders"), "200 orders", "and it is followed again when it is called again");
  await consul.kill();
  await eventually("its end", async () => (await metric("heddle_discovery_watches")) === 0, 10_000);
  t.equal(await answer(port, "orders"), "200 orders", "also when the registry has died meanwhile");
});

test("a service that nobody has registered is answered with 503, and with 200 as soon as somebody has", {
  skip: withoutConsul,
}, async (t) => {
  const consul = await startConsul(t);
  const [app] = await apps(t, "late");
  const { addresses } = await startInProcess(
    t,
    `discovery: { consul: { address: "${consul.address}" } }\nupstreams: { orders: {} }`,
  );
  const { port } = addresses.outbound;
  t.equal(await answer(port, "orders"), "503 no_endpoint");
  await register(consul, "orders", app!);
  await eventually("an answer", async () => (await answer(port, "orders")) === "200 late");
  t.pass();
});

test("the first call to a service waits for a registry that is slow, and says what it waits for", async (t) => {
  const [app] = await apps(t, "orders");
  const held = Promise.withResolvers<void>();
  const registry = await startApp(t, async (request, response) => {
    await held.promise;
    // Whatever else is asked (the chain) is not known there, and whoever waits for a change waits.
    if (request.url?.includes("index=") === true) return;
    const isHealth = request.url?.startsWith("/v1/health/service/orders") === true;
    response.writeHead(isHealth ? 200 : 500, { "content-type": "application/json", "x-consul-index": "7" });
    response.end(JSON.stringify([{ Service: { Address: "127.0.0.1", Port: app!.port }, Checks: [] }]));
  });
  const { addresses, admin } = await startInProcess(
    t,
    `discovery: { consul: { address: "http://${registry.address}" } }\nupstreams: { orders: {} }`,
  );
  const called = answer(addresses.outbound.port, "orders");
  await eventually("the caller to wait", async () =>
    (await admin("/requests")).includes('"on": "discovery"'),
  );
  held.resolve();
  t.equal(await called, "200 orders");
});

test("several sources are one upstream, in order or together", { skip: withoutConsul }, async (t) => {
  const consul = await startConsul(t);
  const [registered, filed, fixed] = await apps(t, "registered", "filed", "fixed");
  await register(consul, "orders", registered!);
  const folder = t.testdir({ "orders.yaml": `- ${filed!.address}\n` });
  const file = join(folder, "orders.yaml");
  const from = `from: [{ consul: {} }, { file: "${file}" }, { endpoints: ["${fixed!.address}"] }]`;
  const { addresses, admin } = await startInProcess(
    t,
    `discovery: { consul: { address: "${consul.address}" } }
upstreams:
  orders: { ${from} }
  both: { ${from.replace("consul: {}", "consul: { service: orders }")}, merge: union }`,
  );
  const { port } = addresses.outbound;
  t.equal(await answer(port, "orders"), "200 registered", "the first source has an endpoint");
  await answer(port, "both");
  t.same(
    new Set(await used(admin, "both")),
    new Set([registered!.address, filed!.address, fixed!.address]),
    "together they are a union",
  );
  await consul.tell(`/v1/agent/service/maintenance/orders-${registered!.port}?enable=true`);
  await eventually("the file", async () => (await answer(port, "orders")) === "200 filed");
  await writeFile(`${file}.new`, "[]\n");
  await rename(`${file}.new`, file);
  await registered!.stop();
  await filed!.stop();
  await eventually("the last one", async () => (await answer(port, "orders")) === "200 fixed", 20_000);
  await filed!.start();
  await writeFile(`${file}.new`, `endpoints: [{ address: "${filed!.address}", weight: 2 }]\n`);
  await rename(`${file}.new`, file);
  await eventually("the file again", async () => (await answer(port, "orders")) === "200 filed");
  await writeFile(file, "endpoints: [{ adress: 127.0.0.1:1 }]\n");
  const page = async () => (JSON.parse(await admin("/endpoints")) as Page)["orders"]!;
  await eventually("the fault", async () => (await page()).sources[1]!.state === "silent");
  t.match(
    (await page()).sources[1]!.why,
    /orders\.yaml:1:13: endpoints\[0\]\.address: expected an address/,
    "it says where",
  );
  t.equal(await answer(port, "orders"), "200 filed", "and the last good list stays");
});

test("a source that cannot carry everything shares with the one behind it, by priority", async (t) => {
  const names = ["well", "ill", "iller", "reserve"];
  const [well, ill, iller, reserve] = await apps(t, ...names);
  const entries = (health: string) => [
    well!.address,
    ...[ill, iller].map((app) => ({ address: app!.address, health })),
  ];
  const folder = t.testdir({ "orders.json": JSON.stringify(entries("passing")) });
  const file = join(folder, "orders.json");
  const { addresses, admin } = await startInProcess(
    t,
    `upstreams:
  orders:
    from: [{ file: "${file}" }, { endpoints: ["${reserve!.address}"] }]
    merge: priority`,
  );
  const { port } = addresses.outbound;
  const counted = async (calls: number) => {
    const counts: Record<string, number> = {};
    for (let i = 0; i < calls; i++) {
      const text = await answer(port, "orders");
      counts[text] = (counts[text] ?? 0) + 1;
    }
    return counts;
  };
  t.notOk("200 reserve" in (await counted(100)), "nothing goes to the second level while the first is well");
  await writeFile(`${file}.new`, JSON.stringify(entries("critical")));
  await rename(`${file}.new`, file);
  await eventually("the unwell to be told", async () =>
    (await admin("/endpoints")).includes('"unwell": true'),
  );
  const calls = 1_000;
  const counts = await counted(calls);
  t.same(Object.keys(counts).sort(), ["200 reserve", "200 well"]);
  // A third of the first level is well, which carries 1.4 times that. Within four standard errors, as of a draw for each call.
  const share = 1.4 / 3;
  t.ok(
    Math.abs(counts["200 well"]! - calls * share) <= 4 * Math.sqrt(calls * share * (1 - share)),
    JSON.stringify(counts),
  );
});

test("an endpoint that fails its health checks gets no requests, unless all fail", async (t) => {
  let ill = true;
  const [well] = await apps(t, "well");
  const sick = await startApp(t, (request, response) => {
    response.statusCode = request.url === "/health" && ill ? 503 : 200;
    response.end("sick");
  });
  const { addresses, admin, records } = await startInProcess(
    t,
    `upstreams:
  orders:
    endpoints: ["${well!.address}", "${sick.address}"]
    balancing: { algorithm: roundRobin }
    healthCheck: { path: /health, interval: 100ms, fastInterval: 50ms, rise: 2, fall: 2 }`,
  );
  const { port } = addresses.outbound;
  await answer(port, "orders");
  await eventually("the sick one to leave", async () => (await used(admin, "orders")).length === 1);
  const page = JSON.parse(await admin("/endpoints")) as Page;
  t.match(
    page["orders"]!.endpoints.find(({ address }) => address === sick.address),
    { used: false, check: "failing: 503" },
  );
  for (let i = 0; i < 10; i++) t.equal(await answer(port, "orders"), "200 well");
  ill = false;
  await eventually("its return", async () => (await used(admin, "orders")).length === 2);
  t.ok(records.some(({ message }) => message === "health checks pass again"));
  ill = true;
  await eventually("it to leave again", async () => (await used(admin, "orders")).length === 1);
  well!.answer = (request, response) => {
    response.statusCode = request.url === "/health" ? 500 : 200;
    response.end("well");
  };
  await eventually("both to be used", async () => (await used(admin, "orders")).length === 2);
  t.pass("when nobody passes, the checks are more likely wrong than the registry");
});

test("a prepared query is an upstream", { skip: withoutConsul }, async (t) => {
  const consul = await startConsul(t);
  const [app] = await apps(t, "nearest");
  await register(consul, "orders", app!);
  await fetch(`${consul.address}/v1/query`, {
    method: "POST",
    body: JSON.stringify({ Name: "nearest-orders", Service: { Service: "orders" } }),
  });
  const { addresses } = await startInProcess(
    t,
    `discovery: { consul: { address: "${consul.address}" } }
upstreams: { orders: { from: [{ consul: { query: nearest-orders } }] } }`,
  );
  t.equal(await answer(addresses.outbound.port, "orders"), "200 nearest");
});

test("weights and warnings of the registry are shares of the requests", {
  skip: withoutConsul,
}, async (t) => {
  const consul = await startConsul(t);
  const [light, heavy] = await apps(t, "light", "heavy");
  await register(consul, "orders", light!, { Weights: { Passing: 1, Warning: 1 } });
  await register(consul, "orders", heavy!, {
    Weights: { Passing: 3, Warning: 0 },
    Check: { CheckID: "heavy", TTL: "1h", Status: "passing" },
  });
  const { addresses, admin } = await startInProcess(
    t,
    `discovery: { consul: { address: "${consul.address}" } }
upstreams: { orders: { balancing: { algorithm: roundRobin } } }`,
  );
  const { port } = addresses.outbound;
  const counts: Record<string, number> = {};
  for (let i = 0; i < 40; i++) {
    const text = await answer(port, "orders");
    counts[text] = (counts[text] ?? 0) + 1;
  }
  t.same(counts, { "200 light": 10, "200 heavy": 30 });
  await consul.tell("/v1/agent/check/warn/heavy");
  await eventually(
    "the light one alone",
    async () => (await used(admin, "orders")).join() === light!.address,
  );
  t.pass("a warning whose weight is 0 is no traffic");
});

test("workers share one discovery, and each of them knows what is found", {
  skip: withoutConsul,
}, async (t) => {
  const consul = await startConsul(t);
  const [app] = await apps(t, "orders");
  await register(consul, "orders", app!);
  const caller = await startSidecar(t, {
    workers: 3,
    discovery: { consul: { address: consul.address } },
    upstreams: { orders: {} },
    telemetry: { accessLog: false },
  });
  for (let i = 0; i < 30; i++) t.equal(await answer(caller.addresses.outbound.port, "orders"), "200 orders");
  t.equal(await caller.admin.metric("heddle_discovery_watches"), 2);
  t.equal(await caller.end(), 0);
});

test("DNS and Kubernetes are followed as any other source", async (t) => {
  const [first, second] = await apps(t, "first", "second");
  const dns = await startDnsServer(t, ({ type }) =>
    type === "SRV"
      ? { answers: [srv("orders.internal", "one.internal", first!.port, { ttl: 1 })] }
      : type === "A"
        ? { answers: [a("one.internal", "127.0.0.1", 1)] }
        : {},
  );
  const cluster = await new KubernetesApiServer().start(t);
  const ports = (port: number) => ({ ports: [{ name: "http", port, protocol: "TCP" }] });
  cluster.put(slice("orders-a", ["127.0.0.1"], ports(first!.port)));
  const { addresses, admin } = await startInProcess(
    t,
    `upstreams:
  named: { from: [{ dns: { name: orders.internal, type: SRV, resolvers: ["${dns.address}"] } }] }
  sliced: { from: [{ kubernetes: { service: orders, namespace: shop, server: "${cluster.url}" } }] }
  podless: { from: [{ kubernetes: { service: orders } }] }`,
  );
  const { port } = addresses.outbound;
  t.same([await answer(port, "named"), await answer(port, "sliced")], ["200 first", "200 first"]);
  dns.script = ({ type }) =>
    type === "SRV"
      ? { answers: [srv("orders.internal", "one.internal", second!.port, { ttl: 1 })] }
      : type === "A"
        ? { answers: [a("one.internal", "127.0.0.1", 1)] }
        : {};
  cluster.put(slice("orders-a", ["127.0.0.1"], ports(second!.port)));
  await eventually("the slices", async () => (await answer(port, "sliced")) === "200 second");
  await eventually("the name", async () => (await answer(port, "named")) === "200 second");
  t.equal(await answer(port, "podless"), "503 no_endpoint");
  const page = JSON.parse(await admin("/endpoints")) as Page;
  t.match(page["podless"]!.sources[0]!.why, /KUBERNETES_SERVICE_HOST is not set/, "and it says why");
});

test("an endpoint that is the sidecar's own way out is not used, whoever names it", async (t) => {
  const [app] = await apps(t, "fine");
  const file = join(t.testdir({ "orders.json": "[]" }), "orders.json");
  const { addresses, admin, records } = await startInProcess(
    t,
    `upstreams: { orders: { from: [{ file: "${file}" }], localPort: 0 } }`,
  );
  const { port } = addresses.outbound;
  t.equal(await answer(port, "orders"), "503 no_endpoint");
  const own = [port, addresses.localPorts["orders"]!.port].map((at) => `127.0.0.1:${at}`);
  await writeFile(`${file}.new`, JSON.stringify([...own, app!.address]));
  await rename(`${file}.new`, file);
  await eventually("the app alone", async () => (await used(admin, "orders")).join() === app!.address);
  for (let i = 0; i < 10; i++) t.equal(await answer(port, "orders"), "200 fine");
  const said = records.find(({ message }) => message.includes("own way out"));
  t.equal(said?.level, "error");
  t.same(new Set(said?.["refused"] as string[]), new Set(own));
});
