import { type Test, test } from "tap";
import type { WebSocket } from "ws";
import { startInProcess } from "../support/in-process.ts";
import { type RawConnection, rawClient, rawEndpoint } from "../support/raw.ts";
import { startSidecar } from "../support/sidecar.ts";
import {
  asking,
  closed,
  connected,
  echo,
  message,
  orders,
  switched,
  switching,
  webSocketEndpoint,
} from "../support/web-sockets.ts";

const CLOSE_GOING_AWAY = "\x88\x02\x03\xe9";
/** What a client answers to it: masked, with a mask of zeros. */
const CLIENT_CLOSE = "\x88\x82\0\0\0\0\x03\xe9";

/** Switches to whatever is asked for, and leaves the rest to the test. */
function switchingEndpoint(t: Test) {
  return rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then((head) => {
      connection.take();
      connection.send(switching(/^Upgrade: (\S+)/m.exec(head)![1]));
    });
  });
}

for (const direction of ["outbound", "inbound"] as const)
  test(`${direction}, WebSocket clients are sent away with 1001 one after the other, and their servers see them go`, async (t) => {
    const endpoint = await webSocketEndpoint(t, echo);
    const heddle = await startInProcess(
      t,
      direction === "outbound"
        ? `${orders([endpoint.address])}\nshutdown: { grace: 2s }`
        : `service: { name: orders, port: ${endpoint.port} }\ninbound: { listen: 127.0.0.1:0, upgrades: [websocket] }\nshutdown: { grace: 2s }`,
    );
    const { port } = heddle.addresses[direction]!;
    const count = 20;
    const clients: WebSocket[] = [];
    for (let i = 0; i < count; i++) clients.push(await connected(t, port));
    // Each works until it is told.
    const busy = clients.at(-1)!;
    busy.send("hello");
    t.equal(await message(busy), "hello");
    const leftAt: number[] = [];
    const seen = Promise.all(
      clients.map(async (client) => {
        const how = await closed(client);
        leftAt.push(performance.now());
        return how;
      }),
    );
    const servers = Promise.all(endpoint.clients.map((server) => closed(server)));
    const drained = heddle.sidecar.drain();
    t.same(await seen, Array(count).fill("1001"));
    t.same(await servers, Array(count).fill("1001"));
    // Half of two seconds for twenty of them.
    const spreadMs = leftAt.at(-1)! - leftAt[0]!;
    t.ok(spreadMs > 300, `over ${Math.round(spreadMs)} ms`);
    await drained;
    t.match(heddle.records.at(-1), { message: "drained" }, "nothing was abandoned");
    t.equal(heddle.access.length, count);
    t.ok(heddle.access.every(({ status, cause }) => status === 101 && cause === undefined));
  });

test("a frame of the server that is under way is completed before the goodbye, and nothing follows that", async (t) => {
  const endpoint = await switchingEndpoint(t);
  const heddle = await startInProcess(t, `${orders([endpoint.address])}\nshutdown: { grace: 5s }`);
  const { port } = heddle.addresses.outbound;
  const client = await switched(t, port, "websocket");
  const other = await switched(t, port, "websocket");
  const [server, otherServer] = endpoint.connections as readonly [RawConnection, RawConnection];
  const payload = "0123456789abcdef".repeat(65_536);
  const large = `\x82\x7f\0\0\0\0\x00\x10\x00\x00${payload}`;
  server.send(`\x81\x05hello${large.slice(0, 500_000)}`);
  await client.until((received) => received.length === 7 + 500_000);
  const drained = heddle.sidecar.drain();
  // The second has been asked to leave, so the first has been.
  await other.until((received) => received === CLOSE_GOING_AWAY);
  t.equal(client.received.length, 7 + 500_000, "not in the middle of a frame");
  server.send(`${large.slice(500_000)}\x81\x05never`);
  await client.until((received) => received.endsWith(CLOSE_GOING_AWAY));
  t.ok(client.received === `\x81\x05hello${large}${CLOSE_GOING_AWAY}`, "whole frames and the Close");
  client.send(`\x81\x85\0\0\0\0a few${CLIENT_CLOSE}`);
  await server.until((received) => received.endsWith(`a few${CLIENT_CLOSE}`));
  server.send("\x81\x05never\x88\x02\x03\xe9");
  server.socket.end();
  await client.untilEnd();
  t.ok(client.received.endsWith(`f${CLOSE_GOING_AWAY}`), "one Close is enough");
  client.socket.end();
  await server.untilEnd();
  // The second one hangs up without a Close of its own.
  other.socket.end();
  await otherServer.untilEnd();
  otherServer.socket.end();
  await drained;
  t.match(heddle.access, Array(2).fill({ status: 101, cause: undefined }));
});

test("who upgrades while heddle drains is sent away at once", async (t) => {
  const endpoint = await switchingEndpoint(t);
  const heddle = await startInProcess(t, `${orders([endpoint.address])}\nshutdown: { grace: 30s }`);
  const client = await rawClient(t, heddle.addresses.outbound.port);
  client.send(asking("websocket"));
  const server = await endpoint.accepted(0);
  const drained = heddle.sidecar.drain();
  t.match(
    await client.until(/\r\n\r\n.{4}$/s),
    new RegExp(`^HTTP/1.1 101 .*\r\n\r\n${CLOSE_GOING_AWAY}$`, "s"),
  );
  client.socket.end();
  server.socket.end();
  await drained;
});

test("a tunnel of a protocol without a goodbye works until the grace is over, and is cut then", async (t) => {
  const endpoint = await switchingEndpoint(t);
  const heddle = await startInProcess(t, `${orders([endpoint.address])}\nshutdown: { grace: 500ms }`);
  const client = await switched(t, heddle.addresses.outbound.port, "echo");
  const server = endpoint.connections[0]!;
  const startedAtMs = performance.now();
  const drained = heddle.sidecar.drain();
  let rounds = 0;
  while (!client.ended) {
    client.send("x");
    await Promise.race([server.until(/x/), server.untilEnd()]).catch(() => {});
    server.take();
    if (!server.ended) server.send("y");
    await Promise.race([client.until(/y/), client.untilEnd()]).catch(() => {});
    client.take();
    rounds++;
  }
  const tookMs = performance.now() - startedAtMs;
  await drained;
  t.ok(tookMs > 450, `${Math.round(tookMs)} ms`);
  t.ok(rounds > 10, `${rounds} rounds`);
  await server.untilEnd();
  t.match(heddle.access, [{ status: 101, cause: "shutting_down" }]);
  t.match(heddle.records.at(-1), { abandoned: 1 });
});

test("clients that do not hear the goodbye are waited for until the grace is over, and no longer", async (t) => {
  const endpoint = await switchingEndpoint(t);
  const sidecar = await startSidecar(t, {
    service: { name: "orders", port: endpoint.port },
    inbound: { upgrades: ["websocket"] },
    shutdown: { grace: "1s" },
  });
  const clients: RawConnection[] = [];
  for (let i = 0; i < 5; i++) clients.push(await switched(t, sidecar.addresses.inbound!.port, "websocket"));
  const startedAtMs = performance.now();
  t.equal(await sidecar.end(), 0);
  t.ok(performance.now() - startedAtMs < 20_000);
  for (const client of clients) t.equal(await client.untilEnd(), CLOSE_GOING_AWAY);
  for (const server of endpoint.connections) t.equal(await server.untilEnd(), "");
  t.ok(sidecar.records.some(({ abandoned }) => abandoned === 5));
});

for (const workers of [1, 2])
  test(`SIGTERM lets the WebSocket clients of ${workers} workers go, and ends well before the grace is over`, async (t) => {
    const endpoint = await webSocketEndpoint(t, echo);
    const sidecar = await startSidecar(t, {
      workers,
      upstreams: { orders: { endpoints: [endpoint.address], upgrades: ["websocket"] } },
      shutdown: { grace: "2s" },
    });
    const clients = await Promise.all(
      Array.from({ length: 10 }, () => connected(t, sidecar.addresses.outbound.port)),
    );
    t.equal(await sidecar.admin.metric("heddle_requests_in_flight"), 10);
    const seen = Promise.all(clients.map((client) => closed(client)));
    t.equal(await sidecar.end(), 0);
    t.same(await seen, Array(10).fill("1001"));
    t.notOk(sidecar.records.some(({ abandoned }) => Number(abandoned) > 0));
  });

test("the app keeps its own tunnels until its callers have gone", async (t) => {
  const peer = await webSocketEndpoint(t, echo);
  const app = await switchingEndpoint(t);
  const heddle = await startInProcess(
    t,
    `${orders([peer.address])}\nservice: { name: web, port: ${app.port} }\ninbound: { listen: 127.0.0.1:0, upgrades: [websocket] }\nshutdown: { grace: 20s }`,
  );
  const caller = await switched(t, heddle.addresses.inbound!.port, "websocket");
  const ofApp = await connected(t, heddle.addresses.outbound.port);
  const drained = heddle.sidecar.drain();
  await caller.until((received) => received === CLOSE_GOING_AWAY);
  ofApp.send("can you still hear me?");
  t.equal(await message(ofApp), "can you still hear me?");
  const seen = closed(ofApp);
  caller.send(CLIENT_CLOSE);
  await app.connections[0]!.until((received) => received === CLIENT_CLOSE);
  app.connections[0]!.socket.end();
  await caller.untilEnd();
  caller.socket.end();
  t.equal(await seen, "1001");
  await drained;
});

test("callers that stay to the end of the grace do not cost the app's own tunnels their goodbye", async (t) => {
  const peer = await webSocketEndpoint(t, echo);
  const app = await switchingEndpoint(t);
  const heddle = await startInProcess(
    t,
    `${orders([peer.address])}\nservice: { name: web, port: ${app.port} }\ninbound: { listen: 127.0.0.1:0, upgrades: [echo] }\nshutdown: { grace: 1s }`,
  );
  await switched(t, heddle.addresses.inbound!.port, "echo");
  const ofApp = await connected(t, heddle.addresses.outbound.port);
  const seen = closed(ofApp);
  await heddle.sidecar.drain();
  t.equal(await seen, "1001");
});
