import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { withoutConsul } from "../support/consul.ts";
import { startCluster } from "../support/consul-cluster.ts";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/free-ports.ts";
import { Load, Replica } from "../support/mesh.ts";
import { startNamespace, withoutNamespaces } from "../support/namespace.ts";
import { Bill, PER_SECOND, startMesh } from "../support/outage.ts";
import { startSidecar } from "../support/sidecar.ts";

test("no request fails when the token is revoked, or loses its rights", {
  skip: withoutConsul,
}, async (t) => {
  let secret = "";
  let id = "";
  let allowed = { id: "", secret: "" };
  const cluster = await startCluster(t, { acls: true });
  allowed = await cluster.createToken({ services: ["orders"] });
  ({ id, secret } = await cluster.createToken({ services: ["web"] }));
  const own = { address: cluster.client.address, token: allowed.secret };
  const [port] = await freePorts(1);
  const replica = await new Replica(t, own, "orders-0", port!).start(t);
  const tokenFile = join(t.testdir({ token: `${secret}\n` }), "token");
  const caller = await startSidecar(t, {
    upstreams: { orders: { follow: "always" } },
    discovery: { consul: { address: cluster.client.address, tokenFile, wait: "2s" } },
    telemetry: { accessLog: false },
  });
  const load = new Load("orders", caller);
  await load.lists([replica]);
  load.begin(t, PER_SECOND);
  await load.go(PER_SECOND);

  await t.test("revoked", async (t) => {
    const bill = new Bill(load);
    await cluster.revoke({ id, secret });
    await eventually("the refusal", async () => (await load.state()) === "silent");
    await load.go(2 * PER_SECOND);
    const silent = caller.records.find(({ msg }) => msg.includes("is silent"));
    t.match(silent?.["why"], /403.*ACL not found/, "it says why");
    bill.pay(t, "the token is revoked");
  });

  await t.test("without rights: the registry says that there is nobody", async (t) => {
    const bill = new Bill(load);
    const poor = await cluster.createToken({ rules: 'node_prefix "" { policy = "read" }' });
    await writeFile(tokenFile, poor.secret);
    await eventually("doubt", async () => (await load.state()) === "doubting");
    await load.go(2 * PER_SECOND);
    bill.pay(t, "the token has lost its rights");
  });

  await t.test("a new one in its file is taken up", async (t) => {
    const bill = new Bill(load);
    const fresh = await cluster.createToken({ services: ["web"] });
    await writeFile(tokenFile, fresh.secret);
    await load.hears();
    await load.go(PER_SECOND);
    bill.pay(t, "a new token");
  });
  await load.end();
});

test("no request fails when the route to the agent is cut", {
  skip: withoutConsul || withoutNamespaces,
}, async (t) => {
  const namespace = await startNamespace(t);
  const { load, cluster } = await startMesh(t, {
    namespaces: { server: namespace, client: namespace },
    // The agent cannot reach what is on this machine's loopback: it is told.
    check: { ttl: "10s", interval: "500ms" },
    consul: ({ client }) => ({ address: client.address, wait: "2s" }),
  });
  for (const how of ["blackhole", "unreachable"] as const) {
    await t.test(how, async (t) => {
      const bill = new Bill(load);
      await namespace.cut({ how });
      await eventually("silence", async () => (await load.state()) === "silent");
      await load.go(PER_SECOND);
      await namespace.heal();
      await cluster.whole();
      await load.hears();
      await load.go(PER_SECOND);
      bill.pay(t, `the route is cut (${how})`);
    });
  }
  await load.end();
});
