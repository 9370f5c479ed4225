import { test } from "tap";
import { call, startApp } from "../support/apps.ts";
import { eventually } from "../support/eventually.ts";
import { startInProcess } from "../support/in-process.ts";
import { rawClient, rawEndpoint, textAnswer } from "../support/raw.ts";

const ONCE = "retries: { attempts: 0 }";

test("a route's breaker refuses its requests alone, before any work, and says which it is", async (t) => {
  const app = await startApp(t);
  let calls = 0;
  app.answer = (request, response) => {
    calls++;
    response.statusCode = request.url === "/search" ? 503 : 200;
    response.end();
  };
  const { addresses, admin, metric, records } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${app.address}], ${ONCE}, breaker: { mode: off } } }
routes:
  - { name: search, match: { path: /search }, to: [{ upstream: orders }], breaker: { minimumRequests: 4, openFor: 1h } }
  - { name: rest, to: [{ upstream: orders }] }`,
  );
  const { port } = addresses.outbound;
  for (let i = 0; i < 4; i++) t.equal((await call(port, "orders", { path: "/search" })).status, 503);
  t.equal(calls, 4);
  const refused = await call(port, "orders", { path: "/search" });
  t.equal(calls, 4, "the app is not asked");
  t.match(refused.body, "breaker_open");
  t.match(refused.body, "the breaker of the route search is open");
  t.equal((await call(port, "orders", { path: "/other" })).status, 200);
  const { routes } = JSON.parse(await admin("/breakers"));
  t.match(routes, [
    { route: "search", breaker: "open", opened: { times: 1, why: "errorRate", failures: { 503: 4 } } },
  ]);
  t.equal(await metric("heddle_route_breaker_state", { route: "search", state: "open" }), 1);
  t.equal(await metric("heddle_route_breaker_opened_total", { route: "search" }), 1);
  t.match(
    records.find(({ message }) => message === "breaker opened"),
    { route: "search", why: "errorRate" },
  );
});

test("a breaker in shadow refuses nothing, and what it would have refused is counted", async (t) => {
  const app = await startApp(t, (_, response) => {
    response.statusCode = 500;
    response.end();
  });
  const { addresses, metric, admin } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${app.address}], ${ONCE}, breaker: { mode: shadow, openFor: 1h } } }`,
  );
  for (let i = 0; i < 8; i++) t.equal((await call(addresses.outbound.port, "orders")).status, 500);
  t.equal(await metric("heddle_shadow_refusals_total", { upstream: "orders", cause: "breaker_open" }), 3);
  t.equal(await metric("heddle_breaker_state", { upstream: "orders", state: "open" }), 0);
  const [endpoint] = JSON.parse(await admin("/endpoints")).orders.endpoints;
  t.match(endpoint, { breaker: "closed", shadow: "open", opened: { failures: { 500: 5 } } });
});

for (const workers of [1, 2])
  test(`a breaker that is forced open gets nothing, wherever a request comes in, with workers: ${workers}`, async (t) => {
    const app = await startApp(t);
    const other = await startApp(t);
    const { addresses, admin } = await startInProcess(
      t,
      `workers: ${workers}
upstreams: { orders: { endpoints: [${app.address}, ${other.address}], ${ONCE} } }
routes: [{ name: all, to: [{ upstream: orders }], breaker: {} }]`,
    );
    const { port } = addresses.outbound;
    const statuses = async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => call(port, "orders")));
      return [...new Set(answers.map(({ status }) => status))];
    };
    let atForced = 0;
    app.answer = (_, response) => {
      atForced++;
      response.end();
    };
    const forced = JSON.parse(
      await admin(`/breakers?upstream=orders&endpoint=${app.address}&state=open&for=1h`, "POST"),
    );
    t.match(forced.upstreams.orders, [{ endpoint: app.address, breaker: "open", forced: { state: "open" } }]);
    t.same(await statuses(), [200]);
    t.equal(atForced, 0);
    await admin("/breakers?upstream=orders&state=open", "POST");
    t.same(await statuses(), [503], "also where nobody else is left");
    await admin("/breakers?upstream=orders&state=auto", "POST");
    t.same(await statuses(), [200]);
    await admin("/breakers?route=all&state=open", "POST");
    t.same(await statuses(), [503]);
    await admin("/breakers?route=all&state=auto", "POST");
    t.same(await statuses(), [200]);
    t.same(JSON.parse(await admin("/breakers")).upstreams, {}, "and nothing is left of it");
  });

test("a breaker closes for callers who look into a stream and always leave", async (t) => {
  const failing = textAnswer("broken", "HTTP/1.1 500 Broken\r\n");
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.socket.on("data", () => {
      if (!connection.received.endsWith("\r\n\r\n")) return;
      const head = connection.take();
      connection.send(
        /GET \/stream/.test(head) ? "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nnews" : failing,
      );
    });
  });
  const { addresses, sidecar, records } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"], ${ONCE}, breaker: { consecutiveFailures: 2, openFor: 300ms } } }`,
  );
  const { port } = addresses.outbound;
  for (let i = 0; i < 2; i++) t.equal((await call(port, "orders")).status, 500);
  const { breaker } = sidecar.upstreams.get("orders")!.endpoints[0]!;
  t.equal(breaker.state, "open");
  await eventually("a trial", () => breaker.state === "halfOpen");
  for (let i = 0; i < 3; i++) {
    const client = await rawClient(t, port);
    client.send("GET /stream HTTP/1.1\r\nHost: orders\r\n\r\n");
    await client.until(/news$/);
    client.socket.resetAndDestroy();
    await endpoint.connections.at(-1)!.untilEnd();
  }
  t.equal(breaker.state, "closed");
  t.equal(records.filter(({ message }) => message === "breaker closed").length, 1);
});

test("what is forced holds for an address that discovery loses and finds again", async (t) => {
  const app = await startApp(t);
  const { addresses, admin, sidecar } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${app.address}] } }`,
  );
  await admin(`/breakers?upstream=orders&endpoint=${app.address}&state=open`, "POST");
  const upstream = sidecar.upstreams.get("orders")!;
  const endpoints = upstream.endpoints.map(({ endpoint }) => endpoint);
  upstream.update([]);
  upstream.update(endpoints);
  t.equal((await call(addresses.outbound.port, "orders")).status, 503);
});

test("an operator's word that cannot be meant is refused with what could be", async (t) => {
  const { addresses } = await startInProcess(t, "upstreams: { orders: { endpoints: [127.0.0.1:1] } }");
  const said = async (query: string) => {
    const answer = await fetch(`http://127.0.0.1:${addresses.admin.port}/breakers${query}`, {
      method: "POST",
    });
    return `${answer.status} ${(await answer.text()).trim()}`;
  };
  t.equal(
    await said("?upstream=orders&state=shut"),
    '400 expected &state= one of open, closed, auto, got "shut"',
  );
  t.match(await said("?upstream=orders&state=open&for=10"), /^400 expected &for= a duration.*got "10"$/);
  t.match(await said("?upstream=orders&route=a&state=open"), /^400 expected \?upstream=/);
  t.match(await said("?state=open"), /^400 expected \?upstream=/);
  t.equal(await said("?upstream=order&state=open"), '404 there is no upstream "order"; known: orders');
  t.equal(
    await said("?upstream=orders&endpoint=127.0.0.1:2&state=open"),
    '404 there is no endpoint of orders "127.0.0.1:2"; known: 127.0.0.1:1',
  );
  t.equal(await said("?route=a&state=open"), '404 there is no route with a breaker "a"; known: none');
});

test("an endpoint that serves streams is taken back though its probe goes on and on", async (t) => {
  const app = await startApp(t, (_, response) => {
    response.statusCode = 500;
    response.end();
  });
  const { addresses, metric } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${app.address}], ${ONCE}, outliers: { enabled: false }, breaker: { consecutiveFailures: 1, openFor: 20ms } } }`,
  );
  t.equal((await call(addresses.outbound.port, "orders")).status, 500);
  app.answer = (_, response) => void response.write("data: tick\n\n");
  while ((await metric("heddle_breaker_state", { state: "closed" })) === 0) {
    const client = await rawClient(t, addresses.outbound.port);
    client.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n");
    await client.until(/tick|breaker_open/);
  }
  const clients = await Promise.all([1, 2, 3, 4].map(() => rawClient(t, addresses.outbound.port)));
  for (const client of clients) client.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n");
  for (const client of clients) t.match(await client.until(/tick|\}\n$/), /^HTTP\/1.1 200 /);
});
