import { once } from "node:events";
import { existsSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "tap";
import { consulBinary, withoutConsul } from "../support/consul.ts";
import { type Cluster, startCluster } from "../support/consul-cluster.ts";
import type { AgentAnswer, ConsulAgentProcess } from "../support/consul-process.ts";
import { eventually } from "../support/eventually.ts";
import { type Namespace, startNamespace, withoutNamespaces } from "../support/namespace.ts";

const ORDERS = "/v1/health/service/orders";

/** How many instances an agent knows of. */
async function count(agent: ConsulAgentProcess, service: string): Promise<number> {
  return (await agent.ask<unknown[]>(`/v1/health/service/${service}`)).length;
}

async function register(cluster: Cluster, Name: string): Promise<void> {
  await cluster.client.tell("/v1/agent/service/register", { Name, Port: 1 });
  await eventually(`${Name} to be in the catalogue`, async () => (await count(cluster.server, Name)) === 1);
}

function since(startMs: number): string {
  return `${Math.round(performance.now() - startMs)} ms`;
}

test("both agents die and come back, with and without what they knew", { skip: withoutConsul }, async (t) => {
  const cluster = await startCluster(t, { services: [{ name: "fixed", port: 1 }] });
  const { server, client } = cluster;
  await register(cluster, "orders");

  await t.test("a client agent that dies takes its node down, and is back with its services", async (t) => {
    const killedMs = performance.now();
    await client.kill();
    await t.rejects(client.ask("/v1/agent/self"), /ECONNREFUSED/);
    await cluster.serfHealth("client", "critical");
    t.comment(`a dead node was noticed after ${since(killedMs)}`);
    t.equal((await server.ask<unknown[]>(`${ORDERS}?passing`)).length, 0);
    await client.start();
    await cluster.whole();
    t.same([await count(client, "orders"), await count(client, "fixed")], [1, 1]);
  });

  await t.test("without its data it forgets what it was told, and not what its files say", async (t) => {
    await client.kill();
    await client.start({ empty: true });
    await cluster.whole();
    await eventually("orders to be gone", async () => (await count(server, "orders")) === 0);
    t.equal(await count(client, "fixed"), 1);
  });

  await t.test("an agent that is stopped is silent, and found dead; then it goes on", async (t) => {
    await client.signal("SIGSTOP");
    await t.rejects(client.ask("/v1/agent/self", { signal: AbortSignal.timeout(200) }), /aborted/);
    await cluster.serfHealth("client", "critical");
    await client.signal("SIGCONT");
    await cluster.rejoin();
  });

  // Each write moves the index on by one.
  for (let n = 0; n < 20; n++) await server.tell("/v1/kv/key", { n });
  await register(cluster, "basket");
  const before = await client.request("/v1/health/service/basket");

  await t.test(
    "while the server is away the client agent answers 500, but for what is its own",
    async (t) => {
      await server.kill();
      t.equal((await client.request(ORDERS)).status, 500);
      t.same(Object.keys(await client.ask<object>("/v1/agent/services")).sort(), ["basket", "fixed"]);
    },
  );

  await t.test("a server with its data goes on counting; without, it begins again", async (t) => {
    await server.start();
    await cluster.whole();
    t.equal((await client.request("/v1/health/service/basket")).index, before.index);
    await cluster.configEntry("service-defaults", { Name: "orders", Protocol: "http" });
    t.match(await client.ask("/v1/config/service-defaults/orders"), { Protocol: "http" });

    await server.kill();
    const startedMs = performance.now();
    await server.start({ empty: true });
    await cluster.whole();
    t.comment(`a server alone was whole again after ${since(startedMs)}`);
    const after = await client.request("/v1/health/service/basket");
    t.ok(after.index < before.index, `the index went from ${before.index} to ${after.index}`);
    t.equal((await client.request("/v1/config/service-defaults/orders")).status, 404);
    await eventually("the client agent to register again", async () => (await count(server, "basket")) === 1);
  });

  await t.test("a config entry is in the chain until it is deleted", async (t) => {
    const protocol = async () => {
      const chain = await client.ask<{ Chain: { Protocol: string } }>("/v1/discovery-chain/orders");
      return chain.Chain.Protocol;
    };
    await cluster.configEntry("service-defaults", { Name: "orders", Protocol: "http2" });
    t.equal(await protocol(), "http2");
    await cluster.deleteConfigEntry("service-defaults", "orders");
    t.equal(await protocol(), "tcp");
  });
});

test("with ACLs a token is all that counts, until it is revoked", { skip: withoutConsul }, async (t) => {
  const cluster = await startCluster(t, { acls: true, services: [{ name: "orders", port: 1 }] });
  const { client, server } = cluster;
  await eventually("orders to be in the catalogue", async () => (await count(server, "orders")) === 1);
  const identity = await cluster.createToken({ services: ["shop"] });
  const rules = await cluster.createToken({ rules: 'service "basket" { policy = "read" }' });
  const ask = (token: string) => client.request(ORDERS, { token });
  t.same(JSON.parse((await ask("")).text), [], "nobody is shown nothing");
  t.equal(JSON.parse((await ask(identity.secret)).text).length, 1);
  t.same(JSON.parse((await ask(rules.secret)).text), []);
  const register = (Name: string) =>
    client.request("/v1/agent/service/register", {
      method: "PUT",
      body: { Name, Port: 2 },
      token: identity.secret,
    });
  t.equal((await register("shop")).status, 200);
  t.equal((await register("orders")).status, 403);

  const revokedMs = performance.now();
  await cluster.revoke(identity);
  await eventually("the token to be refused", async () => (await ask(identity.secret)).status === 403);
  t.comment(`asked of the server, a revoked token was refused after ${since(revokedMs)}`);
  t.match((await ask(identity.secret)).text, "ACL not found");
  await eventually("the agent to forget it", async () => {
    const answer = await client.request("/v1/agent/services", { token: identity.secret });
    return answer.status === 403 && answer.text.includes("ACL not found");
  });
  t.comment(`asked of the client agent itself, after ${since(revokedMs)}`);

  await server.kill();
  await server.start({ empty: true });
  await cluster.whole();
  t.equal((await ask(rules.secret)).status, 403, "what was made is lost with the server's data");
});

test("over HTTPS, who has no certificate of the authority is refused", { skip: withoutConsul }, async (t) => {
  const { client, tls } = await startCluster(t, { tls: true });
  const { ca, cert, key } = tls!.texts;
  t.match(client.address, /^https:\/\/127\.0\.0\.1:\d+$/);
  t.match(await client.ask("/v1/agent/self"), { Config: { NodeName: "client" } });
  await t.rejects(client.ask("/v1/agent/self", { tls: { ca } }), /certificate|ECONNRESET/);
  await t.rejects(client.ask("/v1/agent/self", { tls: { cert, key } }), /certificate/);
  await client.kill();
  await client.start();
  t.match(await client.ask("/v1/agent/self"), { Config: { NodeName: "client" } }, "the same after a restart");
});

test("over a Unix socket it answers, also after it was killed", { skip: withoutConsul }, async (t) => {
  const cluster = await startCluster(t, { unixSocket: true });
  const { client } = cluster;
  const path = client.address.replace("unix://", "");
  t.match(await client.ask("/v1/agent/self"), { Config: { NodeName: "client" } });
  await client.kill();
  t.ok(existsSync(path), "what is left of it is a socket on which nobody listens");
  await t.rejects(client.ask("/v1/agent/self"), /ECONNREFUSED/);
  await client.start();
  await cluster.whole();
  t.equal((await client.ask<unknown[]>("/v1/catalog/nodes")).length, 2);
});

/** What became of a promise so far. */
function follow<Value>(promise: Promise<Value>): { value?: Value; error?: Error } {
  const seen: { value?: Value; error?: Error } = {};
  promise.then(
    (value) => {
      seen.value = value;
    },
    (error) => {
      seen.error = error;
    },
  );
  return seen;
}

/** Runs Consul's command line inside, where the route is not cut. */
async function consulInside(namespace: Namespace, agent: ConsulAgentProcess, ...args: string[]) {
  const env = { ...process.env, CONSUL_HTTP_ADDR: agent.address };
  const child = namespace.run(consulBinary(), args, { stdio: "ignore", env });
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`consul ${args.join(" ")}: ${code}`);
}

test("a cut route loses what is under way, and a healed one brings it", {
  skip: withoutConsul || withoutNamespaces,
}, async (t) => {
  const namespace = await startNamespace(t);
  const namespaces = { server: namespace, client: namespace };
  const { client } = await startCluster(t, { namespaces });
  t.equal(new URL(client.address).hostname, namespace.address);

  for (const how of ["blackhole", "unreachable"] as const) {
    const { index } = await client.request(ORDERS);
    const stands = Promise.withResolvers<void>();
    const question = client.request(`${ORDERS}?index=${index}&wait=60s`, {
      signal: AbortSignal.timeout(20_000),
      onConnect: stands.resolve,
    });
    const answer = follow<AgentAnswer>(question);
    // A cut that comes before would refuse the connection, where it is to be lost.
    await Promise.race([stands.promise, question]);
    await namespace.cut({ how });
    // The agent answers now, and its answer is lost.
    await consulInside(namespace, client, "services", "register", "-name=orders", `-id=${how}`, "-port=1");
    const dialled = connect({ host: namespace.address, port: Number(new URL(client.address).port) });
    const connected = follow(once(dialled, "connect"));
    // What would come despite the cut is here by then.
    await pause(700);
    t.same(answer, {}, `${how}: an established connection hangs`);
    if (how === "blackhole") t.same(connected, {}, "and so does a new one");
    else t.match(connected.error, { code: "EHOSTUNREACH" }, "a new one fails at once");
    dialled.destroy();
    await namespace.heal();
    const healedMs = performance.now();
    // One that failed before has been told of.
    if (answer.error === undefined)
      t.match((await question).text, `"ID":"${how}"`, `${how}: healed, the answer arrives`);
    t.comment(`${how}: it came ${since(healedMs)} after`);
  }
});

test("a client agent in a namespace is found dead when its route is cut, and comes back", {
  skip: withoutConsul || withoutNamespaces,
}, async (t) => {
  const namespace = await startNamespace(t);
  const cluster = await startCluster(t, { namespaces: { client: namespace } });
  await namespace.cut();
  const cutMs = performance.now();
  await cluster.serfHealth("client", "critical");
  t.comment(`it was found dead after ${since(cutMs)}`);
  await namespace.heal();
  const healedMs = performance.now();
  await cluster.rejoin();
  t.comment(`whole again ${since(healedMs)} after it was healed`);
});
