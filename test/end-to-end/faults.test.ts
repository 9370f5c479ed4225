import { once } from "node:events";
import { connect } from "node:net";
import { test } from "tap";
import { parseConfig } from "../../config/index.ts";
import { FaultBook, MOST_FAULTS } from "../../proxy/fault-book.ts";
import type { RunningFault } from "../../resilience/index.ts";
import { call, startApp } from "../support/apps.ts";
import { type InProcess, startInProcess } from "../support/in-process.ts";
import { ManualClock } from "../support/manual-clock.ts";

const withFaults = (address: string, more = "") =>
  `upstreams: { orders: { endpoints: [${address}] } }\nadmin: { listen: "127.0.0.1:0", faults: true }\n${more}`;

async function ask({ addresses }: InProcess, method: string, query = "", body?: string) {
  const answer = await fetch(`http://127.0.0.1:${addresses.admin.port}/faults${query}`, {
    method,
    ...(body === undefined ? {} : { body }),
  });
  return { status: answer.status, text: await answer.text() };
}

/** Why a connection on which one request was sent has ended: `ECONNRESET`, `end`, or what came. */
async function endingOf(port: number, method = "GET", fields = ""): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  let received = "";
  socket.on("data", (bytes) => {
    received += bytes;
  });
  const failed = new Promise<string>((resolve) => {
    socket.once("error", (thrown: NodeJS.ErrnoException) => resolve(received + thrown.code));
    socket.once("end", () => resolve(received === "" ? "end" : received));
  });
  await once(socket, "connect");
  socket.write(`${method} / HTTP/1.1\r\nHost: orders\r\n${fields}\r\n`);
  const ending = await failed;
  socket.destroy();
  return ending;
}

test("a fault is added at run time, listed, seen in answer, log and metrics, and ended", async (t) => {
  const app = await startApp(t);
  const proxy = await startInProcess(t, withFaults(app.address));
  const { addresses, records, logged, metric } = proxy;
  const { port } = addresses.outbound;
  const added = await ask(proxy, "POST", "?kind=abort&status=500&upstream=orders&for=1m");
  t.equal(added.status, 201);
  const { id } = JSON.parse(added.text);
  const reply = await call(port, "orders");
  t.match(reply, { status: 500, headers: { "x-heddle-fault": "abort", "x-heddle-error": "fault_injected" } });
  t.equal(app.served, 0);
  t.match(await logged(({ fault }) => fault === "abort"), {
    cause: "fault_injected",
    detail: id,
    attempts: 0,
  });
  t.equal(await metric("heddle_faults_injected_total", { kind: "abort" }), 1);
  t.equal(await metric("heddle_attempts_total"), 0, "no endpoint is blamed");
  t.match(JSON.parse((await ask(proxy, "GET")).text), [{ id, endsInMs: Number, share: 1 }]);
  t.equal((await ask(proxy, "DELETE", "?id=added-99")).status, 404);
  t.same(JSON.parse((await ask(proxy, "DELETE", `?id=${id}`)).text), { ended: 1 });
  t.equal((await call(port, "orders")).status, 200);
  t.same(
    records.filter(({ message }) => message.startsWith("a fault for testing")).map(({ message }) => message),
    ["a fault for testing begins", "a fault for testing ends"],
  );
});

test("faults are added in JSON as well, and hit only requests with their field", async (t) => {
  const app = await startApp(t);
  const proxy = await startInProcess(t, withFaults(app.address));
  const { port } = proxy.addresses.outbound;
  const fault = { kind: "delay", delay: "20ms-40ms", match: { header: "X-Fault-Test" } };
  t.equal((await ask(proxy, "POST", "", JSON.stringify(fault))).status, 201);
  t.equal((await call(port, "orders")).headers["x-heddle-fault"], undefined);
  const hit = await call(port, "orders", { headers: { "x-fault-test": "1" } });
  t.match(hit, { status: 200, headers: { "x-heddle-fault": "delay" } });
  const { layerMs } = await proxy.logged(({ fault: kind }) => kind === "delay");
  t.ok(Number(layerMs) >= 20, `${layerMs} ms`);
});

test("a reset is a reset, for every method, and no answer", async (t) => {
  const app = await startApp(t);
  const proxy = await startInProcess(t, withFaults(app.address));
  const { port } = proxy.addresses.outbound;
  await ask(proxy, "POST", "?kind=reset&upstream=orders");
  for (const method of ["GET", "HEAD"]) t.equal(await endingOf(port, method), "ECONNRESET", method);
  t.match(await proxy.logged(({ fault }) => fault === "reset"), {
    cause: "fault_injected",
    responseBytes: 0,
  });
  t.equal(app.served, 0);
});

test("a slow answer comes whole", async (t) => {
  const app = await startApp(t, (_, response) => response.end("x".repeat(3_000)));
  const proxy = await startInProcess(t, withFaults(app.address));
  await ask(proxy, "POST", "?kind=slow&perSecond=10KiB&upstream=orders");
  const { body, headers } = await call(proxy.addresses.outbound.port, "orders");
  t.equal(body, "x".repeat(3_000));
  t.equal(headers["x-heddle-fault"], "slow");
  const { transferMs } = await proxy.logged(({ fault }) => fault === "slow");
  t.ok(Number(transferMs) >= 250, `${transferMs} ms`);
});

test("a fallback can be tried by a fault", async (t) => {
  const app = await startApp(t);
  const { addresses, logged } = await startInProcess(
    t,
    withFaults(
      app.address,
      `routes:
  - name: all
    to: [{ upstream: orders }]
    fallback: { on: [503], status: 200, body: instead }
    faults: [{ kind: abort, match: { header: x-fault-test, value: yes please }, for: 1h }]`,
    ),
  );
  const { port } = addresses.outbound;
  t.equal((await call(port, "orders")).body, "fine\n");
  const reply = await call(port, "orders", { headers: { "x-fault-test": "yes please" } });
  t.match(reply, { body: "instead", headers: { "x-heddle-fallback": "static" } });
  t.match(await logged(({ fault }) => fault === "abort"), { fallback: "static", cause: "fault_injected" });
});

test("who tests with faults opens the breaker of the route to nobody", async (t) => {
  const app = await startApp(t);
  const proxy = await startInProcess(
    t,
    withFaults(
      app.address,
      `routes:
  - name: all
    to: [{ upstream: orders }]
    breaker: { consecutiveFailures: 2 }
    faults:
      - { kind: abort, match: { header: x-fault-test, value: abort } }
      - { kind: reset, match: { header: x-fault-test, value: reset } }`,
    ),
  );
  const { port } = proxy.addresses.outbound;
  const test = { headers: { "x-fault-test": "abort" } };
  for (let i = 0; i < 3; i++) t.match((await call(port, "orders", test)).headers["x-heddle-fault"], "abort");
  t.equal((await call(port, "orders")).status, 200);
  for (let i = 0; i < 3; i++) t.equal(await endingOf(port, "GET", "x-fault-test: reset\r\n"), "ECONNRESET");
  t.equal((await call(port, "orders")).status, 200);
  t.equal(await proxy.metric("heddle_breaker_opened_total"), 0);
});

test("every worker injects, and one that takes the place of another does, too", async (t) => {
  const { Worker } = await import("node:worker_threads");
  const threads: InstanceType<typeof Worker>[] = [];
  const onWorker = (worker: InstanceType<typeof Worker>) => threads.push(worker);
  process.on("worker", onWorker);
  t.teardown(() => process.off("worker", onWorker));
  const app = await startApp(t);
  const proxy = await startInProcess(t, `workers: 2\n${withFaults(app.address)}`);
  const { port } = proxy.addresses.outbound;
  await ask(proxy, "POST", "?kind=abort&upstream=orders");
  // Answers about /metrics come after the faults have been heard.
  await proxy.metric("heddle_faults_injected_total");
  const statuses = async () => {
    const seen = new Set<number>();
    for (let i = 0; i < 20; i++) seen.add((await call(port, "orders")).status);
    return [...seen];
  };
  t.same(await statuses(), [503]);
  const exited = once(threads[0]!, "exit");
  await threads[0]!.terminate();
  await exited;
  await once(threads[2]!, "message");
  t.same(await statuses(), [503]);
  t.equal((await proxy.metric("heddle_faults_injected_total", { kind: "abort" })) >= 20, true);
  await ask(proxy, "DELETE");
  await proxy.metric("heddle_faults_injected_total");
  t.same(await statuses(), [200]);
});

test("faults are not added where the configuration does not allow it, nor when they make no sense", async (t) => {
  const app = await startApp(t);
  const closed = await startInProcess(t, `upstreams: { orders: { endpoints: [${app.address}] } }`);
  t.match(await ask(closed, "POST", "?kind=abort&upstream=orders"), { status: 403, text: /admin\.faults/ });
  const proxy = await startInProcess(t, withFaults(app.address));
  const wrong = async (query: string, body?: string) => {
    const { status, text } = await ask(proxy, "POST", query, body);
    t.equal(status, 400, query);
    return text.trim();
  };
  t.equal(
    await wrong("?kind=abort"),
    "expected a route, an upstream or a match, so that not everything is hit; got none",
  );
  t.equal(await wrong("?kind=delay&route=a"), "kind: expected delay with kind delay, got none");
  t.equal(await wrong("?kind=reset&route=a&status=500"), "status: expected none with kind reset, got one");
  t.equal(await wrong("?kind=reset&route=a&tll=5m"), "tll: unknown setting");
  t.match(await wrong("?kind=reset&route=a&for=25h"), /^for: expected a duration from 1s to 24h/);
  t.match(await wrong("?kind=explode&route=a"), /^kind: expected one of delay, abort, reset, slow/);
  t.match(await wrong("", "{"), /JSON/);
  t.match(await wrong("", "[]"), /expected/);
  t.equal((await ask(proxy, "POST", "", "x".repeat(100_000))).status, 413);
  t.equal((await ask(proxy, "POST", "?kind=reset&upstream=orders&until=2020-01-01T00:00:00Z")).status, 409);
  t.same(JSON.parse((await ask(proxy, "GET")).text), []);
  const fromPage = await fetch(`http://127.0.0.1:${proxy.addresses.admin.port}/faults`, {
    method: "DELETE",
    headers: { origin: "http://elsewhere" },
  });
  t.equal(fromPage.status, 403, "no web page may end them");
});

test("a fault for a route or an upstream that there is not is refused with those that there are, called before or not", async (t) => {
  const app = await startApp(t);
  const proxy = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${app.address}] }, later: {} }
routes:
  - { name: cart, match: { path: /cart }, to: [{ upstream: orders }] }
  - { match: { path: /stock }, to: [{ upstream: orders }] }
discovery: { consul: { address: "http://127.0.0.1:1", register: none } }
admin: { listen: "127.0.0.1:0", faults: true }`,
  );
  const add = (query: string) => ask(proxy, "POST", `?kind=abort&${query}`);
  t.match(await add("upstream=oders"), {
    status: 404,
    text: 'there is no upstream "oders"; known: orders, later\n',
  });
  t.match(await add("route=crat&upstream=orders"), {
    status: 404,
    text: 'there is no route "crat"; known: cart, routes[1]\n',
  });
  t.equal((await add("upstream=127.0.0.1:15000")).status, 404, "an endpoint is no name");
  t.same(JSON.parse((await ask(proxy, "GET")).text), []);
  for (const query of ["route=cart", "route=routes[1]", "upstream=orders", "upstream=later"])
    t.equal((await add(query)).status, 201, query);
  const { port } = proxy.addresses.outbound;
  t.equal((await call(port, "later")).headers["x-heddle-fault"], "abort", "nobody has to be found first");
});

test("the book ends each fault in its time, says so, and takes no more than it can", async (t) => {
  const clock = new ManualClock();
  const said: string[] = [];
  const log = {
    debug() {},
    info: (_: object, message: string) => said.push(message),
    warn: (_: object, message: string) => said.push(message),
    error() {},
  };
  let told: readonly RunningFault[] = [];
  const wallMs = Date.parse("2030-01-01T00:00:00Z");
  const book = new FaultBook({ clock, log, wallClock: () => wallMs, tell: (running) => (told = running) });
  const config = parseConfig(
    `upstreams: { orders: { endpoints: [127.0.0.1:1] } }
routes:
  - to: [{ upstream: orders }]
    faults: [{ kind: reset }, { kind: reset, for: 1m }, { kind: reset, until: "2030-01-01T00:02:00Z" }, { kind: reset, until: "2031-01-01T00:00:00+01:00" }, { kind: reset, until: "2029-01-01T00:00:00Z" }]`,
    "test.yaml",
    {},
  );
  book.begin(config);
  const left = () => told.map(({ id, leftMs }) => [id, leftMs / 60_000]);
  t.same(left(), [
    ["routes[0].faults[0]", 10],
    ["routes[0].faults[1]", 1],
    ["routes[0].faults[2]", 2],
    ["routes[0].faults[3]", 24 * 60],
  ]);
  t.same(told[0]!.match, { direction: "outbound", route: "routes[0]", upstream: undefined });
  clock.advance(120_000);
  t.same(left(), [
    ["routes[0].faults[0]", 8],
    ["routes[0].faults[3]", 24 * 60 - 2],
  ]);
  clock.advance(24 * 3_600_000);
  t.same(told, []);
  t.equal(clock.pending, 0);
  t.equal(said.filter((message) => message === "a fault for testing ends").length, 4);
  t.ok(said.includes("a fault for testing is over before it begins"));
  for (let i = 0; i < MOST_FAULTS; i++) t.ok(book.add({ kind: "reset", share: 1 }));
  t.equal(book.add({ kind: "reset", share: 1 }), undefined);
  t.equal(book.end(), MOST_FAULTS);
  t.same(told, []);
});
