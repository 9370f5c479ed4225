import { setTimeout as pause } from "node:timers/promises";
import { type Test, test } from "tap";
import { startInProcess } from "../support/in-process.ts";
import { type RawConnection, type RawEndpoint, rawClient, rawEndpoint, textAnswer } from "../support/raw.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { startSidecar } from "../support/sidecar.ts";

const OK = textAnswer("ok");
const EVIL = textAnswer("not yours");

/** GET, POST and so on; one with a body has a length of 4. "POST with a key" has an Idempotency-Key, which may be of nothing. */
function request(kind: string, path = "/", host = "orders"): string {
  const method = kind.split(" ", 1)[0]!;
  const [, said] = / with (a|no) key$/.exec(kind) ?? [];
  const key = said === undefined ? "" : `Idempotency-Key: ${said === "a" ? "k" : " "}\r\n`;
  const body = /^P/.test(method) ? "Content-Length: 4\r\n\r\nbody" : "\r\n";
  return `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${key}${body}`;
}

/** Sends a request and resolves to its answer: one of ours, or one that heddle gives for itself. */
async function ask(client: RawConnection, asked: string): Promise<string> {
  client.send(asked);
  await client.until(/\r\n\r\n(ok|not yours|\{.*\}\n)$/s);
  return client.take();
}

/** Calls back with the path of every whole request, and with which one it is on its connection, from 1. */
function onRequests(connection: RawConnection, serve: (path: string, nth: number) => void): void {
  let nth = 0;
  connection.socket.on("data", () => {
    const whole = /^(?:P\w+ (\S+) .*?\r\n\r\nbody|[^P]\w+ (\S+) .*?\r\n\r\n)$/s.exec(connection.received);
    if (whole === null) return;
    connection.take();
    serve(whole[1] ?? whole[2]!, ++nth);
  });
}

const IDLE_MS = 1000;
const CALLERS = 313;
const ROUNDS = 16;

/** Closes a connection a second after its last answer, whether or not it has said so before. */
async function closingWhenIdle(t: Test, promise: string) {
  const served = new Map<string, number>();
  const endpoint = await rawEndpoint(t, (connection) => {
    let idle: NodeJS.Timeout | undefined;
    connection.socket.on("close", () => clearTimeout(idle));
    connection.socket.on("end", () => connection.socket.end());
    onRequests(connection, (path) => {
      served.set(path, (served.get(path) ?? 0) + 1);
      connection.send(textAnswer("ok", `HTTP/1.1 200 OK\r\n${promise}`));
      clearTimeout(idle);
      idle = setTimeout(() => connection.socket.destroy(), IDLE_MS);
    });
  });
  return { endpoint, served };
}

test("10,000 requests around the second after which an endpoint hangs up, announced or not: no error", async (t) => {
  const random = seededRandom(1);
  const endpoints = {
    announced: await closingWhenIdle(t, "Keep-Alive: timeout=1\r\n"),
    unannounced: await closingWhenIdle(t, ""),
  };
  // What may be sent twice, what may not, and what may by its caller's word.
  const kinds = ["GET", "POST", "POST with a key"];
  const names = ["announced", "unannounced"] as const;
  // Each caller has an upstream and so a pool of its own: its connection is unused for as long as it is.
  const upstreams = names.flatMap((name) =>
    Array.from({ length: CALLERS }, (_, i) => [
      `${name}-${i}`,
      // Patient with an endpoint whose process is busy being the callers, too.
      { endpoints: [endpoints[name].endpoint.address], timeouts: { connect: "10s" } },
    ]),
  );
  const { addresses, admin } = await startSidecar(t, {
    upstreams: Object.fromEntries(upstreams),
    telemetry: { accessLog: false },
  });
  const failed: string[] = [];
  const calling = names.flatMap((name) =>
    Array.from({ length: CALLERS }, async (_, i) => {
      await pause(random.next() * IDLE_MS);
      const client = await rawClient(t, addresses.outbound.port);
      for (let round = 0; round < ROUNDS; round++) {
        // From 0.9 to 1.1 seconds, and mostly close to one.
        if (round > 0) await pause(IDLE_MS + 100 * (2 * random.next() - 1) ** 3);
        const answer = await ask(
          client,
          request(kinds[(i + round) % kinds.length]!, `/${i}/${round}`, `${name}-${i}`),
        );
        if (!answer.startsWith("HTTP/1.1 200 ")) failed.push(answer);
      }
    }),
  );
  await Promise.all(calling);
  t.same(failed, []);
  for (const name of names) {
    const { served, endpoint } = endpoints[name];
    t.equal(served.size, CALLERS * ROUNDS, `${name}: all were served`);
    t.ok(
      [...served.values()].every((times) => times === 1),
      "and each once",
    );
    const resent = (await admin.series("heddle_pool_resent_total")).filter(({ labels }) =>
      labels["upstream"]!.startsWith(`${name}-`),
    );
    const again = resent.reduce((sum, { value }) => sum + value, 0);
    t.comment(
      `${name}: ${served.size} served on ${endpoint.connections.length} connections, ${again} sent again`,
    );
  }
});

test("an endpoint's promise of how long it keeps a connection is respected, and a longer one changes nothing", async (t) => {
  const promising = async (promise: string) =>
    rawEndpoint(t, (connection) =>
      onRequests(connection, () => connection.send(textAnswer("ok", `HTTP/1.1 200 OK\r\n${promise}`))),
    );
  const endpoints: Readonly<Record<string, RawEndpoint>> = {
    one: await promising("Keep-Alive: timeout=1\r\n"),
    many: await promising("Keep-Alive: max=100, timeout=7200\r\n"),
    none: await promising(""),
  };
  const upstreams = Object.entries(endpoints).map(
    ([name, { address }]) => `  ${name}: { endpoints: ["${address}"], keepAlive: 1h }`,
  );
  const { addresses, sidecar } = await startInProcess(t, `upstreams:\n${upstreams.join("\n")}`);
  const client = await rawClient(t, addresses.outbound.port);
  for (const host of [...Object.keys(endpoints), ...Object.keys(endpoints)])
    t.match(await ask(client, request("GET", "/", host)), /^HTTP\/1.1 200 /);
  t.equal(endpoints["one"]!.connections.length, 1, "used again within its time");
  await endpoints["one"]!.connections[0]!.untilEnd();
  const idle = Object.keys(endpoints).map((name) => sidecar.upstreams.get(name)!.counts().connections.idle);
  t.same(idle, [0, 1, 1], "the others are kept as the configuration says");
});

test("a pooled connection whose time is over is not used, even when heddle comes late to close it", async (t) => {
  const served: number[] = [];
  const endpoint = await rawEndpoint(t, (connection, number) =>
    onRequests(connection, () => {
      served.push(number);
      connection.send(textAnswer("ok", "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\n"));
    }),
  );
  const busy = await rawEndpoint(t, ({ socket }) =>
    socket.on("data", () => {
      for (const until = performance.now() + IDLE_MS; performance.now() < until; );
    }),
  );
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  const work = await rawClient(t, busy.port);
  await busy.accepted(0);
  await ask(client, request("POST"));
  // Both arrive for the same turn, which reads what is there before it looks at its timers.
  work.send("a second's work");
  t.match(await ask(client, request("POST")), /^HTTP\/1.1 200 /);
  t.same(served, [0, 1]);
});

/** A sidecar with one pooled connection to an endpoint that does with further requests what it is told to. */
async function withPooled(t: Test, serve: (connection: RawConnection, path: string, nth: number) => void) {
  const read: string[] = [];
  const endpoint = await rawEndpoint(t, (connection, number) =>
    onRequests(connection, (path, nth) => {
      read.push(`${number} ${path}`);
      if (nth === 1) connection.send(OK);
      else serve(connection, path, nth);
    }),
  );
  const inProcess = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"], breaker: { enabled: false } } }`,
  );
  const client = await rawClient(t, inProcess.addresses.outbound.port);
  t.match(await ask(client, request("GET", "/first")), /ok$/);
  return { ...inProcess, endpoint, client, read, pooled: endpoint.connections[0]! };
}

const ENDS: Readonly<Record<string, (pooled: RawConnection) => void>> = {
  "is closed": (pooled) => pooled.socket.destroy(),
  "is reset": (pooled) => pooled.socket.resetAndDestroy(),
  "says what nobody asked for": (pooled) => pooled.send(EVIL),
};

test("a pooled connection that has ended before a request came is not used for it", async (t) => {
  for (const [how, end] of Object.entries(ENDS)) {
    const { client, pooled, read } = await withPooled(t, () => {});
    // In one turn: what the endpoint did is there when the request comes, and has not been read yet.
    end(pooled);
    t.match(await ask(client, request("POST", "/next")), /^HTTP\/1.1 200 .*ok$/s, how);
    t.same(read, ["0 /first", "1 /next"], "on another connection");
    await pooled.untilEnd();
  }
});

test("a pooled connection that ends before a byte of a request has left is not used for it", async (t) => {
  for (const [how, end] of Object.entries(ENDS)) {
    const { client, pooled, read } = await withPooled(t, () => {});
    // The request is read before the end is, in the same turn; it is written to the endpoint at the end of the turn.
    client.send(request("POST", "/next"));
    end(pooled);
    t.match(await ask(client, ""), /^HTTP\/1.1 200 .*ok$/s, `${how}: it is safe to send it elsewhere`);
    t.equal(read.filter((path) => path.endsWith("/next")).length, 1, "once");
  }
});

test("what died on a reused connection before a byte came back is sent again, whole, when it may be repeated", async (t) => {
  for (const kind of ["GET", "HEAD", "DELETE", "PUT", "POST with a key", "PATCH with a key"]) {
    const { client, metric, read } = await withPooled(t, ({ socket }) => socket.destroy());
    client.send(request(kind, "/again"));
    t.match(await client.until(/\r\n\r\n/), /^HTTP\/1.1 200 /, kind);
    t.same(read, ["0 /first", "0 /again", "1 /again"]);
    t.equal(await metric("heddle_pool_resent_total"), 1);
  }
});

test("what may not be repeated is not sent again once the endpoint may have read it", async (t) => {
  for (const kind of ["POST", "PATCH", "POST with no key"]) {
    const { client, logged, read } = await withPooled(t, ({ socket }) => socket.destroy());
    t.match(
      await ask(client, request(kind, "/once")),
      /^HTTP\/1.1 502 .*X-Heddle-Error: upstream_reset/s,
      kind,
    );
    t.same(read, ["0 /first", "0 /once"]);
    t.match(await logged(({ path }) => path === "/once"), { attempts: 1, retryRefused: "method" });
  }
});

test("nothing is sent again once its answer has begun to pass", async (t) => {
  for (const kind of ["GET", "PUT", "POST", "POST with a key"]) {
    const { client, logged, read, pooled } = await withPooled(t, (connection) => {
      connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    });
    client.send(request(kind, "/begun"));
    await client.until(/Content-Length: 100/);
    pooled.socket.resetAndDestroy();
    t.match(await client.untilEnd(), /\r\n\r\n$/, `${kind}: it ends without a body`);
    t.match(await logged(({ path }) => path === "/begun"), { attempts: 1, cause: "upstream_reset" });
    t.same(read, ["0 /first", "0 /begun"]);
  }
});

test("a POST is not sent again when a piece of its answer's head has come", async (t) => {
  const { client, read } = await withPooled(t, (connection) => {
    connection.send("HTTP/1.1 200 O");
    connection.socket.end();
  });
  t.match(await ask(client, request("POST", "/begun")), /^HTTP\/1.1 502 .*X-Heddle-Error: upstream_reset/s);
  t.same(read, ["0 /first", "0 /begun"]);
});

test("pooled connections that have all died unnoticed cost no caller its answer", async (t) => {
  const pooled = 8;
  const waiting: RawConnection[] = [];
  const endpoint = await rawEndpoint(t, (connection, number) =>
    onRequests(connection, (_, nth) => {
      if (number >= pooled) connection.send(OK);
      else if (nth > 1) connection.socket.resetAndDestroy();
      else if (waiting.push(connection) === pooled) for (const one of waiting) one.send(OK);
    }),
  );
  const { addresses, sidecar } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const clients = await Promise.all(
    Array.from({ length: pooled }, () => rawClient(t, addresses.outbound.port)),
  );
  await Promise.all(clients.map((client) => ask(client, request("GET"))));
  const upstream = sidecar.upstreams.get("orders")!;
  t.equal(upstream.counts().connections.idle, pooled);
  for (const client of clients) t.match(await ask(client, request("GET")), /^HTTP\/1.1 200 /);
  t.equal(upstream.endpoints[0]!.breaker.state, "closed", "and the endpoint, which is well, is not given up");
});

/** An answer whose bytes fill exactly one read of heddle's, in chunks of which little is left. */
function answerOfOneRead(): string {
  const chunk = (bytes: number) => `1;e=${"a".repeat(bytes - 9)}\r\nx\r\n`;
  const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  const left = 64 * 1024 - head.length - "2\r\nok\r\n0\r\n\r\n".length;
  const whole = Math.floor(left / 200) - 1;
  const rest = left - whole * 200;
  const half = Math.floor(rest / 2);
  return `${head}${chunk(200).repeat(whole)}${chunk(half)}${chunk(rest - half)}2\r\nok\r\n0\r\n\r\n`;
}

test("an answer behind another is nobody's, not even when a next request has the connection already", async (t) => {
  const split = answerOfOneRead() + EVIL;
  t.equal(split.length, 64 * 1024 + EVIL.length);
  const endpoint = await rawEndpoint(t, (connection) =>
    onRequests(connection, (path) => connection.send(path === "/split" ? split : OK)),
  );
  const { addresses, sidecar, admin } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"], limits: { connections: 1 } } }`,
  );
  const pipelining = await rawClient(t, addresses.outbound.port);
  pipelining.send(request("GET", "/split") + request("GET", "/next"));
  await pipelining.until(/0\r\n\r\n.*\r\n\r\n(ok|not yours)$/s);
  t.match(pipelining.received, /ok$/, "the same caller's, sent at once");
  const upstream = sidecar.upstreams.get("orders")!;
  for (const [begin, end] of [
    [request("GET", "/next"), ""],
    [request("POST", "/next").slice(0, -2), "dy"],
  ] as const) {
    const first = await rawClient(t, addresses.outbound.port);
    first.send(request("POST", "/split").slice(0, -2));
    while (upstream.counts().connections.busy === 0) await admin("/live");
    const next = await rawClient(t, addresses.outbound.port);
    next.send(begin);
    while (upstream.counts().pending === 0) await admin("/live");
    first.send("dy");
    await first.until(/0\r\n\r\n$/);
    t.match(await ask(next, end), /^HTTP\/1.1 200 .*ok$/s, "another's, waiting for the connection");
  }
});
