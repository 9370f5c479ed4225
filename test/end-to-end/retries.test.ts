import { type Test, test } from "tap";
import { startInProcess } from "../support/in-process.ts";
import { answering, type RawEndpoint, rawClient, rawEndpoint, textAnswer } from "../support/raw.ts";

const OK = textAnswer("hello");
const get = "GET / HTTP/1.1\r\nHost: orders\r\n\r\n";
const busyFor = (seconds: number) => textAnswer("busy", `HTTP/1.1 503 Busy\r\nRetry-After: ${seconds}\r\n`);

const orders = (endpoints: readonly RawEndpoint[], more: string) =>
  `upstreams: { orders: { endpoints: [${endpoints.map(({ address }) => `"${address}"`).join(",")}], balancing: { algorithm: roundRobin }, breaker: { enabled: false }, ${more} } }`;

/** Sends one request and returns the status of its answer. */
async function statusOf(client: Awaited<ReturnType<typeof rawClient>>, request = get): Promise<string> {
  client.send(request);
  await client.until(/\r\n\r\n./);
  return client.take().slice(9, 12);
}

test("a request that could not be sent goes elsewhere at once, and takes nothing from the budget of the retries", async (t) => {
  const gone = await rawEndpoint(t);
  await gone.kill();
  const fine = await rawEndpoint(t, answering(OK));
  const { addresses, logged, metric } = await startInProcess(
    t,
    orders(
      [gone, fine],
      // A wait would be seen in the log, and a retry could not be paid.
      "retries: { backoff: { base: 1h, max: 1h }, budget: { ratio: 0%, minPerSecond: 0 } }",
    ),
  );
  const client = await rawClient(t, addresses.outbound.port);
  for (let i = 0; i < 10; i++) t.equal(await statusOf(client), "200");
  const record = await logged(({ attempts }) => attempts === 2);
  t.equal(record["backoffMs"], undefined);
  t.equal(await metric("heddle_retries_refused_total"), 0);
});

test("requeues have a budget of their own, and end with it", async (t) => {
  const gone = await rawEndpoint(t);
  await gone.kill();
  const fine = await rawEndpoint(t, answering(OK));
  const { addresses, metric } = await startInProcess(
    t,
    orders([gone, fine], "retries: { requeues: { budget: { ratio: 0%, minPerSecond: 0 } } }"),
  );
  const client = await rawClient(t, addresses.outbound.port);
  const statuses = [await statusOf(client), await statusOf(client)];
  t.same(statuses.sort(), ["200", "502"]);
  t.equal(await metric("heddle_retries_refused_total", { reason: "budget" }), 1);
});

test("who has said Retry-After is left alone by retries: another is asked, and one that is there is enough", async (t) => {
  let asked = 0;
  const busy = await rawEndpoint(
    t,
    answering(() => {
      asked++;
      return busyFor(20);
    }),
  );
  const broken = await rawEndpoint(t, answering(textAnswer("broken", "HTTP/1.1 502 Broken\r\n")));
  const { addresses, logged } = await startInProcess(
    t,
    orders([busy, broken], "retries: { attempts: 5, backoff: { base: 1ms, max: 1ms } }"),
  );
  const client = await rawClient(t, addresses.outbound.port);
  t.equal(await statusOf(client), "502");
  t.equal(asked, 1, "six attempts, and one of them there");
  t.match(await logged(() => true), { attempts: 6, retryRefused: "attempts" });
});

test("who has said Retry-After is asked by what could not be sent elsewhere, at once, where nobody else is left", async (t) => {
  for (const hasDeadSaidIt of [false, true]) {
    let asked = 0;
    const busy = await rawEndpoint(
      t,
      answering(() => (asked++ === 0 ? busyFor(20) : OK)),
    );
    const dying = await rawEndpoint(t, answering(busyFor(20)));
    if (!hasDeadSaidIt) await dying.kill();
    const { addresses, access, logged } = await startInProcess(
      t,
      orders([busy, dying], "retries: { on: [connectFailure], backoff: { base: 1h, max: 1h } }"),
    );
    const client = await rawClient(t, addresses.outbound.port);
    while (asked === 0 || (hasDeadSaidIt && access.length < 2)) {
      t.equal(await statusOf(client), "503");
      await logged(() => access.length > 0);
    }
    if (hasDeadSaidIt) await dying.kill();
    const before = access.length;
    for (let i = 0; i < 4; i++) t.equal(await statusOf(client), "200");
    await logged(() => access.length === before + 4);
    t.match(
      access.slice(before).filter(({ attempts }) => attempts === 2),
      Array(2).fill({ endpoint: busy.address, triedBefore: [dying.address], backoffMs: undefined }),
    );
  }
});

test("where all have said Retry-After a retry waits for the first, and none is made where that is too long", async (t) => {
  let asked = 0;
  const busy = await rawEndpoint(
    t,
    answering(() => (asked++ === 0 ? busyFor(1) : OK)),
  );
  const soon = await startInProcess(t, orders([busy], "retries: { backoff: { base: 1ms, max: 1ms } }"));
  t.equal(await statusOf(await rawClient(t, soon.addresses.outbound.port)), "200");
  t.ok(((await soon.logged(() => true))["backoffMs"] as number) >= 990, "a second was asked for");

  const full = await rawEndpoint(t, answering(busyFor(2)));
  const late = await startInProcess(t, orders([full], "retries: { backoff: { base: 1ms, max: 1ms } }"));
  t.equal(await statusOf(await rawClient(t, late.addresses.outbound.port)), "503");
  t.match(await late.logged(() => true), { attempts: 1, retryRefused: "retry_after" });
  t.equal(await late.metric("heddle_retries_refused_total", { reason: "retry_after" }), 1);

  asked = 0;
  const short = await startInProcess(t, orders([busy], "timeouts: { request: 500ms }"));
  t.equal(await statusOf(await rawClient(t, short.addresses.outbound.port)), "503");
  t.match(await short.logged(() => true), { retryRefused: "retry_after" });
});

test("an answer that breaks after its head is not asked for again, and the log says why", async (t) => {
  const breaking = await rawEndpoint(t, (connection) => {
    void connection.until(/\r\n\r\n/).then(() => {
      connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    });
  });
  const { addresses, logged, metric } = await startInProcess(t, orders([breaking], "keepAlive: 1s"));
  const client = await rawClient(t, addresses.outbound.port);
  client.send(get);
  await client.until(/half$/);
  breaking.connections[0]!.socket.resetAndDestroy();
  await client.untilEnd();
  t.match(await logged(() => true), { retryRefused: "response_started", cause: "upstream_reset" });
  t.equal(await metric("heddle_retries_refused_total", { reason: "response_started" }), 1);
});

test("one command switches all retries and hedges off, and on again, in all workers", async (t) => {
  const busy = await rawEndpoint(t, answering(textAnswer("busy", "HTTP/1.1 503 Busy\r\n")));
  for (const workers of [1, 2]) {
    const { addresses, admin, metric, logged, access, records } = await startInProcess(
      t,
      `${orders([busy], "retries: { attempts: 1, backoff: { base: 1ms, max: 1ms } }, hedge: { after: 1ms }")}
workers: ${workers}`,
    );
    /** On connections of their own, so that each worker has some. */
    const attempts = async (path: string) => {
      for (let i = 0; i < 12; i++) {
        const client = await rawClient(t, addresses.outbound.port);
        t.equal(await statusOf(client, get.replace("/ ", `${path}${i} `)), "503");
        client.socket.destroy();
      }
      // Workers hand their lines over now and then.
      for (let i = 0; i < 12; i++) await logged((record) => record["path"] === `${path}${i}`);
      return new Set(
        access.filter((record) => `${record["path"]}`.startsWith(path)).map((record) => record["attempts"]),
      );
    };
    t.same([...(await attempts("/before"))], [2]);
    t.equal(await metric("heddle_retries_enabled"), 1);
    t.match(await admin("/retries?enabled=maybe", "POST"), /^expected \?enabled= one of true, false/);
    t.equal(await admin("/retries?enabled=false", "POST"), "off\n");
    t.equal(await metric("heddle_retries_enabled"), 0);
    t.same([...(await attempts("/off"))], [1]);
    t.equal(await metric("heddle_retries_refused_total", { reason: "switched_off" }), 12);
    t.ok(records.some(({ message }) => message === "retries are switched off"));
    t.equal(await admin("/retries?enabled=true", "POST"), "on\n");
    await metric("heddle_retries_enabled");
    t.same([...(await attempts("/on"))], [2]);
  }
});

test("retries that the configuration switches off are not made", async (t) => {
  const busy = await rawEndpoint(t, answering(textAnswer("busy", "HTTP/1.1 503 Busy\r\n")));
  const { addresses, logged, metric } = await startInProcess(
    t,
    `${orders([busy], "keepAlive: 1s")}\nretries: { enabled: false }`,
  );
  t.equal(await statusOf(await rawClient(t, addresses.outbound.port)), "503");
  t.match(await logged(() => true), { attempts: 1, retryRefused: "switched_off" });
  t.equal(await metric("heddle_retries_enabled"), 0);
});

test("with retries switched off, none to be made, or none after a reset, a request that was lost on a pooled connection is not sent on another one either", async (t) => {
  const lane = "to: [{ upstream: orders }]";
  const ways: readonly (readonly [settings: string, more: string, refused: string])[] = [
    ["keepAlive: 1s", "retries: { enabled: false }", "switched_off"],
    ["keepAlive: 1s, retries: { attempts: 0 }", "", ""],
    [
      "keepAlive: 1s",
      `routes: [{ name: once, match: { host: orders }, ${lane}, retries: { attempts: 0 } }]`,
      "",
    ],
    ["keepAlive: 1s, retries: { on: [connectFailure, timeout, 502, 503, 504] }", "", ""],
    [
      "keepAlive: 1s",
      `routes: [{ name: careful, match: { host: orders }, ${lane}, retries: { attempts: 2, on: [connectFailure] } }]`,
      "",
    ],
    // What could not be sent may go elsewhere; this was sent.
    ["keepAlive: 1s, retries: { attempts: 0, requeues: { attempts: 2 } }", "", "attempts"],
  ];
  for (const [settings, more, refused] of ways) {
    const losing = await losingEndpoint(t);
    const { addresses, logged, metric } = await startInProcess(t, `${orders([losing], settings)}\n${more}`);
    const client = await rawClient(t, addresses.outbound.port);
    t.equal(await statusOf(client), "200");
    t.equal(await statusOf(client), "502");
    t.equal(losing.asked(), 2, `the endpoint has had it once: ${settings} ${more}`);
    const record = await logged(({ status }) => status === 502);
    t.same([record["attempts"], record["retryRefused"] ?? ""], [1, refused]);
    t.equal(await metric("heddle_pool_resent_total"), 0);
  }
});

test("a route with retries sends it again at once, whatever its upstream has", async (t) => {
  const losing = await losingEndpoint(t);
  const { addresses, metric } = await startInProcess(
    t,
    `${orders([losing], "keepAlive: 1s, retries: { attempts: 0 }")}
routes: [{ name: more, match: { host: orders }, to: [{ upstream: orders }], retries: { attempts: 1, on: [reset] } }]`,
  );
  const client = await rawClient(t, addresses.outbound.port);
  t.equal(await statusOf(client), "200");
  t.equal(await statusOf(client), "502");
  t.equal(losing.asked(), 4, "on another connection, and then by its retry");
  t.equal(await metric("heddle_pool_resent_total"), 1);
});

/** Answers the first request, and resets its connection when any other has come. */
async function losingEndpoint(t: Test): Promise<RawEndpoint & { asked(): number }> {
  let asked = 0;
  const endpoint = await rawEndpoint(t, (connection) => {
    connection.socket.on("data", () => {
      if (!connection.received.endsWith("\r\n\r\n")) return;
      connection.take();
      if (++asked === 1) connection.send(OK);
      else connection.socket.resetAndDestroy();
    });
  });
  return { ...endpoint, asked: () => asked };
}
