import { test } from "tap";
import { ConsulAgent, Registration, type ServiceRegistration } from "../../discovery/index.ts";
import { systemClock, systemRandom } from "../../proxy/system.ts";
import { type App, startApp, type Teardown } from "../support/apps.ts";
import { type Consul, startConsul, withoutConsul } from "../support/consul.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { type LogRecord, logInto } from "../support/sidecar.ts";

function serviceOf(app: Pick<App, "address" | "port">, more: Partial<ServiceRegistration> = {}) {
  return {
    id: "orders-1",
    name: "orders",
    address: "127.0.0.1",
    port: 15006,
    tags: ["blue", "v2"],
    meta: { zone: "b" },
    check: {
      http: `http://${app.address}/health`,
      tcp: app.address,
      sidecar: undefined,
      intervalMs: 100,
      timeoutMs: 1_000,
      deregisterAfterMs: 600_000,
    },
    ...more,
  };
}

function kept(t: Teardown, address: string, service: ServiceRegistration) {
  const records: LogRecord[] = [];
  const agent = new ConsulAgent({ address, waitMs: 10_000 });
  const parts = { agent, clock: systemClock, random: systemRandom, log: logInto(records).log };
  const registration = new Registration(service, parts);
  t.teardown(async () => {
    await registration.stop();
    agent.close();
  });
  registration.start();
  return { registration, records };
}

interface Instance {
  readonly Service: { readonly ID: string; readonly [key: string]: unknown };
  readonly Checks: readonly { readonly CheckID: string; readonly Status: string }[];
}

/** Blocks until what the registry says about `orders` fulfils this. */
async function listed(consul: Consul, holds: (instances: Instance[]) => boolean): Promise<Instance[]> {
  for (let index = 0; ; ) {
    const url = `${consul.address}/v1/health/service/orders?wait=5s&index=${index}`;
    const response = await fetch(url, { headers: { connection: "close" } });
    const instances = (await response.json()) as Instance[];
    if (holds(instances)) return instances;
    index = Number(response.headers.get("x-consul-index"));
  }
}

const statusOf = ([instance]: Instance[]) =>
  instance?.Checks.find(({ CheckID }) => CheckID.startsWith("service:"))?.Status;

test("the registry keeps an instance for as long as it runs", { skip: withoutConsul }, async (t) => {
  const consul = await startConsul(t);
  const app = await startApp(t);
  const { registration, records } = kept(t, consul.address, serviceOf(app));

  await t.test("it is registered with all that the configuration says about it", async (t) => {
    const [instance] = await listed(consul, (instances) => instances.length === 1);
    t.match(instance?.Service, {
      ID: "orders-1",
      Service: "orders",
      Address: "127.0.0.1",
      Port: 15006,
      Tags: ["blue", "v2"],
      Meta: { zone: "b" },
    });
  });

  await t.test("its check calls the app, and follows it down and up", async (t) => {
    await listed(consul, (instances) => statusOf(instances) === "passing");
    t.ok(app.served > 0, "by HTTP");
    await app.stop();
    await listed(consul, (instances) => statusOf(instances) === "critical");
    await app.start();
    await listed(consul, (instances) => statusOf(instances) === "passing");
  });

  await t.test("an agent that was restarted without memory is told again", async () => {
    await consul.kill();
    await consul.start();
    await listed(consul, (instances) => statusOf(instances) === "passing");
  });

  await t.test("an instance that somebody else took away is registered again", async () => {
    await consul.tell("/v1/agent/service/deregister/orders-1");
    await listed(consul, (instances) => instances.length === 0);
    await listed(consul, (instances) => instances.length === 1);
  });

  await t.test("stop takes it away", async (t) => {
    await registration.stop();
    t.same(await consul.ask("/v1/agent/services"), {});
    t.equal(records.at(-1)?.msg, "deregistered");
  });
});

test("without a path to ask, the check is whether the app can be connected to", {
  skip: withoutConsul,
}, async (t) => {
  const consul = await startConsul(t);
  const app = await startApp(t);
  const service = serviceOf(app);
  kept(t, consul.address, { ...service, check: { ...service.check, http: undefined } });
  await listed(consul, (instances) => statusOf(instances) === "passing");
  await app.stop();
  await listed(consul, (instances) => statusOf(instances) === "critical");
  t.equal(app.served, 0);
});

test("what the registry is told is complete, and in its words", async (t) => {
  const told: unknown[] = [];
  const registry = await startApp(t, async (request, response) => {
    let text = "";
    for await (const part of request.setEncoding("utf8")) text += part;
    told.push([request.method, request.url, text === "" ? undefined : JSON.parse(text)]);
    response.end();
  });
  const agent = new ConsulAgent({ address: `http://${registry.address}`, waitMs: 10_000 });
  t.teardown(() => agent.close());
  const service = serviceOf({ address: "127.0.0.1:3000", port: 3000 });
  await agent.register(service);
  const tcp = { ...service.check, http: undefined, sidecar: "127.0.0.1:15006" };
  await agent.register({ ...service, address: "", check: tcp });
  await agent.deregister("orders/1");
  const [register, second, deregister] = told;
  const check = { Interval: "100ms", Timeout: "1000ms", DeregisterCriticalServiceAfter: "600s" };
  const definition = {
    ID: "orders-1",
    Name: "orders",
    Port: 15006,
    Tags: ["blue", "v2"],
    Meta: { zone: "b" },
  };
  const Name = "orders";
  const put = ["PUT", "/v1/agent/service/register"];
  const http = { Name, HTTP: "http://127.0.0.1:3000/health", ...check };
  t.same(register, [...put, { ...definition, Address: "127.0.0.1", Checks: [http] }]);
  t.same(second, [
    ...put,
    {
      ...definition,
      Checks: [
        { Name, TCP: "127.0.0.1:3000", ...check },
        { Name: "its sidecar", TCP: "127.0.0.1:15006", ...check },
      ],
    },
  ]);
  t.same(deregister, ["PUT", "/v1/agent/service/deregister/orders%2F1", undefined]);
});

type Agent = ConstructorParameters<typeof Registration>[1]["agent"];

/** A registry that does and answers what the test says, in virtual time. */
function registered(seed = 1) {
  const clock = new ManualClock();
  const records: LogRecord[] = [];
  const calls: string[] = [];
  const state = { away: false, known: false, registering: Promise.resolve() };
  const call = (name: string) => {
    calls.push(name);
    if (state.away) throw new Error("connect ECONNREFUSED");
  };
  const agent: Agent = {
    async register() {
      call("register");
      await state.registering;
      state.known = true;
    },
    async deregister() {
      call("deregister");
      state.known = false;
    },
    async isRegistered() {
      call("ask");
      return state.known;
    },
  };
  const service = serviceOf({ address: "127.0.0.1:3000", port: 3000 });
  const random = seededRandom(seed);
  const registration = new Registration(service, { agent, clock, random, log: logInto(records).log });
  const said = (message: string) => records.filter(({ msg }) => msg.includes(message)).length;
  return { clock, calls, state, registration, said };
}

test("a registry that is away delays the registration, fails nothing, and is logged once", async (t) => {
  const { clock, calls, state, registration, said } = registered();
  state.away = true;
  registration.start();
  await clock.pass(60_000);
  t.ok(calls.length > 60 / 5.05 && calls.length < 60, `${calls.length} tries in a minute`);
  t.equal(said("does not answer"), 1);
  state.away = false;
  await clock.pass(5_050);
  t.ok(state.known);
  t.equal(said("registered"), 1);
});

test("an instance that is known is asked for, and not registered over and over", async (t) => {
  const { clock, calls, registration } = registered();
  registration.start();
  await clock.pass(60_000);
  t.equal(calls.filter((name) => name === "register").length, 1);
  t.ok(calls.length >= 60 / 2.5 && calls.length <= 2 + 60 / 1.5, `${calls.length} calls in a minute`);
});

test("an instance that the registry has forgotten is registered again within seconds", async (t) => {
  const { clock, state, registration, said } = registered();
  registration.start();
  await clock.pass(10_000);
  state.known = false;
  await clock.pass(2_500);
  t.ok(state.known);
  t.equal(said("forgotten"), 1);
  state.away = true;
  await clock.pass(30_000);
  state.away = false;
  state.known = false;
  await clock.pass(5_050);
  t.ok(state.known, "also after it was away");
});

test("stop while it is being registered leaves nothing behind", async (t) => {
  const { clock, calls, state, registration } = registered();
  const { promise, resolve } = Promise.withResolvers<void>();
  state.registering = promise;
  registration.start();
  const stopped = registration.stop();
  await settled();
  t.same(calls, ["register"], "what was begun ends first");
  resolve();
  await stopped;
  t.same(calls, ["register", "deregister"]);
  t.notOk(state.known);
  await clock.pass(60_000);
  t.same([calls.length, clock.pending], [2, 0], "and nothing happens after it");
});

test("stop ends also when the registry cannot be told", async (t) => {
  const { clock, state, registration, said } = registered();
  registration.start();
  await clock.pass(1_000);
  state.away = true;
  await registration.stop();
  t.equal(said("could not deregister"), 1);
  t.equal(clock.pending, 0);
});
