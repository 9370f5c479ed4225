import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { type Test, test } from "tap";
import { startInProcess } from "../support/in-process.ts";
import { exchangeBytes, RawConnection } from "../support/raw.ts";

/** An app that says what it is asked. */
async function app(t: Test, status: () => number) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers.host}`);
    response.writeHead(status()).end();
  }).listen(0, "127.0.0.1");
  t.teardown(() => server.close());
  await once(server, "listening");
  return { asked, server, port: (server.address() as AddressInfo).port };
}

test("the health port shows /live and /ready, and asks the app only what the configuration names", async (t) => {
  let status = 302;
  const { asked, port, server } = await app(t, () => status);
  const { addresses, sidecar } = await startInProcess(
    t,
    `
service: { name: web, port: ${port} }
health:
  listen: 127.0.0.1:0
  probes:
    - { path: /app-health/web/readiness, port: ${port}, target: "/ready?full=1", host: web.internal }
    - { path: /app-health/web/liveness, port: ${port}, type: tcp }
    - { path: /app-health/web/startup, port: ${port}, type: grpc }
`,
  );
  const url = `http://127.0.0.1:${addresses.health!.port}`;
  const ask = async (path: string, method = "GET") => {
    const answer = await fetch(url + path, { method, redirect: "manual" });
    return [answer.status, (await answer.text()).trim()];
  };
  t.same(await ask("/live"), [200, "live"]);
  t.same(await ask("/ready"), [200, "ready"]);
  t.same(await ask("/app-health/web/readiness"), [200, "302"], "as the kubelet counts");
  t.same(asked, ["GET /ready?full=1 web.internal"]);
  status = 500;
  t.same(await ask("/app-health/web/readiness"), [503, "500"]);
  t.same(await ask("/app-health/web/liveness"), [200, "connected"]);
  t.equal((await ask("/app-health/web/startup"))[0], 503, "the app does not speak gRPC");
  for (const path of ["/", "/config", "/drain", "/app-health/web", "/app-health/other/readiness", "//live"])
    t.equal((await ask(path))[0], 404, path);
  for (const method of ["POST", "DELETE", "PUT"]) t.equal((await ask("/ready", method))[0], 405, method);
  server.close();
  server.closeAllConnections();
  await once(server, "close");
  t.same(await ask("/app-health/web/liveness"), [503, "ECONNREFUSED"]);
  await sidecar.leave();
  t.same(await ask("/ready"), [503, "leaving"]);
  t.same(await ask("/live"), [200, "live"]);
});

test("whoever asks while the app is being asked hears the same answer, so that callers cannot multiply the questions", async (t) => {
  let questions = 0;
  const server = createServer((_, response) => {
    questions++;
    response.end();
  }).listen(0, "127.0.0.1");
  t.teardown(() => server.close());
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const { addresses } = await startInProcess(
    t,
    `
upstreams: { orders: { endpoints: [127.0.0.1:1] } }
health: { listen: 127.0.0.1:0, probes: [{ path: /app, port: ${port}, timeout: 1m }] }
`,
  );
  // In one packet, so that all of them are read before any of them is answered.
  const ask = (more = "") => `GET /app HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`;
  const answers = await exchangeBytes(
    t,
    addresses.health!.port,
    ask().repeat(7) + ask("Connection: close\r\n"),
  );
  t.equal(answers.split("HTTP/1.1 200 OK").length - 1, 8);
  t.equal(questions, 1);
});

test("without health there is no such port, and a port that is taken is a start that fails", async (t) => {
  const { addresses } = await startInProcess(t, "upstreams: { orders: { endpoints: [127.0.0.1:1] } }");
  t.equal(addresses.health, undefined);
  const { port } = await app(t, () => 200);
  await t.rejects(
    startInProcess(
      t,
      `upstreams: { orders: { endpoints: [127.0.0.1:1] } }\nhealth: { listen: 127.0.0.1:${port} }`,
    ),
    { code: "EADDRINUSE" },
  );
});

test("whoever holds as many connections as there may be does not keep the kubelet out", async (t) => {
  const { addresses } = await startInProcess(
    t,
    "service: { name: web, port: 1 }\nhealth: { listen: 127.0.0.1:0 }",
  );
  const { port } = addresses.health!;
  const holding = Array.from({ length: 300 }, () =>
    connect({ port, host: "127.0.0.1" }).on("error", () => {}),
  );
  t.teardown(() => {
    for (const socket of holding) socket.destroy();
  });
  await Promise.all(holding.map((socket) => once(socket, "connect")));
  t.equal((await fetch(`http://127.0.0.1:${port}/live`)).status, 200);
});

test("a thousand requests in one packet are not kept waiting in memory: the connection is closed", async (t) => {
  const { addresses } = await startInProcess(
    t,
    "service: { name: web, port: 1 }\nhealth: { listen: 127.0.0.1:0 }",
  );
  const { port } = addresses.health!;
  const ask = "GET /live HTTP/1.1\r\nHost: a\r\n\r\n";
  const few = new RawConnection(connect({ port, host: "127.0.0.1" }));
  t.teardown(() => few.socket.destroy());
  few.send(ask.repeat(16));
  await few.until((received) => received.split("HTTP/1.1 200").length === 17);
  const many = new RawConnection(connect({ port, host: "127.0.0.1" }));
  many.send(ask.repeat(1_000));
  t.ok((await many.untilEnd()).split("HTTP/1.1 200").length <= 17);
  t.equal((await fetch(`http://127.0.0.1:${port}/live`)).status, 200);
});
