/**
 * The faults themselves, without a sidecar: what is proved with an injector is worth no more than it is.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { type Test, test } from "tap";
import { startApp } from "../support/apps.ts";
import { type Fault, startFaultInjector } from "../support/fault-injector.ts";
import { RawConnection, rawClient } from "../support/raw.ts";

const GET = "GET / HTTP/1.1\r\nHost: orders\r\n\r\n";
const BODY = "0123456789";
const WHOLE = /^HTTP\/1\.1 200 OK\r\n.*\r\n\r\n0123456789$/s;

async function start(t: Test, fault: Fault) {
  const app = await startApp(t, (_, response) => response.end(BODY));
  const injector = await startFaultInjector(t, app, { fault });
  return { app, injector };
}

/** What a caller gets of one request up to the end of the connection, and how it ends. */
async function ending(t: Test, fault: Fault) {
  const { app, injector } = await start(t, fault);
  const socket = connect({ port: injector.port, host: "127.0.0.1" });
  t.teardown(() => socket.destroy());
  const connection = new RawConnection(socket);
  let end = "FIN";
  socket.on("error", ({ code }: NodeJS.ErrnoException) => {
    end = code ?? "";
  });
  connection.send(GET);
  await once(socket, "close").catch(() => {});
  return { received: connection.received, end, served: app.served };
}

test("without a fault it is as if it were not there, on one connection as often as one likes", async (t) => {
  const { injector } = await start(t, { kind: "none" });
  const client = await rawClient(t, injector.port);
  for (let n = 0; n < 3; n++) {
    client.send(GET);
    await client.until(WHOLE);
    client.take();
  }
  t.equal(injector.connections, 1);
  t.equal(injector.open, 1);
  t.equal(injector.bytesFromCaller, 3 * GET.length);
});

test("resets are RST, and the app has got the request or it has not", async (t) => {
  const cases = [
    ["accept", /^$/, 0],
    ["request head", /^$/, 0],
    ["answer", /^$/, 1],
    ["middle of answer", /\r\n\r\n01234$/, 1],
  ] as const;
  for (const [at, received, served] of cases) {
    const got = await ending(t, { kind: "reset", at });
    t.match(got.received, received, at);
    t.match(got, { end: "ECONNRESET", served }, at);
  }
});

test("a partial write ends with FIN in the head or in the body", async (t) => {
  const head = await ending(t, { kind: "partial write", of: "head" });
  t.match(head, { received: /^HTTP\/1\.1 200 OK\r\n/, end: "FIN", served: 1 });
  t.notMatch(head.received, /\r\n\r\n/);
  t.match(await ending(t, { kind: "partial write", of: "body" }), {
    received: /\r\n\r\n01234$/,
    end: "FIN",
    served: 1,
  });
});

test("who is half-open passes requests on, answers nothing, and lets the caller's FIN be", async (t) => {
  const { app, injector } = await start(t, { kind: "half-open" });
  const client = await rawClient(t, injector.port);
  client.socket.end(GET);
  const other = await rawClient(t, injector.port);
  while (app.served === 0) await new Promise(setImmediate);
  // What another has got in the meantime, this one would have got, too.
  await injector.become((number) => ({ kind: number === 0 ? "half-open" : "none" }));
  other.send(GET);
  await other.until(WHOLE);
  t.equal(client.received, "");
  t.equal(client.ended, false);
  t.equal(injector.open, 2);
});

test("a black hole leaves a connect unanswered, swallows what is sent, and is gone when it is told so", async (t) => {
  const { app, injector } = await start(t, { kind: "none" });
  const client = await rawClient(t, injector.port);
  await injector.become({ kind: "black hole" });
  client.send(GET);
  const socket = connect({ port: injector.port, host: "127.0.0.1" });
  t.teardown(() => socket.destroy());
  let answer = "none";
  socket.on("connect", () => {
    answer = "connected";
  });
  socket.on("error", ({ code }: NodeJS.ErrnoException) => {
    answer = code ?? "";
  });
  // Loopback answers a connect at once or not at all; that another process can be asked meanwhile shows the loop turned.
  for (let n = 0; n < 5; n++) await (await rawClient(t, app.port)).send("");
  t.equal(answer, "none");
  t.equal(app.served, 0);
  t.equal(injector.connections, 1);
  await injector.become({ kind: "none" });
  const after = await rawClient(t, injector.port);
  after.send(GET);
  await after.until(WHOLE);
});

test("a port that refuses does so, and takes connections again afterwards", async (t) => {
  const { injector } = await start(t, { kind: "refuse" });
  await t.rejects(rawClient(t, injector.port), { code: "ECONNREFUSED" });
  await injector.become({ kind: "none" });
  const client = await rawClient(t, injector.port);
  client.send(GET);
  await client.until(WHOLE);
});

test("a delay and a drip change when the bytes come and not which", async (t) => {
  for (const fault of [
    { kind: "delay", ms: 20 },
    { kind: "slow drip", everyMs: 1, from: "head" },
    { kind: "slow drip", everyMs: 1, from: "body" },
  ] as const) {
    const { injector } = await start(t, fault);
    const client = await rawClient(t, injector.port);
    const began = performance.now();
    client.send(GET);
    await client.until(WHOLE);
    // No sooner than that; how much later is the machine's.
    t.ok(performance.now() - began >= (fault.kind === "delay" ? fault.ms - 1 : BODY.length - 1), fault.kind);
  }
});

test("corruption flips bits in the head alone, the same ones with the same seed", async (t) => {
  const app = await startApp(t, (_, response) => {
    response.sendDate = false;
    response.end(BODY);
  });
  const answerOf = async (fault: Fault, seed: number) => {
    const injector = await startFaultInjector(t, app, { fault, seed });
    const client = await rawClient(t, injector.port);
    client.send(GET);
    return client.until(/0123456789$/);
  };
  const right = await answerOf({ kind: "none" }, 1);
  const wrong = await answerOf({ kind: "corrupt", of: "head", bytes: 3 }, 1);
  t.not(wrong, right);
  t.equal(wrong.length, right.length);
  t.equal(await answerOf({ kind: "corrupt", of: "head", bytes: 3 }, 1), wrong);
  t.not(await answerOf({ kind: "corrupt", of: "head", bytes: 3 }, 2), wrong);
  const version = await answerOf({ kind: "corrupt", of: "version" }, 1);
  t.not(version.slice(0, 8), "HTTP/1.1");
  t.equal(version.slice(8), right.slice(8));
});

test("a fault can be that of some connections, and change while they are open", async (t) => {
  const { injector } = await start(t, { kind: "none" });
  await injector.become((number) => (number === 0 ? { kind: "reset", at: "answer" } : { kind: "none" }));
  const [first, second] = [await rawClient(t, injector.port), await rawClient(t, injector.port)];
  for (const client of [first, second]) client.send(GET);
  t.equal(await first.untilEnd(), "");
  await second.until(WHOLE);
  second.take();
  await injector.become({ kind: "reset", at: "answer" });
  second.send(GET);
  t.equal(await second.untilEnd(), "");
});
