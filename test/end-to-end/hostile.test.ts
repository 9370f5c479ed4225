import type { Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { type Test, test } from "tap";
import { startApp } from "../support/apps.ts";
import { startInProcess } from "../support/in-process.ts";
import {
  answering,
  exchangeBytes,
  type RawConnection,
  type RawEndpoint,
  rawClient,
  rawEndpoint,
  textAnswer,
} from "../support/raw.ts";
import { type SidecarProcess, startSidecar } from "../support/sidecar.ts";

const MIB = 1024 * 1024;
const OK = textAnswer("ok");
const get = (path = "/") => `GET ${path} HTTP/1.1\r\nHost: orders\r\n\r\n`;
const post = (path: string, length = 0) =>
  `POST ${path} HTTP/1.1\r\nHost: orders\r\nContent-Length: ${length}\r\n\r\n`;
const closing = (request: string) => request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
const before = (endpoint: RawEndpoint) => `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`;

/** An endpoint with something small, something large (if it has a size, else without an end) and no answer to a POST. */
async function startServing(t: Test, largeBytes?: number) {
  const written = { bytes: 0 };
  const piece = Buffer.alloc(64 * 1024);
  const pour = (socket: Socket) => {
    const length = largeBytes === undefined ? "Connection: close" : `Content-Length: ${largeBytes}`;
    socket.write(`HTTP/1.1 200 OK\r\n${length}\r\n\r\n`);
    let left = largeBytes ?? Number.POSITIVE_INFINITY;
    const more = () => {
      for (let taken = true; taken && left > 0; left -= piece.length) {
        taken = socket.write(piece);
        written.bytes += piece.length;
      }
    };
    socket.on("drain", more);
    more();
  };
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.socket.on("data", () => {
      if (!/^GET [\s\S]*\r\n\r\n$/.test(connection.received)) return;
      if (connection.take().startsWith("GET /large ")) pour(connection.socket);
      else connection.send(OK);
    });
  });
  return { endpoint, written };
}

/** Whether it was answered as it should be. */
async function isServed(client: RawConnection): Promise<boolean> {
  client.send(get());
  await client.until(/\r\n\r\nok$|\}\n$/);
  return /^HTTP\/1.1 200 [\s\S]*ok$/.test(client.take());
}

/** Callers that ask one thing after the other, each at a bounded rate. */
function goodTraffic(t: Test, port: number, callers: number) {
  let latenciesMs: number[] = [];
  let unserved = 0;
  let stopped = false;
  const asked = Array.from({ length: callers }, async () => {
    const client = await rawClient(t, port);
    while (!stopped) {
      const startedAt = performance.now();
      if (!(await isServed(client))) unserved++;
      latenciesMs.push(performance.now() - startedAt);
      await pause(10);
    }
    client.socket.destroy();
  });
  return {
    /** What was measured since the last time. */
    lap(): string {
      const sorted = latenciesMs.sort((a, b) => a - b);
      latenciesMs = [];
      return `${sorted.length} requests, p99 ${sorted[Math.floor(sorted.length * 0.99)]?.toFixed(1)} ms`;
    },
    /** Resolves to how many were not served. */
    async stop(): Promise<number> {
      stopped = true;
      await Promise.all(asked);
      return unserved;
    },
  };
}

/** Waits until nobody is connected, and tells whether anything is left of what they did. */
async function isIdle({ admin }: SidecarProcess): Promise<boolean> {
  while ((await admin.metric("heddle_connections", { direction: "outbound" })) > 0) await pause(20);
  const inFlight = await admin.metric("heddle_requests_in_flight");
  const pending = await admin.metric("heddle_pending_requests");
  const busy = await admin.metric("heddle_pool_connections", { state: "busy" });
  return inFlight + pending + busy === 0;
}

type Report = { readonly userLimits: { readonly open_files: { readonly soft: number | "unlimited" } } };
const OPEN_FILES = (process.report.getReport() as unknown as Report).userLimits.open_files.soft;
// Node raises its limit of open files to the hard one by itself; with less than this the attack does not fit.
const skip = Number(OPEN_FILES) < 6000 && `only ${OPEN_FILES} open files are allowed`;

test("2,000 slow connections are each ended in their way, and others are served", { skip }, async (t) => {
  const { endpoint } = await startServing(t);
  const sidecar = await startSidecar(t, {
    outbound: { headTimeout: "4s", bodyTimeout: "4s", keepAlive: "4s" },
    // Patient with an endpoint whose process is busy being the 2,000, too.
    upstreams: { orders: { endpoints: [endpoint.address], timeouts: { connect: "10s" } } },
    telemetry: { accessLog: false },
  });
  const { addresses, admin } = sidecar;
  const rssMib = async () => ((await admin.metric("process_resident_memory_bytes")) / MIB).toFixed(0);
  const good = goodTraffic(t, addresses.outbound.port, 10);
  await pause(1000);
  t.comment(`alone: ${good.lap()}`);
  const rssAlone = await rssMib();

  const kinds: Record<string, { begin: string; bytes: number }> = {
    // A byte at a time for ever, a byte at a time for a second, nothing, and nothing after a request.
    "slow head": { begin: "GET / HTTP/1.1\r\nHost: orders\r\nX-Slow: ", bytes: Number.POSITIVE_INFINITY },
    "slow body": { begin: post("/", 1000), bytes: 4 },
    silent: { begin: "", bytes: 0 },
    idle: { begin: get(), bytes: 0 },
  };
  const ends: Record<string, number> = {};
  const attack = Object.entries(kinds).flatMap(([kind, { begin, bytes }]) =>
    Array.from({ length: 500 }, async (_, i) => {
      await pause(2 * i);
      const client = await rawClient(t, addresses.outbound.port);
      client.send(begin);
      let left = bytes;
      const trickle = setInterval(() => left-- > 0 && !client.ended && client.send("a"), 250);
      const said = await client.untilEnd();
      clearInterval(trickle);
      client.socket.destroy();
      const end = `${kind}: ${said.slice(0, 12)} ${/X-Heddle-Error: (\S+)/.exec(said)?.[1] ?? ""}`.trim();
      ends[end] = (ends[end] ?? 0) + 1;
    }),
  );
  await Promise.all(attack);
  t.comment(`attacked: ${good.lap()}`);
  t.same(ends, {
    "slow head: HTTP/1.1 408 request_timeout": 500,
    "slow body: HTTP/1.1 408 request_timeout": 500,
    "silent:": 500,
    "idle: HTTP/1.1 200": 500,
  });
  t.equal(await good.stop(), 0, "every good request was answered with 200");
  t.ok(await isIdle(sidecar), "nothing is left of them");
  t.comment(`memory: ${rssAlone} MiB before, ${await rssMib()} MiB after`);
});

test("50 callers that ask for much and never read cost little, hold their endpoints back, and are ended", async (t) => {
  const size = 100 * MIB;
  const { endpoint, written } = await startServing(t, size);
  const sidecar = await startSidecar(t, {
    outbound: { bodyTimeout: "2s" },
    upstreams: { orders: { endpoints: [endpoint.address] } },
  });
  const { addresses, admin } = sidecar;
  const rss = () => admin.metric("process_resident_memory_bytes");
  const begun = await rss();
  let most = begun;
  const greedy = await Promise.all(
    Array.from({ length: 50 }, async (_, i) => {
      const client = await rawClient(t, addresses.outbound.port);
      client.socket.pause();
      client.send(get("/large").repeat(i % 2 === 0 ? 1 : 20));
      return client;
    }),
  );
  const other = await rawClient(t, addresses.outbound.port);
  const served: boolean[] = [];
  while ((await admin.metric("heddle_requests_total", { cause: "client_closed" })) < 50) {
    most = Math.max(most, await rss());
    served.push(await isServed(other));
  }
  other.socket.destroy();
  t.notOk(served.includes(false), "others are served meanwhile");
  const grownMib = (most - begun) / MIB;
  const writtenMib = written.bytes / MIB / greedy.length;
  t.comment(
    `memory grew by ${grownMib.toFixed(1)} MiB; ${served.length} requests of another were served meanwhile`,
  );
  t.comment(`an endpoint could write ${writtenMib.toFixed(1)} MiB of ${size / MIB} MiB on average`);
  t.ok(grownMib < 64, `${grownMib.toFixed(1)} MiB`);
  t.ok(writtenMib < 50, `${writtenMib.toFixed(1)} MiB`);
  t.ok(await isIdle(sidecar), "nothing is left of them");
  const record = await sidecar.until(({ cause }) => cause === "client_closed");
  t.match(record, { status: 200, reason: "the caller did not read its answer in time" });
  for (const { socket } of greedy) socket.resume();
  for (const client of greedy) {
    await client.untilEnd();
    if (client.take().length >= size) t.fail("what it finds when it reads after all is whole");
  }
});

/** How a connection ends for its caller: "end" looks like the end of an answer that only closing delimits. */
function ending({ socket }: RawConnection): Promise<unknown> {
  return new Promise((resolve) => {
    socket.once("end", () => resolve("end"));
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code));
  });
}

test("an HTTP/1.0 caller that did not read in time is told by a reset that what it has is not whole", async (t) => {
  const { endpoint } = await startServing(t);
  const impatient = "outbound: { listen: 127.0.0.1:0, bodyTimeout: 300ms }";
  const { addresses, logged } = await startInProcess(t, `${impatient}\n${before(endpoint)}`);
  const client = await rawClient(t, addresses.outbound.port);
  client.send("GET /large HTTP/1.0\r\nHost: orders\r\n\r\n");
  await client.until(/^HTTP\/1.1 200 /);
  client.socket.pause();
  t.match(await logged(() => true), { cause: "client_closed", status: 200 });
  const ended = ending(client);
  client.socket.resume();
  t.equal(await ended, "ECONNRESET");
});

test("an HTTP/1.0 caller whose answer is cut off by a shutdown is told so by a reset", async (t) => {
  const { endpoint } = await startServing(t);
  const { addresses, sidecar } = await startInProcess(t, `${before(endpoint)}\nshutdown: { grace: 50ms }`);
  const client = await rawClient(t, addresses.outbound.port);
  const ended = ending(client);
  client.send("GET /large HTTP/1.0\r\nHost: orders\r\n\r\n");
  await client.until(/^HTTP\/1.1 200 /);
  await sidecar.drain();
  t.equal(await ended, "ECONNRESET");
});

/** What an endpoint says to a POST, how it ends when its caller has got that, and what its caller sees of it. */
interface Fault {
  readonly says: string;
  readonly ends?: "end" | "reset" | "trickle";
  readonly sees: RegExp;
  readonly cause: string;
}

const LENGTH = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
const HEAD_OF_80K = `HTTP/1.1 200 OK\r\nX: ${"x".repeat(80_000)}`;
const CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const refused = (status: number, cause: string) => ({
  sees: new RegExp(`^HTTP/1.1 ${status} .*X-Heddle-Error: ${cause}\r\n.*"error":"${cause}"`, "s"),
  cause,
});
const RESET = refused(502, "upstream_reset");
const LATE = refused(504, "attempt_timeout");
const HALF = { sees: /^HTTP.1.1 200 .*Content-Length: 100\r\n.*\r\n\r\nhalf$/s, cause: "upstream_reset" };
/** The chunk that means the end is missing. */
const OPEN = { sees: /^HTTP.1.1 200 .*chunked\r\n.*\r\n\r\n4\r\nhalf\r\n$/s, cause: "upstream_reset" };

const FAULTS: Readonly<Record<string, Fault>> = {
  "a reset before the head": { says: "", ends: "reset", ...RESET },
  "a close before the head": { says: "", ends: "end", ...RESET },
  "a reset in the head": { says: LENGTH.slice(0, 30), ends: "reset", ...RESET },
  "a close in the head": { says: LENGTH.slice(0, 30), ends: "end", ...RESET },
  "a reset in a body with a length": { says: `${LENGTH}half`, ends: "reset", ...HALF },
  "a close in a body with a length": { says: `${LENGTH}half`, ends: "end", ...HALF },
  "a reset between chunks": { says: `${CHUNKED}4\r\nhalf\r\n`, ends: "reset", ...OPEN },
  "a close between chunks": { says: `${CHUNKED}4\r\nhalf\r\n`, ends: "end", ...OPEN },
  "a close in a chunk": { says: `${CHUNKED}9\r\nhalf`, ends: "end", ...OPEN },
  "a close in the trailers": { says: `${CHUNKED}4\r\nhalf\r\n0\r\nX-A: b\r\n`, ends: "end", ...OPEN },
  "a head without an end": { says: HEAD_OF_80K, ...refused(502, "bad_response") },
  "a head that trickles": { says: LENGTH.slice(0, 30), ends: "trickle", ...LATE },
  "no answer": { says: "", ...LATE },
};

test("whatever an endpoint does, its caller sees that and never a clean end, and the next gets its own answer", async (t) => {
  const faults = Object.entries(FAULTS);
  const asked = faults.map(() => Promise.withResolvers<RawConnection>());
  const endpoint = await rawEndpoint(t, (connection) => {
    const { socket } = connection;
    socket.on("data", () => {
      if (!connection.received.endsWith("\r\n\r\n")) return;
      const [, method, number] = /^(\w+) \/(\d+)/.exec(connection.take())!;
      if (method === "GET") {
        connection.send(textAnswer(`<${number}>`));
        return;
      }
      const { says, ends } = faults[Number(number)]![1];
      connection.send(says);
      asked[Number(number)]!.resolve(connection);
      const trickle = setInterval(() => ends === "trickle" && socket.write("9"), 20);
      socket.on("close", () => clearInterval(trickle));
    });
  });
  const { addresses, access, sidecar } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"], timeouts: { attempt: 2s }, breaker: { enabled: false } } }`,
  );
  // All at once: they share a pool, and still nobody sees what is meant for another.
  await Promise.all(
    faults.map(async ([name, { says, ends, sees, cause }], i) => {
      const client = await rawClient(t, addresses.outbound.port);
      client.send(closing(post(`/${i}`)));
      const behind = await asked[i]!.promise;
      if (says.includes("half")) await client.until(/half/);
      if (ends === "end") behind.socket.end();
      if (ends === "reset") behind.socket.resetAndDestroy();
      t.match(await client.untilEnd(), sees, name);
      const record = access.find(({ path }) => path === `/${i}`);
      t.match(record, { cause, attempts: 1 }, name);
      await behind.untilEnd();
      const next = await exchangeBytes(t, addresses.outbound.port, closing(get(`/${i}`)));
      t.ok(next.endsWith(`\r\n\r\n<${i}>`), "the next caller");
    }),
  );
  t.equal(sidecar.upstreams.get("orders")!.limit.held, 0);
});

test("an answer that is malformed from its first chunk on is told to its caller as such", async (t) => {
  const endpoint = await rawEndpoint(t, answering(`${CHUNKED}zz\r\n`));
  const { addresses } = await startInProcess(t, before(endpoint));
  const said = await exchangeBytes(t, addresses.outbound.port, closing(post("/")));
  t.match(said, refused(502, "bad_response").sees);
});

/** Sends without an end, as far as it is taken; resolves to what came when the other side has closed. */
async function uploading(t: Test, port: number): Promise<string> {
  const client = await rawClient(t, port);
  const piece = Buffer.alloc(64 * 1024);
  const more = () => {
    while (client.socket.writable && client.socket.write(piece));
  };
  client.send(post("/early", 1024 * MIB));
  client.socket.on("drain", more);
  more();
  await new Promise((resolve) => client.socket.once("close", resolve));
  return client.received;
}

test("an answer that comes while its caller still sends reaches it whole, and both connections end", async (t) => {
  const heads = [
    "200 OK\r\n",
    "200 OK\r\nConnection: close\r\n",
    "413 No\r\n",
    "413 No\r\nConnection: close\r\n",
  ];
  await Promise.all(
    heads.map(async (head) => {
      const endpoint = await rawEndpoint(t, (connection) => {
        connection.socket.once("data", (bytes) => {
          connection.send(String(bytes).startsWith("POST ") ? textAnswer("early", `HTTP/1.1 ${head}`) : OK);
        });
      });
      const { addresses, logged } = await startInProcess(t, before(endpoint));
      const said = await uploading(t, addresses.outbound.port);
      t.match(said, new RegExp(`^HTTP/1.1 ${head.slice(0, 3)} .*Connection: close\r\n\r\nearly$`, "s"));
      t.match(await logged(() => true), { status: Number(head.slice(0, 3)), attempts: 1 });
      await endpoint.connections[0]!.untilEnd();
      t.ok(await isServed(await rawClient(t, addresses.outbound.port)), "the next caller");
      t.equal(endpoint.connections.length, 2, "on a connection of its own");
    }),
  );
});

test("an answer of an endpoint that hangs up on an upload reaches the caller", async (t) => {
  // As a server of node:http does that answers with `connection: close`: what it has not read makes its close a reset.
  const app = await startApp(t, (_, response) => {
    response.writeHead(413, { connection: "close" });
    response.end("early");
  });
  const { addresses } = await startInProcess(t, `upstreams: { orders: { endpoints: ["${app.address}"] } }`);
  t.match(await uploading(t, addresses.outbound.port), /^HTTP\/1.1 413 /);
});

test("what a side names in Connection ends here, and what heddle and its peers rely on does not", async (t) => {
  const kept = ["X-Forwarded-Proto: a", "X-Heddle-A: b", "Authorization: c", "Cookie: d", "Cache-Control: e"];
  const gone = ["X-Secret: e", "x-lower: f", "X-Twice: g", "X-Twice: h", "Keep-Alive: timeout=9", "TE: gzip"];
  const names = [...kept, ...gone].map((field) => field.split(":")[0]!);
  const named = `Connection: close, ${names.join(" ,\t")},,X-Forwarded-For\r\nconnection: via,X-REQUEST-ID, host\r\n`;
  const fields = [...kept, ...gone, "X-Stays: 1"].join("\r\n");
  const endpoint = await rawEndpoint(
    t,
    answering(textAnswer("ok", `HTTP/1.1 200 OK\r\n${named}${fields}\r\nSet-Cookie: i\r\n`)),
  );
  const { addresses } = await startInProcess(t, before(endpoint));
  const own = "X-Request-Id: 7\r\nX-Forwarded-For: 9.9.9.9\r\nVia: 1.1 a";
  const asked = new Promise<string>((resolve) => {
    endpoint.accepted(0).then(({ socket }) => socket.once("data", (bytes) => resolve(String(bytes))));
  });
  const answer = await exchangeBytes(
    t,
    addresses.outbound.port,
    `GET / HTTP/1.1\r\nHost: orders\r\n${named}${fields}\r\n${own}\r\n\r\n`,
  );
  for (const lines of [(await asked).split("\r\n"), answer.split("\r\n")]) {
    for (const field of [...kept, "X-Stays: 1"]) t.ok(lines.includes(field), field);
    for (const field of gone) t.notOk(lines.includes(field), field);
  }
  t.match(
    await asked,
    /\r\nHost: orders\r\n[\s\S]*\r\nX-Request-Id: 7\r\nX-Forwarded-For: 9.9.9.9, 127.0.0.1\r\n[\s\S]*\r\nVia: 1.1 a, 1.1 heddle\r\n/,
  );
  t.notMatch(await asked, /\r\nConnection:/i);
  t.match(answer, /\r\nSet-Cookie: i\r\n[\s\S]*\r\nConnection: close\r\n\r\nok$/);
  await endpoint.connections[0]!.untilEnd();
});
