import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { type Test, test } from "tap";
import { startInProcess } from "../support/in-process.ts";
import { answering, RawConnection, rawClient, rawEndpoint, textAnswer } from "../support/raw.ts";
import { startSidecar } from "../support/sidecar.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/** Writes so many bytes of changing content at the reader's pace; returns their hash. */
async function pour(socket: Socket, bytes: number): Promise<string> {
  const block = randomBytes(MIB);
  const hash = createHash("sha1");
  for (let sent = 0; sent < bytes; sent += block.length) {
    block.writeUInt32BE(sent / MIB, 0);
    const piece = Buffer.from(block);
    hash.update(piece);
    if (!socket.write(piece)) await once(socket, "drain");
  }
  return hash.digest("hex");
}

/** Reads a head and so many bytes after it; resolves with the bytes' hash, and with the head. */
function drink(socket: Socket, bytes: (head: string) => number): Promise<{ head: string; hash: string }> {
  const hash = createHash("sha1");
  let head = "";
  let left = -1;
  return new Promise((resolve) => {
    const onData = (chunk: Buffer) => {
      let body = chunk;
      if (left === -1) {
        const before = head.length;
        head += chunk.toString("latin1");
        const end = head.indexOf("\r\n\r\n");
        if (end === -1) return;
        left = bytes(head);
        body = chunk.subarray(end + 4 - before);
      }
      hash.update(body);
      left -= body.length;
      if (left > 0) return;
      socket.off("data", onData);
      resolve({ head, hash: left === 0 ? hash.digest("hex") : `${-left} bytes too many` });
    };
    socket.on("data", onData);
  });
}

async function listen(t: Test, serve: (socket: Socket) => void): Promise<number> {
  const server = createServer(serve).listen(0, "127.0.0.1");
  t.teardown(() => server.close());
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

test("1 GiB passes each way, unchanged, while memory grows by less than 64 MiB", async (t) => {
  const hashes = { sent: "", received: "" };
  const port = await listen(t, async (socket) => {
    const { head, hash } = await drink(socket, (text) => (text.startsWith("PUT") ? GIB : 0));
    if (head.startsWith("PUT")) {
      hashes.received = hash;
      socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    } else {
      socket.write(`HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${GIB}\r\n\r\n`);
      hashes.sent = await pour(socket, GIB);
    }
  });
  const { addresses, admin } = await startSidecar(t, {
    upstreams: { big: { endpoints: [`127.0.0.1:${port}`] } },
    telemetry: { accessLog: false },
  });
  const rss = () => admin.metric("process_resident_memory_bytes");
  const before = await rss();
  let most = before;
  const watch = setInterval(async () => {
    most = Math.max(most, await rss().catch(() => 0));
  }, 50);
  t.teardown(() => clearInterval(watch));

  const download = connect(addresses.outbound.port, "127.0.0.1");
  download.write("GET / HTTP/1.1\r\nHost: big\r\nConnection: close\r\n\r\n");
  const { hash: downloaded } = await drink(download, () => GIB);
  t.equal(downloaded, hashes.sent, "down");

  const upload = connect(addresses.outbound.port, "127.0.0.1");
  upload.write(`PUT / HTTP/1.1\r\nHost: big\r\nContent-Length: ${GIB}\r\n\r\n`);
  const uploaded = await pour(upload, GIB);
  const answer = new RawConnection(upload);
  await answer.until(/\r\n\r\nok$/);
  t.equal(hashes.received, uploaded, "up");
  upload.destroy();

  clearInterval(watch);
  const grownMib = (most - before) / MIB;
  t.comment(`memory grew from ${(before / MIB).toFixed(0)} MiB by ${grownMib.toFixed(1)} MiB at most`);
  t.ok(grownMib < 64, `${grownMib.toFixed(1)} MiB`);
});

test("a caller that does not read stops its endpoint instead of filling the proxy", async (t) => {
  let written = 0;
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then(() => {
      connection.send(`HTTP/1.1 200 OK\r\nContent-Length: ${GIB}\r\n\r\n`);
      const piece = Buffer.alloc(64 * 1024);
      const more = () => {
        while (written < GIB) {
          written += piece.length;
          if (!connection.socket.write(piece)) return;
        }
      };
      connection.socket.on("drain", more);
      more();
    });
  });
  const { addresses, sidecar, admin } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const client = connect(addresses.outbound.port, "127.0.0.1");
  t.teardown(() => client.destroy());
  client.write("GET / HTTP/1.1\r\nHost: orders\r\n\r\n");
  await once(client, "readable");
  // Nothing is read from here on: the kernel's buffers fill, then the proxy's, then the endpoint's.
  let last = -1;
  while (last !== written) {
    last = written;
    for (let i = 0; i < 5; i++) await admin("/live");
  }
  t.ok(written < 64 * MIB, `the endpoint could write ${(written / MIB).toFixed(1)} MiB`);
  const [request] = JSON.parse(await admin("/requests"));
  t.match(request, { state: "suspended", on: "transfer", upstream: "orders" });
  client.destroy();
  await endpoint.connections[0]!.untilEnd();
  await sidecar.listeners[0]!.until(() => sidecar.listeners[0]!.connections === 0);
  t.equal(sidecar.listeners[0]!.exchanges.size, 0);
});

test("a caller that asks and asks and does not read is answered only as far as it reads", async (t) => {
  const large = "x".repeat(60_000);
  const endpoint = await rawEndpoint(t, answering(textAnswer(large)));
  const { addresses, sidecar, admin } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const requests = 2000;
  const client = connect(addresses.outbound.port, "127.0.0.1");
  t.teardown(() => client.destroy());
  client.pause();
  client.write("GET / HTTP/1.1\r\nHost: orders\r\n\r\n".repeat(requests));
  const listener = sidecar.listeners[0]!;
  await listener.until(() => listener.begun > 0);
  let last = -1;
  while (last !== listener.begun) {
    last = listener.begun;
    for (let i = 0; i < 5; i++) await admin("/live");
  }
  t.ok(listener.begun < 500, `${listener.begun} of ${requests} were begun`);
  let received = 0;
  client.on("data", (chunk) => {
    received += chunk.length;
  });
  client.resume();
  await listener.until(() => listener.begun === requests && listener.exchanges.size === 0);
  while (received < requests * large.length) await once(client, "data");
  t.ok(received > requests * large.length, "all are answered once it reads");
});

test("an answer that ends its connection is not cut off, however slowly its caller reads", async (t) => {
  const size = 6 * MIB;
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then(() => {
      connection.send(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
      connection.socket.write(Buffer.alloc(size, "x"));
    });
  });
  const { addresses, sidecar } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }\nshutdown: { grace: 20s }`,
  );
  const listener = sidecar.listeners[0]!;
  const client = connect(addresses.outbound.port, "127.0.0.1");
  t.teardown(() => client.destroy());
  client.write("GET / HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n");
  let received = 0;
  client.on("data", (chunk) => {
    received += chunk.length;
    // It reads so much that the proxy has handed over everything, and then rests beyond every short patience.
    if (listener.exchanges.size > 0) return;
    client.pause();
    setTimeout(() => client.resume(), 100);
  });
  await listener.until(() => listener.begun === 1);
  const drained = sidecar.drain();
  await once(client, "end");
  t.ok(received > size, `${received} bytes`);
  await drained;
});

test("a thousand callers that abort in the middle leave no connection, no timer and no count behind", async (t) => {
  // Of four kinds: before the answer, within it, within the request's body, and while waiting for a connection.
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then(
      (received) => {
        if (received.startsWith("GET /half"))
          connection.send(`HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n${"x".repeat(1000)}`);
      },
      () => {},
    );
  });
  const { addresses, sidecar, access, metric } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"], limits: { connections: 150 } } }`,
  );
  const upstream = sidecar.upstreams.get("orders")!;
  const listener = sidecar.listeners[0]!;
  for (let wave = 0; wave < 5; wave++) {
    const begun = listener.begun;
    const clients = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const client = await rawClient(t, addresses.outbound.port);
        if (i % 3 === 0) client.send("GET /wait HTTP/1.1\r\nHost: orders\r\n\r\n");
        else if (i % 3 === 1) client.send("GET /half HTTP/1.1\r\nHost: orders\r\n\r\n");
        else client.send("POST /body HTTP/1.1\r\nHost: orders\r\nContent-Length: 100000\r\n\r\nonly this");
        return client;
      }),
    );
    await listener.until(() => listener.begun === begun + 200);
    while (upstream.counts().pending < 50 || upstream.counts().connections.connecting > 0)
      await metric("heddle_connections");
    for (const [i, { socket }] of clients.entries()) {
      if (i % 2 === 0) socket.resetAndDestroy();
      else socket.destroy();
    }
    await listener.until(() => listener.connections === 0 && listener.exchanges.size === 0);
  }
  t.equal(access.length, 1000, "each is in the log");
  t.ok(
    access.every((record) => record["cause"] === "client_closed"),
    "with its cause",
  );
  t.equal(await metric("heddle_requests_total", { cause: "client_closed" }), 1000);
  const counts = upstream.counts();
  t.same(counts.connections, { connecting: 0, busy: 0, idle: 0 });
  t.equal(counts.pending, 0);
  t.equal(upstream.limit.held, 0, "all permits are back");
  t.equal(upstream.endpoints[0]!.inFlight, 0);
  t.equal(upstream.endpoints[0]!.breaker.state, "closed", "they said nothing about the endpoint");
  const { systemClock } = await import("../../proxy/system.ts");
  t.equal(systemClock.pending, 0, "nothing is scheduled");
});
