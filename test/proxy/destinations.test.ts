import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { connect } from "node:net";
import type { Worker } from "node:worker_threads";
import { test } from "tap";
import { parseConfig, usualUpstream } from "../../config/index.ts";
import type { Endpoint } from "../../core/index.ts";
import type { Chain } from "../../discovery/consul/chain.ts";
import type { Follower } from "../../discovery/consul/watch.ts";
import { type ConsulRegistry, LastGood, NO_BALANCING, QuestionLimit, Supply } from "../../discovery/index.ts";
import type { Sink, Source } from "../../discovery/source.ts";
import { planOfChain } from "../../proxy/control/chain-plan.ts";
import { FollowedName } from "../../proxy/control/followed-name.ts";
import type { NameSpec } from "../../proxy/control/name-spec.ts";
import { Names } from "../../proxy/control/names.ts";
import { DataPlane, type PlaneSettings } from "../../proxy/data-plane.ts";
import { Destinations } from "../../proxy/destinations.ts";
import { type Destination, type ListenerPlan, plainDestination } from "../../proxy/plan.ts";
import { createStackParts } from "../../proxy/stack-parts.ts";
import { systemRandom } from "../../proxy/system.ts";
import { WorkerPlanes } from "../../proxy/workers/index.ts";
import { call, startApp } from "../support/apps.ts";
import { eventually } from "../support/eventually.ts";
import { exchangeOf } from "../support/exchange.ts";
import { freePorts } from "../support/free-ports.ts";
import { OPTIONS } from "../support/guarded.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { logInto } from "../support/sidecar.ts";

const LOG = logInto([]);
const SETTINGS: PlaneSettings = {
  accessLog: false,
  inheritDeadlines: "none",
  mayInject: false,
  policies: {},
  wayIn: { criticality: "believe" },
  retrySwitch: { enabled: true },
  onWanted() {},
};
const { listener } = parseConfig("upstreams: { a: { endpoints: [127.0.0.1:1] } }", "test", {}).outbound;

function endpointAt(port: number): Endpoint {
  return { address: "127.0.0.1", port, weight: 1, source: "test" };
}

function listenAt(port: number, maxConnections = 100): ListenerPlan {
  return {
    direction: "outbound",
    options: { ...listener, listen: { host: "127.0.0.1", port }, maxConnections },
    leadsTo: "orders",
  };
}

/** Orders with so many requests at a time. */
function orders(requests: number, options = usualUpstream.options) {
  return plainDestination("orders", {
    name: "orders",
    options: { ...options, limits: { ...options.limits, requests } },
  });
}

const EMPTY_PLAN = { routes: [], destinations: {}, listeners: {}, situation: {} };

test("the caller who asks for a name that is known at once does not wait", async (t) => {
  const clock = new ManualClock();
  const parts = createStackParts({ clock, random: systemRandom, log: LOG.log });
  const destinations: Destinations = new Destinations(parts, (name) =>
    destinations.lead(name, orders(1), { orders: [] }),
  );
  destinations.lead("orders", "pending", {});
  // Time stands still: who waits for the first word waits for ever.
  await t.rejects(
    destinations.handlers.get("orders")!(exchangeOf()),
    /discovery knows no endpoint of orders/,
  );
  t.equal(clock.pending, 0);
});

test("an upstream that is replaced keeps its word: who waits there, or is tried again, gets an answer", async (t) => {
  const held: ServerResponse[] = [];
  const app = await startApp(t, (_, response) => held.push(response));
  const plane = new DataPlane(SETTINGS, LOG);
  t.teardown(() => plane.destroy());
  const { local } = await plane.start({ ...EMPTY_PLAN, listeners: { local: listenAt(0) } });
  const endpoints = { orders: [endpointAt(app.port)] };
  plane.lead("orders", orders(2), endpoints);
  const calls = ["/1", "/2", "/3"].map((path) => call(local!.port, "any", { path }));
  await eventually("two requests there", () => held.length === 2);
  await eventually("one in the queue", async () => (await plane.report()).upstreams[0]?.pending === 1);

  plane.lead("orders", orders(9), endpoints);
  const [now] = (await plane.report()).upstreams;
  t.match(now, { connections: { busy: 2 }, pending: 1, endpoints: { available: 1 } });
  // A broken connection is tried again.
  held[0]!.socket!.destroy();
  held[1]!.end("fine");
  await eventually("all of them there", () => held.length === 4);
  for (const response of held.slice(2)) response.end("fine");
  const replies = await Promise.all(calls);
  t.same(
    replies.map(({ status }) => status),
    [200, 200, 200],
  );

  plane.lead("orders", "pending", {});
  await eventually("everything to be put away", async () => {
    const [after] = (await plane.report()).upstreams;
    return after?.connections.busy === 0 && after.attempts.get("success") === 3;
  });
  const [after] = (await plane.report()).upstreams;
  t.match(after, { connections: { connecting: 0, busy: 0, idle: 0 }, pending: 0, connectionsOpened: 4 });
  t.equal(after?.attempts.get("upstream_reset"), 1, "what failed meanwhile is counted, too");
});

test("an upstream that is replaced is shown with the endpoints it has", async (t) => {
  const plane = new DataPlane(SETTINGS, LOG);
  t.teardown(() => plane.destroy());
  for (const requests of [1, 2, 3]) plane.lead("orders", orders(requests), { orders: [endpointAt(1)] });
  t.match((await plane.report()).upstreams, [{ endpoints: { available: 1 }, breakers: { closed: 1 } }]);
});

test("what is asked of a name holds behind its chain, and goes on when the chain changes", async (t) => {
  const app = await startApp(t);
  const limit = {
    name: "all",
    requests: 3,
    perMs: 3_600_000,
    burst: 3,
    by: { of: "all" as const },
    maxKeys: 1,
  };
  const rateLimits = [{ ...limit, mode: "enforce" as const, fields: "refused" as const }];
  const fallback = {
    on: ["no_endpoint" as const],
    methods: ["GET"],
    answer: { status: 203, headers: [], body: "" },
  };
  const plane = new DataPlane({ ...SETTINGS, policies: { orders: { rateLimits, fallback } } }, LOG);
  t.teardown(() => plane.destroy());
  const { local } = await plane.start({ ...EMPTY_PLAN, listeners: { local: listenAt(0) } });
  const { upstreams } = orders(9);
  const chain = (prefix: string): Destination => ({
    upstreams: { v1: upstreams["orders"]!, v2: upstreams["orders"]! },
    lanes: { v1: { upstream: "v1" }, v2: { upstream: "v2" } },
    routes: [
      { name: "new", match: { pathPrefix: prefix }, to: [{ upstream: "v2", weight: 1 }] },
      { name: "old", match: {}, to: [{ upstream: "v1", weight: 1 }] },
    ],
  });
  const statusOf = async (path: string) => (await call(local!.port, "any", { path })).status;
  plane.lead("orders", chain("/v2"), { v1: [endpointAt(app.port)], v2: [] });
  t.equal(await statusOf("/"), 200);
  t.equal(await statusOf("/v2"), 203, "the other route of the chain leads to nobody");
  plane.lead("orders", chain("/v3"), { v1: [endpointAt(app.port)], v2: [] });
  t.equal(await statusOf("/v2"), 200);
  t.equal(await statusOf("/"), 429, "three have passed, whichever way they went");
});

test("connections that were hung up on stay counted when their port is closed", async (t) => {
  const plane = new DataPlane(SETTINGS, LOG);
  t.teardown(() => plane.destroy());
  await plane.start(EMPTY_PLAN);
  const at = await plane.listen("local", listenAt(0, 1));
  const first = connect(at!.port, "127.0.0.1");
  await once(first, "connect");
  const second = connect(at!.port, "127.0.0.1").on("error", () => {});
  await new Promise((resolve) => second.once("close", resolve));
  await plane.listen("local", undefined);
  first.destroy();
  await eventually("its last caller to leave", () => plane.listeners.length === 0);
  t.same((await plane.report()).connectionsRefused, { outbound: 1 });
});

class ScriptedSource implements Source {
  readonly name: string;
  sink: Sink | undefined;
  stopped = false;

  constructor(name: string) {
    this.name = name;
  }

  start(sink: Sink): void {
    this.sink = sink;
  }

  stop(): void {
    this.stopped = true;
  }

  say(port: number): void {
    this.sink!.list([{ ...endpointAt(port), health: "passing" }]);
  }
}

/** What stands behind names whose sources a test speaks for. */
function scripted() {
  const clock = new ManualClock();
  const { log } = LOG;
  const lastGood = new LastGood(undefined, OPTIONS.keepForMs, { clock, wallClock: () => clock.now(), log });
  const sources: ScriptedSource[] = [];
  /** Ports that are used, by key. */
  const used: Record<string, readonly number[]> = {};
  const use = (key: string, endpoints: readonly Endpoint[]) => {
    used[key] = endpoints.map(({ port }) => port);
  };
  const chains: Follower<Chain>[] = [];
  const registry = {
    follow: (_: unknown, follower: Follower<Chain>) => {
      chains.push(follower);
      return () => {};
    },
  } as unknown as ConsulRegistry;
  return {
    clock,
    sources,
    used,
    chains,
    parts: {
      clock,
      log,
      registry,
      lastGood,
      createSupply: (
        name: string,
        _: NameSpec,
        from: readonly object[],
        onEndpoints: (endpoints: readonly Endpoint[]) => void,
      ) => {
        const source = new ScriptedSource(JSON.stringify(from));
        sources.push(source);
        const probe = async () => ({ passing: true, note: "" });
        return new Supply(
          [source],
          { merge: "fallback", outage: OPTIONS },
          { name, clock, random: systemRandom, log, lastGood, probe, questionLimit: new QuestionLimit() },
          onEndpoints,
        );
      },
    },
    lead(endpoints: Readonly<Record<string, readonly Endpoint[]>>) {
      for (const [key, list] of Object.entries(endpoints)) use(key, list);
    },
    use,
  };
}

function specFrom(service: string): NameSpec {
  return {
    name: "orders",
    origin: { type: "sources", from: [{ kind: "consul", service, stale: false }], merge: "union" },
    options: usualUpstream.options,
    healthCheck: undefined,
    follow: "always",
  };
}

test("of names that are changed again before they are heard of, nothing old is listened to", async (t) => {
  const { clock, sources, used, parts, lead, use } = scripted();
  const names = new Names({
    ...parts,
    idleAfterMs: 600_000,
    outlet: { lead: (_, __, endpoints) => lead(endpoints), update: use, calls: async () => ({}) },
  });
  const speak = async (source: ScriptedSource | undefined, port: number) => {
    source?.say(port);
    await clock.pass(100);
  };
  void names.set([specFrom("a")]);
  await speak(sources[0], 1);
  void names.set([specFrom("b")]);
  void names.set([specFrom("c")]);
  t.same(
    sources.map(({ stopped }) => stopped),
    [false, true, false],
    "what leads still leads",
  );
  await speak(sources[0], 2);
  t.same(used, { orders: [2] });
  await speak(sources[2], 3);
  t.same(used, { orders: [3] });
  await speak(sources[0], 4);
  t.same(used, { orders: [3] }, "and not any more when the new one has spoken");
  void names.set([specFrom("d")]);
  void names.set([]);
  t.ok(
    sources.every(({ stopped }) => stopped),
    "a name that is forgotten is forgotten as a whole",
  );
  names.stop();
  await settled();
  t.equal(clock.pending, 0, "no timer is left");
});

test("a name that is looked for is not idle, however long its first word takes", async (t) => {
  const { clock, sources, parts, lead } = scripted();
  const led: string[] = [];
  const names = new Names({
    ...parts,
    idleAfterMs: 1_000,
    outlet: {
      lead(_, leads, endpoints) {
        led.push(leads === "pending" ? leads : "somewhere");
        lead(endpoints);
      },
      update() {},
      calls: async () => ({}),
    },
  });
  void names.set([{ ...specFrom("a"), follow: "called" }]);
  names.wanted("orders");
  await clock.pass(1_900);
  sources[0]!.say(1);
  await clock.pass(500);
  t.same(led, ["pending", "somewhere"]);
  await clock.pass(1_500);
  t.same(led, ["pending", "somewhere", "pending"], "from then on it is");
  names.stop();
});

test("of targets that are changed again before they are heard of, nothing old is listened to", async (t) => {
  const { clock, sources, used, chains, parts, lead, use } = scripted();
  const origin = { type: "chain", service: "orders", connect: false, stale: false } as const;
  const followed = new FollowedName(
    { ...specFrom("orders"), origin },
    { ...parts, onLead: (_, endpoints) => lead(endpoints), onEndpoints: use },
  );
  followed.start();
  const headers = { request: undefined, response: undefined };
  const to = (filter: string): Chain => ({
    service: "orders",
    protocol: "http",
    warnings: [],
    routes: [
      {
        match: { path: undefined, ignoreCase: false, headers: [], query: [], methods: [] },
        destination: { prefixRewrite: undefined, requestMs: undefined, retries: undefined, ...headers },
        to: [
          {
            weight: 100,
            headers,
            target: {
              ...{ id: "orders", service: "orders", subset: undefined, datacenter: undefined },
              ...{ namespace: undefined, partition: undefined, peer: undefined, filter },
              ...{ onlyPassing: false, connectMs: undefined, requestMs: undefined, balancing: NO_BALANCING },
              failover: [],
            },
          },
        ],
      },
    ],
  });
  t.same(
    Object.keys(planOfChain(followed.spec, origin, to("v1")).sources),
    ["orders"],
    "always the same key",
  );
  const speak = async (source: ScriptedSource | undefined, port: number) => {
    source?.say(port);
    await clock.pass(100);
  };
  chains[0]!.value(to("v1"));
  await speak(sources[0], 1);
  chains[0]!.value(to("v2"));
  chains[0]!.value(to("v3"));
  t.same(
    sources.map(({ stopped }) => stopped),
    [false, true, false],
    "what is in use is still heard",
  );
  await speak(sources[2], 3);
  await speak(sources[0], 1);
  t.same(used, { orders: [3] });
  chains[0]!.value(to("v4"));
  chains[0]!.value(to("v5"));
  followed.stop();
  t.ok(sources.every(({ stopped }) => stopped));
  t.equal(clock.pending, 0, "no timer is left");
});

test("a name that every object has leads somewhere, also in workers", async (t) => {
  const app = await startApp(t);
  const destination = plainDestination("constructor", {
    name: "constructor",
    options: usualUpstream.options,
  });
  const plan = {
    ...EMPTY_PLAN,
    listeners: { outbound: listenAt(0) },
    destinations: { constructor: destination },
  };
  for (const plane of [new DataPlane(SETTINGS, LOG), new WorkerPlanes(2, SETTINGS, LOG, () => {})]) {
    t.teardown(() => plane.destroy());
    const { outbound } = await plane.start({
      ...plan,
      listeners: { outbound: { direction: "outbound", options: listenAt(0).options } },
    });
    plane.lead("constructor", destination, {});
    plane.update("constructor", [endpointAt(app.port)]);
    t.equal((await call(outbound!.port, "constructor")).status, 200);
  }
});

test("a port is opened, moved and closed by the workers that there are while one is lost", async (t) => {
  const threads: Worker[] = [];
  const onWorker = (worker: Worker) => threads.push(worker);
  process.on("worker", onWorker);
  t.teardown(() => process.off("worker", onWorker));
  const app = await startApp(t);
  const planes = new WorkerPlanes(3, SETTINGS, LOG, () => {});
  t.teardown(() => planes.destroy());
  await planes.start(EMPTY_PLAN);
  planes.lead("orders", orders(9), { orders: [endpointAt(app.port)] });
  const [port] = await freePorts(1);
  /** A worker of each time that is lost when it has been asked. */
  const losing = async (plan: ListenerPlan | undefined) => {
    const living = threads.filter(({ threadId }) => threadId !== -1);
    const changed = planes.listen("local", plan);
    await living[0]!.terminate();
    return changed;
  };
  t.same(await losing(listenAt(port!)), { host: "127.0.0.1", port });
  t.equal((await call(port!, "any")).status, 200);
  await losing(undefined);
  await t.rejects(call(port!, "any"), /ECONNREFUSED/);
  await planes.listen("local", listenAt(port!));
  await planes.reports();
  const statuses = await Promise.all(
    Array.from({ length: 30 }, async () => (await call(port!, "any")).status),
  );
  t.ok(
    statuses.every((status) => status === 200),
    "every worker has the port, and knows the way",
  );
  await planes.listen("local", undefined);
  await t.rejects(call(port!, "any"), /ECONNREFUSED/, "and none keeps it");
});
