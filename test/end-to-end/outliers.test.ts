import { Agent } from "node:http";
import { type Test, test } from "tap";
import { type Answer, type App, call, startApp } from "../support/apps.ts";
import { eventually } from "../support/eventually.ts";
import { type InProcess, startInProcess } from "../support/in-process.ts";
import { rawClient } from "../support/raw.ts";

/** Replicas by name, of which a share of the requests fails that can be changed. */
async function startReplicas(t: Test, names: readonly string[]) {
  const failsEvery = new Map<string, number>();
  const apps = new Map<string, App>();
  for (const name of names) {
    let served = 0;
    const app = await startApp(t, (_, response) => {
      served++;
      const every = failsEvery.get(name) ?? 0;
      response.statusCode = every > 0 && served % every === 0 ? 500 : 200;
      response.setHeader("x-app", name);
      response.end();
    });
    apps.set(name, app);
  }
  return { apps, failsEvery, endpoints: [...apps.values()].map(({ address }) => address).join(", ") };
}

function calling(t: Test, { addresses }: InProcess) {
  const agent = new Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  return async (requests: number) => {
    const counts: Record<string, number> = {};
    let failed = 0;
    for (let i = 0; i < requests; i++) {
      const reply = await call(addresses.outbound.port, "orders", { agent });
      const name = String(reply.headers["x-app"]);
      counts[name] = (counts[name] ?? 0) + 1;
      if (reply.status !== 200) failed++;
    }
    return { counts, failed };
  };
}

const said = ({ records }: InProcess, message: string) =>
  records.find((record) => record.message === message);

test("a replica that fails a third is taken out for a while, and comes back when it is well", async (t) => {
  const { apps, failsEvery, endpoints } = await startReplicas(t, ["a", "b", "c", "d"]);
  const sidecar = await startInProcess(
    t,
    `upstreams:
  orders:
    endpoints: [${endpoints}]
    balancing: { algorithm: roundRobin }
    retries: { attempts: 0 }
    outliers: { interval: 200ms, ejection: { base: 1s, max: 1s } }
    slowStart: { window: 100ms }`,
  );
  const ask = calling(t, sidecar);
  failsEvery.set("c", 3);
  await eventually("the ejection", async () => {
    await ask(100);
    return said(sidecar, "outlier is ejected") !== undefined;
  });
  const ejected = said(sidecar, "outlier is ejected");
  t.match(ejected, {
    endpoint: apps.get("c")!.address,
    rule: "successRate",
    level: "warn",
    upstream: "orders",
  });
  const page = JSON.parse(await sidecar.admin("/endpoints"));
  const shown = page.orders.endpoints.find(
    ({ address }: { address: string }) => address === apps.get("c")!.address,
  );
  t.equal(shown.outlier, "ejected");
  t.ok(shown.ejectedForMs > 0 && shown.ejectedForMs <= 1_200);
  t.equal(
    await sidecar.metric("heddle_outlier_ejections_total", { upstream: "orders", rule: "successRate" }),
    1,
  );
  t.equal(await sidecar.metric("heddle_endpoints", { upstream: "orders", state: "ejected" }), 1);
  t.equal(await sidecar.metric("heddle_endpoints", { upstream: "orders", state: "available" }), 3);
  const meanwhile = await ask(90);
  if (said(sidecar, "outlier is probed") === undefined) {
    t.same(meanwhile, { counts: { a: 30, b: 30, d: 30 }, failed: 0 }, "the others share what comes");
  }
  failsEvery.clear();
  await eventually("its return", async () => {
    await ask(1);
    return said(sidecar, "outlier has passed its probes") !== undefined;
  });
  await eventually("its full share", async () => (await ask(40)).counts["c"] === 10);
  t.equal(await sidecar.metric("heddle_endpoints", { upstream: "orders", state: "ejected" }), 0);
});

test("where all fail alike, nobody is taken out", async (t) => {
  const { failsEvery, endpoints } = await startReplicas(t, ["a", "b", "c"]);
  for (const name of ["a", "b", "c"]) failsEvery.set(name, 3);
  const sidecar = await startInProcess(
    t,
    `upstreams:
  orders:
    endpoints: [${endpoints}]
    balancing: { algorithm: roundRobin }
    retries: { attempts: 0 }
    outliers: { interval: 100ms }`,
  );
  const ask = calling(t, sidecar);
  for (let i = 0; i < 10; i++) t.equal((await ask(99)).failed, 33);
  t.equal(said(sidecar, "outlier is ejected"), undefined);
});

test("an upstream whose outliers are not looked for says nothing of them", async (t) => {
  const { endpoints } = await startReplicas(t, ["a", "b", "c"]);
  const sidecar = await startInProcess(
    t,
    `upstreams:
  orders: { endpoints: [${endpoints}], outliers: { enabled: false } }`,
  );
  await calling(t, sidecar)(10);
  const page = JSON.parse(await sidecar.admin("/endpoints"));
  t.equal(page.orders.endpoints[0].outlier, undefined);
});

test("a replica that serves streams comes back though its probe goes on and on", async (t) => {
  const streams: Answer = (_, response) => void response.write("data: tick\n\n");
  const [app, other] = [
    await startApp(t, (_, response) => {
      response.statusCode = 500;
      response.end();
    }),
    await startApp(t, streams),
  ];
  const sidecar = await startInProcess(
    t,
    `upstreams:
  orders:
    endpoints: [${app.address}, ${other.address}]
    balancing: { algorithm: roundRobin }
    retries: { attempts: 0 }
    breaker: { mode: off, openFor: 10ms }
    outliers: { consecutiveFailures: 1, interval: 100ms, probes: 1, ejection: { base: 100ms, max: 100ms } }`,
  );
  const ask = async () => {
    const client = await rawClient(t, sidecar.addresses.outbound.port);
    client.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n");
    await client.until(/\r\n\r\n/);
  };
  await eventually("the ejection", async () => {
    await ask();
    return said(sidecar, "outlier is ejected") !== undefined;
  });
  app.answer = streams;
  await eventually("its return", async () => {
    await ask();
    return said(sidecar, "outlier has passed its probes") !== undefined;
  });
});
