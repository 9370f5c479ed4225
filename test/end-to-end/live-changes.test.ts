import { once } from "node:events";
import { Agent, type ServerResponse } from "node:http";
import { createServer } from "node:net";
import { type Test, test } from "tap";
import { call, startApp } from "../support/apps.ts";
import { type Consul, startConsul, withoutConsul } from "../support/consul.ts";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/free-ports.ts";
import { type InProcess, startInProcess } from "../support/in-process.ts";

/** Tells the agent of `web` and of its sidecar, which calls orders on these ports. */
async function define(
  consul: Consul,
  app: number,
  port: number,
  upstreams: readonly object[],
  config: object = {},
): Promise<void> {
  await consul.tell("/v1/agent/service/register", {
    Name: "web",
    ID: "web-1",
    Port: app,
    Connect: { SidecarService: { Port: port, Proxy: { Upstreams: upstreams, Config: config } } },
  });
}

function ordersOn(port: number, config: object = {}): object {
  return { DestinationName: "orders", LocalBindPort: port, Config: config };
}

async function startWeb(t: Test, consul: Consul, yaml = ""): Promise<InProcess> {
  return startInProcess(
    t,
    `discovery: { consul: { address: "${consul.address}", sidecarFor: web-1 } }\n${yaml}`,
  );
}

const said = ({ records }: InProcess, message: RegExp, listener: RegExp) =>
  records.filter((record) => message.test(record.message) && listener.test(String(record["listener"])));

for (const workers of [1, 3])
  test(`no request is lost or forgotten while a definition changes 25 times, with workers: ${workers}`, {
    skip: withoutConsul,
  }, async (t) => {
    const consul = await startConsul(t);
    const [inbound, local] = await freePorts(2);
    const orders = await startApp(t, (_, response) => setTimeout(() => response.end("fine"), 10));
    await consul.tell("/v1/agent/service/register", {
      Name: "orders",
      Address: "127.0.0.1",
      Port: orders.port,
      Connect: { Native: true },
    });
    // Few at a time: there is always somebody who waits for a turn on what is about to be replaced.
    const change = (i: number) =>
      define(consul, 1, inbound!, [
        ordersOn(local!, { limits: { max_concurrent_requests: 3 + (i % 3) }, connect_timeout_ms: 500 + i }),
      ]);
    await change(0);
    const web = await startWeb(t, consul, `workers: ${workers}`);
    const agent = new Agent({ keepAlive: true });
    t.teardown(() => agent.destroy());
    const faults: string[] = [];
    let answered = 0;
    let ended = false;
    const callers = Array.from({ length: 12 }, async (_, i) => {
      // Those of every third may not be sent twice.
      const method = i % 3 === 0 ? "POST" : "GET";
      while (!ended) {
        const { status, body } = await call(local!, "any", { agent, method });
        if (status === 200) answered++;
        else faults.push(`${status} ${body}`);
      }
    });
    for (let i = 1; i <= 25; i++) {
      await change(i);
      const until = answered + faults.length + 12;
      await eventually("more answers", () => answered + faults.length >= until);
    }
    ended = true;
    await Promise.all(callers);
    t.same(faults, []);
    const { metric } = web;
    for (const name of ["heddle_requests_total", "heddle_attempts_total"])
      await eventually(`${answered} in ${name}`, async () => {
        return (await metric(name, { upstream: "orders" })) === answered;
      });
    t.equal(await metric("heddle_endpoints", { upstream: "orders" }), 1);
  });

test("a port that another process has is opened as soon as it is free, and none while the sidecar drains", {
  skip: withoutConsul,
}, async (t) => {
  const consul = await startConsul(t);
  const [inbound, taken, other, late] = await freePorts(4);
  const held: ServerResponse[] = [];
  const app = await startApp(t, (_, response) => held.push(response));
  const predecessor = createServer().listen(taken, "127.0.0.1");
  t.teardown(() => predecessor.close());
  await once(predecessor, "listening");
  await define(consul, app.port, inbound!, [ordersOn(taken!), ordersOn(other!)]);
  const web = await startWeb(t, consul, "shutdown: { grace: 20s }");
  t.equal(said(web, /could not listen/, new RegExp(`:${taken}$`)).length, 1);
  t.equal(said(web, /listening/, new RegExp(`:${other}$`)).length, 1, "which holds no other back");
  predecessor.close();
  await eventually("the port", () => said(web, /listening/, new RegExp(`:${taken}$`)).length === 1);
  t.equal((await call(taken!, "any")).status, 503, "nobody is orders, which it knows");
  t.equal(said(web, /could not listen/, /./).length, 1, "it is said once");

  const reply = call(inbound!, "any");
  await eventually("a request that is under way", () => held.length === 1);
  const drained = web.sidecar.drain();
  await define(consul, app.port, inbound!, [ordersOn(late!)], { bogus: 1 });
  await eventually("the change to be heard", () => web.records.some(({ message }) => /bogus/.test(message)));
  held[0]!.end("fine");
  t.equal((await reply).status, 200);
  await drained;
  t.same(said(web, /listening/, new RegExp(`:${late}$`)), []);
});
