import { test } from "tap";
import { startInProcess } from "../support/in-process.ts";
import { answering, rawClient, rawEndpoint, textAnswer } from "../support/raw.ts";

const OK = textAnswer("hello");
const get = (path = "/") => `GET ${path} HTTP/1.1\r\nHost: orders\r\n\r\n`;

/** Sends one request on a kept connection and returns its answer, which must have a Content-Length. */
async function ask(client: Awaited<ReturnType<typeof rawClient>>, request: string): Promise<string> {
  client.send(request);
  await client.until((received) => {
    const head = received.indexOf("\r\n\r\n");
    if (head === -1) return false;
    const length = /Content-Length: (\d+)/i.exec(received);
    return length === null || received.length >= head + 4 + Number(length[1]);
  });
  return client.take();
}

test("a connection refused is tried elsewhere, for a POST with a body too, and nobody notices", async (t) => {
  const gone = await rawEndpoint(t);
  await gone.kill();
  const fine = await rawEndpoint(t, (connection) => {
    connection.socket.on("data", () => {
      const whole = /^POST .*?\r\n\r\nbody/s.exec(connection.received);
      if (whole === null) return;
      connection.received = connection.received.slice(whole[0].length);
      connection.send(OK);
    });
  });
  const { addresses, metric, access } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${gone.address}", "${fine.address}"], balancing: { algorithm: roundRobin } } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  for (let i = 0; i < 20; i++) {
    const answer = await ask(client, "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 4\r\n\r\nbody");
    t.match(answer, /^HTTP\/1.1 200 /);
  }
  t.equal(await metric("heddle_attempts_total", { outcome: "success" }), 20);
  t.equal(
    await metric("heddle_attempts_total", { outcome: "connect_failed" }),
    5,
    "until the breaker opened",
  );
  t.equal(await metric("heddle_breaker_opened_total"), 1);
  t.match(
    access.find((record) => record["attempts"] === 2),
    { triedBefore: [gone.address], endpoint: fine.address },
  );
});

test("a reset before the answer is tried again for a GET, never for a POST, unless it has an Idempotency-Key", async (t) => {
  let resets = 0;
  const bad = await rawEndpoint(t, (connection) => {
    connection.until(/\r\n\r\n/).then(() => {
      resets++;
      connection.socket.resetAndDestroy();
    });
  });
  const fine = await rawEndpoint(t, answering(OK));
  const { addresses, metric, logged } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${bad.address}", "${fine.address}"], balancing: { algorithm: roundRobin }, breaker: { enabled: false } } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  for (let i = 0; i < 10; i++) t.match(await ask(client, get()), /^HTTP\/1.1 200 /);
  t.ok(resets >= 4, "some began at the bad endpoint");
  const before = resets;
  let refused = 0;
  for (let i = 0; i < 10; i++) {
    const answer = await ask(client, "POST /pay HTTP/1.1\r\nHost: orders\r\nContent-Length: 0\r\n\r\n");
    if (/^HTTP\/1.1 502 .*X-Heddle-Error: upstream_reset/s.test(answer)) refused++;
  }
  t.equal(refused, resets - before, "each reset of a POST was told to its caller");
  t.ok(refused > 0);
  t.equal(await metric("heddle_retries_refused_total", { reason: "method" }), refused);
  t.match(await logged((record) => record["status"] === 502), {
    retryRefused: "method",
    cause: "upstream_reset",
  });
  for (let i = 0; i < 10; i++) {
    const keyed = "POST /pay HTTP/1.1\r\nHost: orders\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n";
    t.match(await ask(client, keyed), /^HTTP\/1.1 200 /);
  }
});

test("a body that fits is sent again whole; one that does not is not sent again", async (t) => {
  const bodies: string[] = [];
  const endpoint = await rawEndpoint(t, (connection, number) => {
    connection.socket.on("data", () => {
      const { received } = connection;
      const bodyAt = received.indexOf("\r\n\r\n") + 4;
      const length = Number(/Content-Length: (\d+)/.exec(received)?.[1]);
      if (received.length < bodyAt + length) return;
      bodies.push(received.slice(bodyAt));
      if (number % 2 === 0) connection.socket.resetAndDestroy();
      else connection.send(textAnswer("ok", "HTTP/1.1 200 OK\r\nConnection: close\r\n"));
    });
  });
  const { addresses, logged } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"], retries: { replay: 4KiB } } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  const small = "s".repeat(4096);
  t.match(
    await ask(client, `PUT / HTTP/1.1\r\nHost: orders\r\nContent-Length: 4096\r\n\r\n${small}`),
    /^HTTP\/1.1 200 /,
  );
  t.same(bodies, [small, small]);
  const large = "l".repeat(4097);
  const answer = await ask(client, `PUT / HTTP/1.1\r\nHost: orders\r\nContent-Length: 4097\r\n\r\n${large}`);
  t.match(answer, /^HTTP\/1.1 502 /);
  t.match(await logged((record) => record["status"] === 502), { retryRefused: "body" });
  t.equal(bodies.length, 3);
});

test("a named status is tried again on another endpoint, an unnamed one is the caller's", async (t) => {
  const endpoints = await Promise.all(
    ["503 Busy", "500 Broken", "200 OK"].map((status) =>
      rawEndpoint(t, answering(textAnswer(status, `HTTP/1.1 ${status}\r\n`))),
    ),
  );
  const { addresses, access } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${endpoints.map((e) => `"${e.address}"`).join(",")}], balancing: { algorithm: roundRobin }, breaker: { enabled: false } } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  const statuses = new Set<string>();
  for (let i = 0; i < 30; i++) statuses.add((await ask(client, get())).slice(9, 12));
  t.same([...statuses].sort(), ["200", "500"], "no 503 reached the caller");
  for (const { attempts, triedBefore, endpoint } of access as {
    attempts: number;
    triedBefore: string[];
    endpoint: string;
  }[])
    if (attempts > 1)
      t.notOk(triedBefore.includes(endpoint), "never the same endpoint while another is left");
});

test("a replica among three that answers 500 to everything gets under 1 % of the traffic once its breaker is open", async (t) => {
  let bad = 0;
  const endpoints = await Promise.all([
    rawEndpoint(
      t,
      answering(() => {
        bad++;
        return textAnswer("broken", "HTTP/1.1 500 Broken\r\n");
      }),
    ),
    rawEndpoint(t, answering(OK)),
    rawEndpoint(t, answering(OK)),
  ]);
  for (const algorithm of ["peakEwma", "leastRequest", "roundRobin", "random"]) {
    const { addresses, sidecar, metric } = await startInProcess(
      t,
      `upstreams: { orders: { endpoints: [${endpoints.map((e) => `"${e.address}"`).join(",")}], balancing: { algorithm: ${algorithm} }, breaker: { openFor: 100ms } } }`,
    );
    const client = await rawClient(t, addresses.outbound.port);
    const broken = sidecar.upstreams.get("orders")!.endpoints[0]!;
    for (let i = 0; i < 200 && broken.breaker.state === "closed"; i++) await ask(client, get());
    // Peak EWMA takes failures for slowness and may have left it alone before its breaker had to open.
    if (algorithm !== "peakEwma") t.equal(broken.breaker.state, "open", algorithm);
    bad = 0;
    const requests = 2000;
    let failed = 0;
    for (let i = 0; i < requests; i++) if (!(await ask(client, get())).startsWith("HTTP/1.1 200 ")) failed++;
    t.comment(`${algorithm}: ${bad} of ${requests} requests`);
    t.ok(bad < requests / 100, `${algorithm}: ${bad} of ${requests}`);
    t.equal(failed, bad, "nobody else saw a failure");
    t.ok((await metric("heddle_requests_total", { cause: "upstream_status" })) >= bad);
  }
});

test("with all endpoints failing, callers get 503 from the breaker and attempts stay under 1.3 times the requests", async (t) => {
  const failing = await Promise.all(
    [1, 2, 3].map(() => rawEndpoint(t, answering(textAnswer("no", "HTTP/1.1 503 No\r\n")))),
  );
  const { addresses, metric, access } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${failing.map((e) => `"${e.address}"`).join(",")}], breaker: { openFor: 1h } } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  const requests = 400;
  let refused = 0;
  for (let i = 0; i < requests; i++) {
    const answer = await ask(client, get());
    if (/^HTTP\/1.1 503 .*X-Heddle-Error: breaker_open/s.test(answer)) refused++;
    else t.match(answer, /^HTTP\/1.1 503 /);
  }
  const attempts =
    (await metric("heddle_attempts_total", { outcome: "failed_status" })) +
    (await metric("heddle_attempts_total", { outcome: "success" }));
  t.ok(refused >= requests - 15, `${refused} of ${requests} were refused at once`);
  t.equal(attempts, 15, "five failures in a row opened each breaker");
  t.ok(attempts <= 1.3 * requests);
  const slowest = access
    .filter((record) => record["cause"] === "breaker_open")
    .map((record) => Number(record["durationMs"]))
    .sort((a, b) => a - b);
  t.comment(
    `refused in ${slowest[Math.floor(slowest.length / 2)]} ms at the median, ${slowest.at(-1)} ms at most`,
  );
});

test("a retry storm is bounded by its budget even without a breaker", async (t) => {
  const failing = await Promise.all(
    [1, 2, 3].map(() => rawEndpoint(t, answering(textAnswer("no", "HTTP/1.1 503 No\r\n")))),
  );
  const { addresses, metric } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${failing.map((e) => `"${e.address}"`).join(",")}], breaker: { enabled: false }, retries: { backoff: { base: 1ms, max: 1ms } } } }`,
  );
  const requests = 1000;
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      const client = await rawClient(t, addresses.outbound.port);
      for (let i = 0; i < requests / 20; i++) await ask(client, get());
    }),
  );
  const attempts = await metric("heddle_attempts_total");
  // 20 % of the requests, and 10 per second over the window of 10 s; a second window may have begun.
  t.ok(attempts <= requests * 1.2 + 200, `${attempts} attempts for ${requests} requests`);
  t.ok((await metric("heddle_retries_refused_total", { reason: "budget" })) > 0);
});

test("every wait has its limit, and each limit its own code", async (t) => {
  const silent = await rawEndpoint(t);
  const stuck = await rawEndpoint(t, (connection) => {
    connection
      .until(/\r\n\r\n/)
      .then(() => connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"));
  });
  const { addresses, logged } = await startInProcess(
    t,
    `
outbound: { listen: 127.0.0.1:0, headTimeout: 80ms, bodyTimeout: 80ms }
upstreams:
  attempt: { endpoints: ["${silent.address}"], timeouts: { attempt: 50ms } }
  request: { endpoints: ["${silent.address}"], timeouts: { request: 90ms }, retries: { on: [timeout] } }
  stuck: { endpoints: ["${stuck.address}"], timeouts: { idle: 50ms } }
  full: { endpoints: ["${silent.address}"], timeouts: { attempt: 70ms }, limits: { requests: 1, pending: 1 } }
`,
  );
  const to = async (host: string, request = "") => {
    const client = await rawClient(t, addresses.outbound.port);
    client.send(request || `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    return client;
  };
  t.match(await (await to("attempt")).until(/\}\n$/), /^HTTP\/1.1 504 .*X-Heddle-Error: attempt_timeout/s);
  t.match(await (await to("request")).until(/\}\n$/), /^HTTP\/1.1 504 .*X-Heddle-Error: deadline_exceeded/s);
  t.match(await (await to("stuck")).untilEnd(), /half$/, "a broken answer ends the connection");
  t.match(await logged((record) => record["upstream"] === "stuck"), {
    status: 200,
    cause: "response_timeout",
  });
  const [, , third] = [await to("full"), await to("full"), await to("full")];
  t.match(await third.until(/\}\n$/), /^HTTP\/1.1 503 .*X-Heddle-Error: overflow/s);
  t.match(
    await (await to("", "GET / HTTP/1.1\r\nHo")).untilEnd(),
    /^HTTP\/1.1 408 .*X-Heddle-Error: request_timeout/s,
  );
  const slowBody = await to("", "POST / HTTP/1.1\r\nHost: stuck2\r\nContent-Length: 10\r\n\r\nab");
  t.match(await slowBody.untilEnd(), /^HTTP\/1.1 404 /, "an answer does not wait for the body");
  const slowUpload = await to("", "POST / HTTP/1.1\r\nHost: attempt\r\nContent-Length: 10\r\n\r\nab");
  t.match(await slowUpload.untilEnd(), /^HTTP\/1.1 408 .*X-Heddle-Error: request_timeout/s);
  t.equal(await (await to("", "")).untilEnd().then((text) => text.startsWith("HTTP/1.1 4")), true);
});

test("a request's head and its body have limits of their own", async (t) => {
  const silent = await rawEndpoint(t);
  const yaml = (head: string, body: string) =>
    `outbound: { listen: 127.0.0.1:0, headTimeout: ${head}, bodyTimeout: ${body} }\nupstreams: { orders: { endpoints: ["${silent.address}"] } }`;
  const begun = "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 10\r\n\r\n";
  const shortHead = await startInProcess(t, yaml("50ms", "1h"));
  const uploading = await rawClient(t, shortHead.addresses.outbound.port);
  uploading.send(begun);
  const slowHead = await rawClient(t, shortHead.addresses.outbound.port);
  slowHead.send("GET / HT");
  t.match(await slowHead.untilEnd(), /^HTTP\/1.1 408 /);
  t.equal(uploading.received, "", "the limit of the head is over, that of the body is not");
  const shortBody = await startInProcess(t, yaml("1h", "50ms"));
  const slowBody = await rawClient(t, shortBody.addresses.outbound.port);
  slowBody.send(begun);
  t.match(await slowBody.untilEnd(), /^HTTP\/1.1 408 /);
});

test("an inbound failure tells peers nothing of what stands behind", async (t) => {
  const gone = await rawEndpoint(t);
  await gone.kill();
  const { addresses, logged } = await startInProcess(t, `service: { name: web, port: ${gone.port} }`);
  const client = await rawClient(t, addresses.inbound!.port);
  client.send(get());
  const answer = await client.until(/\}\n$/);
  t.match(answer, /^HTTP\/1.1 502 .*X-Heddle-Error: connect_failed/s);
  t.notMatch(answer, String(gone.port));
  t.match(await logged(() => true), { reason: new RegExp(`127.0.0.1:${gone.port}`) }, "the log has it all");
});

test("a fault inside a layer becomes a 500 with its code and a log line, and the next request is served", async (t) => {
  const endpoint = await rawEndpoint(t, answering(OK));
  const { addresses, sidecar, records } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const target = sidecar.upstreams.get("orders")!.endpoints[0]!;
  const { handle } = target;
  target.handle = () => {
    throw new TypeError("cannot read properties of undefined");
  };
  const client = await rawClient(t, addresses.outbound.port);
  t.match(await ask(client, get()), /^HTTP\/1.1 500 .*X-Heddle-Error: internal_error/s);
  t.match(
    records.find(({ level }) => level === "error"),
    { err: new TypeError("cannot read properties of undefined") },
  );
  target.handle = handle;
  t.match(await ask(client, get()), /^HTTP\/1.1 200 /);
});

test("a pooled connection that its endpoint has closed is not used, and one that dies under a request is replaced", async (t) => {
  const endpoint = await rawEndpoint(t, (connection, number) => {
    let requests = 0;
    connection.socket.on("data", () => {
      // The second connection takes its second request and closes without a word.
      if (++requests === 2 && number === 1) connection.socket.destroy();
      else connection.send(OK);
    });
  });
  const { addresses, access, metric } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"] } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  t.match(await ask(client, get()), /^HTTP\/1.1 200 /);
  endpoint.connections[0]!.socket.end();
  await endpoint.connections[0]!.untilEnd();
  t.match(await ask(client, get()), /^HTTP\/1.1 200 /);
  t.match(await ask(client, get()), /^HTTP\/1.1 200 /, "sent again on a third connection");
  t.equal(endpoint.connections.length, 3);
  t.same(
    access.map((record) => record["attempts"]),
    [1, 1, 1],
  );
  t.equal(await metric("heddle_pool_resent_total"), 1, "which is counted, and is no attempt of its own");
});

test("endpoints that go and come keep what is known of those that stay", async (t) => {
  const endpoints = await Promise.all([1, 2].map((n) => rawEndpoint(t, answering(textAnswer(String(n))))));
  const { addresses, sidecar } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: [${endpoints.map((e) => `"${e.address}"`).join(",")}] } }`,
  );
  const upstream = sidecar.upstreams.get("orders")!;
  const [first, second] = upstream.endpoints;
  const client = await rawClient(t, addresses.outbound.port);
  for (let i = 0; i < 10; i++) await ask(client, get());
  upstream.update([{ ...first!.endpoint, weight: 5 }]);
  t.equal(upstream.endpoints[0], first, "the same state");
  for (let i = 0; i < 10; i++) t.match(await ask(client, get()), /1$/);
  t.equal(upstream.endpoints[0]!.weight, 5);
  upstream.update([first!.endpoint, second!.endpoint]);
  t.not(upstream.endpoints[1], second, "one that was gone begins anew");
});
