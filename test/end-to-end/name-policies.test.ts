import { once } from "node:events";
import { connect } from "node:net";
import { test } from "tap";
import { call, startApp } from "../support/apps.ts";
import { startInProcess } from "../support/in-process.ts";

/** A limit that no test is slow enough to outlast. */
const TWO = "{ name: all, requests: 2, per: 1h }";
const QUICK = "retries: { attempts: 0 }, breaker: { mode: off }";

test("a limit of an upstream is one for its host, its own port and its routes together, but for those that have their own", async (t) => {
  const app = await startApp(t);
  const { addresses, logged, metric } = await startInProcess(
    t,
    `upstreams:
  orders: { endpoints: [${app.address}], localPort: 0, rateLimits: [{ name: all, requests: 3, per: 1h }] }
  stock: { endpoints: [${app.address}] }
routes:
  - { name: plain, match: { path: /plain }, to: [{ upstream: orders }] }
  - { name: own, match: { path: /own }, to: [{ upstream: orders }], rateLimits: [${TWO}] }`,
  );
  const { port } = addresses.outbound;
  const own = addresses.localPorts["orders"]!.port;
  const statuses: number[] = [];
  for (const [at, path] of [
    [port, "/"],
    [own, "/"],
    [port, "/plain"],
    [port, "/"],
    [own, "/plain"],
    [port, "/plain"],
  ] as const)
    statuses.push((await call(at, "orders", { path })).status);
  t.same(statuses, [200, 200, 200, 429, 429, 429]);
  const refused = await call(own, "orders");
  t.match(refused.headers, {
    "x-heddle-error": "rate_limited",
    "retry-after": /^\d+$/,
    "ratelimit-policy": '"all";q=3;w=3600',
  });
  t.match(await logged(({ cause }) => cause === "rate_limited"), { upstream: "orders", detail: "all" });
  t.equal(await metric("heddle_requests_total", { upstream: "orders", cause: "rate_limited" }), 4);
  const ofRoute: number[] = [];
  for (let i = 0; i < 3; i++) ofRoute.push((await call(port, "orders", { path: "/own" })).status);
  t.same(ofRoute, [200, 200, 429], "in place of that of the upstream, which has nothing left");
  t.equal((await call(port, "stock")).status, 200, "other upstreams are not concerned");
});

test("several workers have the limit of an upstream together, and one that takes another's place goes on with it", async (t) => {
  const { Worker } = await import("node:worker_threads");
  const threads: InstanceType<typeof Worker>[] = [];
  const onWorker = (worker: InstanceType<typeof Worker>) => threads.push(worker);
  process.on("worker", onWorker);
  t.teardown(() => process.off("worker", onWorker));
  const app = await startApp(t);
  const { addresses } = await startInProcess(
    t,
    `workers: 2
upstreams: { orders: { endpoints: [${app.address}], rateLimits: [{ requests: 20, per: 1h }] } }`,
  );
  const passed = async () => {
    let count = 0;
    for (let i = 0; i < 30; i++) if ((await call(addresses.outbound.port, "orders")).status === 200) count++;
    return count;
  };
  t.equal(await passed(), 20);
  const exited = once(threads[0]!, "exit");
  await threads[0]!.terminate();
  await exited;
  await once(threads[2]!, "message");
  t.equal(await passed(), 0);
});

test("an upstream has one answer for when it cannot, and a route may have another", async (t) => {
  const app = await startApp(t);
  await app.stop();
  const { addresses, logged } = await startInProcess(
    t,
    `upstreams:
  orders: { endpoints: [${app.address}], localPort: 0, ${QUICK}, fallback: { status: 200, body: usual } }
routes:
  - { name: own, match: { path: /own }, to: [{ upstream: orders }], fallback: { status: 203, body: own } }
  - { name: never, match: { path: /never }, to: [{ upstream: orders }], fallback: { on: [overflow], status: 203 } }`,
  );
  const { port } = addresses.outbound;
  t.match(await call(port, "orders"), { status: 200, body: "usual" });
  t.match(await call(addresses.localPorts["orders"]!.port, "any"), { status: 200, body: "usual" });
  t.match(await call(port, "orders", { path: "/own" }), { status: 203, body: "own" });
  t.equal((await call(port, "orders", { path: "/never" })).status, 502);
  t.match(await logged(({ path }) => path === "/"), { fallback: "static", cause: "connect_failed" });
});

test("what was kept of an upstream is still there when it leads to other endpoints", async (t) => {
  const app = await startApp(t);
  const { addresses, sidecar, logged } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${app.address}], ${QUICK}, fallback: { lastGood: {} } } }`,
  );
  const { port } = addresses.outbound;
  t.equal((await call(port, "orders")).body, "fine\n");
  await logged(({ upstream }) => upstream === "orders");
  await app.stop();
  sidecar.upstreams.get("orders")!.update([]);
  t.match(await call(port, "orders"), { body: "fine\n", headers: { "x-heddle-fallback": "stale" } });
});

test("faults of an upstream hit its requests however they come, inside of its fallback and outside of its breaker", async (t) => {
  const app = await startApp(t);
  const { addresses, logged, metric } = await startInProcess(
    t,
    `upstreams:
  orders: { endpoints: [${app.address}], localPort: 0, fallback: { on: [503], status: 200, body: instead }, faults: [{ kind: abort }] }
  stock: { endpoints: [${app.address}] }`,
  );
  const { port } = addresses.outbound;
  for (const at of [port, addresses.localPorts["orders"]!.port])
    t.match(await call(at, "orders"), { status: 200, body: "instead" });
  t.match(await logged(({ fault }) => fault === "abort"), {
    detail: "upstreams.orders.faults[0]",
    fallback: "static",
  });
  t.equal(await metric("heddle_attempts_total"), 0);
  t.equal((await call(port, "stock")).body, "fine\n");
});

test("the way in has a fallback for when the app cannot, and faults that hit nothing that goes out", async (t) => {
  const app = await startApp(t);
  const { addresses, logged, admin } = await startInProcess(
    t,
    `service: { name: web, port: ${app.port} }
inbound: { listen: 127.0.0.1:0, fallback: { on: [connect_failed, 503], status: 200, body: later }, faults: [{ kind: abort, match: { header: x-fault-test } }] }
upstreams: { orders: { endpoints: [${app.address}] } }`,
  );
  const { port } = addresses.inbound!;
  const headers = { "x-fault-test": "1" };
  t.equal((await call(port, "web")).body, "fine\n");
  t.match(await call(port, "web", { headers }), {
    body: "later",
    headers: { "x-heddle-fallback": "static" },
  });
  t.match(await logged(({ fault }) => fault === "abort"), { direction: "inbound", fallback: "static" });
  t.equal((await call(addresses.outbound.port, "orders", { headers })).body, "fine\n");
  t.match(JSON.parse(await admin("/faults")), [
    { id: "inbound.faults[0]", match: { direction: "inbound", header: "x-fault-test" } },
  ]);
  await app.stop();
  t.match(await call(port, "web"), { status: 200, body: "later" });
  t.match(await logged(({ cause }) => cause === "connect_failed"), { direction: "inbound" });
});

test("faults for the way in are added at run time, and need no route and no upstream", async (t) => {
  const app = await startApp(t);
  const { addresses } = await startInProcess(
    t,
    `service: { name: web, port: ${app.port} }
inbound: { listen: 127.0.0.1:0 }
upstreams: { orders: { endpoints: [${app.address}] } }
admin: { listen: "127.0.0.1:0", faults: true }`,
  );
  const add = async (query: string) => {
    const answer = await fetch(`http://127.0.0.1:${addresses.admin.port}/faults?${query}`, {
      method: "POST",
    });
    return { status: answer.status, text: (await answer.text()).trim() };
  };
  t.match(await add("kind=abort&direction=inbound&upstream=orders"), {
    status: 400,
    text: "direction: expected no route and no upstream with inbound, where there are none; got one",
  });
  t.match(await add("kind=abort&direction=up"), {
    status: 400,
    text: /^direction: expected inbound or outbound/,
  });
  t.equal((await add("kind=abort&direction=inbound&status=418")).status, 201);
  t.equal((await call(addresses.inbound!.port, "web")).status, 418);
  t.equal((await call(addresses.outbound.port, "orders")).status, 200);
});

test("a request that is held back is answered when its time is over, or forgotten when its caller goes", async (t) => {
  const app = await startApp(t);
  const { addresses, logged, metric, admin } = await startInProcess(
    t,
    `upstreams:
  orders: { endpoints: [${app.address}], timeouts: { request: 150ms }, faults: [{ kind: delay, delay: 1h }] }
  stock: { endpoints: [${app.address}], faults: [{ kind: delay, delay: 1h }] }
routes: [{ name: soon, match: { path: /soon }, to: [{ upstream: stock }], timeouts: { request: 150ms } }]`,
  );
  const { port } = addresses.outbound;
  for (const [host, path] of [
    ["orders", "/"],
    ["stock", "/soon"],
  ] as const)
    t.match(await call(port, host, { path }), {
      status: 504,
      headers: { "x-heddle-error": "deadline_exceeded" },
    });
  t.match(await logged(({ route }) => route === "soon"), { fault: "delay", attempts: 0 });
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  socket.write("GET /left HTTP/1.1\r\nHost: stock\r\n\r\n");
  let held: Record<string, unknown>[] = [];
  while (held.length === 0)
    held = JSON.parse(await admin("/requests")).filter((of: Record<string, unknown>) => of["on"] === "layer");
  socket.destroy();
  t.match(await logged(({ path }) => path === "/left"), {
    cause: "client_closed",
    fault: "delay",
    attempts: 0,
  });
  t.equal(app.served, 0);
  t.equal(await metric("heddle_attempts_total"), 0);
  t.equal(await metric("heddle_breaker_opened_total"), 0);
});
