import { test } from "tap";
import { ADMIN_PAGES, methodsOf } from "../../proxy/admin/index.ts";
import { startInProcess } from "../support/in-process.ts";
import { answering, exchangeBytes, rawClient, rawEndpoint, textAnswer } from "../support/raw.ts";
import { startSidecar } from "../support/sidecar.ts";

const GET = "GET /path?token=secret HTTP/1.1\r\nHost: orders\r\n\r\n";

/** What pages must be told. */
const QUERIES: Readonly<Record<string, string>> = {
  "/log-level": "?level=warn",
  "/retries": "?enabled=true",
};

test("every page answers its method, and only that one", async (t) => {
  const { addresses } = await startInProcess(t, "upstreams: { orders: { endpoints: [127.0.0.1:1] } }");
  const url = `http://127.0.0.1:${addresses.admin.port}`;
  for (const [path, page] of Object.entries(ADMIN_PAGES)) {
    const { method } = page;
    if (path === "/drain") continue;
    const query = QUERIES[path] ?? "";
    t.equal((await fetch(url + path + query, { method })).status, 200, `${method} ${path}`);
    for (const wrong of ["GET", "POST", "DELETE"].filter((other) => !methodsOf(page).includes(other)))
      t.equal((await fetch(url + path + query, { method: wrong })).status, 405, `${wrong} ${path}`);
  }
  const unknown = await fetch(`${url}/nothing`);
  t.equal(unknown.status, 404);
  t.match(await unknown.text(), /GET +\/endpoints/, "and says what there is");
  t.equal((await fetch(`${url}/constructor`)).status, 404);
  const strange = await exchangeBytes(
    t,
    addresses.admin.port,
    "GET // HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
  );
  t.match(strange, /^HTTP\/1.1 40[04] /);
});

test("the configuration is shown with its defaults and without its secrets", async (t) => {
  const { admin } = await startInProcess(
    t,
    `
discovery: { consul: { address: "http://127.0.0.1:1", token: very-secret } }
upstreams: { orders: {} }
`,
  );
  const shown = await admin("/config");
  t.notMatch(shown, /very-secret/);
  t.match(JSON.parse(shown), {
    discovery: { consul: { token: "[redacted]" } },
    upstreams: { orders: { options: { retries: { attempts: 2 }, timeouts: { requestMs: 15_000 } } } },
  });
});

test("what a web page could send in an operator's browser is refused", async (t) => {
  const { addresses } = await startInProcess(t, "upstreams: { orders: { endpoints: [127.0.0.1:1] } }");
  const { port } = addresses.admin;
  const ask = async (text: string) =>
    (await exchangeBytes(t, port, `${text}Connection: close\r\n\r\n`)).slice(9, 12);
  t.equal(
    await ask("GET /config HTTP/1.1\r\nHost: evil.example\r\n"),
    "403",
    "a name that leads to loopback",
  );
  t.equal(await ask(`GET /config HTTP/1.1\r\nHost: localhost:${port}\r\n`), "200");
  t.equal(await ask(`GET /config HTTP/1.1\r\nHost: [::1]:${port}\r\n`), "200");
  const origin = `POST /log-level?level=info HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Length: 0\r\n`;
  t.equal(await ask(`${origin}Origin: http://evil.example\r\n`), "403");
  t.equal(await ask(origin), "200");
});

test("a start waits for the first word of discovery, but not for ever", async (t) => {
  const silent = await rawEndpoint(t);
  const { addresses } = await startInProcess(
    t,
    `discovery: { consul: { address: "http://${silent.address}" } }\nupstreams: { orders: { follow: always } }`,
  );
  t.equal((await fetch(`http://127.0.0.1:${addresses.admin.port}/ready`)).status, 200);
  t.ok(silent.connections.length >= 1, "the registry had been asked by then");
});

test("/endpoints shows what is known of each endpoint", async (t) => {
  const fine = await rawEndpoint(t, answering(textAnswer("ok")));
  const gone = await rawEndpoint(t);
  await gone.kill();
  const { addresses, admin } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${fine.address}", { address: "${gone.address}", weight: 2, zone: b }], balancing: { algorithm: roundRobin } } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  for (let i = 0; i < 20; i++) {
    client.send(GET);
    await client.until(/ok$/);
    client.take();
  }
  const { orders: seen } = JSON.parse(await admin("/endpoints"));
  t.match(seen.sources, [{ source: "static", state: "current" }]);
  const orders = seen.endpoints;
  t.match(orders[0], {
    address: fine.address,
    health: "passing",
    used: true,
    source: "static",
    weight: 1,
    breaker: "closed",
    inFlight: 0,
  });
  t.match(orders[1], { address: gone.address, weight: 2, zone: "b", breaker: "open" });
  t.ok(orders[1].opensForMs > 0 && orders[1].opensForMs <= 5000 * 1.25);
  t.ok(orders[1].latencyMs > orders[0].latencyMs, "a failure counts as slow");
});

test("/requests shows each request as a coroutine: what it waits for, and for how long", async (t) => {
  const silent = await rawEndpoint(t);
  const { addresses, admin } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${silent.address}"], limits: { requests: 2, connections: 1 } } }`,
  );
  const clients = [];
  for (let i = 0; i < 3; i++) {
    const client = await rawClient(t, addresses.outbound.port);
    client.send(GET);
    clients.push(client);
    // Each is in its place before the next one comes.
    while (JSON.parse(await admin("/requests")).length < i + 1);
  }
  await (await silent.accepted(0)).until(/\r\n\r\n$/);
  const requests = JSON.parse(await admin("/requests"));
  t.match(requests, [
    { state: "suspended", on: "response", request: "GET orders/path", endpoint: silent.address, attempts: 1 },
    { state: "suspended", on: "connection" },
    { state: "suspended", on: "queue", attempts: 0 },
  ]);
  t.notMatch(JSON.stringify(requests), /secret/, "the query is not shown");
  for (const { socket } of clients) socket.destroy();
});

test("the log level changes on the spot, the access log stays, and both end up whole on standard output", async (t) => {
  const endpoint = await rawEndpoint(t, answering(textAnswer("ok")));
  const sidecar = await startSidecar(t, {
    upstreams: { orders: { endpoints: [endpoint.address] } },
    shutdown: { grace: "1s" },
  });
  t.equal((await sidecar.admin.ask("/log-level?level=loud", "POST")).status, 400);
  t.equal((await sidecar.admin.ask("/log-level?level=silent", "POST")).text, "silent\n");
  const client = await rawClient(t, sidecar.addresses.outbound.port);
  const requests = 500;
  for (let i = 0; i < requests; i++) {
    client.send(GET);
    await client.until(/ok$/);
    client.take();
  }
  client.socket.destroy();
  t.equal(await sidecar.end(), 0);
  const lines = sidecar.records.filter(({ msg }) => msg === "request");
  t.equal(lines.length, requests, "no line is lost when the process ends");
  t.match(lines[0], {
    level: "info",
    direction: "outbound",
    method: "GET",
    path: "/path",
    status: 200,
    upstream: "orders",
    endpoint: endpoint.address,
    attempts: 1,
    responseBytes: 2,
  });
  t.ok(
    Number(lines[1]!["upstreamMs"]) > 0 && Number(lines[1]!["proxyMs"]) >= 0,
    "time upstream apart from time in the proxy",
  );
  t.notOk(
    sidecar.records.some(({ msg }) => msg === "drained"),
    "the log itself was silent",
  );
});

test("/stack has a layer wherever any upstream has it, and where it stands", async (t) => {
  const { admin } = await startInProcess(
    t,
    `upstreams:
  orders: { endpoints: [127.0.0.1:1] }
  stock: { endpoints: [127.0.0.1:1], hedge: {}, faults: [{ kind: reset }] }
  asked: { endpoints: [127.0.0.1:1], balancing: { algorithm: prequal } }`,
  );
  const { upstream, endpoint } = JSON.parse(await admin("/stack"));
  t.same(upstream, ["deadline", "postponed-faults", "limit", "retry", "hedge", "balance"]);
  t.same(endpoint, ["load", "heard-load", "breaker", "forward"]);
});
