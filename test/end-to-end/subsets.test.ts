import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { type App, call, say, startApp } from "../support/apps.ts";
import { type Consul, startConsul, withoutConsul } from "../support/consul.ts";
import { startCluster } from "../support/consul-cluster.ts";
import { eventually } from "../support/eventually.ts";
import { startInProcess } from "../support/in-process.ts";

function register(
  consul: Pick<Consul, "tell">,
  app: App,
  tags: readonly string[],
  meta: object = {},
): Promise<void> {
  return consul.tell("/v1/agent/service/register", {
    ID: `orders-${app.port}`,
    Name: "orders",
    Address: "127.0.0.1",
    Port: app.port,
    Tags: tags,
    Meta: meta,
  });
}

/** What came back, as `200 text` or `503 no_endpoint`. */
async function answer(port: number, host: string): Promise<string> {
  const { status, headers, body } = await call(port, host);
  return `${status} ${headers["x-heddle-error"] ?? body}`;
}

/** How many of so many calls were answered how. */
async function answers(port: number, host: string, calls: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < calls; i += 50)
    for (const text of await Promise.all(Array.from({ length: 50 }, () => answer(port, host))))
      counts[text] = (counts[text] ?? 0) + 1;
  return counts;
}

interface Page {
  readonly [name: string]: {
    readonly sources: readonly { readonly source: string; readonly state: string; readonly why?: string }[];
    readonly endpoints: readonly {
      readonly address: string;
      readonly health: string;
      readonly used: boolean;
    }[];
  };
}

test("a canary is two subsets of one service in Consul and a route between them", {
  skip: withoutConsul,
}, async (t) => {
  const consul = await startConsul(t);
  const [stable, canary, third] = await Promise.all(
    ["stable", "canary", "third"].map((name) => startApp(t, say(name))),
  );
  await register(consul, stable!, ["v1"], { version: "1" });
  await register(consul, canary!, ["v2", "eu"], { version: "2" });
  const { addresses, admin, metric, records } = await startInProcess(
    t,
    `discovery: { consul: { address: "${consul.address}" } }
upstreams:
  orders: { subset: { tags: [v1] } }
  orders-v2: { service: orders, subset: { tags: [v2], meta: { version: "2" } } }
routes:
  - match: { host: orders }
    to: [{ upstream: orders, weight: 80 }, { upstream: orders-v2, weight: 20 }]`,
  );
  const { port } = addresses.outbound;
  const calls = 1_000;
  const counts = await answers(port, "orders", calls);
  t.same(Object.keys(counts).sort(), ["200 canary", "200 stable"]);
  // Within four standard errors of what chance gives: less than one run in ten thousand is further away.
  t.ok(
    Math.abs(counts["200 canary"]! - calls * 0.2) <= 4 * Math.sqrt(calls * 0.2 * 0.8),
    JSON.stringify(counts),
  );
  t.same(await answers(port, "orders-v2", 50), { "200 canary": 50 });
  t.equal(await metric("heddle_discovery_watches"), 2, "both ask the same: its chain and its instances");

  const page = async (name: string) => (JSON.parse(await admin("/endpoints")) as Page)[name]!;
  t.match(
    (await page("orders-v2")).endpoints.find(({ address }) => address === stable!.address),
    { health: "outside", used: false, why: "not in the subset tags v2 and meta version=2" },
  );
  t.notMatch(await admin("/endpoints"), /labels/, "what a subset goes by stays where it is chosen");

  // The canary is promoted: what was called v2 is v1 by now, which is believed at once.
  await register(consul, canary!, ["v1"], { version: "1" });
  await register(consul, third!, ["v2"], { version: "3" });
  const nobody = "consul:orders lists 3 instances, none in the subset tags v2 and meta version=2";
  await eventually(
    "the canary to be empty",
    async () => (await page("orders-v2")).sources[0]!.why === nobody,
  );
  t.ok(
    records.some(({ level, message }) => level === "warn" && /lists \d instances?, none in/.test(message)),
  );
  await eventually("no canary", async () => (await answer(port, "orders-v2")) === "503 no_endpoint");
  await eventually(
    "two of v1",
    async () => (await page("orders")).endpoints.filter(({ used }) => used).length === 2,
  );
  await register(consul, third!, ["v2"], { version: "2" });
  await eventually("a canary again", async () => (await answer(port, "orders-v2")) === "200 third");
  t.equal((await page("orders-v2")).sources[0]!.why, undefined);
});

test("a subset narrows down what a service-resolver has chosen, target by target", {
  skip: withoutConsul,
}, async (t) => {
  const cluster = await startCluster(t);
  const names = ["v1-eu", "v1-us", "v2-eu", "v2-us"];
  const apps = await Promise.all(names.map((name) => startApp(t, say(name))));
  for (const [i, name] of names.entries())
    await register(cluster.client, apps[i]!, [name.slice(3)], { version: name.slice(0, 2) });
  await cluster.configEntry("service-defaults", { Name: "orders", Protocol: "http" });
  const subset = (version: string) => ({ Filter: `Service.Meta.version == ${version}` });
  await cluster.configEntry("service-resolver", {
    Name: "orders",
    Subsets: { v1: subset("v1"), v2: subset("v2") },
  });
  await cluster.configEntry("service-splitter", {
    Name: "orders",
    Splits: [
      { Weight: 50, ServiceSubset: "v1" },
      { Weight: 50, ServiceSubset: "v2" },
    ],
  });
  const { addresses, admin } = await startInProcess(
    t,
    `discovery: { consul: { address: "${cluster.client.address}", register: none } }
upstreams: { orders: { subset: { tags: [eu] } } }`,
  );
  await eventually("both targets", async () => {
    await answer(addresses.outbound.port, "orders");
    return Object.keys(JSON.parse(await admin("/endpoints"))).join() === "orders/v1,orders/v2";
  });
  t.same(Object.keys(await answers(addresses.outbound.port, "orders", 100)).sort(), [
    "200 v1-eu",
    "200 v2-eu",
  ]);
});

test("files and endpoints that are written down have subsets, too", async (t) => {
  const [one, two, three] = await Promise.all(["one", "two", "three"].map((name) => startApp(t, say(name))));
  const file = join(t.testdir({ "orders.yaml": "" }), "orders.yaml");
  const list = (tag: string) =>
    JSON.stringify([one!.address, { address: two!.address, tags: [tag], meta: { version: "2" } }]);
  await writeFile(file, list("v2"));
  const { addresses, admin } = await startInProcess(
    t,
    `upstreams:
  filed: { subset: { tags: [v2] }, from: [{ file: "${file}" }] }
  whole: { from: [{ file: "${file}" }] }
  fixed:
    subset: { meta: { version: "2" } }
    endpoints: ["${one!.address}", { address: "${three!.address}", meta: { version: "2" } }]
  tested:
    subset: { meta: { version: "2" } }
    endpoints: ["${one!.address}", { address: "${three!.address}", meta: { version: "2" } }]
    healthCheck: { type: tcp }`,
  );
  const { port } = addresses.outbound;
  t.same(await answers(port, "filed", 50), { "200 two": 50 });
  t.same(await answers(port, "fixed", 50), { "200 three": 50 });
  t.same(await answers(port, "tested", 50), { "200 three": 50 });
  t.same(Object.keys(await answers(port, "whole", 100)).sort(), ["200 one", "200 two"]);
  t.notMatch(await admin("/endpoints"), /labels|version/);
  await writeFile(`${file}.new`, list("v3"));
  await rename(`${file}.new`, file);
  await eventually("nobody", async () => (await answer(port, "filed")) === "503 no_endpoint");
  const page = JSON.parse(await admin("/endpoints")) as Page;
  t.match(page["filed"]!.sources[0], {
    source: `file:${file} (tags v2)`,
    state: "current",
    why: `file:${file} lists 2 instances, none in the subset tags v2`,
  });
});
