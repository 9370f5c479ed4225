import type { ServerResponse } from "node:http";
import { test } from "tap";
import { CRITICALITIES } from "../../core/index.ts";
import { call, type Reply, startApp } from "../support/apps.ts";
import { eventually } from "../support/eventually.ts";
import { startInProcess } from "../support/in-process.ts";
import { seededRandom } from "../support/seeded-random.ts";

/** An app of so many workers: what is more waits inside it. It is told when to answer. */
async function startSlowApp(t: Parameters<typeof startApp>[0]) {
  const held: { readonly path: string; readonly response: ServerResponse }[] = [];
  const order: string[] = [];
  let waiting: (() => void) | undefined;
  const app = await startApp(t, (request, response) => {
    order.push(request.url!);
    held.push({ path: request.url!, response });
    waiting?.();
  });
  return {
    app,
    order,
    held,
    async until(count: number) {
      while (order.length < count) await new Promise<void>((resolve) => (waiting = resolve));
    },
    answerOne() {
      held.shift()?.response.end("done");
    },
  };
}

test("an app asked for three times what fits answers what was let in, critical requests first; the rest is told so", async (t) => {
  const slow = await startSlowApp(t);
  const heddle = await startInProcess(
    t,
    `service: { name: web, port: ${slow.app.port} }
inbound: { listen: 127.0.0.1:0, limits: { requests: 2, pending: 4, queueTimeout: 20s }, timeouts: { request: 30s } }`,
  );
  const { port } = heddle.addresses.inbound!;
  const waiting = (count: number) =>
    eventually(`${count} to wait`, async () => (await heddle.metric("heddle_pending_requests")) === count);
  const ask = (path: string, criticality: string) =>
    call(port, "web", { path, headers: { "x-heddle-criticality": criticality } });
  const running = [ask("/running/1", "default"), ask("/running/2", "default")];
  await slow.until(2);
  const sheddable = [ask("/sheddable/1", "sheddable"), ask("/sheddable/2", "sheddable")];
  await waiting(2);
  const usual = [ask("/default/1", "default"), ask("/default/2", "default")];
  await waiting(4);
  const critical = [ask("/critical/1", "critical"), ask("/critical/2", "critical")];
  const refused = [...(await Promise.all(sheddable)), await ask("/sheddable/3", "sheddable")];
  t.same(
    refused.map(({ status, headers }) => [status, headers["x-heddle-error"]]),
    [
      [503, "overflow"],
      [503, "overflow"],
      [503, "overflow"],
    ],
  );
  t.equal(slow.app.served, 2, "and nothing of them has reached the app");
  for (let served = 3; served <= 6; served++) {
    slow.answerOne();
    await slow.until(served);
  }
  slow.answerOne();
  slow.answerOne();
  const admitted = await Promise.all([...running, ...critical, ...usual]);
  t.same(
    admitted.map(({ status }) => status),
    [200, 200, 200, 200, 200, 200],
  );
  t.same(
    slow.order.map((path) => path.split("/")[1]),
    ["running", "running", "critical", "critical", "default", "default"],
  );
});

test("of three times what fits, each is answered once: critical ones wait, the others are told at once when to come again", async (t) => {
  const [fits, places, all] = [4, 8, 36];
  const slow = await startSlowApp(t);
  const heddle = await startInProcess(
    t,
    `service: { name: web, port: ${slow.app.port} }
inbound: { listen: 127.0.0.1:0, limits: { requests: ${fits}, pending: ${places}, queueTimeout: 20s }, timeouts: { request: 30s } }`,
  );
  const { port } = heddle.addresses.inbound!;
  const random = seededRandom(7);
  // As many of each; whichever arrive first, at least eight critical ones are left for the eight places.
  const kinds = Array.from({ length: all }, (_, i) => CRITICALITIES[i % CRITICALITIES.length]!)
    .map((kind) => ({ kind, at: random.next() }))
    .sort((a, b) => a.at - b.at)
    .map(({ kind }) => kind);
  const refused: Reply[] = [];
  let told: (() => void) | undefined;
  const asked = kinds.map(async (kind) => {
    const reply = await call(port, "web", { path: `/${kind}`, headers: { "x-heddle-criticality": kind } });
    if (reply.status !== 200) refused.push(reply);
    told?.();
    return reply;
  });
  while (refused.length < all - fits - places) await new Promise<void>((resolve) => (told = resolve));
  t.equal(slow.order.length, fits, "nobody had to be answered by the app for that");
  for (const { status, headers } of refused)
    t.same([status, headers["x-heddle-error"], headers["retry-after"]], [503, "overflow", "1"]);
  for (let answered = 0; answered < fits + places; answered++) {
    await slow.until(Math.min(answered + fits, fits + places));
    slow.answerOne();
  }
  const statuses = (await Promise.all(asked)).map(({ status }) => status);
  t.equal(statuses.filter((status) => status === 200).length, fits + places);
  t.equal(refused.length, all - fits - places, "and nobody is refused later");
  t.same(slow.order.slice(fits), Array(places).fill("/critical"));
  t.equal(await heddle.metric("heddle_pending_requests"), 0);
});

test("who waits longer for its turn than limits.queueTimeout is told so, and the app is not asked", async (t) => {
  const slow = await startSlowApp(t);
  const { addresses, logged } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${slow.app.address}], limits: { requests: 1, queueTimeout: 50ms } } }`,
  );
  const { port } = addresses.outbound;
  const first = call(port, "orders");
  await slow.until(1);
  const { status, headers } = await call(port, "orders");
  t.same([status, headers["x-heddle-error"], headers["retry-after"]], [503, "queue_timeout", "1"]);
  t.match(await logged(({ cause }) => cause === "queue_timeout"), { attempts: 0 });
  slow.answerOne();
  t.equal((await first).status, 200);
  t.equal(slow.app.served, 1);
});

test("with limits.adaptive the limit is found out, and shown", async (t) => {
  const app = await startApp(t);
  const { addresses, metric } = await startInProcess(
    t,
    `upstreams:
  orders: { endpoints: [${app.address}], limits: { adaptive: { enabled: true, minimum: 3, window: 10ms } } }
  fixed: { endpoints: [${app.address}], limits: { requests: 7 } }`,
  );
  const { port } = addresses.outbound;
  t.equal(await metric("heddle_concurrency_limit", { upstream: "orders" }), 3);
  t.equal(await metric("heddle_concurrency_limit", { upstream: "fixed" }), 7);
  const callers = Array.from({ length: 20 }, async () => {
    const statuses: number[] = [];
    for (let i = 0; i < 30; i++) statuses.push((await call(port, "orders")).status);
    return statuses;
  });
  const statuses = (await Promise.all(callers)).flat();
  t.ok(
    statuses.every((status) => status === 200),
    "nobody is refused: who has no turn yet waits",
  );
  const limit = await metric("heddle_concurrency_limit", { upstream: "orders" });
  t.ok(limit >= 3 && limit <= 1024, `${limit}`);
});

test("a sidecar that is short of memory refuses the sheddable first, keeps the connection, and answers Consul", async (t) => {
  const app = await startApp(t);
  // Its limit is a part of what this process has resident already: pressure is 1.
  const { addresses, metric, admin } = await startInProcess(
    t,
    `service: { name: web, port: ${app.port}, check: { http: /health } }
overload: { enabled: true, memoryLimit: 16MiB }`,
  );
  const { port } = addresses.inbound!;
  await eventually(
    "memory to be short",
    async () => (await metric("heddle_overload_pressure", { resource: "memory" })) === 1,
  );
  const { status, headers } = await call(port, "web", { headers: { "x-heddle-criticality": "sheddable" } });
  t.same([status, headers["x-heddle-error"], headers["retry-after"]], [503, "overloaded", "1"]);
  t.equal((await call(port, "web", { headers: { "x-heddle-criticality": "critical" } })).status, 503);
  t.equal((await call(addresses.outbound.port, "orders")).status, 503, "before it is looked where it leads");
  t.equal(app.served, 0);
  t.equal((await call(port, "web", { path: "/health" })).status, 200);
  t.same(
    await Promise.all(
      ["critical", "default", "sheddable"].map((criticality) => metric("heddle_shed_total", { criticality })),
    ),
    [1, 1, 1],
  );
  const { outbound } = JSON.parse(await admin("/stack"));
  t.ok(outbound.indexOf("shed") > outbound.indexOf("well-formed"));
});

test("each worker looks after its own loop, and their refusals add up", async (t) => {
  const { addresses, metric } = await startInProcess(
    t,
    "upstreams: { orders: { endpoints: [127.0.0.1:1] } }\nworkers: 2\noverload: { enabled: true, memoryLimit: 16MiB }",
  );
  await eventually(
    "memory to be short",
    async () => (await metric("heddle_overload_pressure", { resource: "memory" })) === 1,
  );
  let refused = 0;
  await eventually("a refusal", async () => {
    const { headers } = await call(addresses.outbound.port, "orders");
    if (headers["x-heddle-error"] === "overloaded") refused++;
    return refused >= 4;
  });
  t.equal(await metric("heddle_shed_total", { criticality: "default" }), refused);
});

test("criticality is sent on to the app, which may send it on with its own calls", async (t) => {
  const app = await startApp(t, (request, response) => {
    response.end(String(request.headers["x-heddle-criticality"]));
  });
  const { addresses } = await startInProcess(t, `upstreams: { orders: { endpoints: [${app.address}] } }`);
  const { body } = await call(addresses.outbound.port, "orders", {
    headers: { "x-heddle-criticality": "sheddable" },
  });
  t.equal(body, "sheddable");
});

test("where callers are not believed, their word for how much a request matters counts nowhere, and the app does not hear it", async (t) => {
  const app = await startApp(t, (request, response) => {
    response.end(String(request.headers["x-heddle-criticality"]));
  });
  const yaml = (more: string) => `service: { name: web, port: ${app.port} }
upstreams: { orders: { endpoints: [${app.address}] } }
inbound: { listen: 127.0.0.1:0, criticality: ignore }
${more}`;
  const { addresses } = await startInProcess(t, yaml(""));
  const critical = { headers: { "x-heddle-criticality": "critical" } };
  t.equal((await call(addresses.inbound!.port, "web", critical)).body, "undefined");
  t.equal(
    (await call(addresses.outbound.port, "orders", critical)).body,
    "critical",
    "its own app is believed",
  );
  const short = await startInProcess(t, yaml("workers: 2\noverload: { enabled: true, memoryLimit: 16MiB }"));
  const shed = (criticality: string) => short.metric("heddle_shed_total", { criticality });
  await eventually("a refusal", async () => {
    const { status } = await call(short.addresses.inbound!.port, "web", critical);
    return status === 503;
  });
  t.same([await shed("critical"), await shed("default")], [0, 1]);
});
