import type { IncomingHttpHeaders } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { type Test, test } from "tap";
import { call, say, startApp } from "../support/apps.ts";
import { startInProcess } from "../support/in-process.ts";
import { rawClient, rawEndpoint, textAnswer } from "../support/raw.ts";

/** An app, the sidecar before it, and the sidecar of its caller. */
async function twoInARow(t: Test, settings = "", peerSettings = "") {
  const app = await startApp(t);
  const seen: IncomingHttpHeaders[] = [];
  app.answer = (request, response) => {
    seen.push(request.headers);
    say("fine\n")(request, response);
  };
  const peer = await startInProcess(t, `service: { name: orders, port: ${app.port} }\n${peerSettings}`);
  const endpoint = `127.0.0.1:${peer.addresses.inbound!.port}`;
  const caller = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint}"]${settings === "" ? "" : `, ${settings}`} } }`,
  );
  return { app, seen, peer, caller, endpoint };
}

const leftIn = (headers: IncomingHttpHeaders) => Number(headers["x-heddle-timeout-ms"]);

test("each attempt and each hop tells how much time is left, and it only gets less", async (t) => {
  const { app, seen, peer } = await twoInARow(t);
  const between: IncomingHttpHeaders[] = [];
  // In the place of the network between two sidecars: it reads what the caller's sidecar sends.
  const wire = await startApp(t, (request, response) => {
    between.push(request.headers);
    const headers = Object.fromEntries(
      Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
    );
    // The first answer takes a while, and is asked for again.
    if (between.length === 1)
      setTimeout(() => {
        response.statusCode = 503;
        response.end();
      }, 20);
    else
      call(peer.addresses.inbound!.port, "orders", { headers }).then(({ status, body }) => {
        response.statusCode = status;
        response.end(body);
      });
  });
  const caller = await startInProcess(t, `upstreams: { orders: { endpoints: ["${wire.address}"] } }`);
  const headers = {
    "x-heddle-timeout-ms": "9500",
    "Grpc-Timeout": "9S",
    "x-envoy-expected-rq-timeout-ms": "9999",
  };
  const { status } = await call(caller.addresses.outbound.port, "orders", { headers });
  t.equal(status, 200);
  t.equal(between.length, 2);
  t.equal(app.served, 1);
  const left = [9000, ...between.map(leftIn), leftIn(seen[0]!)];
  t.ok(left[1]! <= left[0]!, `${left}`);
  t.ok(left[2]! <= left[1]! - 19, "the second attempt has what the first has left");
  t.ok(left[3]! <= left[2]!);
  t.ok(left[3]! > 0);
  for (const hop of [...between, seen[0]!]) {
    const grpcLeftMs = Number.parseInt(String(hop["grpc-timeout"]), 10) / 1000;
    t.match(hop["grpc-timeout"], /^\d+u$/);
    t.ok(
      grpcLeftMs >= leftIn(hop) && grpcLeftMs < leftIn(hop) + 1,
      "and says the same in the caller's words",
    );
    t.equal(Number(hop["x-envoy-expected-rq-timeout-ms"]), leftIn(hop));
  }
});

test("a caller that says nothing, or nothing that can be read, has the time of the upstream, and the app hears of it", async (t) => {
  const { seen, caller } = await twoInARow(t, "timeouts: { request: 8s }");
  const { port } = caller.addresses.outbound;
  t.equal((await call(port, "orders")).status, 200);
  const headers = { "x-heddle-timeout-ms": "-5", "x-envoy-expected-rq-timeout-ms": "soon" };
  t.equal((await call(port, "orders", { headers })).status, 200);
  for (const one of seen) t.ok(leftIn(one) > 0 && leftIn(one) <= 8000, `${leftIn(one)}`);
  t.equal(seen[0]!["grpc-timeout"], undefined, "only who speaks gRPC is answered in it");
});

test("a caller's route and its own limit: the shorter one holds", async (t) => {
  const app = await startApp(t);
  const left: number[] = [];
  app.answer = (request, response) => {
    left.push(leftIn(request.headers));
    say("fine\n")(request, response);
  };
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${app.address}"] } }
routes: [{ match: { host: orders, path: /quick }, to: [{ upstream: orders }], timeouts: { request: 3s } }]`,
  );
  for (const [path, limit] of [
    ["/quick", "9000"],
    ["/quick", "2000"],
    ["/slow", "9000"],
  ] as const)
    await call(addresses.outbound.port, "orders", { path, headers: { "x-heddle-timeout-ms": limit } });
  const most = [3000, 2000, 9000];
  for (const [i, ms] of left.entries()) t.ok(ms > 0 && ms <= most[i]!, `${ms} of ${most[i]}`);
  t.ok(left[2]! > 3000);
});

test("a request whose time is spent is refused on both sides before the app sees it", async (t) => {
  const { app, peer, caller } = await twoInARow(t);
  const headers = { "x-heddle-timeout-ms": "0" };
  for (const [sidecar, port] of [
    [peer, peer.addresses.inbound!.port],
    [caller, caller.addresses.outbound.port],
  ] as const) {
    const reply = await call(port, "orders", { method: "POST", headers, body: "pay" });
    t.equal(reply.status, 504);
    t.equal(reply.headers["x-heddle-error"], "deadline_exceeded");
    t.match(await sidecar.logged(({ cause }) => cause === "deadline_exceeded"), {
      detail: "callers_limit",
      attempts: 0,
    });
  }
  t.equal(app.served, 0);
});

test("a caller in a hurry gets its 504 in time, and the endpoint's breaker does not hear of it", async (t) => {
  const { app, caller, peer } = await twoInARow(t, "retries: { attempts: 0 }, outliers: { enabled: false }");
  const { port } = caller.addresses.outbound;
  const answer = app.answer;
  app.answer = () => {};
  for (let i = 0; i < 7; i++) {
    const { status } = await call(port, "orders", { headers: { "x-heddle-timeout-ms": "25" } });
    t.equal(status, 504);
  }
  // Whoever looks first: the peer's sidecar knows the same deadline, and the caller's hangs up at its own.
  for (const { cause } of peer.access) t.match(cause, /^(?:deadline_exceeded|client_closed)$/);
  app.answer = answer;
  t.equal(await caller.metric("heddle_breaker_opened_total"), 0);
  t.equal((await call(port, "orders")).status, 200);
});

test("an upstream that lets its own time pass is judged by it", async (t) => {
  const { app, caller } = await twoInARow(
    t,
    "retries: { attempts: 0 }, outliers: { enabled: false }, timeouts: { request: 25ms }",
  );
  app.answer = () => {};
  for (let i = 0; i < 7; i++) await call(caller.addresses.outbound.port, "orders");
  t.equal(await caller.metric("heddle_breaker_opened_total"), 1);
});

test("a retry whose back-off does not fit into what is left is refused at once, and counted", async (t) => {
  const app = await startApp(t, (_, response) => {
    response.statusCode = 503;
    response.end("busy");
  });
  const { addresses, logged, metric } = await startInProcess(
    t,
    // By chance a wait of seconds at the least, but once in ten thousand times.
    `upstreams: { orders: { endpoints: ["${app.address}"], retries: { backoff: { base: 24h, max: 24h } } } }`,
  );
  const headers = { "x-heddle-timeout-ms": "5000" };
  const reply = await call(addresses.outbound.port, "orders", { headers });
  t.same([reply.status, reply.body], [503, "busy"], "the failure itself is the answer");
  t.match(await logged(() => true), { attempts: 1, retryRefused: "deadline" });
  t.equal(await metric("heddle_retries_refused_total", { upstream: "orders", reason: "deadline" }), 1);
});

/** An app that calls `stock` while it answers, and what `stock` is told is left. */
async function callingOut(t: Test, setting: string, question: { method: string; ownId?: boolean }) {
  const left: number[] = [];
  const stock = await startApp(t, (request, response) => {
    left.push(leftIn(request.headers));
    say("fine\n")(request, response);
  });
  const app = await startApp(t);
  const { addresses } = await startInProcess(
    t,
    `service: { name: orders, port: ${app.port} }
upstreams: { stock: { endpoints: ["${stock.address}"] } }
outbound: { listen: "127.0.0.1:0"${setting} }`,
  );
  const callStock = (id: string) =>
    call(addresses.outbound.port, "stock", {
      method: question.method,
      headers: question.ownId === true ? {} : { "x-request-id": id },
    });
  app.answer = (request, response) => {
    const id = String(request.headers["x-request-id"]);
    callStock(id).then(async () => {
      response.write("begun\n");
      if (question.ownId !== true) await callStock(id);
      response.end("done\n");
    });
  };
  const reply = await call(addresses.inbound!.port, "orders", { headers: { "x-heddle-timeout-ms": "5000" } });
  t.equal(reply.status, 200);
  return left;
}

test("what an app sends while it answers, with the same request id, has the time that the request has left", async (t) => {
  const left = await callingOut(t, "", { method: "GET" });
  t.ok(left[0]! > 0 && left[0]! <= 5000, `${left[0]}`);
});

test("whoever wants it otherwise says so: none inherits, or all do; and a request with another id never does", async (t) => {
  const inherits = async (setting: string, method: string, ownId = false) =>
    (await callingOut(t, setting, { method, ownId }))[0]! <= 5000;
  t.equal(await inherits("", "POST"), false);
  t.equal(await inherits(", inheritDeadlines: all", "POST"), true);
  t.equal(await inherits(", inheritDeadlines: none", "GET"), false);
  t.equal(await inherits("", "GET", true), false);
});

test("what a caller gives holds while it is still sending, and its endpoint is not blamed for that", async (t) => {
  const endpoint = await rawEndpoint(t);
  const { addresses, logged, metric } = await startInProcess(
    t,
    // The second is longer than what is usual here, which does not count before the upload has ended.
    `upstreams: { orders: { endpoints: ["${endpoint.address}"], timeouts: { request: 50ms }, breaker: { consecutiveFailures: 1 }, outliers: { enabled: false } } }`,
  );
  for (const [i, limit] of [25, 100].entries()) {
    const client = await rawClient(t, addresses.outbound.port);
    client.send(
      `PUT /${limit} HTTP/1.1\r\nHost: orders\r\nX-Heddle-Timeout-Ms: ${limit}\r\nContent-Length: 8\r\n\r\nhalf`,
    );
    await (await endpoint.accepted(i)).untilEnd();
    t.match(
      await client.until(/\}\n$/),
      /^HTTP\/1.1 504 .*X-Heddle-Error: deadline_exceeded.*Connection: close/s,
    );
    t.match(await logged(({ path }) => path === `/${limit}`), { detail: "callers_limit", attempts: 1 });
  }
  t.equal(await metric("heddle_breaker_opened_total"), 0);
});

test("an answer that came while heddle was paused is in time, whatever has run out meanwhile", async (t) => {
  const endpoint = await rawEndpoint(t, (connection) => {
    void connection.until(/\r\n\r\n$/).then(() => {
      connection.send(textAnswer("paid"));
      // The answer is in the kernel, and nobody in this process reads it until it is too late.
      const untilMs = performance.now() + 1500;
      while (performance.now() < untilMs);
    });
  });
  const { addresses, metric } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"], timeouts: { attempt: 1s, request: 1s }, breaker: { consecutiveFailures: 1 } } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  client.send("POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 0\r\n\r\n");
  t.match(await client.until(/paid$|\}\n$/), /^HTTP\/1.1 200 /);
  t.equal(await metric("heddle_breaker_opened_total"), 0);
});

test("an endpoint that leaves Expect: 100-continue without a word has attempts of its own time, and is judged", async (t) => {
  const silent = await rawEndpoint(t);
  const { addresses, logged, metric } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${silent.address}"], timeouts: { attempt: 50ms }, retries: { attempts: 0 }, breaker: { consecutiveFailures: 1 } } }`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  client.send("PUT / HTTP/1.1\r\nHost: orders\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  t.match(await client.until(/\}\n$/), /^HTTP\/1.1 504 .*X-Heddle-Error: attempt_timeout/s);
  t.match(await logged(() => true), { attempts: 1, endpoint: silent.address });
  t.equal(await metric("heddle_breaker_opened_total"), 1);
});

test("a caller that has been told to go on, or goes on without, has its own time again", async (t) => {
  const endpoint = await rawEndpoint(t);
  const { addresses } = await startInProcess(
    t,
    `upstreams: { orders: { endpoints: ["${endpoint.address}"], timeouts: { attempt: 1s }, retries: { attempts: 0 } } }`,
  );
  for (const [i, isTold] of [true, false].entries()) {
    const client = await rawClient(t, addresses.outbound.port);
    client.send("PUT / HTTP/1.1\r\nHost: orders\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    const behind = await endpoint.accepted(i);
    await behind.until(/\r\n\r\n$/);
    if (isTold) {
      behind.send("HTTP/1.1 100 Continue\r\n\r\n");
      await client.until(/100 Continue\r\n\r\n$/);
      client.take();
    } else {
      client.send("b");
      await behind.until(/b$/);
    }
    // Longer than an attempt may take: what is waited for is the caller.
    await pause(1100);
    client.send(isTold ? "body" : "ody");
    await behind.until(/body$/);
    behind.send(textAnswer("stored"));
    t.match(await client.until(/stored$|\}\n$/), /^HTTP\/1.1 200 /, isTold ? "told" : "not told");
    behind.socket.destroy();
  }
});
