import { test } from "tap";
import { eventually } from "../support/eventually.ts";
import { startInProcess } from "../support/in-process.ts";
import {
  answering,
  type RawConnection,
  type RawEndpoint,
  rawClient,
  rawEndpoint,
  textAnswer,
} from "../support/raw.ts";

const get = "GET / HTTP/1.1\r\nHost: orders\r\n\r\n";

/** An upstream that takes turns between two, and is hedged soon. */
const hedged = (
  first: RawEndpoint,
  second: RawEndpoint,
  more = "",
  hedge = "after: 20ms, ratio: 100%",
  attempt = "5s",
) =>
  `upstreams: { orders: { endpoints: ["${first.address}", "${second.address}"], balancing: { algorithm: roundRobin }, hedge: { ${hedge} }, timeouts: { attempt: ${attempt}, request: 2h }${more} } }`;

test("a slow attempt is overtaken by another endpoint's answer, and whoever is second is not blamed", async (t) => {
  const slow = await rawEndpoint(t, (connection) => {
    connection.socket.on("data", () => {
      // What is sent to see whose turn it is is answered at once; the rest never.
      if (!connection.received.startsWith("GET /turn ")) return;
      connection.take();
      connection.send(textAnswer("slow"));
    });
  });
  const quick = await rawEndpoint(t, answering(textAnswer("quick")));
  const { addresses, logged, metric, admin } = await startInProcess(
    t,
    `${hedged(slow, quick, ", breaker: { consecutiveFailures: 1 }")}
routes: [{ match: { host: orders, path: /turn }, to: [{ upstream: orders }], hedge: { enabled: false } }]`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  // Until it is the slow one's turn: a request that began at the quick one might be hedged, too, on a busy machine.
  let turns = 0;
  for (let last = ""; last !== "quick"; turns++) {
    client.take();
    client.send(get.replace("/ ", "/turn "));
    last = (await client.until(/(?:slow|quick)$/)).slice(-5);
  }
  client.take();
  client.send(get);
  t.match(await client.until(/quick$/), /^HTTP\/1.1 200 /);
  client.socket.destroy();
  const overtaken = await slow.accepted(0);
  t.match(await overtaken.until(/^GET \/ .*\r\n\r\n/s), /^GET \/ /, "it had been asked");
  t.match(await logged(({ hedged }) => hedged === 1), {
    status: 200,
    attempts: 2,
    endpoint: quick.address,
    triedBefore: [slow.address],
  });
  t.equal(await metric("heddle_hedges_total", { outcome: "won" }), 1);
  t.equal(await metric("heddle_attempts_total", { outcome: "success" }), turns + 1);
  overtaken.send(textAnswer("late"));
  while ((await metric("heddle_attempts_total", { outcome: "success" })) < turns + 2);
  t.equal(await metric("heddle_pool_connections", { state: "idle" }), 2, "nothing had to be closed");
  t.equal(await metric("heddle_requests_total"), turns + 1, "for the caller it was one request");
  t.equal(await metric("heddle_breaker_opened_total"), 0);
  const { orders } = JSON.parse(await admin("/endpoints"));
  for (const { inFlight, breaker } of orders.endpoints) t.same([inFlight, breaker], [0, "closed"]);
});

test("where the first attempt answers after all, the one beside it is given up", async (t) => {
  const first = await rawEndpoint(t);
  const second = await rawEndpoint(t);
  const { addresses, logged, metric } = await startInProcess(t, hedged(first, second));
  const client = await rawClient(t, addresses.outbound.port);
  client.send(get);
  const [one, other] = await Promise.race([
    first.accepted(0).then(async (c) => [c, await second.accepted(0)] as const),
    second.accepted(0).then(async (c) => [c, await first.accepted(0)] as const),
  ]);
  await Promise.all([one.until(/\r\n\r\n/), other.until(/\r\n\r\n/)]);
  one.send(textAnswer("first"));
  t.match(await client.until(/first$/), /^HTTP\/1.1 200 /);
  client.socket.destroy();
  t.match(await logged(() => true), { status: 200, attempts: 2, hedged: 1 });
  t.equal(await metric("heddle_hedges_total", { outcome: "lost" }), 1);
});

test("a bad answer wins against nobody, and when all have failed it is what the caller gets", async (t) => {
  const busy = textAnswer("busy", "HTTP/1.1 500 Broken\r\n");
  const first = await rawEndpoint(t);
  const second = await rawEndpoint(t);
  const { addresses } = await startInProcess(
    t,
    hedged(first, second, ", retries: { attempts: 0 }, breaker: { enabled: false }"),
  );
  const bothAsked = async (number: number) => {
    const asked = await Promise.all([first.accepted(number), second.accepted(number)]);
    for (const connection of asked) await connection.until(/\r\n\r\n/);
    return asked;
  };
  const client = await rawClient(t, addresses.outbound.port);
  client.send(get);
  const [a, b] = await bothAsked(0);
  a.send(busy);
  // Its connection is kept open until the other one has answered, or is free again: nothing has reached the caller.
  b.send(textAnswer("good"));
  t.match(await client.until(/good$/), /^HTTP\/1.1 200 /);
  client.take();
  a.socket.destroy();
  b.socket.destroy();
  await Promise.all([a.untilEnd(), b.untilEnd()]);
  client.send(get);
  const [c, d] = await bothAsked(1);
  c.send(busy);
  d.send(busy);
  t.match(await client.until(/busy$/), /^HTTP\/1.1 500 /);
});

test("what may not be sent twice at a time never is: POST, with an Idempotency-Key as well", async (t) => {
  const first = await rawEndpoint(t);
  const second = await rawEndpoint(t);
  const { addresses, metric } = await startInProcess(
    t,
    hedged(first, second, "", "after: 1ms, ratio: 100%").replace("attempt: 5s", "attempt: 60ms"),
  );
  for (const head of ["", "Idempotency-Key: k\r\n"]) {
    const client = await rawClient(t, addresses.outbound.port);
    client.send(`POST / HTTP/1.1\r\nHost: orders\r\n${head}Content-Length: 2\r\n\r\nhi`);
    t.match(await client.until(/attempt_timeout/), /^HTTP\/1.1 504 /);
  }
  t.equal(first.connections.length + second.connections.length, 2);
  t.equal(await metric("heddle_hedges_total"), 0);
});

test("a body that is held whole is sent with the second attempt, too", async (t) => {
  const first = await rawEndpoint(t);
  const second = await rawEndpoint(t);
  const { addresses } = await startInProcess(t, hedged(first, second));
  const client = await rawClient(t, addresses.outbound.port);
  client.send("PUT / HTTP/1.1\r\nHost: orders\r\nContent-Length: 4\r\n\r\nbody");
  const asked = await Promise.all([first.accepted(0), second.accepted(0)]);
  for (const connection of asked) await connection.until(/\r\n\r\nbody$/);
  asked[1].send(textAnswer("stored"));
  t.match(await client.until(/stored$/), /^HTTP\/1.1 200 /);
});

test("hedges stay within their share of the requests, and a route may have none", async (t) => {
  /** What has been asked and not answered, by path; each is answered when the test says so. */
  const asked = new Map<string, RawConnection[]>();
  const holding = (connection: RawConnection) => {
    connection.socket.on("data", () => {
      const path = /^GET (\S+) .*\r\n\r\n$/s.exec(connection.received)?.[1];
      if (path === undefined) return;
      connection.take();
      asked.set(path, [...(asked.get(path) ?? []), connection]);
    });
  };
  const countOf = (path: string) => asked.get(path)?.length ?? 0;
  const [one, other] = [await rawEndpoint(t, holding), await rawEndpoint(t, holding)];
  const { addresses, metric } = await startInProcess(
    t,
    `${hedged(one, other, "", "after: 1ms, ratio: 20%", "1h")}
routes: [{ name: never, match: { host: orders, path: /never }, to: [{ upstream: orders }], hedge: { enabled: false } }]`,
  );
  const refused = () => metric("heddle_hedges_total", { outcome: "budget" });
  // These wait while others are hedged that came later: if they could be, they would have been before.
  const unhedged = await Promise.all(
    Array.from({ length: 10 }, async () => {
      const client = await rawClient(t, addresses.outbound.port);
      client.send(get.replace("/ ", "/never "));
      return client;
    }),
  );
  await eventually("those without hedges to arrive", () => countOf("/never") === 10);
  const client = await rawClient(t, addresses.outbound.port);
  for (let i = 0; i < 10; i++) {
    const path = `/${i}`;
    const before = await refused();
    client.send(get.replace("/ ", `${path} `));
    // Sent twice, or refused: it is answered when that has been decided.
    await eventually("a hedge to be decided", async () => countOf(path) === 2 || (await refused()) > before);
    for (const connection of asked.get(path)!) connection.send(textAnswer("slow"));
    await client.until(/slow$/);
    client.take();
  }
  t.equal(await refused(), 8, "two of ten may be sent twice");
  t.equal((await metric("heddle_hedges_total")) - (await refused()), 2);
  t.equal(countOf("/never"), 10);
  for (const connection of asked.get("/never")!) connection.send(textAnswer("slow"));
  for (const waiting of unhedged) await waiting.until(/slow$/);
});

test("a caller that goes away ends all attempts", async (t) => {
  const first = await rawEndpoint(t);
  const second = await rawEndpoint(t);
  // Nothing but the caller's going ends any of them.
  const { addresses, logged } = await startInProcess(
    t,
    hedged(first, second, "", "after: 20ms, ratio: 100%", "1h"),
  );
  const client = await rawClient(t, addresses.outbound.port);
  client.send(get);
  const asked = await Promise.all([first.accepted(0), second.accepted(0)]);
  for (const connection of asked) await connection.until(/\r\n\r\n/);
  client.socket.resetAndDestroy();
  for (const connection of asked) await connection.untilEnd();
  t.match(await logged(() => true), { cause: "client_closed", hedged: 1 });
});

test("an answer of a second attempt that breaks after its head is told of in the log as any other", async (t) => {
  const slow = await rawEndpoint(t);
  const breaking = await rawEndpoint(t, (connection) => {
    void connection.until(/\r\n\r\n/).then(() => {
      connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    });
  });
  const { addresses, logged } = await startInProcess(t, hedged(slow, breaking));
  // Two requests, so that one of them begins at the slow one.
  for (let i = 0; i < 2; i++) {
    const client = await rawClient(t, addresses.outbound.port);
    client.send(get);
    await client.until(/half$/);
    breaking.connections[i]!.socket.resetAndDestroy();
    await client.untilEnd();
  }
  const facts = { status: 200, cause: "upstream_reset", retryRefused: "response_started" };
  t.match(await logged(({ hedged }) => hedged === 1), facts);
});
