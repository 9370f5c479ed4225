import { test } from "tap";
import { type App, call, startApp, type Teardown } from "../support/apps.ts";
import { withoutConsul } from "../support/consul.ts";
import { type Cluster, startCluster } from "../support/consul-cluster.ts";
import { eventually } from "../support/eventually.ts";
import { startInProcess } from "../support/in-process.ts";
import { Load } from "../support/mesh.ts";
import { startSidecar } from "../support/sidecar.ts";

/** An app that says its name, and what it was asked. */
async function startNamed(t: Teardown, name: string): Promise<App> {
  return startApp(t, async (request, response) => {
    let text = "";
    for await (const part of request.setEncoding("utf8")) text += part;
    response.setHeader("x-app", name);
    response.end(`${request.url} ${text}`);
  });
}

async function register(
  cluster: Cluster,
  service: string,
  version: string,
  app: App,
  dc = {},
): Promise<void> {
  await cluster.client.tell("/v1/agent/service/register", {
    Name: service,
    ID: `${service}-${version}-${app.port}`,
    Address: "127.0.0.1",
    Port: app.port,
    Meta: { version },
    Check: { CheckID: `${service}-${version}`, TTL: "1h", Status: "passing" },
    ...dc,
  });
}

/** Which apps answered so many calls, by their names. */
async function shares(
  port: number,
  calls: number,
  path = "/",
  headers: Record<string, string> = {},
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < calls; i += 50)
    await Promise.all(
      Array.from({ length: Math.min(50, calls - i) }, async () => {
        const { status, headers: answered } = await call(port, "orders", { path, headers });
        const name = status === 200 ? String(answered["x-app"]) : `status ${status}`;
        counts[name] = (counts[name] ?? 0) + 1;
      }),
    );
  return counts;
}

/** Within four standard errors of what chance gives: less than one run in ten thousand is further away. */
function isShare(count: number, calls: number, share: number): boolean {
  return Math.abs(count - calls * share) <= 4 * Math.sqrt(calls * share * (1 - share));
}

test("splits, subsets, routes, redirects and fail-over come from Consul's config entries, live", {
  skip: withoutConsul,
}, async (t) => {
  const cluster = await startCluster(t);
  const [v1, v2, payments, backup] = await Promise.all([
    startNamed(t, "v1"),
    startNamed(t, "v2"),
    startNamed(t, "payments"),
    startNamed(t, "backup"),
  ]);
  await register(cluster, "orders", "v1", v1);
  await register(cluster, "orders", "v2", v2);
  await register(cluster, "payments", "v1", payments);
  await register(cluster, "backup", "v1", backup);
  for (const Name of ["orders", "payments", "backup"])
    await cluster.configEntry("service-defaults", { Name, Protocol: "http" });
  const { addresses, admin, access } = await startInProcess(
    t,
    `discovery: { consul: { address: "${cluster.client.address}", register: none } }
upstreams: { orders: { balancing: { algorithm: random } } }`,
  );
  const { port } = addresses.outbound;
  const becomes = (what: string, holds: (counts: Record<string, number>) => boolean, calls = 20) =>
    eventually(what, async () => holds(await shares(port, calls)));

  await t.test("without any entry, all instances are one upstream", async (t) => {
    t.same(Object.keys(await shares(port, 100)).sort(), ["v1", "v2"]);
    t.same(Object.keys(JSON.parse(await admin("/endpoints"))), ["orders"]);
  });

  await t.test("a default subset is used, by its filter", async (t) => {
    const subset = (version: string) => ({ Filter: `Service.Meta.version == ${version}` });
    await cluster.configEntry("service-resolver", {
      Name: "orders",
      DefaultSubset: "v1",
      Subsets: { v1: subset("v1"), v2: subset("v2") },
    });
    await becomes("v1 alone", (counts) => counts["v1"] === 20);
    t.same(await shares(port, 100), { v1: 100 });
  });

  for (const [first, second] of [
    [90, 10],
    [50, 50],
    [99.5, 0.5],
    [0, 100],
  ] as const) {
    await t.test(`a split of ${first} to ${second} is measured as such`, async (t) => {
      await cluster.configEntry("service-splitter", {
        Name: "orders",
        Splits: [
          { Weight: first, ServiceSubset: "v1" },
          { Weight: second, ServiceSubset: "v2" },
        ],
      });
      const shown = async () => {
        const page = JSON.parse(await admin("/endpoints"));
        return Object.keys(page).sort().join() === "orders/v1,orders/v2";
      };
      await eventually("both subsets to be followed", shown);
      // The weights come with the same answer as the subsets the first time; later ones are told by their shares.
      const calls = 2_000;
      let counts: Record<string, number> = {};
      await eventually("the shares", async () => {
        counts = await shares(port, calls);
        return isShare(counts["v2"] ?? 0, calls, second / 100);
      });
      t.equal((counts["v1"] ?? 0) + (counts["v2"] ?? 0), calls, "every call is answered by one of them");
      t.comment(`${first} to ${second}: ${counts["v1"] ?? 0} to ${counts["v2"] ?? 0} of ${calls}`);
    });
  }

  await t.test("a router goes by path, header and query, and rewrites", async (t) => {
    await cluster.configEntry("service-router", {
      Name: "orders",
      Routes: [
        {
          Match: { HTTP: { PathPrefix: "/pay" } },
          Destination: { Service: "payments", PrefixRewrite: "/v9", RequestTimeout: "3s", NumRetries: 1 },
        },
        {
          Match: { HTTP: { Header: [{ Name: "x-canary", Exact: "1" }], Methods: ["GET"] } },
          Destination: { Service: "orders", ServiceSubset: "v1" },
        },
        {
          Match: { HTTP: { QueryParam: [{ Name: "backup", Present: true }] } },
          Destination: { Service: "backup" },
        },
      ],
    });
    await eventually("the route", async () => (await shares(port, 1, "/pay/1"))["payments"] === 1);
    const reply = await call(port, "orders", { path: "/pay/1?x=2" });
    t.equal(reply.body.trim(), "/v9/1?x=2", "the prefix is rewritten");
    t.same(await shares(port, 10, "/", { "x-canary": "1" }), { v1: 10 });
    t.same(await shares(port, 10, "/?backup"), { backup: 10 });
    t.same(await shares(port, 10, "/other"), { v2: 10 }, "the rest goes to the splitter");
    const upstreams = new Set(access.slice(-40).map(({ upstream }) => upstream));
    t.ok(upstreams.has("orders/payments") && upstreams.has("orders/v2"), "each is known by its name");
  });

  await t.test("when none of a subset is well, it fails over, and back", async (t) => {
    await cluster.deleteConfigEntry("service-router", "orders");
    await cluster.deleteConfigEntry("service-splitter", "orders");
    await cluster.configEntry("service-resolver", {
      Name: "orders",
      DefaultSubset: "v2",
      Subsets: { v2: { Filter: "Service.Meta.version == v2" } },
      Failover: { v2: { Service: "backup" } },
    });
    await becomes("v2 alone", (counts) => counts["v2"] === 20);
    await cluster.client.tell(`/v1/agent/service/maintenance/orders-v2-${v2.port}?enable=true`);
    await becomes("the backup", (counts) => counts["backup"] === 20);
    await cluster.client.tell(`/v1/agent/service/maintenance/orders-v2-${v2.port}?enable=false`);
    await becomes("v2 again", (counts) => counts["v2"] === 20);
    t.pass();
  });

  await t.test("a redirect leads to another service", async (t) => {
    await cluster.configEntry("service-resolver", { Name: "orders", Redirect: { Service: "payments" } });
    await becomes("payments", (counts) => counts["payments"] === 20);
    t.pass();
  });

  await t.test("without entries again, it is as in the beginning", async (t) => {
    await cluster.deleteConfigEntry("service-resolver", "orders");
    await becomes("both", (counts) => (counts["v1"] ?? 0) + (counts["v2"] ?? 0) === 20);
    t.pass();
  });
});

test("no request fails while a split is moved back and forth under load", {
  skip: withoutConsul,
}, async (t) => {
  const cluster = await startCluster(t);
  const apps = await Promise.all([startNamed(t, "v1"), startNamed(t, "v2")]);
  await register(cluster, "orders", "v1", apps[0]!);
  await register(cluster, "orders", "v2", apps[1]!);
  await cluster.configEntry("service-defaults", { Name: "orders", Protocol: "http" });
  await cluster.configEntry("service-resolver", {
    Name: "orders",
    Subsets: { v1: { Filter: "Service.Meta.version == v1" }, v2: { Filter: "Service.Meta.version == v2" } },
  });
  const caller = await startSidecar(t, {
    upstreams: { orders: {} },
    discovery: { consul: { address: cluster.client.address } },
    telemetry: { accessLog: false },
    workers: 2,
  });
  const load = new Load("split", caller);
  load.begin(t, 200);
  await load.go(100);
  for (let i = 0; i < 12; i++) {
    const Weight = (i * 37) % 101;
    const entry = i % 4 === 3 ? "nothing" : "split";
    if (entry === "split")
      await cluster.configEntry("service-splitter", {
        Name: "orders",
        Splits: [
          { Weight, ServiceSubset: "v1" },
          { Weight: 100 - Weight, ServiceSubset: "v2" },
        ],
      });
    else await cluster.deleteConfigEntry("service-splitter", "orders");
    await load.go(40);
  }
  await load.end();
  t.same(load.faults, []);
  t.comment(`${load.sent} sent while the split was changed 12 times`);
});
