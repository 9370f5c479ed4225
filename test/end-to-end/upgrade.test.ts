import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { test } from "tap";
import type { WebSocket } from "ws";
import { startInProcess } from "../support/in-process.ts";
import { rawClient, rawEndpoint } from "../support/raw.ts";
import { startSidecar } from "../support/sidecar.ts";
import {
  asking,
  closed,
  connected,
  echo,
  message,
  nothingLeft,
  orders,
  socketOf,
  switched,
  switching,
  webSocketEndpoint,
} from "../support/web-sockets.ts";

const MIB = 1024 * 1024;

test("text and binary messages of every size pass both ways, alone and many at once", async (t) => {
  const endpoint = await webSocketEndpoint(t, echo);
  const heddle = await startInProcess(t, orders([endpoint.address]));
  const client = await connected(t, heddle.addresses.outbound.port);
  for (const size of [0, 1, 125, 126, 65_535, 65_536, MIB]) {
    const text = "ä".repeat(size / 2) + "x".repeat(size % 2);
    client.send(text);
    t.equal(await message(client), text, `${size} bytes of text`);
    const bytes = randomBytes(size);
    client.send(bytes);
    t.same(await message(client), bytes, `${size} bytes`);
  }
  const many = Array.from({ length: 500 }, (_, i) => `${i} ${"y".repeat((i * 37) % 3000)}`);
  const echoed: string[] = [];
  const all = new Promise<void>((resolve) => {
    client.on("message", (text) => {
      if (echoed.push(String(text)) === many.length) resolve();
    });
  });
  for (const text of many) client.send(text);
  await all;
  t.same(echoed, many, "in order");
  client.close();
  await closed(client);
  await nothingLeft(t, heddle);
});

test("either side may ping, and is answered by the other", async (t) => {
  const endpoint = await webSocketEndpoint(t);
  const { addresses } = await startInProcess(t, orders([endpoint.address]));
  const client = await connected(t, addresses.outbound.port);
  const server = await endpoint.accepted(0);
  for (const [from, to] of [
    [client, server],
    [server, client],
  ] as const) {
    const heard = once(to, "ping");
    from.ping("are you there?");
    const [answer] = await once(from, "pong");
    t.equal(String(answer), "are you there?");
    t.equal(String((await heard)[0]), "are you there?");
  }
});

test("compression and subprotocol are between the two ends", async (t) => {
  const endpoint = await webSocketEndpoint(t, echo, {
    perMessageDeflate: { threshold: 0 },
    handleProtocols: (asked) => (asked.has("v2.orders") ? "v2.orders" : false),
  });
  const { addresses, logged } = await startInProcess(t, orders([endpoint.address]));
  const settings = { perMessageDeflate: { threshold: 0 }, protocols: ["v1.orders", "v2.orders"] };
  const client = await connected(t, addresses.outbound.port, settings);
  t.match(client.extensions, /permessage-deflate/);
  t.equal(client.protocol, "v2.orders");
  const text = "again and again ".repeat(20_000);
  client.send(text);
  t.equal(await message(client), text);
  client.close();
  await closed(client);
  const { responseBytes } = await logged(({ status }) => status === 101);
  t.ok(Number(responseBytes) < 10_000, `${responseBytes} bytes of ${text.length} came back`);
});

test("a Close passes with its code and its reason, from whichever side it comes", async (t) => {
  const endpoint = await webSocketEndpoint(t);
  const heddle = await startInProcess(t, orders([endpoint.address]));
  const endings: readonly { readonly close: [code?: number, reason?: string]; readonly seen: string }[] = [
    { close: [1000], seen: "1000" },
    { close: [4001, "go away"], seen: "4001 go away" },
    { close: [], seen: "1005" },
  ];
  let number = 0;
  for (const { close, seen } of endings)
    for (const byClient of [true, false]) {
      const client = await connected(t, heddle.addresses.outbound.port);
      const server = await endpoint.accepted(number++);
      const both = Promise.all([closed(client), closed(server)]);
      (byClient ? client : server).close(...close);
      t.same(await both, [seen, seen], `${seen} by the ${byClient ? "client" : "server"}`);
    }
  await nothingLeft(t, heddle);
  t.equal(await heddle.metric("heddle_requests_total", { status: "101", cause: "" }), number, "no accident");
  t.equal(await heddle.metric("heddle_attempts_total", { outcome: "success" }), number);
});

test("what ends without a Close is an accident to the other side, and nothing is left of it", async (t) => {
  const endpoint = await webSocketEndpoint(t);
  const heddle = await startInProcess(t, orders([endpoint.address]));
  const accidents: readonly ((peer: WebSocket) => void)[] = [
    (peer) => peer.terminate(),
    (peer) => socketOf(peer).resetAndDestroy(),
    (peer) => socketOf(peer).end(),
  ];
  let number = 0;
  for (const accident of accidents)
    for (const byClient of [true, false]) {
      const client = await connected(t, heddle.addresses.outbound.port);
      const server = await endpoint.accepted(number++);
      const both = Promise.all([closed(client), closed(server)]);
      accident(byClient ? client : server);
      t.same(await both, ["1006", "1006"], `${accident} by the ${byClient ? "client" : "server"}`);
      await nothingLeft(t, heddle);
    }
});

test("an open tunnel is seen as a request in flight, as a connection and as load of its endpoint", async (t) => {
  const endpoint = await webSocketEndpoint(t, echo);
  const heddle = await startInProcess(t, orders([endpoint.address]));
  const client = await connected(t, heddle.addresses.outbound.port, { path: "/live?token=secret" });
  const { admin, metric } = heddle;
  t.equal(await metric("heddle_connections", { direction: "outbound" }), 1);
  t.equal(await metric("heddle_requests_in_flight", { direction: "outbound" }), 1);
  t.equal(await metric("heddle_pool_connections", { state: "busy" }), 1);
  t.equal(await metric("heddle_requests_total"), 0, "it is not over");
  t.match(JSON.parse(await admin("/requests")), [
    { state: "suspended", on: "transfer", request: "GET orders/live", endpoint: endpoint.address },
  ]);
  t.match(JSON.parse(await admin("/endpoints")), { orders: { endpoints: [{ inFlight: 1 }] } });
  client.send("12345");
  await message(client);
  client.close(1000);
  await closed(client);
  t.match(await heddle.logged(() => true), {
    status: 101,
    cause: undefined,
    attempts: 1,
    responseBytes: 7 + 4,
  });
  await nothingLeft(t, heddle);
});

test("either side of a raw protocol may end while the other still speaks", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then(() => connection.send(switching()));
  });
  const heddle = await startInProcess(t, orders([endpoint.address]));
  const client = await switched(t, heddle.addresses.outbound.port);
  const server = endpoint.connections[0]!;
  client.send("the last of the client");
  client.socket.end();
  t.match(await server.untilEnd(), /\r\n\r\nthe last of the client$/);
  server.send("and ");
  await client.until(/^and $/);
  server.send("the server goes on");
  server.socket.end();
  t.equal(await client.untilEnd(), "and the server goes on");
  await nothingLeft(t, heddle);

  const second = await switched(t, heddle.addresses.outbound.port);
  const other = endpoint.connections[1]!;
  other.take();
  other.send("the last of the server");
  other.socket.end();
  t.equal(await second.untilEnd(), "the last of the server");
  second.send("and ");
  await other.until(/^and $/);
  second.send("the client goes on");
  second.socket.end();
  while (!other.received.endsWith("goes on")) await once(other.socket, "data");
  t.equal(other.received, "and the client goes on");
  await nothingLeft(t, heddle);
  t.equal(await heddle.metric("heddle_requests_total", { status: "101", cause: "" }), 2);
});

test("bytes that come before their time, with the request or with the 101, come first and once", async (t) => {
  const endpoint = await rawEndpoint(t);
  const heddle = await startInProcess(t, orders([endpoint.address]));
  const client = await rawClient(t, heddle.addresses.outbound.port);
  client.send(`${asking()}with the head`);
  const server = await endpoint.accepted(0);
  await server.until(/\r\n\r\n$/);
  const early = ", before the 101".repeat(10_000);
  client.send(early);
  // However long it waits, an endpoint that has not switched sees nothing of it.
  await heddle.admin("/live");
  t.match(server.take(), /\r\n\r\n$/);
  server.send(`${switching()}with the 101`);
  await client.until(/\r\n\r\nwith the 101$/);
  client.send(", after it");
  await server.until(/, after it$/);
  t.equal(server.received, `with the head${early}, after it`);
  client.socket.end();
  server.socket.end();
  await client.untilEnd();
  await nothingLeft(t, heddle);
});

/** Writes blocks at the reader's pace until so many bytes are written or the connection ends; tells how many. */
function flood(socket: Socket, bytes: number): { readonly written: number; readonly hash: Promise<string> } {
  const state = { written: 0, hash: Promise.resolve("") };
  const block = randomBytes(64 * 1024);
  const hash = createHash("sha1");
  state.hash = (async () => {
    while (state.written < bytes) {
      block.writeUInt32BE(state.written, 0);
      hash.update(block);
      state.written += block.length;
      if (!socket.write(Buffer.from(block))) await once(socket, "drain");
    }
    return hash.digest("hex");
  })();
  state.hash.catch(() => {});
  return state;
}

/** The hash of the next so many bytes. */
function drink(socket: Socket, bytes: number): Promise<string> {
  const hash = createHash("sha1");
  let left = bytes;
  return new Promise((resolve) => {
    socket.on("data", (chunk) => {
      hash.update(chunk);
      left -= chunk.length;
      if (left <= 0) resolve(left === 0 ? hash.digest("hex") : `${-left} bytes too many`);
    });
    socket.resume();
  });
}

for (const [way, toServer] of [
  ["client", true],
  ["server", false],
] as const)
  test(`64 MiB of a ${way} wait while the other side does not read, heddle does not grow, and all arrive`, async (t) => {
    const bytes = 64 * MIB;
    const endpoint = await rawEndpoint(t, (connection) => {
      connection.until(/\r\n\r\n/).then(() => {
        connection.socket.removeAllListeners("data");
        connection.socket.pause();
        connection.send(switching());
      });
    });
    const { addresses, admin } = await startSidecar(t, {
      upstreams: { orders: { endpoints: [endpoint.address], upgrades: ["echo"] } },
      telemetry: { accessLog: false },
    });
    const client = await switched(t, addresses.outbound.port);
    client.socket.removeAllListeners("data");
    client.socket.pause();
    const [from, to] = toServer
      ? [client.socket, endpoint.connections[0]!.socket]
      : [endpoint.connections[0]!.socket, client.socket];
    const rss = () => admin.metric("process_resident_memory_bytes");
    const before = await rss();
    const sent = flood(from, bytes);
    let last = -1;
    while (last !== sent.written) {
      last = sent.written;
      for (let i = 0; i < 10; i++) await admin.ask("/live");
    }
    t.ok(sent.written < 32 * MIB, `${(sent.written / MIB).toFixed(1)} MiB could be written`);
    const grownMib = ((await rss()) - before) / MIB;
    t.ok(grownMib < 24, `heddle has grown by ${grownMib.toFixed(1)} MiB`);
    t.match(await admin.json("/requests"), [{ state: "suspended", on: "transfer" }]);
    const arrived = drink(to, bytes);
    t.equal(await arrived, await sent.hash);
  });

test("a thousand tunnels at once are spread over four endpoints, counted, and given back", async (t) => {
  const endpoints = await Promise.all([1, 2, 3, 4].map(() => webSocketEndpoint(t, echo)));
  // By what is in flight alone: how long one took to switch depends on what this machine does besides.
  const byLoad = "balancing: { algorithm: leastRequest }";
  const heddle = await startInProcess(
    t,
    orders(
      endpoints.map(({ address }) => address),
      byLoad,
    ),
  );
  const { metric, sidecar } = heddle;
  const upstream = sidecar.upstreams.get("orders")!;
  const count = 1000;
  const clients: WebSocket[] = [];
  while (clients.length < count)
    clients.push(
      ...(await Promise.all(Array.from({ length: 100 }, () => connected(t, heddle.addresses.outbound.port)))),
    );
  t.equal(await metric("heddle_requests_in_flight"), count);
  t.equal(await metric("heddle_connections"), count);
  t.equal(await metric("heddle_pool_connections", { state: "busy" }), count);
  t.equal(upstream.limit.held, count);
  for (const [i, { key, inFlight }] of upstream.endpoints.entries()) {
    t.equal(inFlight, endpoints[i]!.clients.length, `${key} has ${inFlight}`);
    t.ok(inFlight > count / 8, "each gets its part");
  }
  const answers = Promise.all(clients.map((client) => message(client)));
  for (const [i, client] of clients.entries()) client.send(`I am ${i}`);
  t.same(
    await answers,
    clients.map((_, i) => `I am ${i}`),
    "nobody hears another's",
  );
  const ended = Promise.all(clients.map((client) => closed(client)));
  for (const [i, client] of clients.entries()) {
    if (i % 2 === 0) client.close(1000);
    else client.terminate();
  }
  await ended;
  await nothingLeft(t, heddle);
  t.equal(await metric("heddle_requests_total", { status: "101" }), count);
  t.equal(await metric("heddle_requests_total"), count);
});
