import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { type Test, test } from "tap";
import { resetBehind } from "../../proxy/reset.ts";
import { systemClock } from "../../proxy/system.ts";
import { type InProcess, startInProcess } from "../support/in-process.ts";
import { asking, orders, switching } from "../support/web-sockets.ts";

const MIB = 1024 * 1024;
/** More than an app's socket takes unread, and less than the kernel does on the whole way. */
const SAID = Buffer.alloc(MIB, "longing");

/** Reads nothing until it is told to. */
class SlowSocket {
  readonly socket: Socket;
  readonly received: Buffer[] = [];
  readonly #ended = Promise.withResolvers<string>();

  constructor(socket: Socket) {
    this.socket = socket.pause();
    socket.on("data", (bytes: Buffer) => this.received.push(bytes));
    socket.on("end", () => this.#ended.resolve("an end"));
    socket.on("error", ({ code = "" }: NodeJS.ErrnoException) => this.#ended.resolve(code));
    socket.pause();
  }

  /** Reads to the end, and says how it ended. */
  untilEnd(): Promise<string> {
    this.socket.resume();
    return this.#ended.promise;
  }
}

/** An endpoint that accepts and does not read. */
async function slowEndpoint(t: Test): Promise<{ address: string; accepted(): Promise<SlowSocket> }> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    sockets.push(socket);
    t.teardown(() => socket.destroy());
    server.emit("accepted");
  });
  server.listen(0, "127.0.0.1");
  t.teardown(() => server.close());
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    address: `127.0.0.1:${port}`,
    async accepted() {
      if (sockets.length === 0) await once(server, "accepted");
      return new SlowSocket(sockets.shift()!);
    },
  };
}

/** Connects, and reads nothing. @param says at once */
function slowCaller(t: Test, port: number, says = ""): SlowSocket {
  // What it has taken unread is little beside what is said.
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  t.teardown(() => socket.destroy());
  socket.write(says);
  return new SlowSocket(socket);
}

async function startDb(t: Test, more = "") {
  const endpoint = await slowEndpoint(t);
  const heddle = await startInProcess(
    t,
    `upstreams: { db: { protocol: tcp, localPort: 0, endpoints: ["${endpoint.address}"]${more} } }`,
  );
  return { heddle, endpoint, port: heddle.addresses.localPorts["db"]!.port };
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition()));
}

const attempts = (heddle: InProcess, outcome: string) => heddle.metric("heddle_attempts_total", { outcome });

/** Until all that has been said by one side is in buffers of the other. */
const untilCarried = (heddle: InProcess, from: "caller" | "endpoint") =>
  until(async () => (await heddle.metric("heddle_tcp_bytes_total", { from })) >= MIB);

/** Nothing is held for anybody any more. */
async function untilNothingIsHeld({ sidecar }: InProcess): Promise<void> {
  for (const listener of sidecar.listeners)
    await listener.until(() => listener.connections === 0 && listener.exchanges.size === 0);
  const [upstream] = sidecar.upstreams.values();
  const held = () => {
    const { busy, idle, connecting } = upstream!.counts().connections;
    return upstream!.limit.held + upstream!.endpoints[0]!.inFlight + busy + idle + connecting;
  };
  while (held() > 0) await new Promise((resolve) => setImmediate(resolve));
}

test("what an endpoint has said before its reset reaches a caller that takes it later, and then the reset does", async (t) => {
  const { heddle, endpoint, port } = await startDb(t);
  const caller = slowCaller(t, port, "hello");
  const { socket } = await endpoint.accepted();
  socket.write(SAID);
  await untilCarried(heddle, "endpoint");
  socket.resetAndDestroy();
  await until(async () => (await attempts(heddle, "broken_answer")) === 1);
  t.equal(await caller.untilEnd(), "ECONNRESET");
  t.ok(Buffer.concat(caller.received).equals(SAID), "to the last byte");
  const record = await heddle.logged(() => true);
  t.match(record, { cause: "upstream_reset", status: 200, responseBytes: MIB });
  await untilNothingIsHeld(heddle);
});

test("what a caller has said before its reset reaches an endpoint that takes it later, and then the reset does", async (t) => {
  const { heddle, endpoint, port } = await startDb(t);
  const caller = slowCaller(t, port);
  caller.socket.write(SAID);
  const there = await endpoint.accepted();
  await untilCarried(heddle, "caller");
  caller.socket.resetAndDestroy();
  await until(async () => (await attempts(heddle, "abandoned")) === 1);
  t.equal(await heddle.metric("heddle_requests_in_flight", { direction: "outbound" }), 1, "it is not over");
  t.equal(await there.untilEnd(), "ECONNRESET");
  t.ok(Buffer.concat(there.received).equals(SAID), "to the last byte");
  const record = await heddle.logged(() => true);
  t.match(record, { cause: "client_closed", status: 200, requestBytes: MIB });
  await untilNothingIsHeld(heddle);
});

test("a side that has ended before the other one breaks hears of the break behind its last byte", async (t) => {
  const { heddle, endpoint, port } = await startDb(t);
  const caller = slowCaller(t, port);
  caller.socket.end("a question, and its end");
  const { socket } = await endpoint.accepted();
  socket.write(SAID);
  await untilCarried(heddle, "endpoint");
  socket.resetAndDestroy();
  await until(async () => (await attempts(heddle, "broken_answer")) === 1);
  t.equal(await caller.untilEnd(), "ECONNRESET");
  t.ok(Buffer.concat(caller.received).equals(SAID));
});

for (const [who, cause] of [
  ["a caller", "upstream_reset"],
  ["an endpoint", "client_closed"],
] as const)
  test(`${who} that never takes the last words is waited for no longer than timeouts.tunnelIdle`, async (t) => {
    const { heddle, endpoint, port } = await startDb(t, ", timeouts: { tunnelIdle: 300ms }");
    const caller = slowCaller(t, port, "hello");
    const there = await endpoint.accepted();
    const [speaker, silent] = who === "a caller" ? [there, caller] : [caller, there];
    speaker.socket.write(SAID);
    await untilCarried(heddle, who === "a caller" ? "endpoint" : "caller");
    speaker.socket.resetAndDestroy();
    t.match(await heddle.logged(() => true), { cause, status: 200 });
    await untilNothingIsHeld(heddle);
    t.equal(await silent.untilEnd(), "ECONNRESET");
    t.ok(Buffer.concat(silent.received).length < MIB, "it is not told that this was all");
  });

test("a side that speaks without end to one that is gone is not kept by its own words", async (t) => {
  const { heddle, endpoint, port } = await startDb(t);
  const caller = slowCaller(t, port);
  const there = await endpoint.accepted();
  const speak = () => {
    if (there.socket.writable && there.socket.write(SAID)) setImmediate(speak);
  };
  there.socket.on("drain", speak);
  speak();
  await untilCarried(heddle, "endpoint");
  caller.socket.resetAndDestroy();
  t.match(await heddle.logged(() => true), { cause: "client_closed" });
  await untilNothingIsHeld(heddle);
});

test("the end of heddle does not wait for last words", async (t) => {
  const { heddle, endpoint, port } = await startDb(t);
  const caller = slowCaller(t, port);
  caller.socket.write(SAID);
  const there = await endpoint.accepted();
  await untilCarried(heddle, "caller");
  caller.socket.resetAndDestroy();
  await until(async () => (await attempts(heddle, "abandoned")) === 1);
  for (const listener of heddle.sidecar.listeners) listener.destroy();
  await untilNothingIsHeld(heddle);
  t.equal(await there.untilEnd(), "ECONNRESET");
});

/** Small enough for heddle to hold some of them without asking the endpoint to wait. */
const PIECE = SAID.subarray(0, 4096);

test("a caller of an upgrade that never takes the last words is not told that what it got was all", async (t) => {
  const endpoint = await slowEndpoint(t);
  const heddle = await startInProcess(t, orders([endpoint.address], "timeouts: { tunnelIdle: 300ms }"));
  const caller = slowCaller(t, heddle.addresses.outbound.port, asking());
  const there = await endpoint.accepted();
  there.socket.resume();
  await once(there.socket, "data");
  there.socket.write(switching());
  let said = 0;
  for (let more = 24; !heddle.sidecar.listeners.some(({ unread }) => unread) || more-- > 0; ) {
    there.socket.write(PIECE);
    said += PIECE.length;
    await new Promise((resolve) => setImmediate(resolve));
  }
  resetBehind(there.socket, systemClock);
  // Its upstream is waited for no longer than tunnelIdle, and then the caller has its own time.
  t.match(await heddle.logged(() => true), { cause: "upstream_reset", status: 101 });
  t.equal(await caller.untilEnd(), "ECONNRESET");
  t.ok(Buffer.concat(caller.received).length < said);
  caller.socket.destroy();
  await untilNothingIsHeld(heddle);
});

const ok = (field: string) => `HTTP/1.1 200 OK\r\n${field}\r\n`;
const request = (version: string) => `GET / HTTP/${version}\r\nHost: orders\r\n\r\n`;

for (const [what, asked, head, before, ending] of [
  ["an answer with a length", request("1.1"), `${ok(`Content-Length: ${1024 * MIB}`)}\r\n`, "", "an end"],
  ["an answer in chunks", request("1.1"), ok("Transfer-Encoding: chunked"), "\r\n1000\r\n", "an end"],
  ["an answer that its end ends", request("1.0"), `${ok("Connection: close")}\r\n`, "", "ECONNRESET"],
  ["an upgrade", asking(), switching(), "", "ECONNRESET"],
] as const)
  test(`what came of ${what} before its endpoint's reset reaches a caller that takes it later`, async (t) => {
    const endpoint = await slowEndpoint(t);
    const heddle = await startInProcess(t, orders([endpoint.address]));
    const caller = slowCaller(t, heddle.addresses.outbound.port, asked);
    const there = await endpoint.accepted();
    there.socket.resume();
    await once(there.socket, "data");
    there.socket.write(head);
    let said = 0;
    // Until the kernel takes no more for the caller, and heddle itself holds what came last; of an upgrade also between its two sides.
    let more = what === "an upgrade" ? 24 : 0;
    for (; !heddle.sidecar.listeners.some(({ unread }) => unread) || more-- > 0; said += PIECE.length) {
      there.socket.write(Buffer.concat([Buffer.from(before), PIECE]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    resetBehind(there.socket, systemClock);
    await once(there.socket, "close");
    // A round of the event loop or two later heddle knows.
    await heddle.metric("heddle_requests_in_flight");
    const how = await caller.untilEnd();
    caller.socket.destroy();
    const record = await heddle.logged(() => true);
    t.match(record, { cause: "upstream_reset", responseBytes: said });
    // Not as one that is whole.
    t.equal(how, ending);
    const text = Buffer.concat(caller.received).toString("latin1");
    // No letter of SAID is a digit of a chunk's size.
    t.equal(text.slice(text.indexOf("\r\n\r\n")).replace(/[^g-z]/g, "").length, said);
    await untilNothingIsHeld(heddle);
  });
