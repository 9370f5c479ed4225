import { once } from "node:events";
import { Agent, type IncomingMessage, request, type ServerResponse } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { Worker } from "node:worker_threads";
import { type Test, test } from "tap";
import { type Answer, type App, call, startApp } from "../support/apps.ts";
import { eventually } from "../support/eventually.ts";
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

// --- questions beside requests

/** Apps without a sidecar that answer questions, or not, as a test says; requests are kept until they are let go. */
async function startApps(t: Test, count: number, question: (response: ServerResponse) => void) {
  const waiting: ServerResponse[] = [];
  const apps = await Promise.all(
    Array.from({ length: count }, () =>
      startApp(t, (request, response) => {
        if (request.method === "OPTIONS") question(response);
        else waiting.push(response);
      }),
    ),
  );
  return { addresses: apps.map(({ address }) => address).join(", "), waiting };
}

const PREQUAL = "balancing: { algorithm: prequal, prequal: { probes: 3 } }";

test("questions take no place from requests: as many are served as there is room for, and none is refused", async (t) => {
  const { addresses, waiting } = await startApps(t, 3, (response) => response.end());
  const caller = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${addresses}], limits: { connections: 3, pending: 2 }, ${PREQUAL} } }`,
  );
  // Three under way, and two that wait for their turn.
  const calls = Array.from({ length: 5 }, () => call(caller.addresses.outbound.port, "orders", {}));
  for (let served = 0; served < 5; served++) {
    await eventually("the next at an app", () => waiting.length > 0);
    waiting.shift()!.end();
  }
  t.same(
    (await Promise.all(calls)).map(({ status }) => status),
    [200, 200, 200, 200, 200],
  );
});

test("a question that hangs gives way to a request", async (t) => {
  const questions: ServerResponse[] = [];
  const { addresses, waiting } = await startApps(t, 3, (response) => questions.push(response));
  const caller = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${addresses}], limits: { connections: 3, pending: 0 }, ${PREQUAL} } }`,
  );
  for (let i = 0; i < 20; i++) {
    const reply = call(caller.addresses.outbound.port, "orders", {});
    await eventually("it is at an app", () => waiting.length === 1);
    waiting.pop()!.end();
    t.equal((await reply).status, 200);
  }
  t.ok(questions.length > 0);
});

test("of many peers that are asked nobody loses a request for want of connections", async (t) => {
  const apps = await Promise.all(
    Array.from({ length: 30 }, () =>
      startApp(t, (_, response) => {
        response.setHeader(HEADER, "0;1");
        setImmediate(() => response.end());
      }),
    ),
  );
  const caller = await startInProcess(
    t,
    `upstreams:
  orders:
    endpoints: [${apps.map(({ address }) => address).join(", ")}]
    limits: { connections: 10, pending: 0 }
    balancing: { algorithm: prequal }`,
  );
  const agent = new Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  const lane = async () => {
    for (let i = 0; i < 50; i++)
      t.equal((await call(caller.addresses.outbound.port, "orders", { agent })).status, 200);
  };
  await Promise.all(Array.from({ length: 8 }, lane));
});

test("beside peers that tell their load, those that cannot get their part", async (t) => {
  // Some work to do, so that requests meet at the apps and nobody is the quickest by a hair.
  const works =
    (name: string): Answer =>
    ({ method }, response) => {
      if (method === "OPTIONS") return void response.end();
      response.setHeader("x-app", name);
      setTimeout(() => response.end(), 5);
    };
  const replicas = await Promise.all(["a", "b"].map((name) => startReplica(t, name)));
  for (const [place, { app }] of replicas.entries()) app.answer = works("ab"[place]!);
  const plain = await Promise.all(["c", "d"].map((name) => startApp(t, works(name))));
  const caller = await startInProcess(
    t,
    `upstreams:
  orders:
    endpoints: [${[...replicas, ...plain].map(({ address }) => address).join(", ")}]
    balancing: { algorithm: prequal, prequal: { probes: 4 } }`,
  );
  const { port } = caller.addresses.outbound;
  const agent = new Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  const ask = async () => (await call(port, "orders", { agent })).headers["x-app"] as string;
  await eventually("two have told their load", async () => {
    await ask();
    const { orders } = JSON.parse(await caller.admin("/endpoints"));
    return orders.endpoints.filter(({ says }: { says?: object }) => says !== undefined).length === 2;
  });
  const counts: Record<string, number> = {};
  const lane = async () => {
    for (let i = 0; i < 20; i++) {
      const app = await ask();
      counts[app] = (counts[app] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: 20 }, lane));
  // How much it is depends on how quick they are; without a part of their own it would be none.
  for (const name of ["c", "d"]) t.ok((counts[name] ?? 0) > 10, `${name} gets ${counts[name]} of 400`);
  t.ok((counts["a"] ?? 0) + (counts["b"] ?? 0) > 10, "and so do those that tell it");
});

test("whatever a peer answers to the question, requests are served, and no connection is left behind", async (t) => {
  const load = `${HEADER}: 0;0\r\n`;
  const answers: Record<string, (socket: Socket) => void> = {
    "a reset": (socket) => socket.resetAndDestroy(),
    "no HTTP": (socket) => socket.write("hello\r\n\r\n"),
    "two answers": (socket) => socket.write(OK + OK),
    "a switch": (socket) => socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
    "a body that 204 has not": (socket) =>
      socket.write("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"),
    "a body without an end": (socket) =>
      socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n${load}\r\n1\r\na\r\n`),
    "a farewell": (socket) => socket.end(`HTTP/1.1 204 No Content\r\n${load}Connection: close\r\n\r\n`),
    hints: (socket) => socket.write("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(50) + OK),
  };
  const replica = await startReplica(t, "b");
  for (const [what, answer] of Object.entries(answers)) {
    const peer = await startRaw(t, answer);
    const caller = await startInProcess(
      t,
      `upstreams:
  orders:
    endpoints: [${peer.address}, ${replica.address}]
    balancing: { algorithm: prequal, prequal: { probes: 2 } }`,
    );
    for (let i = 0; i < 30; i++)
      t.equal((await call(caller.addresses.outbound.port, "orders", {})).status, 200, what);
    await caller.sidecar.destroy();
    await eventually("all are closed", () => peer.open.size === 0);
  }
});

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/** A peer that answers questions by bytes, and requests as they are meant. */
async function startRaw(t: Test, question: (socket: Socket) => void) {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket)).on("error", () => {});
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      const heads = text.split("\r\n\r\n");
      text = heads.pop()!;
      for (const head of heads)
        if (head.startsWith("OPTIONS")) question(socket);
        else socket.write(OK);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, open };
}

// --- what a sidecar says of its app

test("an answer carries the field once, whatever the app says in it", async (t) => {
  const app = await startApp(t, (_, response) => {
    response.setHeader(HEADER, "7;7");
    response.end();
  });
  const sidecar = await startInProcess(t, `service: { name: orders, port: ${app.port} }`);
  const socket = connect(sidecar.addresses.inbound!.port, "127.0.0.1");
  t.teardown(() => socket.destroy());
  socket.write(`GET / HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n${HEADER}: ask\r\n\r\n`);
  let text = "";
  for await (const bytes of socket) text += bytes;
  t.equal(text.match(/x-heddle-load/gi)?.length, 1, text);
  t.notMatch(text, "7;7");
});

test("callers that hang up leave nothing in flight, and make no app look quick", async (t) => {
  const replica = await startReplica(t, "a");
  const { port } = replica.sidecar.addresses.inbound!;
  await loadOf(port);
  const delayMs = 60;
  replica.app.answer = (_, response) => void setTimeout(() => response.end(), delayMs);
  await call(port, "orders", {});
  const { waiting } = held(replica.app, "a");
  for (let i = 1; i <= 20; i++) {
    const leaving = request({ port, host: "127.0.0.1", agent: false, headers: { host: "orders" } });
    leaving.on("error", () => {}).end();
    await eventually("it is at the app", () => waiting.length === i);
    leaving.destroy();
  }
  await eventually("nothing in flight", async () => (await loadOf(port)).startsWith("204 0;"));
  const [, latencyMs] = (await loadOf(port)).split(";");
  t.ok(Number(latencyMs) >= delayMs - 1, `it still says ${latencyMs}`);
});

test("a worker that is lost takes its count along", async (t) => {
  const threads: Worker[] = [];
  const onWorker = (worker: Worker) => threads.push(worker);
  process.on("worker", onWorker);
  t.teardown(() => process.off("worker", onWorker));
  const replica = await startReplica(t, "a", "workers: 2");
  const { port } = replica.sidecar.addresses.inbound!;
  await loadOf(port);
  const { waiting, release } = held(replica.app, "a");
  const calls = Array.from({ length: 20 }, () =>
    call(port, "orders", {})
      .then(() => 1)
      .catch(() => 0),
  );
  await eventually("twenty at the app", () => waiting.length === 20);
  t.match(await loadOf(port), /^204 20;/, "all workers count since one has been asked");
  await threads[0]!.terminate();
  // Which of them went there is the kernel's choice; those that are left are the other one's.
  await eventually("the count is what is left", async () => {
    const [, inFlight] = /^204 (\d+);/.exec(await loadOf(port).catch(() => "")) ?? [];
    return inFlight !== undefined && Number(inFlight) < 20;
  });
  const [, left] = /^204 (\d+);/.exec(await loadOf(port))!;
  release();
  const served = (await Promise.all(calls)).filter((one) => one === 1).length;
  t.equal(served, Number(left));
});
