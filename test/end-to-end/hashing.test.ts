import { rename, writeFile } from "node:fs/promises";
import { Agent } from "node:http";
import { join } from "node:path";
import { test } from "tap";
import { call, startApp } from "../support/apps.ts";
import { eventually } from "../support/eventually.ts";
import { startInProcess } from "../support/in-process.ts";

const REPLICAS = 20;
const KEYS = 250;

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
    const tell = async (list: readonly string[]) => {
      await writeFile(`${file}.new`, JSON.stringify(list));
      await rename(`${file}.new`, file);
      await eventually(`${list.length} replicas`, async () => {
        const page = JSON.parse(await sidecar.admin("/endpoints"));
        return page.orders.endpoints.length === list.length;
      });
    };
    /** A new circle is laid while requests go on; then it serves. */
    const settled = async () => {
      let placement = await placed();
      for (;;) {
        const again = await placed();
        if (again.join() === placement.join()) return again;
        placement = again;
      }
    };
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

    // Each of them goes once and comes back.
    const keptOfOthers: number[] = [];
    const kept: number[] = [];
    for (const gone of addresses.keys()) {
      await tell(addresses.toSpliced(gone, 1));
      const after = await settled();
      t.notOk(after.includes(String(gone)), "nobody goes to the one that has left");
      const others = before.filter((replica) => replica !== String(gone)).length;
      const same = before.filter((replica, i) => replica === after[i]).length;
      keptOfOthers.push(same / others);
      kept.push(same / KEYS);
      await tell(addresses);
      t.same(await settled(), before, "and when it comes back, its keys do");
    }
    const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
    const mean = kept.reduce((sum, share) => sum + share) / REPLICAS;
    t.comment(
      `${algorithm}: of the keys of the others at least ${percent(Math.min(...keptOfOthers))} stay; ` +
        `of all ${percent(mean)} in the mean over all that may go, at least ${percent(Math.min(...kept))}`,
    );
    t.ok(Math.min(...keptOfOthers) >= (algorithm === "ringHash" ? 1 : 0.95), "the keys of the others stay");
    // A twentieth of all belongs to those that go, so more cannot be kept.
    if (algorithm === "ringHash") t.ok(mean >= 0.95 - 1e-9, "and so do 95 % of all");
  });
}
