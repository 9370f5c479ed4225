import { once } from "node:events";
import { test } from "tap";
import { startInProcess } from "../support/in-process.ts";
import {
  answering,
  exchangeBytes,
  type RawConnection,
  rawClient,
  rawEndpoint,
  textAnswer,
} from "../support/raw.ts";

const OK = textAnswer("hello");

test("a request arrives whole and in order, and its answer comes back with header case kept", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then(() => {
      connection.send("HTTP/1.1 200 Fine\r\nX-CamelCase: 1\r\nset-cookie: a\r\nSet-Cookie: b\r\n");
      connection.send(
        "Connection: x-secret\r\nX-Secret: s\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok",
      );
    });
  });
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  client.send(
    "GET /a//b/../c?q=%2F HTTP/1.1\r\nHost: Orders:80\r\nX-UPPER: One\r\nx-lower:two \r\nConnection: keep-alive, X-Hop\r\n" +
      "X-Hop: gone\r\nTE: gzip\r\nUpgrade: websocket\r\nX-Request-Id: abc-1\r\nX-Forwarded-For: 9.9.9.9\r\nVia: 1.0 before\r\n\r\n",
  );
  const answer = await client.until(/\r\n\r\nok$/);
  t.equal(
    answer,
    "HTTP/1.1 200 Fine\r\nX-CamelCase: 1\r\nset-cookie: a\r\nSet-Cookie: b\r\nVia: 1.1 heddle\r\nContent-Length: 2\r\n\r\nok",
  );
  t.equal(
    endpoint.connections[0]!.received.replace(/(Timeout-Ms: )\d+/, "$1N"),
    "GET /a//b/../c?q=%2F HTTP/1.1\r\nHost: Orders:80\r\nX-UPPER: One\r\nx-lower: two\r\nX-Request-Id: abc-1\r\n" +
      "X-Forwarded-For: 9.9.9.9, 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: Orders:80\r\nX-Heddle-Timeout-Ms: N\r\nVia: 1.0 before, 1.1 heddle\r\n\r\n",
  );
});

test("connections are kept and reused on both sides", async (t) => {
  const endpoint = await rawEndpoint(t, answering(OK));
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  for (let i = 0; i < 20; i++) {
    client.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n");
    await client.until(/hello$/);
    client.take();
  }
  t.equal(endpoint.connections.length, 1, "one connection to the endpoint");
});

test("pipelined requests are answered in order, however they are cut", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.socket.on("data", () => {
      for (;;) {
        const match = /^GET \/(\d+) .*?\r\n\r\n/s.exec(connection.received);
        if (match === null) return;
        connection.received = connection.received.slice(match[0].length);
        // Later requests are answered faster, so that an answer out of turn would show.
        setTimeout(() => connection.send(textAnswer(`[${match[1]}]`)), 20 - Number(match[1]));
      }
    });
  });
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const wire = Array.from({ length: 12 }, (_, i) => `GET /${i} HTTP/1.1\r\nHost: orders\r\n\r\n`).join("");
  const expected = Array.from({ length: 12 }, (_, i) => `[${i}]`).join("");
  for (const cut of [wire.length, 1000, 100, 7]) {
    const client = await rawClient(t, addresses.outbound.port);
    for (let i = 0; i < wire.length; i += cut) client.send(wire.slice(i, i + cut));
    const answers = await client.until((received) => received.endsWith("[11]"));
    t.equal([...answers.matchAll(/\[\d+\]/g)].join(""), expected, `in pieces of ${cut}`);
  }
});

test("a request body passes with its length, or in chunks with its trailers", async (t) => {
  const endpoint = await rawEndpoint(t);
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  client.send("POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 11\r\n\r\nhello ");
  const behind = await endpoint.accepted(0);
  await behind.until(/\r\nContent-Length: 11\r\n\r\nhello $/);
  client.send("world");
  await behind.until(/\r\n\r\nhello world$/);
  behind.send(OK);
  await client.until(/hello$/);
  client.take();
  behind.take();

  client.send("POST / HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n");
  client.send("5;ext=1\r\nhello\r\n");
  await behind.until(
    /TE: trailers\r\n.*Connection: TE\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n$/s,
  );
  client.send("0\r\nX-Sum: 42\r\n\r\n");
  await behind.until(/5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n$/);
  behind.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-End: yes\r\n\r\n");
  t.match(
    await client.until(/0\r\nX-End: yes\r\n\r\n$/),
    /Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n/,
  );
  t.equal(endpoint.connections.length, 1, "the connection was kept through both");
});

test("an answer that ends with its connection is passed on in chunks, or to HTTP/1.0 by closing", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then(() => {
      connection.send("HTTP/1.1 200 OK\r\n\r\nto the end");
      connection.socket.end();
    });
  });
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  client.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n");
  t.match(await client.until(/0\r\n\r\n$/), /chunked\r\n\r\na\r\nto the end\r\n0\r\n\r\n$/);
  const old = await exchangeBytes(t, addresses.outbound.port, "GET / HTTP/1.0\r\nHost: orders\r\n\r\n");
  t.match(old, /^HTTP\/1.1 200 OK\r\nVia: 1.1 heddle\r\nConnection: close\r\n\r\nto the end$/);
});

test("answers without a body have none, and say of it what the endpoint said", async (t) => {
  let answer = "";
  const endpoint = await rawEndpoint(
    t,
    answering(() => answer),
  );
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  for (const [method, said, expected] of [
    ["HEAD", "200 OK\r\nContent-Length: 5000\r\n", /Content-Length: 5000\r\n/],
    ["HEAD", "200 OK\r\nTransfer-Encoding: chunked\r\n", /^HTTP\/1.1 200 OK\r\nVia/],
    ["GET", "204 No Content\r\n", /^HTTP\/1.1 204 No Content\r\nVia: 1.1 heddle\r\n\r\n$/],
    ["GET", "304 Not Modified\r\nContent-Length: 7\r\nETag: x\r\n", /ETag: x\r\nContent-Length: 7\r\n/],
  ] as const) {
    answer = `HTTP/1.1 ${said}\r\n`;
    client.send(`${method} / HTTP/1.1\r\nHost: orders\r\n\r\n`);
    t.match(await client.until(/\r\n\r\n$/), expected, `${method} ${said.slice(0, 3)}`);
    client.take();
  }
  t.equal(endpoint.connections.length, 1);
});

test("Expect: 100-continue waits for the endpoint's word, and interim answers pass", async (t) => {
  const endpoint = await rawEndpoint(t);
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  client.send("POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  const behind = await endpoint.accepted(0);
  await behind.until(/Expect: 100-continue\r\n\r\n$/);
  t.equal(client.received, "", "nothing is said for the endpoint");
  behind.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
  t.equal(
    await client.until(/100 Continue\r\n\r\n$/),
    "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
  );
  client.send("body");
  await behind.until(/\r\n\r\nbody$/);
  behind.send(OK);
  await client.until(/200 OK.*hello$/s);
  client.take();

  client.send("POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  await behind.until(/body.*Expect: 100-continue\r\n\r\n$/s);
  behind.send("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n");
  await client.until(/417 No\r\n/);
  t.match(await client.untilEnd(), /Connection: close/, "the body that was never sent cannot follow");
});

test("a caller that waits to be told to go on is told so by the endpoint that takes its request in the end", async (t) => {
  const gone = await rawEndpoint(t);
  await gone.kill();
  const endpoint = await rawEndpoint(t);
  const { addresses, logged } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${gone.address}", { address: "${endpoint.address}", priority: 1 }] } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  client.send("PUT / HTTP/1.1\r\nHost: orders\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  const behind = await endpoint.accepted(0);
  await behind.until(/Expect: 100-continue\r\n\r\n$/);
  behind.send("HTTP/1.1 100 Continue\r\n\r\n");
  await client.until(/100 Continue/);
  client.send("body");
  await behind.until(/body$/);
  behind.send(OK);
  await client.until(/hello$/);
  t.match(await logged(() => true), { status: 200, attempts: 2 });
});

test("an answer that comes before the request is complete is passed on, and both connections end", async (t) => {
  const endpoint = await rawEndpoint(t);
  const { addresses, logged } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  client.send("POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 1000000\r\n\r\nsome");
  const behind = await endpoint.accepted(0);
  await behind.until(/some$/);
  behind.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
  t.match(await client.untilEnd(), /^HTTP\/1.1 413 Too Large\r\n.*Connection: close\r\n\r\nno$/s);
  await behind.untilEnd();
  t.match(await logged(() => true), { status: 413, cause: undefined, attempts: 1 });
});

test("a caller that ends its side has gone, and its request is given up", async (t) => {
  const endpoint = await rawEndpoint(t);
  const { addresses, logged } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  client.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n");
  const behind = await endpoint.accepted(0);
  await behind.until(/\r\n\r\n$/);
  client.socket.end();
  await behind.untilEnd();
  t.match(await logged(() => true), { status: 499, cause: "client_closed" });
});

test("a caller that leaves while both bodies stream, or sends a broken chunk then, leaves nothing behind", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    connection
      .until(/\r\n\r\n/)
      .then(() => connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"));
  });
  const { addresses, sidecar, access } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const listener = sidecar.listeners[0]!;
  const leave = [
    (client: RawConnection) => client.socket.end(),
    (client: RawConnection) => client.socket.resetAndDestroy(),
    (client: RawConnection) => client.send("zz\r\n"),
  ];
  for (const leaves of leave) {
    const client = await rawClient(t, addresses.outbound.port);
    client.send("POST / HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    await client.until(/hello/);
    leaves(client);
    await listener.until(() => listener.connections === 0 && listener.exchanges.size === 0);
  }
  t.same(
    access.map(({ cause }) => cause),
    ["client_closed", "client_closed", "bad_request"],
  );
});

test("an HTTP/1.0 caller is told by a reset that its answer is not whole", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    connection
      .until(/\r\n\r\n/)
      .then(() => connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"));
  });
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  const failure = once(client.socket, "error");
  client.send("GET / HTTP/1.0\r\nHost: orders\r\n\r\n");
  await client.until(/hello$/);
  endpoint.connections[0]!.socket.resetAndDestroy();
  t.match((await failure)[0], { code: "ECONNRESET" });
});

test("malformed requests get 400 with the reason and a closed connection, and are counted", async (t) => {
  const endpoint = await rawEndpoint(t, answering(OK));
  const { addresses, metric, access } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const faulty: readonly (readonly [string, number, string, string])[] = [
    ["GET / HTTP/1.1\nHost: orders\n\n", 400, "bad_request", "bare_line_feed"],
    ["GET / HTTP/1.1\r\n\r\n", 400, "bad_request", "missing_host"],
    ["GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "bad_request", "repeated_host"],
    ["GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "bad_request", "space_before_colon"],
    ["GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", 400, "bad_request", "folded_line"],
    ["GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n", 400, "bad_request", "control_character"],
    [
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      400,
      "bad_request",
      "length_and_transfer_encoding",
    ],
    [
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
      400,
      "bad_request",
      "repeated_content_length",
    ],
    [
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
      400,
      "bad_request",
      "malformed_content_length",
    ],
    [
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
      400,
      "bad_request",
      "malformed_transfer_encoding",
    ],
    [
      "POST / HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
      400,
      "bad_request",
      "malformed_chunk_size",
    ],
    ["CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501, "not_implemented", "connect_method"],
    ["GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "version_not_supported", "unsupported_version"],
    ["GET /\r\n\r\n", 400, "bad_request", "malformed_request_line"],
    ["GET / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n", 417, "expectation_failed", "unknown_expectation"],
    [`GET /${"a".repeat(9000)} HTTP/1.1\r\nHost: a\r\n\r\n`, 414, "uri_too_long", "start_line_too_long"],
    [
      `GET / HTTP/1.1\r\nHost: a\r\nA: ${"a".repeat(70_000)}\r\n\r\n`,
      431,
      "headers_too_large",
      "head_too_large",
    ],
    [
      `GET / HTTP/1.1\r\nHost: a\r\n${"A: b\r\n".repeat(200)}\r\n`,
      431,
      "headers_too_large",
      "too_many_fields",
    ],
  ];
  for (const [request, status, code, detail] of faulty) {
    const answer = await exchangeBytes(
      t,
      addresses.outbound.port,
      `${request}GET / HTTP/1.1\r\nHost: orders\r\n\r\n`,
    );
    t.match(answer, new RegExp(`^HTTP/1.1 ${status} `), detail);
    t.match(answer, new RegExp(`X-Heddle-Error: ${code}\r\n`));
    t.match(answer, /\r\nConnection: close\r\n/);
    t.match(JSON.parse(answer.slice(answer.indexOf("\r\n\r\n"))), { error: code, detail });
    t.equal(answer.match(/HTTP\/1.1 \d/g)?.length, 1, "what follows is not answered");
  }
  t.equal(endpoint.connections.length, 0, "nothing of it reached the endpoint");
  t.equal(access.length, faulty.length);
  const bad = faulty.filter(([, , code]) => code === "bad_request").length;
  t.equal(await metric("heddle_requests_total", { cause: "bad_request" }), bad);
});

test("a malformed answer becomes 502, and its connection is not used again", async (t) => {
  const answers = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
    "ICY 200 OK\r\n\r\n",
  ];
  let number = 0;
  const endpoint = await rawEndpoint(
    t,
    answering(() => answers[number++]!),
  );
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"], breaker: { enabled: false } } }`,
  );
  for (const [i] of answers.entries()) {
    const client = await rawClient(t, addresses.outbound.port);
    client.send("POST / HTTP/1.1\r\nHost: orders\r\n\r\n");
    t.match(await client.until(/\}\n$/), /^HTTP\/1.1 502 .*X-Heddle-Error: bad_response/s, answers[i]!);
    await endpoint.connections[i]!.untilEnd();
  }
  t.equal(endpoint.connections.length, answers.length);
});

test("bytes after an answer end its connection instead of becoming the next answer", async (t) => {
  const endpoint = await rawEndpoint(t, answering(`${OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`));
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  for (let i = 0; i < 3; i++) {
    client.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n");
    t.match(await client.until(/(hello|evil)$/), /hello$/);
    client.take();
    await endpoint.connections[i]!.untilEnd();
  }
  t.equal(endpoint.connections.length, 3);
});

test("a host that nobody configured gets 404, and an upstream without endpoints 503", async (t) => {
  const endpoint = await rawEndpoint(t, answering(OK));
  const { addresses, sidecar } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const unknown = await exchangeBytes(
    t,
    addresses.outbound.port,
    "GET / HTTP/1.1\r\nHost: nobody\r\nConnection: close\r\n\r\n",
  );
  t.match(unknown, /^HTTP\/1.1 404 .*X-Heddle-Error: no_route/s);
  sidecar.upstreams.get("orders")!.update([]);
  const empty = await exchangeBytes(
    t,
    addresses.outbound.port,
    "GET / HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n",
  );
  t.match(empty, /^HTTP\/1.1 503 .*X-Heddle-Error: no_endpoint/s);
});

test("an explicit port leads to its upstream whatever the Host, and absolute form is understood", async (t) => {
  const endpoint = await rawEndpoint(t, answering(OK));
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"], localPort: 0 } }`,
  );
  const close = "Connection: close\r\n\r\n";
  const { port } = addresses.localPorts["orders"]!;
  t.match(await exchangeBytes(t, port, `GET / HTTP/1.1\r\nHost: any.thing\r\n${close}`), /hello$/);
  const absolute = `GET http://orders/x?y HTTP/1.1\r\nHost: orders\r\n${close}`;
  t.match(await exchangeBytes(t, addresses.outbound.port, absolute), /hello$/);
});
