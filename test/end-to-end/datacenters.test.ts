import { test } from "tap";
import { type App, call, say, startApp } from "../support/apps.ts";
import { type Consul, startConsul, withoutConsul } from "../support/consul.ts";
import { eventually } from "../support/eventually.ts";
import { startInProcess } from "../support/in-process.ts";

function register(consul: Consul, app: App): Promise<void> {
  return consul.tell("/v1/agent/service/register", { Name: "orders", Address: "127.0.0.1", Port: app.port });
}

async function answer(port: number, host: string): Promise<string> {
  const { status, headers, body } = await call(port, host);
  return `${status} ${headers["x-heddle-error"] ?? body}`;
}

test("services of another datacenter are found, failed over to, and missed by nobody else when it is away", {
  skip: withoutConsul,
}, async (t) => {
  const [near, far] = await Promise.all([startConsul(t), startConsul(t, "dc2")]);
  await far.joinOver(near);
  const [nearApp, farApp] = await Promise.all([startApp(t, say("near")), startApp(t, say("far"))]);
  await register(near, nearApp);
  await register(far, farApp);
  await near.tell("/v1/config", { Kind: "service-defaults", Name: "orders", Protocol: "http" });
  await near.tell("/v1/config", {
    Kind: "service-resolver",
    Name: "orders",
    Failover: { "*": { Datacenters: ["dc2"] } },
  });
  const { addresses, admin } = await startInProcess(
    t,
    `discovery: { consul: { address: "${near.address}", register: none } }
upstreams:
  orders: {}
  far: { from: [{ consul: { service: orders, datacenter: dc2 } }] }
  nowhere: { from: [{ consul: { service: orders, datacenter: dc9 } }] }`,
  );
  const { port } = addresses.outbound;
  const state = async (name: string) => {
    const page = JSON.parse(await admin("/endpoints"));
    return page[name].sources.map((source: { state: string }) => source.state).join();
  };

  await t.test("each upstream asks its own datacenter", async (t) => {
    t.equal(await answer(port, "orders"), "200 near");
    t.equal(await answer(port, "far"), "200 far");
    t.equal(await answer(port, "nowhere"), "503 no_endpoint");
    t.match(await admin("/endpoints"), /No path to datacenter/, "and says why one has nothing");
  });

  await t.test("when nobody is left here, the other datacenter serves", async (t) => {
    await near.tell(`/v1/agent/service/maintenance/orders?enable=true`);
    await eventually("the fail-over", async () => (await answer(port, "orders")) === "200 far");
    await near.tell(`/v1/agent/service/maintenance/orders?enable=false`);
    await eventually("the return", async () => (await answer(port, "orders")) === "200 near");
    t.pass();
  });

  await t.test("a datacenter that dies keeps its endpoints, and slows nobody else", async (t) => {
    await far.kill();
    await eventually("silence about it", async () => (await state("far")) === "silent", 40_000);
    t.equal(await answer(port, "far"), "200 far", "its app lives");
    const another = await startApp(t, say("another"));
    await near.tell("/v1/agent/service/register", {
      Name: "orders",
      ID: "orders-2",
      Address: "127.0.0.1",
      Port: another.port,
    });
    await eventually("the new one", async () => (await answer(port, "orders")) === "200 another");
    t.match(await state("orders"), /^current/, "the own one is heard as ever");
  });
});
