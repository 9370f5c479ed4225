import { spawn } from "node:child_process";
import { once } from "node:events";
import { Agent } from "node:http";
import { fileURLToPath } from "node:url";
import type { Worker } from "node:worker_threads";
import { test } from "tap";
import { parseConfig } from "../../config/index.ts";
import { plainDestination } from "../../proxy/plan.ts";
import { leadsPerWorker, listenerPerWorker } from "../../proxy/workers/per-worker.ts";
import { call, say, startApp } from "../support/apps.ts";
import { startInProcess } from "../support/in-process.ts";
import { startSidecar } from "../support/sidecar.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const WORKERS = 3;

function yaml(address: string, more = ""): string {
  return `workers: ${WORKERS}\nupstreams: { orders: { endpoints: ["${address}"] } }\n${more}`;
}

/** Calls over a connection of its own each time, so that the kernel chooses a worker each time. */
async function callOften(port: number, times: number): Promise<number[]> {
  const statuses: number[] = [];
  for (let i = 0; i < times; i++) statuses.push((await call(port, "orders")).status);
  return statuses;
}

test("workers share the ports, and are one sidecar to whoever looks at it", async (t) => {
  const held: (() => void)[] = [];
  const app = await startApp(t, (request, response) => {
    if (request.url !== "/held") return say("fine\n")(request, response);
    held.push(() => response.end("at last\n"));
  });
  const { addresses, admin, metric, access, logged } = await startInProcess(t, yaml(app.address));
  const { port } = addresses.outbound;
  const statuses = await callOften(port, 60);
  t.ok(
    statuses.every((status) => status === 200),
    "all are answered",
  );
  t.equal(await metric("heddle_requests_total", { status: "200" }), 60, "counts are added up");
  t.equal(await metric("heddle_request_duration_seconds_count"), 60);
  t.equal(await metric("heddle_endpoints", { state: "available" }), 1, "an endpoint is one endpoint");
  t.match(JSON.parse(await admin("/endpoints")), {
    orders: { endpoints: [{ address: app.address, breaker: "closed" }] },
  });
  await logged(() => access.length >= 60);
  // Each worker's ids begin with bytes of its own.
  const served = new Set(access.map(({ requestId }) => String(requestId).slice(0, 30)));
  t.ok(served.size > 1, `${served.size} workers have served`);

  const waiting = Array.from({ length: 6 }, () => call(port, "orders", { path: "/held" }));
  while (held.length < 6) await new Promise(setImmediate);
  t.equal(JSON.parse(await admin("/requests")).length, 6, "requests in flight are those of all workers");
  t.match(JSON.parse(await admin("/endpoints")), { orders: { endpoints: [{ inFlight: 6 }] } });
  for (const answer of held) answer();
  t.ok((await Promise.all(waiting)).every(({ status }) => status === 200));
});

test("a worker that is lost is replaced, knows the endpoints, and takes no port away", async (t) => {
  const threads: Worker[] = [];
  const onWorker = (worker: Worker) => threads.push(worker);
  process.on("worker", onWorker);
  t.teardown(() => process.off("worker", onWorker));
  const app = await startApp(t);
  const { addresses, records, admin } = await startInProcess(t, yaml(app.address));
  t.equal(threads.length, WORKERS);
  const exited = once(threads[0]!, "exit");
  await threads[0]!.terminate();
  await exited;
  t.equal(threads.length, WORKERS + 1);
  t.ok(records.some(({ message }) => message.startsWith("a worker is lost")));
  await once(threads[WORKERS]!, "message");
  const statuses = await callOften(addresses.outbound.port, 40);
  t.ok(
    statuses.every((status) => status === 200),
    "every worker answers",
  );
  t.match(JSON.parse(await admin("/endpoints")), { orders: { endpoints: [{ address: app.address }] } });
});

test("workers that take the place of others know what an operator has decided", async (t) => {
  const threads: Worker[] = [];
  const onWorker = (worker: Worker) => threads.push(worker);
  process.on("worker", onWorker);
  t.teardown(() => process.off("worker", onWorker));
  const app = await startApp(t);
  const busy = await startApp(t, (_, response) => {
    response.statusCode = 503;
    response.end();
  });
  const { addresses, admin, access, logged } = await startInProcess(
    t,
    `workers: 2
upstreams:
  orders: { endpoints: ["${app.address}"] }
  stock: { endpoints: ["${app.address}"] }
  busy: { endpoints: ["${busy.address}"], retries: { attempts: 2, backoff: { base: 1ms, max: 1ms } }, breaker: { mode: off } }
routes: [{ name: cart, match: { path: /cart }, to: [{ upstream: stock }], breaker: {} }]`,
  );
  const { port } = addresses.outbound;
  /** What 20 calls were answered, on connections of their own, and by how many workers. */
  const calling = async (host: string, path: string) => {
    const seen = new Set<number>();
    const before = access.length;
    for (let i = 0; i < 20; i++) seen.add((await call(port, host, { path })).status);
    await logged(() => access.length >= before + 20);
    const records = access.slice(before);
    return {
      statuses: [...seen],
      attempts: [...new Set(records.map(({ attempts }) => attempts))],
      workers: new Set(records.map(({ requestId }) => String(requestId).slice(0, 30))).size,
    };
  };
  await admin(`/breakers?upstream=orders&endpoint=${app.address}&state=open&for=1h`, "POST");
  await admin("/breakers?route=cart&state=open&for=1h", "POST");
  await admin("/retries?enabled=false", "POST");
  for (const thread of [0, 1]) {
    const exited = once(threads[thread]!, "exit");
    await threads[thread]!.terminate();
    await exited;
    await once(threads[thread + 2]!, "message");
  }
  t.match(await calling("orders", "/"), { statuses: [503], workers: 2 });
  t.match(await calling("stock", "/cart"), { statuses: [503], workers: 2 });
  t.match(await calling("stock", "/"), { statuses: [200] }, "nothing else was decided");
  t.match(await calling("busy", "/"), { statuses: [503], attempts: [1], workers: 2 });
  await admin("/breakers?upstream=orders&state=auto", "POST");
  await admin("/breakers?route=cart&state=auto", "POST");
  await admin("/retries?enabled=true", "POST");
  const exited = once(threads[2]!, "exit");
  await threads[2]!.terminate();
  await exited;
  await once(threads[4]!, "message");
  t.match(await calling("orders", "/"), { statuses: [200], workers: 2 });
  t.match(await calling("stock", "/cart"), { statuses: [200] });
  t.match(await calling("busy", "/"), { attempts: [3], workers: 2 });
});

test("what a lost worker had counted stays counted", async (t) => {
  const threads: Worker[] = [];
  const onWorker = (worker: Worker) => threads.push(worker);
  process.on("worker", onWorker);
  t.teardown(() => process.off("worker", onWorker));
  const app = await startApp(t);
  const { addresses, metric } = await startInProcess(t, yaml(app.address));
  await callOften(addresses.outbound.port, 30);
  t.equal(await metric("heddle_requests_total"), 30);
  await threads[0]!.terminate();
  await threads[1]!.terminate();
  t.equal(await metric("heddle_requests_total"), 30);
  t.equal(await metric("heddle_endpoints"), 1);
});

for (const workers of [1, 2])
  test(`a signal while it waits for the registry ends it well, with workers: ${workers}`, async (t) => {
    const text = `workers: ${workers}\ndiscovery: { consul: { address: "http://127.0.0.1:1", register: none } }\nupstreams: { orders: { follow: always } }\noutbound: { listen: "127.0.0.1:0" }\nadmin: { listen: "127.0.0.1:0" }\ntelemetry: { logLevel: debug }\nshutdown: { grace: 1s }`;
    const folder = t.testdir({ "heddle.yaml": text });
    const child = spawn(process.execPath, ["bin/heddle.js", "run", "--config", `${folder}/heddle.yaml`], {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    child.stdout.setEncoding("utf8").on("data", (more: string) => {
      // It has asked the registry, and goes on waiting for an answer.
      if (!said.includes("does not answer") && (said + more).includes("does not answer"))
        child.kill("SIGTERM");
      said += more;
    });
    t.same(await once(child, "exit"), [0, null]);
    t.match(said, "asked to end");
  });

test("a port that somebody else listens on is a fault, though workers would share it", async (t) => {
  const app = await startApp(t);
  const first = await startInProcess(t, yaml(app.address));
  const { port } = first.addresses.outbound;
  await t.rejects(
    startInProcess(t, yaml(app.address, `outbound: { listen: "127.0.0.1:${port}" }`)),
    /EADDRINUSE/,
  );
  t.equal((await callOften(port, 1))[0], 200, "and the first one goes on");
});

test("a sidecar with workers drains like any other: no request under way is lost, and it exits with 0", async (t) => {
  const app = await startApp(t, (request, response) => {
    setTimeout(() => say("fine\n")(request, response), 20);
  });
  const sidecar = await startSidecar(
    t,
    yaml(app.address, "shutdown: { grace: 5s }\ntelemetry: { accessLog: true }"),
  );
  const agent = new Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  const { port } = sidecar.addresses.outbound;
  let answered = 0;
  let ending = false;
  const callers = Array.from({ length: 20 }, async () => {
    // Each has a request under way when the sidecar is asked to end.
    while (!ending) {
      const { status } = await call(port, "orders", { agent });
      if (status !== 200) throw new Error(`answered ${status}`);
      answered++;
    }
  });
  while (answered < 200) await new Promise(setImmediate);
  ending = true;
  const [code] = await Promise.all([sidecar.end(), ...callers]);
  t.equal(code, 0);
  t.equal(
    sidecar.records.filter(({ msg }) => msg === "request").length,
    answered,
    "and each has its line in the log",
  );
});

test("what bounds a number is divided among the workers, rounded up; shares and times are not", (t) => {
  const { options } = parseConfig(
    "upstreams: { orders: { endpoints: [127.0.0.1:1], limits: { connections: 10, pending: 0, requests: 3, queueTimeout: 2s } } }",
    "test.yaml",
    {},
  ).upstreams["orders"]!;
  const part = leadsPerWorker(plainDestination("orders", { name: "orders", options }), 4);
  if (part === "pending") throw new Error("it leads somewhere");
  const { limits, retries, timeouts } = part.upstreams["orders"]!.options;
  t.match(limits, { connections: 3, pending: 0, requests: 1, queueMs: 2000 });
  t.match(retries.budget, { ratio: 0.2, minPerSecond: 2.5 });
  t.same(timeouts, options.timeouts);
  const { listener } = parseConfig("service: { name: web, port: 1 }", "test.yaml", {}).inbound;
  const shared = listenerPerWorker({ direction: "inbound", options: listener }, 3);
  t.equal(shared.options.maxConnections, 6667);
  t.equal(listenerPerWorker({ direction: "inbound", options: listener }, 1).options.maxConnections, 20_000);
  t.end();
});
