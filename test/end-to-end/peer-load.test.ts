import { Agent, type IncomingMessage, type ServerResponse } from "node:http";
import { type Test, test } from "tap";
import { type App, call, startApp } from "../support/apps.ts";
import { eventually } from "../support/consul-cluster.ts";
import { type InProcess, startInProcess } from "../support/in-process.ts";

const HEADER = "x-heddle-load";

/** An app behind its sidecar, and what it has seen. */
interface Replica {
  readonly app: App;
  readonly sidecar: InProcess;
  readonly address: string;
  readonly seen: { readonly method: string; readonly url: string; readonly asked: string | undefined }[];
}

async function startReplica(t: Test, name: string, more = ""): Promise<Replica> {
  const seen: Replica["seen"] = [];
  const app = await startApp(t, (request, response) => {
    seen.push({ method: request.method!, url: request.url!, asked: request.headers[HEADER] as string });
    response.setHeader("x-app", name);
    response.end();
  });
  const sidecar = await startInProcess(t, `service: { name: orders, port: ${app.port} }\n${more}`);
  return { app, sidecar, seen, address: `127.0.0.1:${sidecar.addresses.inbound!.port}` };
}

/** From now on the app answers when it is told to. */
function held(app: App, name: string) {
  const waiting: ServerResponse[] = [];
  app.answer = (_: IncomingMessage, response) => {
    response.setHeader("x-app", name);
    waiting.push(response);
  };
  return {
    waiting,
    release: () => {
      for (const response of waiting.splice(0)) response.end();
    },
  };
}

/** What the inbound side says of its load. */
async function loadOf(port: number, agent?: Agent): Promise<string> {
  const reply = await call(port, "orders", {
    method: "OPTIONS",
    path: "*",
    headers: { [HEADER]: "ask" },
    ...(agent === undefined ? {} : { agent }),
  });
  return `${reply.status} ${reply.headers[HEADER]}`;
}

test("a sidecar tells how many requests its app has in flight, and nobody takes the question for a request", async (t) => {
  const replica = await startReplica(t, "a");
  const { port } = replica.sidecar.addresses.inbound!;
  t.equal(await loadOf(port), "204 0;0");
  const { waiting, release } = held(replica.app, "a");
  const calls = [1, 2, 3].map(() => call(port, "orders", {}));
  await eventually("three at the app", () => waiting.length === 3);
  t.match(await loadOf(port), /^204 3;0$/);
  release();
  await Promise.all(calls);
  t.match(await loadOf(port), /^204 0;\d+(\.\d+)?$/, "and how long they took");
  t.notMatch(await loadOf(port), /;0$/);
  t.equal(replica.seen.length, 0, "the app has seen none of the questions");
  t.equal(replica.sidecar.access.length, 3);
  t.equal(await replica.sidecar.metric("heddle_requests_total", { direction: "inbound" }), 3);
});

test("with workers, a sidecar tells what is in flight in all of them", async (t) => {
  const replica = await startReplica(t, "a", "workers: 3");
  const { port } = replica.sidecar.addresses.inbound!;
  const { waiting, release } = held(replica.app, "a");
  // Each worker measures from its first question on.
  for (let i = 0; i < 30; i++) t.match(await loadOf(port), /^204 0;/);
  const calls = Array.from({ length: 12 }, () => call(port, "orders", {}));
  await eventually("twelve at the app", () => waiting.length === 12);
  for (let i = 0; i < 10; i++) t.match(await loadOf(port), /^204 12;/);
  release();
  await Promise.all(calls);
  await eventually("nothing in flight", async () => (await loadOf(port)).startsWith("204 0;"));
});

test("a plain OPTIONS * is the app's own business, and so is a field that does not ask", async (t) => {
  const replica = await startReplica(t, "a");
  const { port } = replica.sidecar.addresses.inbound!;
  const plain = await call(port, "orders", { method: "OPTIONS", path: "*" });
  t.equal(plain.status, 200);
  t.equal(plain.headers[HEADER], undefined);
  await call(port, "orders", { path: "/x", headers: { [HEADER]: "tell" } });
  t.same(replica.seen, [
    { method: "OPTIONS", url: "*", asked: undefined },
    { method: "GET", url: "/x", asked: "tell" },
  ]);
});

test("prequal avoids a replica that others have loaded, of which its own sidecar has nothing in flight", async (t) => {
  const replicas = await Promise.all(["a", "b", "c"].map((name) => startReplica(t, name)));
  const caller = await startInProcess(
    t,
    `upstreams:
  orders:
    endpoints: [${replicas.map(({ address }) => address).join(", ")}]
    balancing: { algorithm: prequal }`,
  );
  const { port } = caller.addresses.outbound;
  const agent = new Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  const ask = async () => {
    const reply = await call(port, "orders", { path: "/asked", agent });
    t.equal(reply.headers[HEADER], undefined, "what peers say is not for the app");
    return reply.headers["x-app"];
  };
  for (let i = 0; i < 60; i++) await ask();
  t.equal(new Set(replicas.filter(({ seen }) => seen.length > 0)).size, 3, "all of them are used");
  const [a] = replicas;
  const { waiting, release } = held(a!.app, "a");
  const others = Array.from({ length: 30 }, () => call(a!.sidecar.addresses.inbound!.port, "orders", {}));
  await eventually("thirty from others", () => waiting.length === 30);
  // Of the requests by which it hears of them, the first may still go there.
  const strays: Promise<unknown>[] = [];
  await eventually("it has heard of them", async () => {
    strays.push(ask());
    const { orders } = JSON.parse(await caller.admin("/endpoints"));
    return orders.endpoints.some(({ says }: { says?: { inFlight: number } }) => (says?.inFlight ?? 0) >= 30);
  });
  const before = a!.app.served;
  for (let i = 0; i < 100; i++) t.not(await ask(), "a");
  t.equal(a!.app.served, before);
  release();
  await Promise.all([...others, ...strays]);
  for (const { seen } of replicas)
    for (const { method, asked } of seen)
      t.same([method, asked], ["GET", undefined], "the apps see no question");
});

test("peers that are no sidecars are asked once, and chosen all the same", async (t) => {
  const apps = await Promise.all(
    ["a", "b", "c"].map((name) =>
      startApp(t, (_, response) => {
        response.setHeader("x-app", name);
        response.end("x".repeat(10_000));
      }),
    ),
  );
  const questions: string[] = [];
  for (const app of apps) {
    const { answer } = app;
    app.answer = (request, response) => {
      if (request.method === "OPTIONS") questions.push(app.address);
      answer(request, response);
    };
  }
  const caller = await startInProcess(
    t,
    `upstreams:
  orders:
    endpoints: [${apps.map(({ address }) => address).join(", ")}]
    balancing: { algorithm: prequal, prequal: { probes: 3 } }`,
  );
  const seen = new Set<unknown>();
  for (let i = 0; i < 90; i++)
    seen.add((await call(caller.addresses.outbound.port, "orders", {})).headers["x-app"]);
  t.equal(seen.size, 3);
  t.same(questions.toSorted(), apps.map(({ address }) => address).toSorted(), "once each");
  t.equal(await caller.metric("heddle_attempts_total", { outcome: "success" }), 90);
});

test("an endpoint that hangs is asked by one question at a time, and does not hold up requests", async (t) => {
  const hanging: ServerResponse[] = [];
  const dead = await startApp(t, (request, response) => {
    if (request.method === "OPTIONS") hanging.push(response);
    else response.end();
  });
  const replica = await startReplica(t, "b");
  const caller = await startInProcess(
    t,
    `upstreams:
  orders:
    endpoints: [${dead.address}, ${replica.address}]
    balancing: { algorithm: prequal, prequal: { probes: 2 } }`,
  );
  for (let i = 0; i < 50; i++)
    t.equal((await call(caller.addresses.outbound.port, "orders", {})).status, 200);
  t.equal(hanging.length, 1);
  for (const response of hanging) response.destroy();
});
