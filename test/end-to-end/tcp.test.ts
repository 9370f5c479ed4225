import { createHash, randomFillSync } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { type Test, test } from "tap";
import { systemClock } from "../../proxy/system.ts";
import { call } from "../support/apps.ts";
import { type InProcess, startInProcess } from "../support/in-process.ts";
import { type RawConnection, rawClient, rawEndpoint } from "../support/raw.ts";

/** A sidecar with one upstream of TCP. */
function startDb(t: Test, endpoints: readonly string[], more = "", rest = ""): Promise<InProcess> {
  return startInProcess(
    t,
    `upstreams: { db: { protocol: tcp, localPort: 0, endpoints: [${endpoints.join(", ")}]${more} } }\n${rest}`,
  );
}

const portOf = ({ addresses }: InProcess) => addresses.localPorts["db"]!.port;

/** Says back what it hears. */
const echo = ({ socket }: RawConnection) => void socket.pipe(socket);

/** Resolves with the code of the error that a socket ends with; undefined when it ends in an orderly way. */
function ending(socket: Socket): Promise<string | undefined> {
  return new Promise((resolve) => {
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code));
    socket.once("close", () => resolve(undefined));
  });
}

/** What becomes of a connection that nothing is said on. */
function refusal(t: Test, port: number): Promise<string | undefined> {
  const socket = connect(port, "127.0.0.1");
  t.teardown(() => socket.destroy());
  return ending(socket);
}

/** The port of nobody. */
async function deadPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

test("64 MiB each way arrive as they were sent, and a slow side holds the fast one back", async (t) => {
  const MIB = 1024 * 1024;
  const PIECE = randomFillSync(Buffer.alloc(MIB));
  const PIECES = 64;
  const sum = () => {
    const hash = createHash("sha256");
    for (let i = 0; i < PIECES; i++) hash.update(PIECE);
    return hash.digest("hex");
  };
  const expected = sum();
  const speak = async (socket: Socket) => {
    for (let i = 0; i < PIECES; i++) if (!socket.write(PIECE)) await once(socket, "drain");
    socket.end();
  };
  const hear = async (socket: Socket) => {
    const hash = createHash("sha256");
    socket.on("data", (bytes) => hash.update(bytes));
    await once(socket, "end");
    return hash.digest("hex");
  };
  const accepted = Promise.withResolvers<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, accepted.resolve);
  server.listen(0, "127.0.0.1");
  t.teardown(() => server.close());
  await once(server, "listening");
  const heddle = await startDb(t, [`127.0.0.1:${(server.address() as AddressInfo).port}`]);
  const client = connect({ port: portOf(heddle), host: "127.0.0.1", allowHalfOpen: true });
  const spoken = speak(client);
  const endpoint = await accepted.promise;
  // Nobody reads: what the caller has been relieved of is in buffers, of which there are few.
  const carried = () => heddle.metric("heddle_tcp_bytes_total", { from: "caller", upstream: "db" });
  const said = () => heddle.metric("heddle_tcp_bytes_total", { from: "endpoint" });
  let before = -1;
  for (let now = await carried(); now !== before; now = await carried()) {
    before = now;
    await new Promise((resolve) => systemClock.schedule(200, () => resolve(undefined)));
  }
  t.ok(before > 0 && before < 16 * MIB, `held back after ${before} bytes`);
  const answered = speak(endpoint);
  before = -1;
  for (let now = await said(); now !== before; now = await said()) {
    before = now;
    await new Promise((resolve) => systemClock.schedule(200, () => resolve(undefined)));
  }
  t.ok(before > 0 && before < 16 * MIB, `and the other way after ${before} bytes`);
  endpoint.resume();
  const [heardThere, heardHere] = await Promise.all([hear(endpoint), hear(client), answered, spoken]);
  t.equal(heardThere, expected, "to the endpoint");
  t.equal(heardHere, expected, "to the caller");
  const record = await heddle.logged(({ upstream }) => upstream === "db");
  t.match(record, { method: "TCP", status: 200, requestBytes: PIECES * MIB, responseBytes: PIECES * MIB });
  t.equal(record["endpoint"], `127.0.0.1:${(server.address() as AddressInfo).port}`);
  t.equal(record["cause"], undefined);
  t.equal(await carried(), PIECES * MIB);
  t.equal(await said(), PIECES * MIB);
  t.equal(await heddle.metric("heddle_requests_total", { upstream: "db", status: "200", cause: "" }), 1);
});

test("the server may speak first", async (t) => {
  const server = await rawEndpoint(t, (connection) => connection.send("220 ready\r\n"));
  const heddle = await startDb(t, [server.address]);
  const client = await rawClient(t, portOf(heddle));
  await client.until(/220 ready\r\n/);
  client.send("EHLO me\r\n");
  await (await server.accepted(0)).until(/EHLO me\r\n/);
});

test("a caller that has ended its side still gets the answer, and one that has been told the end may go on speaking", async (t) => {
  const server = await rawEndpoint(t);
  const heddle = await startDb(t, [server.address]);
  const asker = await rawClient(t, portOf(heddle));
  asker.socket.end("question");
  const asked = await server.accepted(0);
  t.equal(await asked.untilEnd(), "question");
  asked.socket.end("answer");
  t.equal(await asker.untilEnd(), "answer");

  const teller = await rawClient(t, portOf(heddle));
  const told = await server.accepted(1);
  told.socket.end("enough");
  t.equal(await teller.untilEnd(), "enough");
  teller.socket.end("and yet");
  t.equal(await told.untilEnd(), "and yet");
  await heddle.logged(({ requestBytes }) => requestBytes === 8);
  const second = await heddle.logged(({ requestBytes }) => requestBytes === 7);
  t.match(second, { status: 200, responseBytes: 6 });
  t.equal(second["cause"], undefined);
});

test("what a caller says and its end, before there is an endpoint, are not lost", async (t) => {
  const server = await rawEndpoint(t);
  const heddle = await startDb(t, [server.address], ", limits: { connections: 1 }");
  const holder = await rawClient(t, portOf(heddle));
  await server.accepted(0);
  const waiter = await rawClient(t, portOf(heddle));
  waiter.socket.end("early");
  while ((await heddle.metric("heddle_pending_requests")) === 0);
  holder.socket.resetAndDestroy();
  t.equal(await (await server.accepted(1)).untilEnd(), "early");
});

test("a reset of either side is a reset of the other, after all that it had said", async (t) => {
  const server = await rawEndpoint(t);
  const heddle = await startDb(t, [server.address]);
  const first = await rawClient(t, portOf(heddle));
  const there = await server.accepted(0);
  const thereEnds = ending(there.socket);
  first.send("last words");
  await there.until(/last words/);
  first.socket.resetAndDestroy();
  t.equal(await thereEnds, "ECONNRESET");
  t.match(await heddle.logged(({ cause }) => cause === "client_closed"), { status: 200 });

  const second = await rawClient(t, portOf(heddle));
  const here = ending(second.socket);
  const gone = await server.accepted(1);
  gone.send("hello");
  await second.until(/hello/);
  gone.socket.resetAndDestroy();
  t.equal(await here, "ECONNRESET");
  const record = await heddle.logged(({ cause }) => cause === "upstream_reset");
  t.match(record, { status: 200, responseBytes: 5, endpoint: server.address });
  t.equal(await heddle.metric("heddle_attempts_total", { upstream: "db", outcome: "broken_answer" }), 1);
});

test("where an endpoint does not take the connection another one gets it", async (t) => {
  const dead = await deadPort();
  const server = await rawEndpoint(t, echo);
  const heddle = await startDb(
    t,
    [`127.0.0.1:${dead}`, server.address],
    ", balancing: { algorithm: roundRobin }",
  );
  for (let i = 0; i < 4; i++) {
    const client = await rawClient(t, portOf(heddle));
    client.send("ping");
    await client.until(/ping/);
    client.socket.destroy();
  }
  const tried = await heddle.logged(({ attempts }) => attempts === 2);
  t.match(tried, { endpoint: server.address, triedBefore: [`127.0.0.1:${dead}`] });
});

test("where nobody takes it the caller is reset and not told an end, and that is counted with its cause", async (t) => {
  const heddle = await startDb(t, [`127.0.0.1:${await deadPort()}`], ", retries: { attempts: 0 }");
  t.equal(await refusal(t, portOf(heddle)), "ECONNRESET");
  t.match(await heddle.logged(() => true), { status: 502, cause: "connect_failed", attempts: 1 });
  t.equal(await heddle.metric("heddle_requests_total", { cause: "connect_failed", upstream: "db" }), 1);
});

test("an endpoint that takes no connections is left alone by its breaker", async (t) => {
  const breaker = ", retries: { attempts: 0 }, breaker: { consecutiveFailures: 2 }";
  const heddle = await startDb(t, [`127.0.0.1:${await deadPort()}`], breaker);
  for (let i = 0; i < 3; i++) await refusal(t, portOf(heddle));
  t.same(
    heddle.access.map(({ cause }) => cause),
    ["connect_failed", "connect_failed", "breaker_open"],
  );
});

test("as many as there may be are let in, as many as may wait do, and others are reset", async (t) => {
  const server = await rawEndpoint(t, echo);
  const heddle = await startDb(t, [server.address], ", limits: { connections: 2, pending: 1 }");
  const clients = [await rawClient(t, portOf(heddle)), await rawClient(t, portOf(heddle))];
  await server.accepted(1);
  const waiter = await rawClient(t, portOf(heddle));
  while ((await heddle.metric("heddle_pending_requests")) === 0);
  t.equal(await refusal(t, portOf(heddle)), "ECONNRESET");
  t.match(await heddle.logged(({ cause }) => cause === "overflow"), { status: 503, attempts: 0 });
  t.equal(server.connections.length, 2);
  clients[0]!.socket.end();
  waiter.send("my turn");
  await waiter.until(/my turn/);
  t.equal(server.connections.length, 3);
});

test("a connection that carries nothing for timeouts.tunnelIdle is cut, and one that carries little is not", async (t) => {
  const server = await rawEndpoint(t, echo);
  const heddle = await startDb(t, [server.address], ", timeouts: { tunnelIdle: 400ms }");
  const silent = await rawClient(t, portOf(heddle));
  const cut = ending(silent.socket);
  const busy = await rawClient(t, portOf(heddle));
  let isCut = false;
  cut.then(() => {
    isCut = true;
  });
  for (let said = 0; !isCut; said++) {
    busy.send("x");
    await busy.until(({ length }) => length > said);
  }
  t.equal(await cut, "ECONNRESET");
  t.match(await heddle.logged(() => true), { cause: "idle_timeout", status: 200 });
  busy.send("y");
  await busy.until(/y/);
});

test("HTTP does not lead to an upstream of TCP", async (t) => {
  const server = await rawEndpoint(t, echo);
  const { addresses } = await startDb(t, [server.address]);
  const { status, body } = await call(addresses.outbound.port, "db");
  t.equal(status, 404);
  t.match(body, /is reached by its localPort/);
  t.equal(server.connections.length, 0);
});

test("peers reach an app that speaks no HTTP, and rate limits hold for connections", async (t) => {
  const app = await rawEndpoint(t, (connection) => connection.send("hello"));
  const heddle = await startInProcess(
    t,
    `service: { name: db, port: ${app.port}, protocol: tcp }
inbound: { listen: 127.0.0.1:0, rateLimits: [{ requests: 1, per: 1h }] }`,
  );
  const { port } = heddle.addresses.inbound!;
  const client = await rawClient(t, port);
  await client.until(/hello/);
  t.equal(await refusal(t, port), "ECONNRESET");
  t.match(await heddle.logged(({ cause }) => cause === "rate_limited"), {
    direction: "inbound",
    status: 429,
  });
  client.socket.end();
  (await app.accepted(0)).socket.end();
  t.match(await heddle.logged(({ cause }) => cause === undefined), {
    direction: "inbound",
    responseBytes: 5,
  });
});

test("a thousand connections give everything back", async (t) => {
  const server = await rawEndpoint(t, echo);
  const heddle = await startDb(t, [server.address]);
  const timers = systemClock.pending;
  const COUNT = 1000;
  const clients: Socket[] = [];
  for (let i = 0; i < COUNT; i++) {
    const client = connect(portOf(heddle), "127.0.0.1");
    clients.push(client);
    client.write("ping");
    await once(client, "data");
  }
  const [upstream] = heddle.sidecar.upstreams.values();
  t.equal(upstream!.limit.held, COUNT);
  t.equal(upstream!.endpoints[0]!.inFlight, COUNT);
  t.equal(await heddle.metric("heddle_requests_in_flight", { direction: "outbound" }), COUNT);
  for (const [i, client] of clients.entries())
    if (i % 3 === 0) client.resetAndDestroy();
    else if (i % 3 === 1) client.end();
    else client.destroy();
  for (const listener of heddle.sidecar.listeners)
    await listener.until(() => listener.connections === 0 && listener.exchanges.size === 0);
  t.equal(upstream!.limit.held, 0);
  t.equal(upstream!.endpoints[0]!.inFlight, 0);
  const { busy, idle, connecting } = upstream!.counts().connections;
  t.equal(busy + idle + connecting, 0);
  // What runs out unheard is not cancelled.
  t.ok(systemClock.pending <= timers + 1, `${systemClock.pending} timers, and ${timers} before`);
  t.equal(heddle.access.length, COUNT);
});
