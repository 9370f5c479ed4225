import { test } from "tap";
import { type ConsulAnswer, ConsulClient } from "../../discovery/consul/client.ts";
import { healthQuery } from "../../discovery/consul/source.ts";
import { Watch } from "../../discovery/consul/watch.ts";
import { systemClock, systemRandom } from "../../proxy/system.ts";
import { startApp } from "../support/apps.ts";
import { startConsul, withoutConsul } from "../support/consul.ts";
import { startCluster } from "../support/consul-cluster.ts";
import { eventually } from "../support/eventually.ts";
import { settled } from "../support/manual-clock.ts";
import {
  ASK,
  answer,
  FAIL,
  isThere,
  kept,
  listed,
  PASS,
  REGISTER,
  registered,
  serviceOf,
  statusIs,
  WAIT_MS,
} from "../support/registering.ts";
import { logInto } from "../support/sidecar.ts";

test("the registry keeps an instance for as long as it runs", { skip: withoutConsul }, async (t) => {
  const consul = await startConsul(t);
  const app = await startApp(t);
  const service = serviceOf(app, { httpPath: "/health" });
  const { registration, records, said } = kept(t, consul.address, service);

  await t.test("it is registered with all that the configuration says about it", async (t) => {
    const [instance] = await listed(consul.address, isThere);
    t.match(instance?.Service, {
      ID: "orders-1",
      Service: "orders",
      Address: "127.0.0.1",
      Port: app.port,
      Tags: ["blue", "v2"],
      Meta: { owner: "us", zone: "b" },
      Weights: { Passing: 10, Warning: 2 },
    });
    t.ok(registration.registered);
  });

  await t.test("its check calls the app, and follows it down and up", async (t) => {
    await listed(consul.address, statusIs("passing"));
    t.ok(app.served > 0, "by HTTP");
    await app.stop();
    await listed(consul.address, statusIs("critical"));
    await app.start();
    await listed(consul.address, statusIs("passing"));
  });

  await t.test("an agent that was restarted without memory is told again", async () => {
    await consul.kill();
    await consul.start();
    await listed(consul.address, statusIs("passing"));
  });

  await t.test("an instance that somebody else took away is registered again", async (t) => {
    const before = said("registered");
    await consul.tell("/v1/agent/service/deregister/orders-1");
    await eventually("it to be registered again", () => said("registered") > before);
    await listed(consul.address, isThere);
    t.ok(said("forgotten") >= 1);
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
  kept(t, consul.address, serviceOf(app));
  await listed(consul.address, statusIs("passing"));
  await app.stop();
  await listed(consul.address, statusIs("critical"));
  t.equal(app.served, 0);
});

test("with a time to live the registry hears how the app is, and hears it first when it comes back", {
  skip: withoutConsul,
}, async (t) => {
  const cluster = await startCluster(t);
  const { client, server } = cluster;
  const app = await startApp(t);

  await t.test("the check follows the app down and up", async (t) => {
    const { registration, said } = kept(t, client.address, serviceOf(app, { ttlMs: 3_600_000 }));
    await listed(server.address, statusIs("passing"));
    await app.stop();
    await listed(server.address, statusIs("critical"));
    await app.start();
    await listed(server.address, statusIs("passing"));
    t.equal(app.served, 0, "it was connected to");
    // The registry may be seen to know it before its agent's answer has come.
    await eventually("each change is logged", () => said("told the registry") === 3);
    await registration.stop();
  });

  await t.test("an agent that comes back with its data is told how the app is now, at once", async (t) => {
    const service = serviceOf(app, { ttlMs: 3_600_000, intervalMs: 1_000_000 });
    const { registration, said } = kept(t, client.address, service);
    await listed(server.address, statusIs("passing"));
    // What the agent has on disk is of before.
    await client.kill();
    await app.stop();
    await client.start();
    await listed(server.address, statusIs("critical"));
    await client.kill();
    await app.start();
    await client.start();
    await listed(server.address, statusIs("passing"));
    t.equal(said("forgotten"), 0);
    await registration.stop();
  });

  await t.test("leaving is seen as a maintenance first, and then as an absence", async (t) => {
    const { registration } = kept(t, client.address, serviceOf(app, { ttlMs: 3_600_000 }));
    await cluster.whole();
    await listed(server.address, statusIs("passing"));
    const seen: (string | undefined)[] = [];
    const gone = Promise.withResolvers<void>();
    const follower = new ConsulClient({ address: server.address, waitMs: 60_000, tls: {} }, systemClock);
    const watch = new Watch(
      healthQuery({ service: "orders" }),
      { client: follower, clock: systemClock, random: systemRandom, log: logInto([]).log },
      {
        value(instances) {
          const health = instances[0]?.health ?? "gone";
          if (health === "passing" && seen.length === 0) leaving = registration.stop();
          if (seen.at(-1) !== health) seen.push(health);
          if (health === "gone") gone.resolve();
        },
        silent: (why) => seen.push(why),
      },
    );
    let leaving: Promise<void> | undefined;
    t.teardown(() => {
      watch.stop();
      follower.close();
    });
    watch.start();
    await gone.promise;
    await leaving;
    t.same(seen, ["passing", "maintenance", "gone"]);
  });

  await t.test("an agent that knows no server can be told all the same", async (t) => {
    const { registration, records, said } = kept(t, client.address, serviceOf(app));
    await eventually("it to be registered", () => said("registered") > 0);
    await server.kill();
    await registration.stop();
    t.equal(records.at(-1)?.msg, "deregistered");
    t.same(await client.ask("/v1/agent/services"), {});
  });
});

test("a registry that is away delays the registration, fails nothing, and is logged once", async (t) => {
  const { clock, agent, registration, said } = registered();
  agent.away = true;
  registration.start();
  await clock.pass(60_000);
  t.ok(agent.calls.length > 60 / 5.05 && agent.calls.length < 60, `${agent.calls.length} tries in a minute`);
  t.equal(said("does not answer"), 1);
  t.notOk(registration.registered);
  agent.away = false;
  await clock.pass(5_050);
  t.ok(agent.known && registration.registered);
  t.equal(said("registered"), 1);
});

test("an instance that is known costs one question a wait, and is not registered over and over", async (t) => {
  const { clock, agent, registration } = registered();
  registration.start();
  await clock.pass(1_000);
  const before = agent.calls.length;
  await clock.pass(600_000);
  t.equal(agent.count(REGISTER), 1);
  const asked = agent.calls.length - before;
  t.ok(asked > 600 / 31.3 - 1 && asked <= 600 / 30, `${asked} calls in ten minutes`);
  registration.abandon();
});

test("an instance that the registry has forgotten is registered again at once", async (t) => {
  const { clock, agent, registration, said } = registered();
  registration.start();
  await clock.pass(10_000);
  const nowMs = clock.now();
  agent.forget();
  await settled();
  t.ok(agent.known);
  t.equal(clock.now(), nowMs, "no time has passed");
  t.same([said("forgotten"), agent.count(REGISTER)], [1, 2]);
  agent.away = true;
  agent.forget();
  await clock.pass(30_000);
  agent.away = false;
  await clock.pass(5_050);
  t.ok(agent.known, "also after it was away");
});

test("an agent that takes a registration and does not show it is said once, and told again all the time", async (t) => {
  const { clock, agent, registration, said } = registered();
  agent.insists = () => answer("unknown", {}, 404);
  registration.start();
  await clock.pass(60_000);
  t.ok(agent.count(REGISTER) > 20);
  t.same([said("does not show"), said("forgotten"), said("registered")], [1, 0, 1]);
});

test("an agent that never blocks, whatever it says, is not asked in a busy loop", async (t) => {
  let n = 0;
  const hash = (value: string) => answer({}, { "x-consul-contenthash": value });
  const manners: Readonly<Record<string, () => ConsulAnswer>> = {
    "it never knows what it was told": () => answer("unknown", {}, 404),
    "a new hash each time": () => hash(String(++n)),
    "the same hash": () => hash("a"),
    "no hash": () => answer({}),
    "now this, now that": () => (++n % 2 === 0 ? answer("unknown", {}, 404) : hash("a")),
  };
  for (const [manner, insists] of Object.entries(manners)) {
    const { clock, agent, registration } = registered();
    agent.insists = insists;
    registration.start();
    await clock.pass(60_000);
    registration.abandon();
    const asked = agent.count(ASK);
    t.ok(asked >= 40 && asked <= 10 + 60 + 1, `${manner}: ${asked} questions in a minute`);
    t.ok(agent.count(REGISTER) <= asked, manner);
  }
});

test("with a time to live the agent is told how the app is three times in it", async (t) => {
  const { clock, agent, app, registration, said } = registered({ ttlMs: 9_000, intervalMs: 60_000 });
  registration.start();
  await clock.pass(60_000);
  const told = agent.count(PASS);
  t.ok(told >= 60 / 3 && told <= 60 / 2.7 + 2, `${told} times in a minute`);
  t.equal(said("told the registry"), 1, "logged once");
  app.passing = false;
  await clock.pass(3_000);
  t.equal(agent.count(FAIL), 1);
  app.passing = true;
  await clock.pass(3_000);
  t.equal(agent.calls.filter((call) => call === PASS || call === FAIL).at(-1), PASS);
  t.equal(said("told the registry"), 3);
  registration.abandon();
});

test("the agent is told at once when it has just learned of the instance, also while the app is being asked", async (t) => {
  const { clock, agent, app, registration } = registered({ ttlMs: 3_600_000, intervalMs: 600_000 });
  const isTold = () => agent.calls.lastIndexOf(PASS) > agent.calls.lastIndexOf(REGISTER);
  registration.start();
  await settled();
  t.ok(isTold());
  t.ok(agent.calls.indexOf(PASS) > agent.calls.indexOf(REGISTER), "and not before");

  agent.forget();
  await settled();
  t.ok(isTold(), "it was registered again");

  // The agent loses its memory while the app takes its time.
  const { promise, resolve } = Promise.withResolvers<void>();
  app.answers = promise;
  const { asked } = app;
  await clock.pass(600_000);
  t.equal(app.asked, asked + 1);
  agent.forget();
  await settled();
  resolve();
  await settled();
  t.equal(app.asked, asked + 2, "it is asked once more, for the new registration");
  t.ok(isTold());

  agent.away = true;
  await clock.pass(20_000);
  agent.away = false;
  const told = agent.count(PASS);
  // It comes to the end of its wait, and begins another one.
  await clock.pass(WAIT_MS);
  agent.away = true;
  agent.forget();
  await clock.pass(20_000);
  agent.away = false;
  await clock.pass(5_050);
  t.ok(agent.count(PASS) > told && isTold(), "and when the agent was away");
  registration.abandon();
});
