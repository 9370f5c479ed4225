import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import {
  connect as connectHttp2,
  createServer as createHttp2Server,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo, Server, Socket } from "node:net";
import { type Test, test } from "tap";
import { createProbe } from "../../discovery/health/create-probe.ts";
import type { Probe, ProbeOptions, ProbeResult } from "../../discovery/health/probe.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { answering, type RawEndpoint, rawEndpoint, textAnswer } from "../support/raw.ts";

const TIMEOUT_MS = 1_000;
const LATE: ProbeResult = { passing: false, note: "no answer within 1000 ms" };

const TCP: ProbeOptions = { type: "tcp" };
const HTTP: ProbeOptions = { type: "http", path: "/health", statuses: [200, 299] };
const GRPC: ProbeOptions = { type: "grpc", service: "" };
const EVERY_TYPE: readonly ProbeOptions[] = [TCP, HTTP, GRPC];

const NEVER = new AbortController().signal;

/** A probe of a port on loopback, in a time that stands still until the test moves it. */
function probing(options: ProbeOptions, port: number, probe?: Probe) {
  const clock = new ManualClock();
  const asking = probe ?? createProbe(options, TIMEOUT_MS, clock);
  return {
    clock,
    ask: (signal: AbortSignal = NEVER) => asking({ address: "127.0.0.1", port }, signal),
  };
}

/** Listens until the test ends, and keeps every connection it was given. */
async function listening(t: Test, server: Server): Promise<{ port: number; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  server.on("connection", (socket: Socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, sockets };
}

const httpServer = (t: Test, answer: RequestListener) => listening(t, createServer(answer));

const grpcServer = (t: Test, answer: (stream: ServerHttp2Stream, service: string) => void) =>
  listening(
    t,
    createHttp2Server().on("stream", (stream: ServerHttp2Stream, headers) => {
      stream.on("error", () => {});
      if (headers[":path"] !== "/grpc.health.v1.Health/Check" || headers[":method"] !== "POST") {
        stream.respond({ ":status": 200, "grpc-status": "12" }, { endStream: true });
        return;
      }
      const pieces: Buffer[] = [];
      stream.on("data", (piece: Buffer) => pieces.push(piece));
      stream.on("end", () => answer(stream, serviceOf(Buffer.concat(pieces))));
    }),
  );

/** HealthCheckRequest as a server reads it: the name is all there is. */
function serviceOf(frame: Buffer): string {
  const length = frame.readUInt32BE(1);
  if (frame[0] !== 0 || frame.length !== 5 + length) throw new Error("not a frame");
  if (length === 0) return "";
  if (frame[5] !== 0x0a) throw new Error("not a HealthCheckRequest");
  // A length of two bytes has its first one above 0x7f.
  return frame.subarray(frame[6]! < 0x80 ? 7 : 8).toString();
}

/** Answers with a message and a status in the trailers, as gRPC does. */
function answer(stream: ServerHttp2Stream, message: readonly number[], status = "0"): void {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": status }));
  stream.end(framed(message));
}

function framed(message: readonly number[]): Buffer {
  const frame = Buffer.from([0, 0, 0, 0, 0, ...message]);
  frame.writeUInt32BE(message.length, 1);
  return frame;
}

const serving = (status: number) => [0x08, status];

/** A port on which nobody listens. */
async function deafPort(t: Test): Promise<number> {
  const endpoint = await rawEndpoint(t);
  await endpoint.kill();
  return endpoint.port;
}

/** Resolves when the socket is closed, however it came to that. */
function closed(socket: Socket): Promise<void> {
  if (socket.closed) return Promise.resolve();
  return new Promise((resolve) => {
    socket.once("close", () => resolve());
  });
}

/** Resolves when the endpoint has no connection any more: the probe has closed its side of each. */
async function empty({ connections }: RawEndpoint): Promise<void> {
  for (const { socket } of connections) {
    socket.end();
    await closed(socket);
  }
}

test("a port that refuses is not passing, whichever way it is asked", async (t) => {
  const port = await deafPort(t);
  for (const options of EVERY_TYPE) {
    const { ask, clock } = probing(options, port);
    t.same(await ask(), { passing: false, note: "ECONNREFUSED" }, options.type);
    t.equal(clock.pending, 0, "and no timer is left");
  }
});

test("an address that cannot be looked up, and one that cannot be written, are not passing", async (t) => {
  for (const options of EVERY_TYPE)
    for (const endpoint of [
      // A label is 63 characters at most: this needs no answer from any name server.
      { address: `${"a".repeat(64)}.invalid`, port: 80 },
      { address: "127.0.0.1", port: 70_000 },
    ]) {
      const result = await createProbe(options, TIMEOUT_MS, new ManualClock())(endpoint, NEVER);
      t.notOk(result.passing, `${options.type} ${endpoint.address}:${endpoint.port}: ${result.note}`);
      t.ok(result.note.length > 0 && result.note.length <= 120);
    }
});

test("an endpoint that accepts and never answers is late", async (t) => {
  for (const options of [HTTP, GRPC]) {
    const endpoint = await rawEndpoint(t);
    const { ask, clock } = probing(options, endpoint.port);
    const asked = ask();
    const connection = await endpoint.accepted(0);
    await connection.until(/HTTP/);
    clock.advance(TIMEOUT_MS);
    t.same(await asked, LATE, options.type);
    await connection.untilEnd();
  }
});

test("the time limit covers the time before a connection is made", async (t) => {
  const endpoint = await rawEndpoint(t);
  for (const options of EVERY_TYPE) {
    const { ask, clock } = probing(options, endpoint.port);
    const asked = ask();
    // Nothing has happened yet: the event loop has not turned.
    clock.advance(TIMEOUT_MS);
    t.same(await asked, LATE, options.type);
  }
});

test("a probe that is called off ends at once and leaves no socket", async (t) => {
  for (const options of [HTTP, GRPC]) {
    const endpoint = await rawEndpoint(t);
    const { ask, clock } = probing(options, endpoint.port);
    const controller = new AbortController();
    const asked = ask(controller.signal);
    const connection = await endpoint.accepted(0);
    await connection.until(/HTTP/);
    controller.abort();
    t.same(await asked, { passing: false, note: "called off" }, options.type);
    await connection.untilEnd();
    t.equal(clock.pending, 0);
  }
});

test("a probe that is called off before it has connected, or before it began, asks nobody", async (t) => {
  for (const options of EVERY_TYPE) {
    const { ask, clock } = probing(options, await deafPort(t));
    t.same(await ask(AbortSignal.abort()), { passing: false, note: "called off" }, options.type);
    const controller = new AbortController();
    const asked = ask(controller.signal);
    controller.abort();
    t.same(await asked, { passing: false, note: "called off" }, options.type);
    t.equal(clock.pending, 0);
  }
});

test("tcp: a connection that is made is passing, and ends in an orderly way", async (t) => {
  const endpoint = await rawEndpoint(t);
  t.same(await probing(TCP, endpoint.port).ask(), { passing: true, note: "connected" });
  const { socket } = await endpoint.accepted(0);
  const errors: Error[] = [];
  socket.on("error", (error) => errors.push(error));
  if (!socket.readableEnded) await once(socket, "end");
  await empty(endpoint);
  t.same(errors, []);
});

test("http: the status decides, within the range that is given", async (t) => {
  let status = 200;
  const { port } = await httpServer(t, (_, response) => response.writeHead(status).end("as you see"));
  const verdicts = async (statuses: readonly [number, number]) => {
    const { ask } = probing({ type: "http", path: "/", statuses }, port);
    const passing: number[] = [];
    for (status of [200, 204, 299, 301, 399, 400, 404, 500, 503]) {
      const result = await ask();
      t.equal(result.note, String(status));
      if (result.passing) passing.push(status);
    }
    return passing;
  };
  t.same(await verdicts([200, 299]), [200, 204, 299]);
  t.same(await verdicts([200, 399]), [200, 204, 299, 301, 399]);
  t.same(await verdicts([404, 404]), [404]);
});

test("http: asks with GET, its own name, the Host it is given, and a connection of its own", async (t) => {
  const seen: unknown[] = [];
  const { port, sockets } = await httpServer(t, ({ method, url, headers }, response) => {
    const { host, connection, "user-agent": agent } = headers;
    seen.push([method, url, host, agent, connection]);
    response.end();
  });
  await probing({ type: "http", path: "/live?full=1", statuses: [200, 299] }, port).ask();
  await probing({ type: "http", path: "/", host: "orders.internal", statuses: [200, 299] }, port).ask();
  t.same(seen, [
    ["GET", "/live?full=1", `127.0.0.1:${port}`, "heddle-health", "close"],
    ["GET", "/", "orders.internal", "heddle-health", "close"],
  ]);
  t.equal(sockets.length, 2);
});

test("http: a redirect is not followed", async (t) => {
  const asked: (string | undefined)[] = [];
  const { port } = await httpServer(t, ({ url }, response) => {
    asked.push(url);
    response.writeHead(302, { location: "/elsewhere" }).end();
  });
  t.same(await probing(HTTP, port).ask(), { passing: false, note: "302" });
  t.same(asked, ["/health"]);
});

test("http: an interim answer is not the answer", async (t) => {
  const endpoint = await rawEndpoint(t, answering(`HTTP/1.1 103 Early Hints\r\n\r\n${textAnswer("fine")}`));
  t.same(await probing(HTTP, endpoint.port).ask(), { passing: true, note: "200" });
});

test("http: a reset, an end and nonsense are not passing", async (t) => {
  const manners: Readonly<Record<string, (socket: Socket) => unknown>> = {
    reset: (socket) => socket.resetAndDestroy(),
    end: (socket) => socket.end(),
    "part of a head": (socket) => socket.end("HTTP/1.1 200 OK\r\nContent-"),
    nonsense: (socket) => socket.end("220 mail.example.net ESMTP\r\n"),
    "an endless head": (socket) => socket.end(`HTTP/1.1 200 OK\r\nA: ${"a".repeat(100_000)}\r\n\r\n`),
    "another protocol": (socket) =>
      socket.end("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
  };
  for (const [manner, act] of Object.entries(manners))
    for (const options of [HTTP, GRPC]) {
      const endpoint = await rawEndpoint(t, ({ socket }) => socket.once("data", () => act(socket)));
      const result = await probing(options, endpoint.port).ask();
      t.notOk(result.passing, `${options.type}, ${manner}: ${result.note}`);
      t.not(result.note, "");
    }
});

test("http: a head that drips does not stretch the time limit", async (t) => {
  const endpoint = await rawEndpoint(t);
  const { ask, clock } = probing(HTTP, endpoint.port);
  const asked = ask();
  const connection = await endpoint.accepted(0);
  await connection.until(/\r\n\r\n/);
  for (const drop of ["HTTP/1.1 200 OK\r\n", "A: b\r\n", "C: d\r\n"]) {
    connection.send(drop);
    clock.advance(TIMEOUT_MS / 3);
  }
  clock.advance(1);
  t.same(await asked, LATE);
  await connection.untilEnd();
});

test("http: a huge body is not read to its end", async (t) => {
  const piece = Buffer.alloc(64 * 1024);
  const { port, sockets } = await httpServer(t, (_, response) => {
    response.on("error", () => {});
    const more = () => {
      while (response.write(piece));
    };
    response.on("drain", more);
    more();
  });
  t.same(await probing(HTTP, port).ask(), { passing: true, note: "200" });
  // It would go on for ever.
  await closed(sockets[0]!);
});

test("http: the head decides when the body is cut off", async (t) => {
  const endpoint = await rawEndpoint(t, ({ socket }) =>
    socket.once("data", () => socket.end("HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nwait a m")),
  );
  t.same(await probing(HTTP, endpoint.port).ask(), { passing: false, note: "503" });
});

test("http: the head decides when the body does not end within the time limit", async (t) => {
  const endpoint = await rawEndpoint(t, ({ socket }) =>
    socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfine so far")),
  );
  const { ask, clock } = probing(HTTP, endpoint.port);
  const headRead = Promise.withResolvers<void>();
  const onHead = () => headRead.resolve();
  subscribe("http.client.response.finish", onHead);
  t.teardown(() => unsubscribe("http.client.response.finish", onHead));
  const asked = ask();
  await headRead.promise;
  clock.advance(TIMEOUT_MS);
  t.same(await asked, { passing: true, note: "200" });
  await empty(endpoint);
});

test("http: a path that cannot be asked for is not passing, and nothing is thrown", async (t) => {
  const { ask, clock } = probing({ type: "http", path: "/a b\n", statuses: [200, 299] }, await deafPort(t));
  t.match(await ask(), { passing: false, note: /path/ });
  t.equal(clock.pending, 0);
});

test("grpc: SERVING is passing, everything else that a server says of itself is not", async (t) => {
  let status = 0;
  const { port } = await grpcServer(t, (stream) => answer(stream, serving(status)));
  const seen: ProbeResult[] = [];
  for (status of [0, 1, 2, 3, 9]) seen.push(await probing(GRPC, port).ask());
  t.same(seen, [
    { passing: false, note: "UNKNOWN" },
    { passing: true, note: "SERVING" },
    { passing: false, note: "NOT_SERVING" },
    { passing: false, note: "SERVICE_UNKNOWN" },
    { passing: false, note: "status 9" },
  ]);
});

test("grpc: asks for the service it is given", async (t) => {
  const asked: string[] = [];
  const { port } = await grpcServer(t, (stream, service) => {
    asked.push(service);
    answer(stream, serving(1));
  });
  const services = ["", "shop.Orders", "ö", "long.".repeat(60)];
  for (const service of services) t.ok((await probing({ type: "grpc", service }, port).ask()).passing);
  t.same(asked, services);
});

test("grpc: the status in the trailers must be 0, whatever the message says", async (t) => {
  let status = "";
  const { port } = await grpcServer(t, (stream) => answer(stream, serving(1), status));
  const notes: string[] = [];
  for (status of ["12", "14", "99"]) {
    const { passing, note } = await probing(GRPC, port).ask();
    t.notOk(passing);
    notes.push(note);
  }
  t.same(notes, ["UNIMPLEMENTED", "UNAVAILABLE", "grpc-status 99"]);
});

test("grpc: a server that does not know the service, or no health checks at all, says so in its head", async (t) => {
  let status = "";
  const { port } = await grpcServer(t, (stream) =>
    stream.respond(
      { ":status": 200, "content-type": "application/grpc", "grpc-status": status },
      { endStream: true },
    ),
  );
  status = "5";
  t.same(await probing(GRPC, port).ask(), { passing: false, note: "NOT_FOUND" });
  status = "12";
  t.same(await probing(GRPC, port).ask(), { passing: false, note: "UNIMPLEMENTED" });
});

test("grpc: fields that are not known are skipped, and what cannot be read is not passing", async (t) => {
  let message: readonly number[] = [];
  const { port } = await grpcServer(t, (stream) => answer(stream, message));
  const reads = async (bytes: readonly number[]) => {
    message = bytes;
    return (await probing(GRPC, port).ask()).note;
  };
  t.equal(await reads([0x12, 2, 7, 7, ...serving(1), 0x18, 0x80, 1]), "SERVING");
  t.equal(await reads([0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x25, 1, 2, 3, 4, ...serving(1)]), "SERVING");
  t.equal(await reads([...serving(1), ...serving(2)]), "NOT_SERVING", "the last one counts");
  t.equal(await reads([]), "UNKNOWN");
  for (const bytes of [[0x08], [0x08, 0x80], [0x12, 9, 1], [0x0b], [0xff], [0x19, 1]])
    t.equal(await reads(bytes), "not a HealthCheckResponse", bytes.join(" "));
  t.equal(await reads(new Array(100_000).fill(0)), "not a HealthCheckResponse", "also when it is huge");
});

test("grpc: a frame that is compressed, cut off or missing is not passing", async (t) => {
  let frame: Uint8Array = Buffer.alloc(0);
  const { port } = await grpcServer(t, (stream) => {
    stream.respond({ ":status": 200 }, { waitForTrailers: true });
    stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(frame);
  });
  const whole = framed(serving(1));
  for (frame of [
    Buffer.alloc(0),
    whole.subarray(0, 6),
    Buffer.concat([Buffer.from([1]), whole.subarray(1)]),
    Buffer.concat([whole, whole]),
  ])
    t.same(await probing(GRPC, port).ask(), { passing: false, note: "not a HealthCheckResponse" });
});

test("grpc: an HTTP/2 server that is no gRPC server is not passing", async (t) => {
  let act: (stream: ServerHttp2Stream) => unknown = () => {};
  const { port } = await grpcServer(t, (stream) => act(stream));
  act = (stream) => stream.respond({ ":status": 404 }, { endStream: true });
  t.same(await probing(GRPC, port).ask(), { passing: false, note: "HTTP 404" });
  act = (stream) => {
    stream.respond({ ":status": 200 });
    stream.end("fine");
  };
  t.same(await probing(GRPC, port).ask(), { passing: false, note: "no grpc-status" });
  act = (stream) => stream.close(8);
  t.notOk((await probing(GRPC, port).ask()).passing, "a stream that is reset");
  act = (stream) => stream.session!.destroy();
  t.notOk((await probing(GRPC, port).ask()).passing, "a session that is destroyed");
  act = (stream) => stream.session!.goaway(2);
  t.notOk((await probing(GRPC, port).ask()).passing, "a session that is called off");
});

test("grpc: the connection ends with the answer, in an orderly way, and the server goes on", async (t) => {
  const { port, sockets } = await grpcServer(t, (stream) => answer(stream, serving(1)));
  t.ok((await probing(GRPC, port).ask()).passing);
  const [socket] = sockets;
  await closed(socket!);
  t.equal(socket!.errored, null);
  const other = connectHttp2(`http://127.0.0.1:${port}`);
  await once(other, "connect");
  other.destroy();
});
