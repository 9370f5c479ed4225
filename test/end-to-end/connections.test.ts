import { connect } from "node:net";
import { type Test, test } from "tap";
import { type InProcess, startInProcess } from "../support/in-process.ts";
import { answering, type RawConnection, rawClient, rawEndpoint, textAnswer } from "../support/raw.ts";
import { switched, switching } from "../support/web-sockets.ts";

const GET = "GET / HTTP/1.1\r\nHost: orders\r\n\r\n";

const atMost = (connections: number, address: string) =>
  `upstreams: { orders: { endpoints: ["${address}"], upgrades: [echo] } }\noutbound: { listen: 127.0.0.1:0, maxConnections: ${connections} }`;

/** Resolves with how it ends for one more caller. */
async function oneMore(t: Test, port: number): Promise<string | undefined> {
  const socket = connect(port, "127.0.0.1");
  t.teardown(() => socket.destroy());
  const failed = new Promise<string | undefined>((resolve) => {
    socket.on("error", ({ code }: NodeJS.ErrnoException) => resolve(code));
    socket.on("end", () => resolve("ended"));
  });
  socket.resume();
  return failed;
}

async function ask(client: RawConnection): Promise<string> {
  client.send(GET);
  await client.until(/hello$/);
  return client.take();
}

const said = ({ records }: InProcess) =>
  records.filter(({ message }) => message.startsWith("too many connections"));

test("a caller beyond maxConnections is reset, counted, and said once; when one goes, the next is served", async (t) => {
  const endpoint = await rawEndpoint(t, answering(textAnswer("hello")));
  const heddle = await startInProcess(t, atMost(2, endpoint.address));
  const { port } = heddle.addresses.outbound;
  const listener = heddle.sidecar.listeners[0]!;
  const [first, second] = [await rawClient(t, port), await rawClient(t, port)];
  await ask(first);
  await ask(second);
  t.equal(await oneMore(t, port), "ECONNRESET");
  t.equal(await oneMore(t, port), "ECONNRESET");
  const refused = () => heddle.metric("heddle_connections_refused_total", { direction: "outbound" });
  t.equal(await refused(), 2);
  t.equal(await heddle.metric("heddle_connections", { direction: "outbound" }), 2);
  t.match(said(heddle), [{ level: "warn", direction: "outbound", maxConnections: 2 }], "once");
  t.equal(said(heddle).length, 1);
  t.match(await ask(first), /^HTTP\/1.1 200 /, "those who are in are served");

  second.socket.end();
  await listener.until(() => listener.connections === 1);
  const third = await rawClient(t, port);
  t.match(await ask(third), /^HTTP\/1.1 200 /);
  t.equal(await oneMore(t, port), "ECONNRESET");
  t.equal(await refused(), 3);
  t.equal(said(heddle).length, 2, "it is a new time that there are too many");
  t.equal(heddle.access.length, 4, "who was hung up on has asked nothing");
});

test("the other ports go on taking callers while one is full", async (t) => {
  const app = await rawEndpoint(t, answering(textAnswer("hello")));
  const heddle = await startInProcess(
    t,
    `${atMost(1, app.address)}\nservice: { name: web, port: ${app.port} }\ninbound: { listen: 127.0.0.1:0, maxConnections: 2 }`,
  );
  const { outbound, inbound } = heddle.addresses;
  await ask(await rawClient(t, outbound.port));
  t.equal(await oneMore(t, outbound.port), "ECONNRESET");
  await ask(await rawClient(t, inbound!.port));
  await ask(await rawClient(t, inbound!.port));
  t.equal(await oneMore(t, inbound!.port), "ECONNRESET");
  t.equal(await heddle.metric("heddle_connections_refused_total", { direction: "outbound" }), 1);
  t.equal(await heddle.metric("heddle_connections_refused_total", { direction: "inbound" }), 1);
  t.equal((await fetch(`http://127.0.0.1:${heddle.addresses.admin.port}/live`)).status, 200);
});

test("a tunnel occupies its caller's connection for as long as it lasts, also when half of it has ended", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then(() => connection.send(switching()));
  });
  const heddle = await startInProcess(t, atMost(1, endpoint.address));
  const { port } = heddle.addresses.outbound;
  const client = await switched(t, port);
  t.equal(await oneMore(t, port), "ECONNRESET");
  client.socket.end();
  await endpoint.connections[0]!.untilEnd();
  t.equal(await oneMore(t, port), "ECONNRESET");
  endpoint.connections[0]!.socket.end();
  await client.untilEnd();
  await heddle.sidecar.listeners[0]!.until(() => heddle.sidecar.listeners[0]!.connections === 0);
  await switched(t, port);
});

test("a storm of callers costs those who are in nothing, and no place is lost in it", async (t) => {
  const endpoint = await rawEndpoint(t, answering(textAnswer("hello")));
  const heddle = await startInProcess(t, atMost(10, endpoint.address));
  const { port } = heddle.addresses.outbound;
  const listener = heddle.sidecar.listeners[0]!;
  for (let wave = 0; wave < 3; wave++) {
    const inside = await Promise.all(Array.from({ length: 10 }, () => rawClient(t, port)));
    for (const client of inside) await ask(client);
    t.equal(listener.connections, 10);
    const outside = Promise.all(Array.from({ length: 200 }, () => oneMore(t, port)));
    for (let i = 0; i < 5; i++) for (const client of inside) t.match(await ask(client), /^HTTP\/1.1 200 /);
    t.same(new Set(await outside), new Set(["ECONNRESET"]));
    for (const [i, { socket }] of inside.entries()) {
      if (i % 2 === 0) socket.resetAndDestroy();
      else socket.end();
    }
    await listener.until(() => listener.connections === 0);
  }
  t.equal(await heddle.metric("heddle_connections_refused_total"), 600);
  t.equal(said(heddle).length, 3);
});
