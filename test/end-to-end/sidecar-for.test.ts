import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { test } from "tap";
import { call, startApp, type Teardown } from "../support/apps.ts";
import { withoutConsul } from "../support/consul.ts";
import { type Cluster, startCluster } from "../support/consul-cluster.ts";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/free-ports.ts";
import { type SidecarProcess, startSidecar } from "../support/sidecar.ts";

const HEDDLE = fileURLToPath(new URL("../../bin/heddle.js", import.meta.url));

/** The body of an answer to a call on a local port; undefined when nobody listens or it is no 200. */
async function body(port: number, path = "/"): Promise<string | undefined> {
  try {
    const reply = await call(port, "whatever", { path });
    return reply.status === 200 ? reply.body : undefined;
  } catch {
    return undefined;
  }
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function sidecarFor(
  t: Teardown,
  cluster: Cluster,
  id: string,
  configuration: object = {},
): Promise<SidecarProcess> {
  return startSidecar(
    t,
    { telemetry: { accessLog: false }, ...configuration },
    { words: ["--sidecar-for", id], environment: { CONSUL_HTTP_ADDR: cluster.client.address } },
  );
}

test("a definition that was written for consul connect proxy brings up heddle, unchanged", {
  skip: withoutConsul,
}, async (t) => {
  const [ordersPublic, webPublic, local, moved, second] = await freePorts(5);
  const orders = await startApp(t, (request, response) => response.end(`orders ${request.url}`));
  const search = await startApp(t, (_, response) => response.end("search"));
  const web = await startApp(t, (_, response) => response.end("web"));
  // As in the manual of Consul's own proxy, in its words.
  const webDefinition = (upstreams: object[], config: object = {}) => ({
    name: "web",
    id: "web-1",
    port: web.port,
    connect: { sidecar_service: { port: webPublic, proxy: { upstreams, config } } },
  });
  const cluster = await startCluster(t, {
    services: [
      {
        name: "orders",
        id: "orders-1",
        port: orders.port,
        connect: { sidecar_service: { port: ordersPublic } },
      },
    ],
  });
  // Given to the agent by its API, so that it can be changed: the same words as a file.
  const register = (definition: object) =>
    cluster.client.tell("/v1/agent/service/register", inCamelCase(definition));
  await register(
    webDefinition([{ destination_name: "orders", local_bind_port: local }], {
      local_connect_timeout_ms: "1500",
    }),
  );

  const ordersSidecar = await sidecarFor(t, cluster, "orders-1");
  const webSidecar = await sidecarFor(t, cluster, "web-1", { admin: { faults: true } });
  await eventually("the sidecar of orders to pass its check", async () => {
    const passing = await cluster.client.ask<unknown[]>("/v1/health/connect/orders?passing");
    return passing.length === 1;
  });

  await t.test("a fault can be added for a name of the definition that has not been called", async (t) => {
    const add = (name: string) => webSidecar.admin.ask(`/faults?kind=abort&upstream=${name}`, "POST");
    t.match(await add("search"), { status: 404, text: /known: orders/ });
    t.equal((await add("orders")).status, 201);
    t.equal((await call(local!, "whatever")).headers["x-heddle-fault"], "abort");
    await webSidecar.admin.ask("/faults", "DELETE");
  });

  await t.test("a call to the local port goes through both sidecars to the app", async (t) => {
    await eventually("an answer", async () => (await body(local!, "/7")) === "orders /7");
    t.equal(await body(webPublic!), "web", "and the public port leads to the app");
  });

  await t.test("an upstream that is added is listened for, and the others do not notice", async (t) => {
    await register({
      ...inCamelCase({ name: "search", id: "search-1", port: search.port }),
      Connect: { Native: true },
    });
    await register(
      webDefinition([
        { destination_name: "orders", local_bind_port: local },
        { destination_name: "search", local_bind_port: second },
      ]),
    );
    await eventually("an answer", async () => (await body(second!)) === "search");
    t.equal(await body(local!, "/8"), "orders /8");
  });

  await t.test("one that is moved is moved, and one that is removed is removed", async (t) => {
    await register(webDefinition([{ destination_name: "orders", local_bind_port: moved }]));
    await eventually("an answer", async () => (await body(moved!, "/9")) === "orders /9");
    await eventually(
      "the old ports to close",
      async () => !(await listens(local!)) && !(await listens(second!)),
    );
    t.pass("nothing listens there any more");
  });

  await t.test("what cannot be done is said, and takes nothing else with it", async (t) => {
    await register(
      webDefinition(
        [
          { destination_name: "orders", local_bind_port: moved },
          { destination_name: "bids", local_bind_port: second, config: { protocol: "grpc" } },
          { destination_name: "nowhere" },
        ],
        { envoy_tracing_json: "{}" },
      ),
    );
    const said = (words: RegExp) => webSidecar.until(({ msg }) => words.test(msg));
    await said(/upstream bids: the protocol grpc is not built/);
    await said(/upstream nowhere: .*local_bind_port/);
    await said(/envoy_tracing_json/);
    t.equal(await body(moved!, "/10"), "orders /10");
    t.notOk(await listens(second!));
  });

  await t.test("an agent that is killed and comes back changes nothing", async (t) => {
    await cluster.client.kill();
    t.equal(await body(moved!, "/11"), "orders /11");
    await cluster.client.start();
    await cluster.whole();
    await register(webDefinition([{ destination_name: "orders", local_bind_port: local }]));
    await eventually("an answer", async () => (await body(local!, "/12")) === "orders /12");
  });

  await t.test("it leaves by maintenance, which ends when it comes back", async (t) => {
    const health = async () => {
      const entries =
        await cluster.client.ask<{ Checks: { CheckID: string }[] }[]>("/v1/health/connect/orders");
      return entries.flatMap(({ Checks }) => Checks.map(({ CheckID }) => CheckID)).join();
    };
    t.equal(await ordersSidecar.end(), 0);
    t.match(await health(), /_service_maintenance:orders-1-sidecar-proxy/);
    await sidecarFor(t, cluster, "orders-1");
    await eventually("the end of the maintenance", async () => !(await health()).includes("_maintenance"));
    await eventually("an answer", async () => (await body(local!, "/13")) === "orders /13");
  });
});

test("a service instance without a sidecar, or with two, is told so at once", {
  skip: withoutConsul,
}, async (t) => {
  const cluster = await startCluster(t, { services: [{ name: "plain", id: "plain-1", port: 1 }] });
  const run = async (...words: string[]) => {
    const child = spawn(process.execPath, [HEDDLE, "run", ...words], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, CONSUL_HTTP_ADDR: cluster.client.address },
    });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    const [code] = await once(child, "close");
    return { code, said };
  };
  const none = await run("--sidecar-for", "plain");
  t.equal(none.code, 1);
  t.match(
    none.said,
    /expected a sidecar that is registered for the service instance "plain", got none; the agent has plain-1/,
  );
  for (const id of ["a", "b"])
    await cluster.client.tell("/v1/agent/service/register", {
      Kind: "connect-proxy",
      ID: id,
      Name: "plain-proxy",
      Port: 2,
      Proxy: { DestinationServiceName: "plain", DestinationServiceID: "plain-1" },
    });
  const two = await run("--sidecar-for", "plain-1");
  t.equal(two.code, 1);
  t.match(two.said, /got a and b; choose with --proxy-id/);
  const misspelt = await run("--proxy-id", "c");
  t.equal(misspelt.code, 1);
  t.match(misspelt.said, /expected a proxy with the id "c", got none/);
});

test("without a file, two sidecars stand on one machine, whoever has the usual ports", {
  skip: withoutConsul,
}, async (t) => {
  const [first, second] = await freePorts(2);
  const app = await startApp(t);
  const services = [first, second].map((port, i) => ({
    name: `app-${i}`,
    port: app.port,
    connect: { sidecar_service: { port } },
  }));
  const cluster = await startCluster(t, { services });
  // At the same time, so that each may find a port free that the other is about to take.
  await Promise.all(
    [0, 1].map(async (i) => {
      const child = spawn(process.execPath, [HEDDLE, "run", "--sidecar-for", `app-${i}`], {
        stdio: ["ignore", "pipe", "inherit"],
        env: { ...process.env, CONSUL_HTTP_ADDR: cluster.client.address.replace("http://", "") },
      });
      t.teardown(() => child.kill("SIGKILL"));
      for await (const line of createInterface({ input: child.stdout })) if (line.includes('"ready"')) break;
      child.stdout.resume();
    }),
  );
  t.equal(await body(first!), "fine\n");
  t.equal(await body(second!), "fine\n");
});

test("a sidecar without an agent starts from its copy, and without a copy waits", {
  skip: withoutConsul,
}, async (t) => {
  const [ordersPublic, webPublic, local] = await freePorts(3);
  const orders = await startApp(t, (_, response) => response.end("orders"));
  const web = await startApp(t);
  const cluster = await startCluster(t, {
    services: [
      { name: "orders", port: orders.port, connect: { sidecar_service: { port: ordersPublic } } },
      {
        name: "web",
        port: web.port,
        connect: {
          sidecar_service: {
            port: webPublic,
            proxy: { upstreams: [{ destination_name: "orders", local_bind_port: local }] },
          },
        },
      },
    ],
  });
  await sidecarFor(t, cluster, "orders");
  const copy = `${t.testdir({})}/copy.json`;
  const configuration = { discovery: { outage: { copy } } };
  const before = await sidecarFor(t, cluster, "web", configuration);
  await eventually("an answer", async () => (await body(local!)) === "orders");
  t.equal(await before.end(), 0);
  await cluster.client.kill();
  const cold = await sidecarFor(t, cluster, "web", configuration);
  t.equal(await body(local!), "orders", "with its upstreams");
  t.equal(await body(webPublic!), "fine\n", "and its app");
  t.equal(await cold.end(), 0);
  const waiting = sidecarFor(t, cluster, "web");
  await cluster.client.start();
  const late = await waiting;
  await eventually("an answer", async () => (await body(local!)) === "orders");
  t.equal(await late.end(), 0);
});

/** The agent's API has the words of its files in CamelCase. */
function inCamelCase(value: object): object {
  const inner = (of: unknown): unknown => (typeof of === "object" && of !== null ? inCamelCase(of) : of);
  if (Array.isArray(value)) return value.map(inner);
  return Object.fromEntries(
    Object.entries(value).map(([key, of]) => [
      key.replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase()).replace(/^Id$/, "ID"),
      // What is in `config` is opaque, and passed on as it is.
      key === "config" ? of : inner(of),
    ]),
  );
}
