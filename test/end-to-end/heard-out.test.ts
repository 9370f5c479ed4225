/**
 * What is learned about an endpoint whose attempts are overtaken by hedges: an attempt that has lost is heard out, so that one that
 * never answers is found, and one that is only second is not blamed.
 */
import { test } from "tap";
import { openBlackHole } from "../support/black-hole.ts";
import { startInProcess } from "../support/in-process.ts";
import {
  answering,
  type RawConnection,
  type RawEndpoint,
  rawClient,
  rawEndpoint,
  textAnswer,
} from "../support/raw.ts";

const QUICK = textAnswer("quick");
const get = "GET / HTTP/1.1\r\nHost: orders\r\n\r\n";

const hedged = (first: Pick<RawEndpoint, "address">, second: RawEndpoint, attempt: string, more = "") =>
  `upstreams: { orders: { endpoints: ["${first.address}", "${second.address}"], balancing: { algorithm: roundRobin }, hedge: { after: 5ms, ratio: 100% }, retries: { budget: { minPerSecond: 1000 } }, timeouts: { request: 2h, connect: ${attempt}, attempt: ${attempt} }${more} } }`;

async function answered(client: RawConnection, request = get): Promise<string> {
  client.send(request);
  await client.until(/quick$/);
  return client.take();
}

test("an endpoint that never answers is found although another one answers all of its requests", async (t) => {
  const silent = await rawEndpoint(t);
  const quick = await rawEndpoint(t, answering(QUICK));
  const { addresses, metric } = await startInProcess(t, hedged(silent, quick, "400ms"));
  const client = await rawClient(t, addresses.outbound.port);
  // Until the tap times out: it never opens where nobody listens to those that were overtaken.
  while ((await metric("heddle_breaker_opened_total")) === 0) await answered(client);
  t.ok((await metric("heddle_attempts_total", { outcome: "attempt_timeout" })) >= 5);
  const before = silent.connections.length;
  // What no hedge could have helped.
  for (let i = 0; i < 10; i++)
    await answered(client, "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 0\r\n\r\n");
  t.equal(silent.connections.length, before);
});

test("so is one that does not even accept", async (t) => {
  const gone = await rawEndpoint(t);
  await gone.kill();
  const hole = await openBlackHole(gone.port);
  t.teardown(() => hole.close());
  const quick = await rawEndpoint(t, answering(QUICK));
  const { addresses, metric } = await startInProcess(t, hedged(gone, quick, "400ms"));
  const client = await rawClient(t, addresses.outbound.port);
  while ((await metric("heddle_breaker_opened_total")) === 0) await answered(client);
  t.ok((await metric("heddle_attempts_total", { outcome: "connect_timeout" })) >= 5);
});

test("one that is always second is never blamed, however often it is overtaken", async (t) => {
  // Answers a request when the next one comes to it, and so never in time.
  const before: RawConnection[] = [];
  const second = await rawEndpoint(t, (connection) => {
    connection.socket.on("data", () => {
      if (!connection.take().endsWith("\r\n\r\n")) return;
      before.push(connection);
      if (before.length > 1) before.shift()!.send(textAnswer("late"));
    });
  });
  const quick = await rawEndpoint(t, answering(QUICK));
  const { addresses, metric } = await startInProcess(
    t,
    hedged(second, quick, "1h", ", breaker: { consecutiveFailures: 1 }"),
  );
  const client = await rawClient(t, addresses.outbound.port);
  for (let i = 0; i < 40; i++) await answered(client);
  // All but the last one's.
  while ((await metric("heddle_attempts_total", { outcome: "success" })) < 59);
  t.equal(await metric("heddle_breaker_opened_total"), 0);
  t.equal(await metric("heddle_attempts_total", { outcome: "hedge_lost" }), 0);
  t.equal(second.connections.length, 2, "and its connections are used again");
});

test("five of an endpoint at a time are heard out, and none when the sidecar ends", async (t) => {
  const silent = await rawEndpoint(t);
  const quick = await rawEndpoint(t, answering(QUICK));
  const { addresses, metric, sidecar } = await startInProcess(t, hedged(silent, quick, "1h"));
  const client = await rawClient(t, addresses.outbound.port);
  while (silent.connections.length < 7) await answered(client);
  await Promise.all([5, 6].map((late) => silent.connections[late]!.untilEnd()));
  t.equal(silent.connections.filter(({ ended }) => !ended).length, 5);
  t.equal(await metric("heddle_attempts_total", { outcome: "hedge_lost" }), 2);
  await sidecar.destroy();
  for (const connection of silent.connections) await connection.untilEnd();
});

test("whoever is heard out gives way to a request that needs the connection, and is not blamed for that", async (t) => {
  const silent = await rawEndpoint(t);
  const quick = await rawEndpoint(t, answering(QUICK));
  const { addresses, metric } = await startInProcess(
    t,
    hedged(silent, quick, "1h", ", limits: { connections: 2 }, breaker: { consecutiveFailures: 1 }"),
  );
  const client = await rawClient(t, addresses.outbound.port);
  for (let i = 0; i < 10; i++) await answered(client);
  await silent.connections[0]!.untilEnd();
  t.equal(await metric("heddle_breaker_opened_total"), 0);
});

test("what has been overtaken is not sent again when its connection is lost, and the loss counts", async (t) => {
  const asked: RawConnection[] = [];
  const losing = await rawEndpoint(t, (connection) => {
    connection.socket.on("data", () => {
      if (asked.push(connection) === 1) connection.send(QUICK);
    });
  });
  const quick = await rawEndpoint(t, answering(QUICK));
  const { addresses, metric } = await startInProcess(t, hedged(losing, quick, "1h"));
  const client = await rawClient(t, addresses.outbound.port);
  while (asked.length < 2) await answered(client);
  // The other one has answered in its place.
  asked[1]!.socket.resetAndDestroy();
  while ((await metric("heddle_attempts_total", { outcome: "upstream_reset" })) === 0);
  t.equal(await metric("heddle_pool_resent_total"), 0);
  t.equal(asked.length, 2);
});
