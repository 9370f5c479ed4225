import { once } from "node:events";
import { Agent } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { test } from "tap";
import { call, say, startApp } from "../support/apps.ts";
import { startInProcess } from "../support/in-process.ts";

const QUICK = "retries: { attempts: 0 }, breaker: { enabled: false }";

test("a route says what to answer when nobody can be reached, and the log and the metrics say why it did", async (t) => {
  const app = await startApp(t);
  await app.stop();
  const { addresses, logged, metric } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${app.address}], ${QUICK} } }
routes:
  - { name: offers, match: { host: orders, path: /offers }, to: [{ upstream: orders }], fallback: { status: 200, headers: { content-type: application/json }, body: "[]" } }`,
  );
  const { port } = addresses.outbound;
  const reply = await call(port, "orders", { path: "/offers" });
  t.match(reply, { status: 200, body: "[]", headers: { "x-heddle-fallback": "static" } });
  t.equal(reply.headers["content-type"], "application/json");
  t.match(await logged(({ route }) => route === "offers"), {
    status: 200,
    cause: "connect_failed",
    fallback: "static",
  });
  t.equal(
    await metric("heddle_fallbacks_total", { route: "offers", kind: "static", cause: "connect_failed" }),
    1,
  );
  t.equal(await metric("heddle_requests_total", { status: "200", cause: "connect_failed" }), 1);
  t.equal((await call(port, "orders", { path: "/offers", method: "POST" })).status, 502, "not for POST");
  t.equal((await call(port, "orders", { path: "/other" })).status, 502, "nor for other routes");
});

test("when the endpoint is gone, the last good answer is given, byte for byte, and not to others", async (t) => {
  const large = "0123456789".repeat(20_000);
  const app = await startApp(t, (request, response) => {
    response.setHeader("x-path", request.url!);
    response.end(request.url === "/large" ? large : `for ${request.headers.authorization ?? "all"}`);
  });
  const { addresses, logged } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${app.address}], ${QUICK} } }
routes:
  - { match: { host: orders }, to: [{ upstream: orders }], fallback: { lastGood: { maxAge: 1h } } }`,
  );
  const { port } = addresses.outbound;
  const mine = { path: "/mine", headers: { authorization: "me" } };
  for (const question of [
    { path: "/large" },
    { path: "/small?q=1" },
    { path: "/small", method: "HEAD" },
    mine,
  ])
    t.equal((await call(port, "orders", question)).status, 200);
  // Kept when settled, which the log is told last.
  await logged(({ path }) => path === "/mine");
  await app.stop();
  const again = await call(port, "orders", { path: "/large" });
  t.equal(again.body, large);
  t.match(again.headers, { "x-heddle-fallback": "stale", "x-path": "/large", age: /^\d+$/ });
  t.equal((await call(port, "orders", { path: "/small?q=1" })).body, "for all");
  t.equal((await call(port, "orders", { path: "/small?q=2" })).status, 502);
  t.match(await call(port, "orders", { path: "/small", method: "HEAD" }), {
    status: 200,
    headers: { "x-heddle-fallback": "stale", "x-path": "/small" },
  });
  t.equal(
    (await call(port, "orders", mine)).status,
    502,
    "whoever shows who he is gets nothing that was kept",
  );
  await app.start();
  app.answer = say("new");
  t.equal((await call(port, "orders", { path: "/large" })).body, "new");
});

test("a fallback comes after retries, and the breaker hears of the failures that it hides", async (t) => {
  const app = await startApp(t, (_, response) => {
    response.statusCode = 503;
    response.end();
  });
  const { addresses, metric, logged } = await startInProcess(
    t,
    `upstreams:
  orders: { endpoints: [${app.address}], retries: { attempts: 1, on: [503], backoff: { base: 1ms, max: 1ms } }, breaker: { consecutiveFailures: 4 } }
routes:
  - { name: all, match: { host: orders }, to: [{ upstream: orders }], fallback: { on: [503, breaker_open], status: 203, body: later } }`,
  );
  const { port } = addresses.outbound;
  for (let i = 0; i < 4; i++) t.match(await call(port, "orders"), { status: 203, body: "later" });
  t.equal(app.served, 4, "two requests with two attempts each, and then the breaker is open");
  t.match(await logged(({ cause }) => cause === "breaker_open"), { status: 203, fallback: "static" });
  t.match(await logged(({ cause }) => cause === "upstream_status"), { attempts: 2 });
  t.equal(await metric("heddle_breaker_opened_total"), 1);
  t.equal(await metric("heddle_fallbacks_total", { kind: "static", cause: "breaker_open" }), 2);
});

test("answers are good for whichever worker, and what they may take is divided among them", async (t) => {
  const app = await startApp(t);
  const { addresses } = await startInProcess(
    t,
    `workers: 2
upstreams: { orders: { endpoints: [${app.address}], ${QUICK} } }
routes:
  - { match: { host: orders }, to: [{ upstream: orders }], fallback: { status: 200, body: static, lastGood: {} } }`,
  );
  const { port } = addresses.outbound;
  t.equal((await call(port, "orders")).body, "fine\n");
  await app.stop();
  // The one that has not heard the good answer has the static one.
  for (let i = 0; i < 10; i++) t.match((await call(port, "orders")).body, /^(?:fine\n|static)$/);
});

test("what one worker learns to be gone, no other one shows any more, and what is not gone it does", async (t) => {
  const app = await startApp(t);
  const { addresses, access, logged } = await startInProcess(
    t,
    `workers: 2
upstreams: { orders: { endpoints: [${app.address}], ${QUICK} } }
routes:
  - { match: { host: orders }, to: [{ upstream: orders }], fallback: { lastGood: {} } }`,
  );
  const { port } = addresses.outbound;
  // A caller at each worker: the kernel gives a connection to either, and request ids begin with what is the worker's own.
  const callers = new Map<string, Agent>();
  for (let n = 0; callers.size < 2; n++) {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    t.teardown(() => agent.destroy());
    t.equal((await call(port, "orders", { path: `/which${n}`, agent })).status, 200);
    const { requestId } = await logged(({ path }) => path === `/which${n}`);
    callers.set(String(requestId).slice(0, 30), agent);
  }
  const [one, other] = [...callers.values()] as [Agent, Agent];
  for (const agent of [one, other])
    for (const path of ["/deleted", "/gone", "/kept"])
      t.equal((await call(port, "orders", { path, agent })).status, 200);
  // Kept when settled, which the log is told last.
  await logged(() => access.filter(({ path }) => path === "/kept").length === 2);
  t.equal((await call(port, "orders", { path: "/deleted", method: "DELETE", agent: one })).status, 200);
  app.answer = (_, response) => {
    response.statusCode = 410;
    response.end();
  };
  t.equal((await call(port, "orders", { path: "/gone", agent: one })).status, 410);
  await app.stop();
  for (const agent of [one, other]) {
    t.equal((await call(port, "orders", { path: "/deleted", agent })).status, 502);
    t.equal((await call(port, "orders", { path: "/gone", agent })).status, 502);
    t.equal((await call(port, "orders", { path: "/kept", agent })).body, "fine\n");
  }
});

test("two questions in bodies to the same path never get each other's answer, and what was deleted stays so", async (t) => {
  const app = await startApp(t, (request, response) => {
    let asked = "";
    request.on("data", (part) => {
      asked += String(part);
    });
    request.on("end", () => response.end(`about ${asked}`));
  });
  const { addresses, logged } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${app.address}], ${QUICK} } }
routes:
  - { match: { host: orders }, to: [{ upstream: orders }], fallback: { lastGood: {} } }`,
  );
  const { port } = addresses.outbound;
  const asking = (body: string) => ({ path: "/search", headers: { "content-length": "3" }, body });
  t.equal((await call(port, "orders", asking("ann"))).body, "about ann");
  t.equal((await call(port, "orders", { path: "/cart" })).body, "about ");
  t.equal((await call(port, "orders", { path: "/cart", method: "DELETE" })).status, 200);
  await logged(({ method }) => method === "DELETE");
  await app.stop();
  t.equal((await call(port, "orders", asking("bob"))).status, 502);
  t.equal((await call(port, "orders", { path: "/cart" })).status, 502);
});

test("an answer that ends with its connection is not kept: it may be a part of one", async (t) => {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhalf of"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { addresses, logged } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["127.0.0.1:${(server.address() as AddressInfo).port}"], ${QUICK} } }
routes:
  - { match: { host: orders }, to: [{ upstream: orders }], fallback: { lastGood: {} } }`,
  );
  const { port } = addresses.outbound;
  t.equal((await call(port, "orders")).body, "half of");
  await logged(({ status }) => status === 200);
  server.close();
  await once(server, "close");
  t.equal((await call(port, "orders")).status, 502);
});

test("who waits in vain for a turn gets the fallback, as who finds no place does", async (t) => {
  const held: (() => void)[] = [];
  const app = await startApp(t, (_, response) => held.push(() => response.end("late")));
  const { addresses, logged } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${app.address}], ${QUICK}, limits: { requests: 1, pending: 1, queueTimeout: 20ms } } }
routes:
  - { match: { host: orders }, to: [{ upstream: orders }], fallback: { status: 200, body: instead } }`,
  );
  const { port } = addresses.outbound;
  const first = call(port, "orders");
  const second = await call(port, "orders");
  t.equal(second.body, "instead");
  t.match(await logged(({ fallback }) => fallback === "static"), { cause: "queue_timeout" });
  for (const answer of held) answer();
  t.equal((await first).body, "late");
});
