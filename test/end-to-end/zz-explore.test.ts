import { test } from "tap";
import { startInProcess } from "../support/in-process.ts";
import { rawClient, rawEndpoint } from "../support/raw.ts";
import { orders, switching } from "../support/web-sockets.ts";
test("x", async (t) => {
  const endpoint = await rawEndpoint(t);
  const heddle = await startInProcess(t, orders([endpoint.address]));
  const client = await rawClient(t, heddle.addresses.outbound.port);
  client.send(
    "GET //a/%2e%2e/./b?x=//y HTTP/1.1\r\nHost: Orders:80\r\nX-UPPER: One\r\nx-lower:two \r\nconnection: keep-alive, X-Hop, upgrade\r\n" +
      "X-Hop: gone\r\nTE: trailers\r\nx-twice: 1\r\nAuthorization: a\r\nX-Twice: 2\r\nauthorization: b\r\nCookie: c=1\r\nCookie: d=2\r\nUpgrade: WebSocket\r\nX-Latin: \xe4\xff\tz\r\nx-empty:\r\n__proto__: p\r\nX-Request-Id: abc-1\r\nX-Forwarded-For: 9.9.9.9\r\nVia: 1.0 before\r\nContent-Length: 0\r\nProxy-Connection: q\r\nKeep-Alive: timeout=4\r\n\r\n",
  );
  const server = await endpoint.accepted(0);
  await server.until(/\r\n\r\n$/);
  console.error(server.received);
  server.send(switching("WebSocket", "Set-Cookie: a", "set-cookie: b", "X-Hop: 1", "Sec-WebSocket-Accept: zz", "Content-Length: 5", "X-Empty:", "Keep-Alive: timeout=3", "Date: x").replace("Connection: Upgrade", "Connection: upgrade, x-hop"));
  await client.until(/\r\n\r\n$/);
  console.error(client.received);
});
test("101 without", async (t) => {
  for (const head of ["HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\n","HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n", "HTTP/1.1 101 S\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 S\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n", "HTTP/1.1 204 No\r\n\r\n", "HTTP/1.1 304 No\r\nContent-Length: 4\r\n\r\n", "HTTP/1.1 426 Up\r\nUpgrade: other\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 200 OK\r\nUpgrade: echo\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno"]) {
  const endpoint = await rawEndpoint(t);
  const heddle = await startInProcess(t, orders([endpoint.address], "retries: {attempts: 0}, timeouts: {attempt: 500ms}"));
  const client = await rawClient(t, heddle.addresses.outbound.port);
  client.send("GET / HTTP/1.1\r\nHost: orders\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
  const server = await endpoint.accepted(0);
  await server.until(/\r\n\r\n$/);
  server.send(head);
  client.send("GET /2 HTTP/1.1\r\nHost: nobody\r\nConnection: close\r\n\r\n");
  await new Promise((r) => setTimeout(r, 700));
  console.error(head, "->", client.received);
  console.error(await heddle.metric("heddle_attempts_total", {outcome: "success"}), heddle.access);
  client.socket.destroy();
  }
});
