import { test } from "tap";
import { withoutConsul } from "../support/consul.ts";
import { eventually } from "../support/eventually.ts";
import { Bill, PER_SECOND, startMesh } from "../support/outage.ts";

test("no request fails while the registry dies, hangs and comes back", { skip: withoutConsul }, async (t) => {
  const { cluster, load, replicas } = await startMesh(t);
  const { server, client } = cluster;

  /** Everything is known again, and the registry is believed. */
  async function recovered(): Promise<void> {
    await eventually("three registrations", async () => {
      const listed = await client.ask<unknown[]>("/v1/health/service/orders?passing&consistent");
      return listed.length === replicas.length;
    });
    await load.hears();
    await load.lists(replicas);
    await load.go(PER_SECOND);
  }

  const faults: Readonly<Record<string, () => Promise<void>>> = {
    "the server is killed, and comes back": async () => {
      await server.kill();
      await load.go(3 * PER_SECOND);
      await server.start();
      await cluster.whole();
    },
    "the client agent is killed, and comes back": async () => {
      await client.kill();
      await load.go(2 * PER_SECOND);
      await client.start();
      await cluster.whole();
    },
    "the client agent hangs, and goes on": async () => {
      await client.signal("SIGSTOP");
      await load.go(2 * PER_SECOND);
      await client.signal("SIGCONT");
      await cluster.rejoin();
    },
    "the server comes back empty": async () => {
      await server.kill();
      await server.start({ empty: true });
      await cluster.whole();
    },
    "the client agent comes back empty": async () => {
      await client.kill();
      await client.start({ empty: true });
      await cluster.whole();
    },
    "both are killed and come back empty": async () => {
      await Promise.all([server.kill(), client.kill()]);
      await load.go(PER_SECOND);
      await Promise.all([server.start({ empty: true }), client.start({ empty: true })]);
      await cluster.whole();
    },
  };
  for (const [fault, happens] of Object.entries(faults)) {
    await t.test(fault, async (t) => {
      const bill = new Bill(load);
      await happens();
      await recovered();
      bill.pay(t, fault);
    });
  }
  await load.end();
  t.same(load.faults, []);
});

test("no request fails when the node of all replicas is taken for dead, while they live", {
  skip: withoutConsul,
}, async (t) => {
  // The caller asks the server, and the replicas are registered with the client agent.
  const { cluster, load, caller, replicas } = await startMesh(t, {
    caller: ({ server }) => ({ address: server.address }),
  });
  const bill = new Bill(load);
  await cluster.client.kill();
  await cluster.serfHealth("client", "critical");
  const doubt = await caller.until(({ msg }) => msg.includes("asked first"));
  t.match(doubt, { source: "consul:orders" }, "it says that it does not believe it");
  await load.go(2 * PER_SECOND);
  type Page = Record<string, { endpoints: { health: string; used: boolean; why: string }[] }>;
  const { orders } = await caller.admin.json<Page>("/endpoints");
  t.same(
    orders?.endpoints.map(({ health, used }) => [health, used]),
    replicas.map(() => ["unreachable", true]),
  );
  for (const { why } of orders?.endpoints ?? []) t.match(why, /it answers/, "and why");
  // One of them dies now: it does not answer, and leaves.
  await replicas[0]!.kill();
  await load.lists(replicas.slice(1));
  await load.go(PER_SECOND);
  bill.pay(t, "the node of all replicas is critical");
  await load.end();
});
