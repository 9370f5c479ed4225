import { once } from "node:events";
import { rename, writeFile } from "node:fs/promises";
import { Agent, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { type Test, test } from "tap";
import { type Answer, type App, call, startApp } from "../support/apps.ts";
import { eventually } from "../support/eventually.ts";
import { type InProcess, startInProcess } from "../support/in-process.ts";
import { connected, orders, webSocketClient, webSocketEndpoint } from "../support/web-sockets.ts";

const REPLICAS = 20;
const CLIENTS = 200;

/** Replicas that say which they are, and a file from which sidecars learn of them. */
async function startReplicas(t: Test, count: number) {
  const own =
    (i: number): Answer =>
    (_, response) => {
      response.setHeader("x-app", String(i));
      response.setHeader("set-cookie", ["app=1; Path=/", "theme=dark"]);
      response.end("fine");
    };
  const apps = await Promise.all(Array.from({ length: count }, (_, i) => startApp(t, own(i))));
  const addresses = apps.map(({ address }) => address);
  const file = join(t.testdir({ "orders.json": JSON.stringify(addresses) }), "orders.json");
  return {
    apps,
    file,
    /** Resolves when the sidecars know that these are there. */
    async are(those: readonly number[], ...sidecars: readonly InProcess[]): Promise<void> {
      await writeFile(`${file}.new`, JSON.stringify(those.map((i) => addresses[i])));
      await rename(`${file}.new`, file);
      for (const { admin } of sidecars)
        await eventually("the replicas", async () => {
          const { endpoints } = JSON.parse(await admin("/endpoints")).orders;
          return endpoints.filter(({ used }: { used: boolean }) => used).length === those.length;
        });
    },
    /** Answers as it did at first. */
    restore(i: number): void {
      apps[i]!.answer = own(i);
    },
  };
}

function yaml(file: string, balancing: string): string {
  return `upstreams:
  orders:
    from: [{ file: "${file}" }]
    balancing: { ${balancing} }
    retries: { budget: { minPerSecond: 10000 } }
telemetry: { accessLog: false }`;
}

/** Callers with a jar each, as browsers have; they share connections, as behind a gateway. */
class Callers {
  readonly jars: Map<string, string>[];
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 20 });

  constructor(t: Test, count: number) {
    this.jars = Array.from({ length: count }, () => new Map());
    t.teardown(() => this.#agent.destroy());
  }

  /** One call of one of them: the replica that answered. */
  async call(i: number, port: number): Promise<string> {
    const jar = this.jars[i]!;
    const cookie = [...jar].map((pair) => pair.join("=")).join("; ");
    const headers = { ...(cookie !== "" && { cookie }) };
    const { status, headers: answered } = await call(port, "orders", { headers, agent: this.#agent });
    if (status !== 200) return `status ${status}`;
    for (const field of answered["set-cookie"] ?? []) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(field)!;
      jar.set(name!, value!);
    }
    return String(answered["x-app"]);
  }

  /** A call of each at the same time. */
  all(port: number): Promise<string[]> {
    return Promise.all(this.jars.map((_, i) => this.call(i, port)));
  }
}

test("200 clients keep their replica of 20; when one goes only its clients move, and nobody comes back", async (t) => {
  const replicas = await startReplicas(t, REPLICAS);
  const everybody = Array.from({ length: REPLICAS }, (_, i) => i);
  const [one, other] = [
    await startInProcess(t, yaml(replicas.file, "algorithm: random, sticky: { cookie: replica }")),
    await startInProcess(
      t,
      yaml(replicas.file, "algorithm: leastRequest, sticky: { cookie: replica, ttl: 1h }"),
    ),
  ];
  const { port } = one.addresses.outbound;
  const callers = new Callers(t, CLIENTS);
  const before = await callers.all(port);
  t.equal(new Set(before).size, REPLICAS, "every replica has clients");
  let moves = 0;
  for (let i = 0; i < 19; i++) {
    const now = await callers.all(i % 2 === 0 ? port : other.addresses.outbound.port);
    moves += now.filter((replica, place) => replica !== before[place]).length;
  }
  t.equal(moves, 0, "in 20 requests of each, by two sidecars in turn");
  for (const jar of callers.jars) t.same([...jar.keys()].toSorted(), ["app", "replica", "theme"]);

  await replicas.are(everybody.slice(1), one, other);
  const after = await callers.all(port);
  t.notOk(after.includes("0"));
  for (const [i, replica] of before.entries()) if (replica !== "0") t.equal(after[i], replica);
  t.same(await callers.all(other.addresses.outbound.port), after, "those that moved stay where they are");
  await replicas.are(everybody, one, other);
  for (let i = 0; i < 5; i++) t.same(await callers.all(port), after, "when it is back, nobody is");
  t.comment(`${before.filter((replica) => replica === "0").length} of ${CLIENTS} clients moved`);
});

test("when a replica fails, its clients are answered by others, and stay with them when it is well again", async (t) => {
  const replicas = await startReplicas(t, 5);
  const { addresses } = await startInProcess(
    t,
    yaml(replicas.file, "algorithm: random, sticky: { cookie: replica }"),
  );
  const { port } = addresses.outbound;
  for (const fail of [
    async (app: App) => {
      app.answer = (_, response) => response.writeHead(503).end();
    },
    async (app: App) => {
      app.answer = (request) => request.socket.destroy();
    },
    (app: App) => app.stop(),
  ]) {
    const callers = new Callers(t, 20);
    const before = await callers.all(port);
    const failing = Number(before[0]);
    await fail(replicas.apps[failing]!);
    const after = await callers.all(port);
    t.notOk(after.some((replica) => replica === String(failing) || replica.startsWith("status")));
    for (const [i, replica] of before.entries())
      if (replica !== String(failing)) t.equal(after[i], replica, "others stay");
    await replicas.apps[failing]!.start();
    replicas.restore(failing);
    for (let i = 0; i < 5; i++) t.same(await callers.all(port), after);
  }
});

test("an answer that switches protocols names its endpoint, too, so that a caller who reconnects finds it again", async (t) => {
  const endpoints = await Promise.all(Array.from({ length: 8 }, () => webSocketEndpoint(t)));
  const addresses = endpoints.map(({ address }) => address);
  const sticky = "balancing: { algorithm: random, sticky: { cookie: replica } }";
  const sidecar = await startInProcess(t, orders(addresses, sticky));
  const connect = async (cookie: string) => {
    const before = endpoints.map(({ clients }) => clients.length);
    const client = await connected(t, sidecar.addresses.outbound.port, {
      headers: cookie === "" ? {} : { cookie },
    });
    const replica = endpoints.findIndex(({ clients }, i) => clients.length > before[i]!);
    client.terminate();
    return replica;
  };
  const client = webSocketClient(t, sidecar.addresses.outbound.port);
  const [answer] = (await once(client, "upgrade")) as [IncomingMessage];
  const [cookie] = answer.headers["set-cookie"]![0]!.split(";", 1);
  t.match(cookie, /^replica=[0-9a-f]{16}$/);
  const home = endpoints.findIndex(({ clients }) => clients.length > 0);
  for (let i = 0; i < 10; i++) t.equal(await connect(cookie!), home);
  t.equal(
    (
      await once(
        webSocketClient(t, sidecar.addresses.outbound.port, { headers: { cookie: cookie! } }),
        "upgrade",
      )
    )[0].headers["set-cookie"],
    undefined,
  );
});

test("the configuration shows the names of cookies, and not what makes their values hard to guess", async (t) => {
  const { admin } = await startInProcess(
    t,
    `upstreams:
  orders: { endpoints: [127.0.0.1:1], balancing: { sticky: { cookie: replica, sharedSecret: very-hidden } } }
  search: { endpoints: [127.0.0.1:1], balancing: { algorithm: maglev, hash: [{ cookie: session, ttl: 1h }] } }`,
  );
  const shown = await admin("/config");
  t.notMatch(shown, /very-hidden/);
  const { upstreams } = JSON.parse(shown);
  t.match(upstreams.orders.options.sticky, { name: "replica", ttlMs: 0, sharedSecret: "[redacted]" });
  t.same(upstreams.search.options.hash, [
    { of: "cookie", name: "session", sets: { ttlMs: 3_600_000, path: "/" } },
  ]);
});

for (const algorithm of ["ringHash", "maglev"])
  test(`${algorithm}: a client is given the cookie that it is hashed by, and two sidecars and their workers agree on its replica`, async (t) => {
    const replicas = await startReplicas(t, REPLICAS);
    const hashed = `algorithm: ${algorithm}, hash: [{ cookie: session, ttl: 90m }]`;
    const one = await startInProcess(t, yaml(replicas.file, hashed));
    const other = await startInProcess(t, `workers: 2\n${yaml(replicas.file, hashed)}`);
    const ports = [one, other].map(({ addresses }) => addresses.outbound.port);
    const { headers } = await call(ports[0]!, "orders");
    t.match(headers["set-cookie"]?.slice(0, 2), ["app=1; Path=/", "theme=dark"], "after the replica's own");
    t.match(
      headers["set-cookie"]?.[2],
      /^session=[0-9a-f]{32}; Path=\/; Max-Age=5400; HttpOnly; SameSite=Lax$/,
    );
    const callers = new Callers(t, CLIENTS);
    const before = await callers.all(ports[1]!);
    t.ok(new Set(before).size >= REPLICAS / 2, "they are spread");
    for (let i = 0; i < 10; i++) t.same(await callers.all(ports[i % 2]!), before);
  });
