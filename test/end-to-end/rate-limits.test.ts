import { Agent } from "node:http";
import { test } from "tap";
import { call, startApp } from "../support/apps.ts";
import { startInProcess } from "../support/in-process.ts";

/** A limit that no test is slow enough to outlast. */
const TWO = "requests: 2, per: 1h";

test("what comes faster than a route allows is refused with 429, told when to come again, and not sent", async (t) => {
  const app = await startApp(t);
  const { addresses, logged, metric } = await startInProcess(
    t,
    `upstreams:
  orders: { endpoints: [${app.address}] }
routes:
  - { name: pay, match: { path: /pay }, to: [{ upstream: orders }], rateLimits: [{ name: slow, ${TWO} }] }`,
  );
  const { port } = addresses.outbound;
  const statuses: number[] = [];
  for (let i = 0; i < 4; i++) statuses.push((await call(port, "orders", { path: "/pay" })).status);
  t.same(statuses, [200, 200, 429, 429]);
  t.equal(app.served, 2);
  const { headers, body } = await call(port, "orders", { path: "/pay" });
  t.match(headers, { "x-heddle-error": "rate_limited", "ratelimit-policy": '"slow";q=2;w=3600' });
  const seconds = Number(headers["retry-after"]);
  t.ok(seconds > 1790 && seconds <= 1800, `${seconds} s`);
  t.equal(headers["ratelimit"], `"slow";r=0;t=${seconds}`);
  t.match(JSON.parse(body), { error: "rate_limited", detail: "slow" });
  t.match(await logged(({ status }) => status === 429), {
    cause: "rate_limited",
    route: "pay",
    detail: "slow",
  });
  t.equal(await metric("heddle_requests_total", { route: "pay", cause: "rate_limited" }), 3);
  t.equal((await call(port, "orders", { path: "/other" })).status, 200, "other routes are not concerned");
});

test("each value of a field has a limit of its own, and those without it share one", async (t) => {
  const app = await startApp(t);
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${app.address}] } }
routes: [{ to: [{ upstream: orders }], rateLimits: [{ ${TWO}, by: { header: X-Api-Key } }] }]`,
  );
  const statusesOf = async (headers: Record<string, string>) => {
    const statuses: number[] = [];
    for (let i = 0; i < 3; i++)
      statuses.push((await call(addresses.outbound.port, "orders", { headers })).status);
    return statuses;
  };
  t.same(await statusesOf({ "x-api-key": "a" }), [200, 200, 429]);
  t.same(await statusesOf({ "X-API-Key": "b" }), [200, 200, 429]);
  t.same(await statusesOf({}), [200, 200, 429]);
  t.same(await statusesOf({ "x-other": "1" }), [429, 429, 429]);
});

test("in shadow mode nothing is refused or told, and all is counted", async (t) => {
  const app = await startApp(t);
  const { addresses, metric, logged } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${app.address}] } }
routes: [{ name: all, to: [{ upstream: orders }], rateLimits: [{ ${TWO}, mode: shadow }] }]`,
  );
  for (let i = 0; i < 5; i++) {
    const { status, headers } = await call(addresses.outbound.port, "orders");
    t.equal(status, 200);
    t.notOk(Object.keys(headers).some((name) => name.startsWith("ratelimit")));
  }
  await logged(({ shadow }) => shadow === "rate_limited");
  t.equal(
    await metric("heddle_shadow_refusals_total", { upstream: "orders", route: "all", cause: "rate_limited" }),
    3,
  );
});

test("what one limit refuses costs nothing with another, and answers tell what is left where they shall", async (t) => {
  const app = await startApp(t);
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${app.address}] } }
routes:
  - to: [{ upstream: orders }]
    rateLimits:
      - { name: all, requests: 4, per: 1h, fields: all }
      - { name: each, requests: 1, per: 1h, burst: 2, by: { header: x-api-key } }`,
  );
  const calling = (key: string) => call(addresses.outbound.port, "orders", { headers: { "x-api-key": key } });
  const first = await calling("a");
  t.match(first.headers, { "ratelimit-policy": '"all";q=4;w=3600', ratelimit: /^"all";r=3;t=900$/ });
  const statuses: number[] = [];
  for (const key of ["a", "a", "a", "a", "b", "b", "c"]) statuses.push((await calling(key)).status);
  t.same(statuses, [200, 429, 429, 429, 200, 200, 429]);
});

test("of several limits that refuse, a caller is told of the one for which it has to wait longest", async (t) => {
  const app = await startApp(t);
  const { addresses, logged } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${app.address}] } }
routes:
  - to: [{ upstream: orders }]
    rateLimits:
      - { name: short, requests: 1, per: 1m }
      - { name: long, requests: 1, per: 1h }`,
  );
  const { port } = addresses.outbound;
  t.equal((await call(port, "orders")).status, 200);
  const { status, headers } = await call(port, "orders");
  t.equal(status, 429);
  const seconds = Number(headers["retry-after"]);
  t.ok(seconds > 3500 && seconds <= 3600, `${seconds} s`);
  t.equal(headers["ratelimit"], `"long";r=0;t=${seconds}`);
  t.match(await logged((of) => of["status"] === 429), { detail: "long" });
});

test("who names himself twice has no name, and cannot have another limit with each request", async (t) => {
  const app = await startApp(t);
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${app.address}] } }
routes: [{ to: [{ upstream: orders }], rateLimits: [{ ${TWO}, by: { header: X-Api-Key } }] }]`,
  );
  const statuses: number[] = [];
  for (const made of ["1", "2", "3", "4"])
    statuses.push(
      (await call(addresses.outbound.port, "orders", { headers: { "x-api-key": [made, "mine"] } })).status,
    );
  t.same(statuses, [200, 200, 429, 429]);
  t.equal((await call(addresses.outbound.port, "orders", { headers: { "x-api-key": "mine" } })).status, 200);
});

test("the way in has limits, too: each caller's address, whatever it asks for", async (t) => {
  const app = await startApp(t);
  const { addresses, logged } = await startInProcess(
    t,
    `service: { name: web, port: ${app.port} }
inbound: { listen: 127.0.0.1:0, rateLimits: [{ ${TWO}, by: { caller: address } }] }`,
  );
  const statuses: number[] = [];
  for (const path of ["/a", "/b", "/c"])
    statuses.push((await call(addresses.inbound!.port, "web", { path })).status);
  t.same(statuses, [200, 200, 429]);
  t.match(await logged(({ status }) => status === 429), { direction: "inbound", cause: "rate_limited" });
});

test("several workers have one limit together, also for a caller that keeps its connection", async (t) => {
  const app = await startApp(t);
  const { addresses, access, logged } = await startInProcess(
    t,
    `workers: 3
upstreams: { orders: { endpoints: [${app.address}] } }
routes:
  - { match: { path: /own }, to: [{ upstream: orders }], rateLimits: [{ requests: 20, per: 1h }] }
  - { match: { path: /kept }, to: [{ upstream: orders }], rateLimits: [{ requests: 20, per: 1h }] }`,
  );
  const { port } = addresses.outbound;
  const countOf = async (path: string, agent?: Agent) => {
    let passed = 0;
    for (let i = 0; i < 40; i++) {
      const { status } = await call(port, "orders", { path, ...(agent === undefined ? {} : { agent }) });
      if (status === 200) passed++;
    }
    return passed;
  };
  t.equal(await countOf("/own"), 20);
  await logged(() => access.length >= 40);
  const served = new Set(access.map(({ requestId }) => String(requestId).slice(0, 30)));
  t.ok(served.size > 1, `${served.size} workers have decided`);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  t.equal(await countOf("/kept", agent), 20);
});
