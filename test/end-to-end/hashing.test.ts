import { rename, writeFile } from "node:fs/promises";
import { Agent } from "node:http";
import { join } from "node:path";
import { test } from "tap";
import { call, startApp } from "../support/apps.ts";
import { eventually } from "../support/consul-cluster.ts";
import { startInProcess } from "../support/in-process.ts";

const REPLICAS = 20;
const KEYS = 1_000;

for (const algorithm of ["ringHash", "maglev"] as const) {
  test(`${algorithm}: equal keys meet the same replica, and nearly all stay when one of twenty goes`, async (t) => {
    const apps = await Promise.all(
      Array.from({ length: REPLICAS }, (_, i) =>
        startApp(t, (_request, response) => {
          response.setHeader("x-app", String(i));
          response.end();
        }),
      ),
    );
    const addresses = apps.map(({ address }) => address);
    const file = join(t.testdir({ "orders.json": JSON.stringify(addresses) }), "orders.json");
    const sidecar = await startInProcess(
      t,
      `upstreams:
  orders:
    from: [{ file: "${file}" }]
    balancing: { algorithm: ${algorithm}, hash: [{ header: X-User }, { cookie: user }, { query: user }, { path: true }] }
telemetry: { accessLog: false }`,
    );
    const { port } = sidecar.addresses.outbound;
    const agent = new Agent({ keepAlive: true, maxSockets: 50 });
    t.teardown(() => agent.destroy());
    const replicaOf = async (path: string, headers: Record<string, string> = {}) => {
      const reply = await call(port, "orders", { path, headers, agent });
      return String(reply.headers["x-app"]);
    };
    const placed = () =>
      Promise.all(Array.from({ length: KEYS }, (_, i) => replicaOf("/", { "x-user": `user-${i}` })));
    const before = await placed();
    t.same(await placed(), before, "equal keys meet the same replica");
    t.ok(new Set(before).size === REPLICAS, "and every replica has some");

    const [byHeader] = before;
    t.equal(await replicaOf("/other?user=user-7", { "x-user": "user-0", cookie: "user=user-3" }), byHeader);
    t.equal(
      await replicaOf("/", { cookie: "a=b; user=user-3" }),
      before[3],
      "the next key where the first is missing",
    );
    t.equal(await replicaOf("/?user=user-7"), before[7]);
    t.equal(await replicaOf("/??user=user-7"), await replicaOf("/"), "a parameter of another name is none");
    t.equal(await replicaOf("/path"), await replicaOf("/path?x=1"));

    await writeFile(`${file}.new`, JSON.stringify(addresses.slice(1)));
    await rename(`${file}.new`, file);
    await eventually("its end", async () => {
      const page = JSON.parse(await sidecar.admin("/endpoints"));
      return page.orders.endpoints.length === REPLICAS - 1;
    });
    // The new circle is laid while requests go on; then it serves.
    let after = await placed();
    for (let same = false; !same; ) {
      const again = await placed();
      same = again.join() === after.join();
      after = again;
    }
    t.notOk(after.includes("0"), "nobody goes to the one that has left");
    const stayers = before.flatMap((replica, i) => (replica === "0" ? [] : [[replica, after[i]]]));
    const stayed = stayers.filter(([was, is]) => was === is).length / stayers.length;
    const all = before.filter((replica, i) => replica === after[i]).length / KEYS;
    t.comment(
      `${algorithm}: ${(stayed * 100).toFixed(1)} % of the keys of the others stay, ${(all * 100).toFixed(1)} % of all`,
    );
    t.ok(stayed >= (algorithm === "ringHash" ? 1 : 0.95), "the keys of the others stay");
  });
}
