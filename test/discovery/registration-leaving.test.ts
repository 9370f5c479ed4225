import { test } from "tap";
import { setMaintenance } from "../../discovery/consul/registration.ts";
import { startApp } from "../support/apps.ts";
import { startConsul, withoutConsul } from "../support/consul.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import {
  ASK,
  CHECKS,
  DEREGISTER,
  inMaintenance,
  isGone,
  isThere,
  kept,
  LOOK,
  listed,
  MAINTAIN,
  PASS,
  REGISTER,
  registered,
  serviceOf,
} from "../support/registering.ts";

const OURS = "heddle is draining; ended when it starts again";

test("a maintenance that somebody else has begun outlives a restart of heddle, and its own does not", {
  skip: withoutConsul,
}, async (t) => {
  const consul = await startConsul(t);
  const app = await startApp(t);
  const lives = async () => {
    const life = kept(t, consul.address, serviceOf(app));
    await eventually("it to be registered", () => life.said("registered") > 0);
    return life;
  };
  const first = await lives();
  // It dies in the midst of its leaving.
  first.registration.abandon();
  await setMaintenance(first.client, "orders-1", true);
  await listed(consul.address, inMaintenance);
  const second = await lives();
  await listed(consul.address, (instances) => isThere(instances) && !inMaintenance(instances));

  second.registration.abandon();
  await consul.tell("/v1/agent/service/maintenance/orders-1?enable=true&reason=a+new+disk");
  const third = await lives();
  const [instance] = await listed(consul.address, inMaintenance);
  t.match(
    instance?.Checks.find(({ CheckID }) => CheckID.startsWith("_service")),
    { Notes: "a new disk" },
  );
  await third.registration.stop();
  await listed(consul.address, isGone);
});

test("an agent that hangs is given up by who leaves", { skip: withoutConsul }, async (t) => {
  const consul = await startConsul(t);
  const app = await startApp(t);
  const clock = new ManualClock();
  const { registration, records, said } = kept(t, consul.address, serviceOf(app), clock);
  await eventually("it to be registered", () => said("registered") > 0);
  consul.signal("SIGSTOP");
  const stopped = registration.stop();
  clock.advance(5_000);
  // By itself it would hang for as long as the test may.
  await stopped;
  t.match(records.at(-1), { msg: "could not deregister", why: "no answer within 5000 ms" });
  t.equal(clock.pending, 0);
});

test("leaving is first a maintenance and then an absence, and each is waited for", async (t) => {
  const { clock, agent, registration, records } = registered();
  registration.start();
  await settled();
  const before = agent.calls.length;
  const stopped = registration.stop();
  await settled();
  t.same(agent.calls.slice(before), [MAINTAIN, LOOK]);
  t.equal(agent.maintenance, OURS);
  await clock.pass(149);
  t.equal(agent.count(DEREGISTER), 0, "who follows the service needs a moment to hear of it");
  await clock.pass(1);
  await stopped;
  t.same(agent.calls.slice(before), [MAINTAIN, LOOK, DEREGISTER, LOOK]);
  t.match(records.at(-1), { level: "info", msg: "deregistered" });
  await clock.pass(60_000);
  t.same([agent.calls.length, clock.pending], [before + 4, 0], "and nothing happens after it");
});

test("stop while it is being registered leaves nothing behind", async (t) => {
  const { clock, agent, registration } = registered();
  const { promise, resolve } = Promise.withResolvers<void>();
  const put = agent.put.bind(agent);
  agent.put = async (call) => {
    if (call.path.endsWith("/register")) await promise;
    return put(call);
  };
  registration.start();
  await settled();
  const stopped = registration.stop();
  await clock.pass(1_000);
  t.equal(agent.count(DEREGISTER), 0, "what was begun ends first");
  resolve();
  await clock.pass(1_000);
  await stopped;
  t.notOk(agent.known);
  t.ok(agent.calls.indexOf(DEREGISTER) > agent.calls.indexOf(REGISTER));
  t.equal(clock.pending, 0);
});

test("leaving takes 5 s at the longest, wherever the agent hangs, and says so", async (t) => {
  const all = [ASK, CHECKS, LOOK, REGISTER, MAINTAIN, DEREGISTER, PASS];
  const table: readonly [from: "the start" | "the end", hangs: readonly string[]][] = [
    ["the start", all],
    ["the start", [CHECKS, MAINTAIN]],
    ["the start", [REGISTER, MAINTAIN]],
    ["the end", all],
    ["the end", [MAINTAIN]],
    ["the end", [DEREGISTER]],
    ["the end", [LOOK, DEREGISTER]],
  ];
  for (const [from, hangs] of table) {
    const { clock, agent, registration, records } = registered({ ttlMs: 9_000 });
    if (from === "the start") agent.hangs = hangs;
    registration.start();
    await clock.pass(1_000);
    agent.hangs = hangs;
    const startMs = clock.now();
    let tookMs = Number.POSITIVE_INFINITY;
    const stopped = registration.stop().then(() => {
      tookMs = clock.now() - startMs;
    });
    await clock.pass(5_010);
    await stopped;
    t.ok(tookMs <= 5_010, `${hangs.join()} from ${from}: ${tookMs} ms`);
    t.match(records.at(-1), { msg: "could not deregister", why: "no answer within 5000 ms" });
    t.equal(clock.pending, 0);
  }
});

test("a registry that shows nothing does not keep an instance in it", async (t) => {
  for (const how of ["refuses", "hangs"] as const) {
    const { clock, agent, registration, records } = registered();
    registration.start();
    await clock.pass(1_000);
    agent[how] = [LOOK];
    const stopped = registration.stop();
    await clock.pass(5_010);
    await stopped;
    t.notOk(agent.known, how);
    t.ok(agent.calls.indexOf(MAINTAIN) < agent.calls.indexOf(DEREGISTER));
    t.equal(records.at(-1)?.msg, "deregistered");
  }
});

test("an agent that has just forgotten the instance has nothing to be told, which is no fault", async (t) => {
  const { clock, agent, registration, records } = registered();
  registration.start();
  await clock.pass(1_000);
  agent.known = false;
  const stopped = registration.stop();
  await clock.pass(1_000);
  await stopped;
  t.equal(records.at(-1)?.msg, "deregistered");
  t.equal(records.filter(({ level }) => level === "warn").length, 0);
});

test("stop ends at once when nobody can be told", async (t) => {
  const { clock, agent, registration, said } = registered();
  registration.start();
  await clock.pass(1_000);
  agent.away = true;
  await registration.stop();
  t.equal(said("could not deregister"), 1);
  t.equal(clock.pending, 0);
});

test("an end without a drain tells nobody", async (t) => {
  const { clock, agent, app, registration } = registered({ ttlMs: 9_000 });
  registration.start();
  await clock.pass(10_000);
  registration.abandon();
  const before = [agent.calls.length, app.asked];
  await clock.pass(100_000);
  t.same([agent.calls.length, app.asked], before);
  t.ok(agent.known);
  t.equal(clock.pending, 0);
});

test("a maintenance of somebody else is begun again with its reason, however long it takes to register", async (t) => {
  const { clock, agent, registration } = registered();
  agent.known = true;
  agent.maintenance = "a new disk";
  agent.refuses = [MAINTAIN];
  registration.start();
  await clock.pass(10_000);
  t.equal(agent.maintenance, undefined, "registering has ended it");
  t.notOk(registration.registered);
  agent.refuses = [];
  await clock.pass(5_050);
  t.equal(agent.maintenance, "a new disk");
  t.ok(registration.registered);
  agent.forget();
  await settled();
  t.ok(agent.known);
  t.equal(agent.maintenance, undefined, "what an agent forgets later is not ours to remember");
});

test("its own maintenance is ended by its next start", async (t) => {
  const { clock, agent, registration } = registered();
  agent.known = true;
  agent.maintenance = OURS;
  registration.start();
  await clock.pass(1_000);
  t.equal(agent.maintenance, undefined);
  t.same(agent.calls.slice(0, 4), [ASK, CHECKS, REGISTER, MAINTAIN]);
});
