import { once } from "node:events";
import { Agent } from "node:http";
import { type Test, test } from "tap";
import { call } from "../support/apps.ts";
import { startInProcess } from "../support/in-process.ts";
import { answering, type RawEndpoint, rawClient, rawEndpoint, textAnswer } from "../support/raw.ts";
import {
  asking,
  connected,
  echo,
  message,
  nothingLeft,
  orders,
  switched,
  switching,
  webSocketClient,
  webSocketEndpoint,
} from "../support/web-sockets.ts";

test("the request to switch arrives as it was asked: its path byte for byte, its fields in order, case and number", async (t) => {
  const endpoint = await rawEndpoint(t);
  const { addresses } = await startInProcess(t, orders([endpoint.address]));
  const client = await rawClient(t, addresses.outbound.port);
  client.send(
    "GET //a/%2e%2e/./b?x=//y?http:/z HTTP/1.1\r\nHost: Orders:80\r\nX-UPPER: One\r\nx-lower:two \r\n" +
      "connection: keep-alive, X-Hop, upgrade\r\nX-Hop: gone\r\nTE: trailers\r\nKeep-Alive: timeout=4\r\n" +
      "Proxy-Connection: keep-alive\r\nX-Twice: 1\r\nX-Twice: 2\r\nUpgrade: WebSocket\r\nX-Latin: \xe4\xff\tz\r\n" +
      "x-empty:\r\n__proto__: p\r\nSec-WebSocket-Key: k==\r\nX-Request-Id: abc-1\r\nX-Forwarded-For: 9.9.9.9\r\n" +
      "Via: 1.0 before\r\nContent-Length: 0\r\n\r\n",
  );
  const server = await endpoint.accepted(0);
  t.equal(
    (await server.until(/\r\n\r\n$/)).replace(/(Timeout-Ms: )\d+/, "$1N"),
    "GET //a/%2e%2e/./b?x=//y?http:/z HTTP/1.1\r\nHost: Orders:80\r\nX-UPPER: One\r\nx-lower: two\r\n" +
      "X-Twice: 1\r\nX-Twice: 2\r\nX-Latin: \xe4\xff\tz\r\nx-empty: \r\n__proto__: p\r\nSec-WebSocket-Key: k==\r\n" +
      "X-Request-Id: abc-1\r\nX-Forwarded-For: 9.9.9.9, 127.0.0.1\r\nX-Forwarded-Proto: http\r\n" +
      "X-Forwarded-Host: Orders:80\r\nX-Heddle-Timeout-Ms: N\r\nVia: 1.0 before, 1.1 heddle\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
  );
  server.send(
    "HTTP/1.1 101 Here You Go\r\nconnection: upgrade, X-Hop\r\nX-Hop: gone\r\nupgrade: WebSocket\r\nSet-Cookie: a\r\n" +
      "set-cookie: b\r\nKeep-Alive: timeout=3\r\nX-Empty:\r\nSec-WebSocket-Accept: zz\r\n\r\n",
  );
  t.equal(
    await client.until(/\r\n\r\n$/),
    "HTTP/1.1 101 Here You Go\r\nSet-Cookie: a\r\nset-cookie: b\r\nX-Empty: \r\nSec-WebSocket-Accept: zz\r\n" +
      "Via: 1.1 heddle\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n",
  );
});

test("whatever a field of a plain request may say, it may say in a request to switch", async (t) => {
  const endpoint = await rawEndpoint(t);
  const { addresses } = await startInProcess(t, orders([endpoint.address]));
  const client = await rawClient(t, addresses.outbound.port);
  const text = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte)).join("");
  const value = `v${text.replace(/[\0-\x08\n-\x1f\x7f]/g, "")}v`;
  const target = `/${text.slice(33, 127).replace("#", "")}`;
  const name = "!#$%&'*+-.^_`|~09AZaz";
  client.send(asking("echo", `${name}: ${value}`).replace("GET / ", `GET ${target} `));
  const server = await endpoint.accepted(0);
  const arrived = await server.until(/\r\n\r\n$/);
  t.ok(arrived.startsWith(`GET ${target} HTTP/1.1\r\n`), "the target");
  t.ok(arrived.includes(`\r\n${name}: ${value}\r\n`), "the field");
});

test("no field that Node's client takes a special interest in gets in the way, nor one that comes twice", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then(() => connection.send(switching()));
  });
  const heddle = await startInProcess(t, orders([endpoint.address]));
  const names =
    "Trailer Date Age Cookie Set-Cookie Authorization Proxy-Authorization Content-Type Content-Encoding Expires From " +
    "If-Modified-Since Last-Modified Location Max-Forwards Referer Retry-After Server User-Agent Origin Accept " +
    "Strict-Transport-Security HTTP2-Settings Proxy-Connection Keep-Alive Sec-WebSocket-Key Content-Length";
  for (const name of names.split(" ")) {
    const value = name === "Content-Length" ? "0" : "X-Some, thing=1";
    const client = await rawClient(t, heddle.addresses.outbound.port);
    client.send(asking("echo", `${name}: ${value}`, ...(value === "0" ? [] : [`${name}: ${value}`])));
    t.match(await client.until(/\r\n\r\n/), /^HTTP\/1.1 101 /, name);
    client.socket.resetAndDestroy();
  }
  await nothingLeft(t, heddle);
});

/** Sends it, and checks that it is answered like any other request, and that nobody has heard of a switch. */
async function ignored(t: Test, endpoint: RawEndpoint, port: number, request: string): Promise<void> {
  const name = request.slice(0, 200).replace(/\r\n/g, " ");
  const client = await rawClient(t, port);
  client.send(request);
  t.match(await client.until(/fine(?:\r\n0\r\n\r\n)?$/), /^HTTP\/1.1 200 /, name);
  const { received } = endpoint.connections.at(-1)!;
  t.notMatch(received, /^(?:upgrade|http2-settings|connection):/im, "the endpoint has not been asked");
  client.socket.destroy();
}

test("a switch that is not asked for in due form, or not allowed, is not heard: the request is answered without", async (t) => {
  const heads: string[] = [];
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.socket.on("data", () => {
      if (!/\r\n\r\n(?:body)?$/.test(connection.received) || heads.at(-1) === connection.received) return;
      heads.push(connection.received);
      connection.send(textAnswer("fine", "HTTP/1.1 200 OK\r\nConnection: close\r\n"));
    });
  });
  const { addresses } = await startInProcess(t, orders([endpoint.address]));
  const { port } = addresses.outbound;
  const plain = (...fields: readonly string[]) => asking("websocket", ...fields);
  await ignored(t, endpoint, port, asking("other"));
  await ignored(
    t,
    endpoint,
    port,
    asking("h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA").replace(
      "Upgrade\r",
      "Upgrade, HTTP2-Settings\r",
    ),
  );
  await ignored(t, endpoint, port, asking("websocket, h2c"));
  await ignored(t, endpoint, port, asking("h2c, websocket"));
  await ignored(t, endpoint, port, asking("websocket", "Upgrade: echo"));
  await ignored(t, endpoint, port, asking("web socket"));
  await ignored(t, endpoint, port, asking(""));
  await ignored(t, endpoint, port, plain().replace("Connection: Upgrade\r\n", ""));
  await ignored(t, endpoint, port, plain().replace("Connection: Upgrade\r\n", "Connection: keep-alive\r\n"));
  await ignored(t, endpoint, port, plain().replace("HTTP/1.1", "HTTP/1.0"));
  await ignored(t, endpoint, port, plain().replace("GET", "PATCH"));
  await ignored(t, endpoint, port, `${plain("Content-Length: 4").replace("GET", "POST")}body`);
  await ignored(t, endpoint, port, `${plain("Content-Length: 4")}body`);
  t.equal(heads.length, 13);
  t.equal(endpoint.connections.length, 13, "and none was sent twice");
});

test("where no protocol is allowed, a WebSocket client is told so by its endpoint", async (t) => {
  const endpoint = await rawEndpoint(t, answering(textAnswer("no such thing", "HTTP/1.1 404 Not Found\r\n")));
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const client = webSocketClient(t, addresses.outbound.port);
  const [, answer] = await once(client, "unexpected-response");
  t.equal(answer.statusCode, 404);
});

test("inbound, a peer's WebSocket reaches the app where inbound.upgrades allows it", async (t) => {
  const app = await webSocketEndpoint(t, (client, path) => {
    client.send(`asked for ${path}`);
    echo(client);
  });
  const service = `service: { name: web, port: ${app.port} }`;
  const open = await startInProcess(t, `${service}\ninbound: { listen: 127.0.0.1:0, upgrades: [websocket] }`);
  const client = webSocketClient(t, open.addresses.inbound!.port, { host: "web", path: "//live?a=b" });
  t.equal(await message(client), "asked for //live?a=b");
  client.send("hello");
  t.equal(await message(client), "hello");
  t.equal(await open.metric("heddle_requests_in_flight", { direction: "inbound" }), 1);
  client.close();
  await once(client, "close");
  t.match(await open.logged(() => true), { direction: "inbound", status: 101 });
  await nothingLeft(t, open);

  const shut = await startInProcess(t, service);
  const refused = webSocketClient(t, shut.addresses.inbound!.port, { host: "web" });
  const [, answer] = await once(refused, "unexpected-response");
  t.equal(answer.statusCode, 426, "by the app, which was asked a plain question");
});

test("a route and an upstream's own port lead to its tunnels, too", async (t) => {
  const endpoint = await webSocketEndpoint(t, (client, path) => client.send(path));
  const { addresses } = await startInProcess(
    t,
    `${orders([endpoint.address], "localPort: 0")}\nroutes: [{ match: { host: shop, pathPrefix: /live }, to: [{ upstream: orders, weight: 1 }] }]`,
  );
  const routed = webSocketClient(t, addresses.outbound.port, { host: "shop", path: "/live/1" });
  t.equal(await message(routed), "/live/1");
  const local = webSocketClient(t, addresses.localPorts["orders"]!.port, { host: "whatever", path: "/2" });
  t.equal(await message(local), "/2");
});

test("an endpoint's refusal reaches the caller with its body, however that is framed, and the connection serves on", async (t) => {
  const long = "no ".repeat(100_000);
  const refusals: readonly { readonly fields: string; readonly wire: string; readonly body: string }[] = [
    { fields: `Content-Length: ${long.length}`, wire: long, body: long },
    { fields: "Content-Length: 2", wire: "no", body: "no" },
    { fields: "Content-Length: 0", wire: "", body: "" },
    { fields: "Transfer-Encoding: chunked", wire: "2\r\nno\r\n7\r\n, never\r\n0\r\n\r\n", body: "no, never" },
    { fields: "X-Ends: with the connection", wire: long, body: long },
    { fields: "Connection: Upgrade\r\nUpgrade: other\r\nContent-Length: 2", wire: "no", body: "no" },
    { fields: "Connection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 2", wire: "no", body: "no" },
  ];
  let refusal = refusals[0]!;
  const endpoint = await rawEndpoint(t, (connection) => {
    const answer = (head: string) => {
      if (!head.includes("Upgrade: echo")) {
        connection.send(textAnswer("plain"));
        return;
      }
      const { fields, wire } = refusal;
      connection.send(`HTTP/1.1 403 Not You\r\nX-Why: because\r\n${fields}\r\n\r\n${wire.slice(0, 1)}`);
      // The rest in packets of its own.
      setImmediate(() => {
        connection.send(wire.slice(1));
        if (fields.startsWith("X-Ends")) connection.socket.end();
      });
    };
    connection.socket.on("data", () => {
      if (connection.received.endsWith("\r\n\r\n")) answer(connection.take());
    });
  });
  const heddle = await startInProcess(t, orders([endpoint.address]));
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const { port } = heddle.addresses.outbound;
  for (refusal of refusals) {
    const headers = { connection: "Upgrade", upgrade: "echo" };
    const { status, headers: told, body } = await call(port, "orders", { agent, headers });
    t.match({ status, why: told["x-why"] }, { status: 403, why: "because" }, refusal.fields);
    t.ok(body === refusal.body, `the body, ${body.length} of ${refusal.body.length} bytes`);
    if (refusal.fields.includes("Content-Length")) t.equal(told["content-length"], `${refusal.body.length}`);
    t.equal(told.upgrade, undefined, "of a switch nothing is said");
    t.equal((await call(port, "orders", { agent })).body, "plain");
  }
  t.equal(heddle.sidecar.listeners[0]!.connections, 1, "all on one connection");
  t.equal(await heddle.metric("heddle_attempts_total", { outcome: "success" }), refusals.length * 2);
  t.match(heddle.access[0], { status: 403, cause: undefined, attempts: 1, responseBytes: long.length });
  agent.destroy();
  await nothingLeft(t, heddle);
});

test("a refusal without a body has none", async (t) => {
  const statuses = ["204 Nothing", "304 Not Modified\r\nETag: x\r\nContent-Length: 7"];
  const endpoint = await rawEndpoint(
    t,
    answering(() => `HTTP/1.1 ${statuses[0]}\r\n\r\n`),
  );
  const heddle = await startInProcess(t, orders([endpoint.address]));
  const client = await rawClient(t, heddle.addresses.outbound.port);
  while (statuses.length > 0) {
    client.send(asking());
    t.match(await client.until(/\r\n\r\n$/), new RegExp(`^HTTP/1.1 ${statuses[0]!.slice(0, 3)} `));
    client.take();
    statuses.shift();
  }
  t.equal(await heddle.metric("heddle_attempts_total", { outcome: "success" }), 2, "they are whole answers");
  client.socket.destroy();
  await nothingLeft(t, heddle);
});

test("a switch comes after any interim answers", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    connection
      .until(/\r\n\r\n/)
      .then(() => connection.send(`HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${switching()}at once`));
  });
  const { addresses } = await startInProcess(t, orders([endpoint.address]));
  const client = await switched(t, addresses.outbound.port);
  await client.until(/^at once$/);
  t.equal(client.received, "at once");
});

test("a caller asks for a switch on a connection that it has used before, and what follows is the tunnel's", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.socket.on("data", () => {
      const head = /^.*?\r\n\r\n/s.exec(connection.received)?.[0];
      if (head === undefined) return;
      if (!head.includes("Upgrade: echo")) connection.take();
      connection.send(head.includes("Upgrade: echo") ? switching() : textAnswer("plain"));
    });
  });
  const heddle = await startInProcess(t, orders([endpoint.address]));
  const client = await rawClient(t, heddle.addresses.outbound.port);
  const plain = "GET / HTTP/1.1\r\nHost: orders\r\n\r\n";
  client.send(`${plain}${plain}${asking()}${plain}`);
  await client.until(/plain.*plain.*HTTP\/1.1 101 .*\r\n\r\n/s);
  await endpoint.connections.at(-1)!.until((received) => received.endsWith(`\r\n\r\n${plain}`));
  t.equal(heddle.sidecar.listeners[0]!.begun, 3, "what looks like a fourth is none");
  client.socket.resetAndDestroy();
  await nothingLeft(t, heddle);
});

test("clients of ws are refused in words that they understand", async (t) => {
  const endpoint = await webSocketEndpoint(t, echo, {
    verifyClient: (_: unknown, done: (ok: boolean, status: number, text: string) => void) =>
      done(false, 401, "who are you?"),
  });
  const { addresses } = await startInProcess(t, orders([endpoint.address]));
  const client = webSocketClient(t, addresses.outbound.port);
  const [, answer] = await once(client, "unexpected-response");
  t.equal(answer.statusCode, 401);
  let body = "";
  for await (const part of answer.setEncoding("utf8")) body += part;
  t.equal(body, "who are you?");
  await t.rejects(connected(t, addresses.outbound.port), { message: /401/ });
});
