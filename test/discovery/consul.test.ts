import { EventEmitter, once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { test } from "tap";
import { type ConsulCall, ConsulClient } from "../../discovery/consul/client.ts";
import type { ConsulOptions } from "../../discovery/consul/options.ts";
import { ConsulRegistry } from "../../discovery/consul/registry.ts";
import {
  type ConsulServiceOptions,
  ConsulSource,
  healthQuery,
  preparedQuery,
} from "../../discovery/consul/source.ts";
import { type ConsulQuery, type Follower, Watch } from "../../discovery/consul/watch.ts";
import type { Instance } from "../../discovery/source.ts";
import { systemClock, systemRandom } from "../../proxy/system.ts";
import { startApp, type Teardown } from "../support/apps.ts";
import { type Consul, startConsul, withoutConsul } from "../support/consul.ts";
import { startCluster } from "../support/consul-cluster.ts";
import { type LogRecord, logInto } from "../support/sidecar.ts";

const optionsFor = (address: string, waitMs = 60_000): ConsulOptions => ({ address, waitMs, tls: {} });

/** A port, with weight and health unless they are 1 and passing: `1001`, `1002*4`, `1003 critical`. */
const brief = ({ port, weight, health }: Instance) =>
  `${port}${weight === 1 ? "" : `*${weight}`}${health === "passing" ? "" : ` ${health}`}`;

/** What was said to a follower, as lists on which a test can wait. */
class Heard<T> implements Follower<T> {
  readonly values: T[] = [];
  readonly silences: string[] = [];
  #changed = Promise.withResolvers<void>();

  value(value: T): void {
    this.values.push(value);
    this.wake();
  }

  silent(why: string): void {
    this.silences.push(why);
    this.wake();
  }

  /** Resolves when this holds; it is asked after every question and every word. */
  async until(holds: (heard: this) => boolean): Promise<void> {
    // The clock of the process does not keep it alive, and between two questions nothing else does.
    const alive = setInterval(() => {}, 1_000);
    while (!holds(this)) await this.#changed.promise;
    clearInterval(alive);
  }

  wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

/** A watch of the service `orders`, with what it asks. */
class Followed extends Heard<readonly Instance[]> {
  /** What each question waits for, and what came of it. */
  readonly asked: { readonly index: number; outcome: "open" | "answer" | "error" }[] = [];
  readonly records: LogRecord[] = [];
  readonly watch: Watch<readonly Instance[]>;

  constructor(t: Teardown, address: string, waitMs?: number) {
    super();
    const client = new ConsulClient(optionsFor(address, waitMs), systemClock);
    const get = async (call: ConsulCall) => {
      const question: Followed["asked"][number] = {
        index: Number(call.query?.["index"] ?? 0),
        outcome: "open",
      };
      this.asked.push(question);
      this.wake();
      try {
        const answer = await client.get(call);
        question.outcome = "answer";
        return answer;
      } catch (thrown) {
        question.outcome = "error";
        throw thrown;
      } finally {
        this.wake();
      }
    };
    this.watch = new Watch(
      healthQuery({ service: "orders" }),
      {
        client: { get, post: get, options: client.options },
        clock: systemClock,
        random: systemRandom,
        log: logInto(this.records).log,
      },
      this,
    );
    t.teardown(() => {
      this.watch.stop();
      client.close();
    });
    this.watch.start();
  }

  get lists(): string[] {
    return this.values.map((instances) => instances.map(brief).join());
  }

  listed(...instances: (number | string)[]): Promise<void> {
    return this.until(({ lists }) => lists.at(-1) === instances.join());
  }

  count(outcome: Followed["asked"][number]["outcome"]): number {
    return this.asked.filter((question) => question.outcome === outcome).length;
  }

  said(message: string): number {
    return this.records.filter(({ msg }) => msg.includes(message)).length;
  }
}

function registryFor(t: Teardown, address: string, records: LogRecord[] = []): ConsulRegistry {
  const parts = { clock: systemClock, random: systemRandom, log: logInto(records).log };
  const registry = new ConsulRegistry(optionsFor(address), parts);
  t.teardown(() => registry.close());
  return registry;
}

function register(consul: Consul, port: number, more: object = {}): Promise<void> {
  return consul.tell("/v1/agent/service/register", {
    ID: `orders-${port}`,
    Name: "orders",
    Port: port,
    ...more,
  });
}

test("a watch follows the real registry", { skip: withoutConsul }, async (t) => {
  const consul = await startConsul(t);
  await register(consul, 1001);
  const followed = new Followed(t, consul.address);

  await t.test("the first list is there with the first answer", async (t) => {
    await followed.listed(1001);
    t.same([followed.values.length, followed.count("answer")], [1, 1]);
  });

  await t.test("an instance that comes is added, and one that goes is removed", async (t) => {
    await register(consul, 1002);
    await followed.listed(1001, 1002);
    await consul.tell("/v1/agent/service/deregister/orders-1001");
    await followed.listed(1002);
    t.equal(followed.count("error"), 0);
  });

  await t.test("all instances are listed, with what the worst check says of each", async (t) => {
    const check = { CheckID: "ttl", TTL: "1h", Status: "passing" };
    await register(consul, 1003, { Check: check, Weights: { Passing: 4, Warning: 2 } });
    await followed.listed(1002, "1003*4");
    await consul.tell("/v1/agent/check/warn/ttl?note=hm");
    await followed.listed(1002, "1003*2 warning");
    await consul.tell("/v1/agent/check/fail/ttl?note=it+is+gone");
    await followed.listed(1002, "1003*4 critical");
    t.match(followed.values.at(-1)?.at(-1)?.note, "it is gone");
    await consul.tell("/v1/agent/check/pass/ttl");
    await followed.listed(1002, "1003*4");
    await consul.tell("/v1/agent/service/maintenance/orders-1003?enable=true&reason=a+new+disk");
    await followed.listed(1002, "1003*4 maintenance");
    t.match(followed.values.at(-1)?.at(-1)?.note, "a new disk");
    await consul.tell("/v1/agent/service/deregister/orders-1003");
    await followed.listed(1002);
  });

  await t.test(
    "while the agent is away it is silent and nothing is listed; back without memory, it is heard at once",
    async (t) => {
      const before = followed.values.length;
      await consul.kill();
      await followed.until(({ silences }) => silences.length >= 3);
      t.equal(followed.values.length, before, "nothing was taken away");
      t.equal(followed.silences.length, followed.count("error"), "said with every failure");
      await consul.start();
      await register(consul, 1005);
      await followed.listed(1005);
      const recovery = followed.asked.slice(
        followed.asked.findIndex(({ outcome }) => outcome === "error") + 1,
      );
      const recovered = recovery.findIndex(({ outcome }) => outcome === "answer");
      t.ok(
        recovery.slice(0, recovered + 1).every(({ index }) => index === 0),
        "it was asked from 0",
      );
      t.equal(followed.said("does not answer"), 1);
      t.equal(followed.said("answers again"), 1);
      await register(consul, 1006);
      await followed.listed(1005, 1006);
      t.pass("and changes are followed again");
    },
  );
});

test("what a real agent can be asked besides", { skip: withoutConsul }, async (t) => {
  const consul = await startConsul(t);
  const sidecar = { Connect: { SidecarService: { Port: 2001 } } };
  const wan = { TaggedAddresses: { wan: { Address: "198.51.100.1" } } };
  await register(consul, 1001, { Meta: { version: "v1" }, ...sidecar, ...wan });
  await register(consul, 1002, {
    Meta: { version: "v2", zone: "b" },
    Check: { CheckID: "ttl", TTL: "1h", Status: "warning" },
  });
  await consul.ask("/v1/health/service/orders");
  const registry = registryFor(t, consul.address);
  const first = async <T>(query: ConsulQuery<T>): Promise<T> => {
    const heard = new Heard<T>();
    const end = registry.follow(query, heard);
    await heard.until(({ values, silences }) => values.length + silences.length > 0);
    end();
    t.same(heard.silences, []);
    return heard.values[0]!;
  };
  const briefly = async (query: ConsulQuery<readonly Instance[]>) => (await first(query)).map(brief).join();

  const table: readonly [string, ConsulServiceOptions, string][] = [
    ["all", { service: "orders" }, "1001,1002 warning"],
    ["of any server", { service: "orders", stale: true }, "1001,1002 warning"],
    ["only what passes", { service: "orders", onlyPassing: true }, "1001,1002 critical"],
    ["by a filter", { service: "orders", filter: 'Service.Meta.version == "v2"' }, "1002 warning"],
    ["the sidecars", { service: "orders", connect: true }, "2001 critical"],
    ["a service that nobody has", { service: "basket" }, ""],
    ["by the datacenter's name", { service: "orders", datacenter: "dc1" }, "1002 warning,1001"],
  ];
  for (const [what, options, expected] of table) t.equal(await briefly(healthQuery(options)), expected, what);
  t.match(await first(healthQuery({ service: "orders", datacenter: "dc1" })), [
    {},
    { address: "198.51.100.1", port: 1001, source: "consul:orders@dc1" },
  ]);
  t.match(await first(healthQuery({ service: "orders" })), [{}, { zone: "b", address: "127.0.0.1" }]);

  const headers = { connection: "close" };
  const query = JSON.stringify({ Name: "nearest", Service: { Service: "orders" } });
  t.ok((await fetch(`${consul.address}/v1/query`, { method: "POST", body: query, headers })).ok);
  t.equal(await briefly(preparedQuery("nearest", {})), "1001,1002 warning", "a prepared query");

  const heard = new Heard<readonly Instance[]>();
  registry.follow(preparedQuery("farthest", {}), heard);
  registry.follow(healthQuery({ service: "orders", filter: "what?" }), heard);
  await heard.until(({ silences }) => silences.length > 1);
  t.ok(heard.silences.some((why) => why.startsWith("the agent answered 404: Query not found")));
  t.ok(heard.silences.some((why) => why.startsWith("the agent answered 500: Failed to create boolean expr")));
});

test("an endpoint of the real agent wakes by the hash of its content", { skip: withoutConsul }, async (t) => {
  const consul = await startConsul(t);
  await register(consul, 1001, { Tags: ["blue"] });
  const registry = registryFor(t, consul.address);
  const heard = new Heard<string>();
  const definition: ConsulQuery<string> = {
    name: "consul:agent/service/orders-1001",
    path: "/agent/service/{id}",
    params: { id: "orders-1001" },
    blocks: "hash",
    absent: "absent",
    read: (body) => (body as { readonly Tags?: readonly string[] }).Tags?.join(),
  };
  registry.follow(definition, heard);
  await heard.until(({ values }) => values.at(-1) === "blue");
  await register(consul, 1001, { Tags: ["green"] });
  await heard.until(({ values }) => values.at(-1) === "green");
  await consul.tell("/v1/agent/service/deregister/orders-1001");
  await heard.until(({ values }) => values.at(-1) === "absent");
  t.same([...new Set(heard.values)], ["blue", "green", "absent"]);
  t.same(heard.silences, []);
  t.same(registry.counts, { watches: 1, answered: heard.values.length, failed: 0 });
});

test("a node that is found dead makes its instances unreachable, and not critical", {
  skip: withoutConsul,
}, async (t) => {
  const cluster = await startCluster(t, { services: [{ name: "orders", port: 1001 }] });
  const followed = new Followed(t, cluster.server.address);
  await followed.listed(1001);
  await cluster.client.kill();
  await followed.listed("1001 unreachable");
  t.match(followed.values.at(-1)?.[0]?.note, /^Serf Health Status: /);
  await cluster.client.start();
  await followed.listed(1001);
  t.same(followed.silences, []);
});

test("an agent that hangs is given up", { skip: withoutConsul }, async (t) => {
  const consul = await startConsul(t);
  await register(consul, 1001);
  const followed = new Followed(t, consul.address, 1_000);
  await followed.listed(1001);
  consul.signal("SIGSTOP");
  await followed.until(({ silences }) => silences.length > 0);
  t.match(followed.silences[0], /^request timed out/);
  consul.signal("SIGCONT");
  await register(consul, 1002);
  await followed.listed(1001, 1002);
});

const body = (...ports: number[]) =>
  JSON.stringify(ports.map((Port) => ({ Service: { Address: "127.0.0.1", Port }, Checks: [] })));

function answerJson(response: ServerResponse, status: number, text: string, index = 7): void {
  response.writeHead(status, { "content-type": "application/json", "x-consul-index": String(index) });
  response.end(text);
}

const half = body(1001, 1002).slice(0, 60);

const FAULTS: Readonly<Record<string, (response: ServerResponse) => unknown>> = {
  "HTML in place of JSON": (response) => {
    response.writeHead(200, { "content-type": "text/html", "x-consul-index": "9" });
    response.end("<html>please log in</html>");
  },
  "half of a JSON text": (response) => answerJson(response, 200, half),
  "JSON that is no list": (response) => answerJson(response, 200, '{"Errors":[]}'),
  "a list of nothing but nonsense": (response) => answerJson(response, 200, '[{"Service":{}},null,7]'),
  "an empty body": (response) => answerJson(response, 200, ""),
  "500 with an index": (response) => answerJson(response, 500, "No cluster leader", 1),
  "403": (response) => answerJson(response, 403, "ACL not found"),
  "404": (response) => answerJson(response, 404, "[]"),
  "429": (response) => answerJson(response, 429, "too many concurrent connections"),
  "an empty list with 503": (response) => answerJson(response, 503, "[]"),
  "a connection that is reset": (response) => response.destroy(),
  "something that is not HTTP": (response) => response.socket?.end("220 mail ESMTP\r\n"),
  "half a body, and then the connection is cut": (response) => {
    response.writeHead(200, { "content-type": "application/json", "content-length": "1000" });
    response.write(half);
    setImmediate(() => response.destroy());
  },
  "half a body, and then silence": (response) => {
    response.writeHead(200, { "content-type": "application/json", "content-length": "1000" });
    response.write(half);
  },
};

test("an agent that answers nonsense has said nothing, and is asked until it is well", async (t) => {
  await Promise.all(
    Object.entries(FAULTS).map(async ([name, fault]) => {
      let ill = true;
      const agent = await startApp(t, (request, response) => {
        const blocks = request.url?.includes("index=") === true;
        if (agent.served === 1) answerJson(response, 200, body(1001));
        else if (ill) fault(response);
        else if (!blocks) answerJson(response, 200, body(1001, 1002));
      });
      const followed = new Followed(t, `http://${agent.address}`, 1_000);
      await followed.until(({ asked }) => asked.length > 2);
      t.same(followed.lists, ["1001"], `${name}: nothing is listed`);
      t.equal(
        followed.silences.length,
        followed.count("answer") + followed.count("error") - 1,
        `${name}: silent`,
      );
      ill = false;
      await followed.listed(1001, 1002);
      t.equal(followed.said("does not answer"), 1, `${name}: logged once`);
      t.ok(
        followed.asked.slice(2, -1).every(({ index }) => index === 0),
        `${name}: asked from 0`,
      );
    }),
  );
});

test("an instance without a usable address hides no other", async (t) => {
  const mixed = JSON.stringify([{ Service: { Address: "", Port: 0 } }, ...JSON.parse(body(1001))]);
  const agent = await startApp(t, (request, response) => {
    if (request.url?.includes("index=") !== true) answerJson(response, 200, mixed);
  });
  const followed = new Followed(t, `http://${agent.address}`);
  await followed.listed(1001);
  t.same(followed.silences, []);
});

/** An agent that answers the first time, and then blocks until `change`; it counts what is open. */
async function startBlocking(t: Teardown) {
  const asked: string[] = [];
  const open = new Set<ServerResponse>();
  const moved = new EventEmitter();
  const agent = await startApp(t, (request: IncomingMessage, response) => {
    asked.push(request.url ?? "");
    moved.emit("moved");
    if (request.url?.includes("index=") !== true) {
      answerJson(response, 200, body(1001));
      return;
    }
    open.add(response);
    moved.emit("moved");
    response.once("close", () => {
      open.delete(response);
      moved.emit("moved");
    });
  });
  return {
    address: `http://${agent.address}`,
    asked,
    open,
    /** Resolves when this holds; it is asked with each question and each end. */
    async until(holds: () => boolean): Promise<void> {
      const alive = setInterval(() => {}, 1_000);
      while (!holds()) await once(moved, "moved");
      clearInterval(alive);
    },
    change(text: string, index: number): void {
      for (const response of open) answerJson(response, 200, text, index);
    },
  };
}

test("the same question asked by ten is one watch, and ends with the last of them", async (t) => {
  const agent = await startBlocking(t);
  const registry = registryFor(t, agent.address);
  const query = () => healthQuery({ service: "orders" });
  const ten = Array.from({ length: 10 }, () => new Heard<readonly Instance[]>());
  const ends = ten.map((heard) => registry.follow(query(), heard));
  t.same(registry.counts, { watches: 1, answered: 0, failed: 0 });
  await agent.until(() => agent.open.size === 1);
  for (const { values } of ten) t.match(values, [[{ port: 1001 }]]);

  const late = new Heard<readonly Instance[]>();
  const endLate = registry.follow(query(), late);
  t.match(late.values, [[{ port: 1001 }]], "one who comes late is told at once");
  t.equal(agent.asked.length, 2, "without asking again");

  agent.change(body(1001, 1002), 8);
  await Promise.all([...ten, late].map((heard) => heard.until(({ values }) => values.length === 2)));
  t.same(registry.counts, { watches: 1, answered: 2, failed: 0 });

  for (const end of ends) end();
  ends[0]!();
  await agent.until(() => agent.asked.length === 3);
  t.equal(registry.counts.watches, 1);
  agent.change(body(), 9);
  await late.until(({ values }) => values.length === 3);
  for (const { values } of ten) t.equal(values.length, 2, "those that have ended are told nothing");

  await agent.until(() => agent.asked.length === 4);
  endLate();
  t.equal(registry.counts.watches, 0);
  await agent.until(() => agent.open.size === 0);
  t.pass("it holds no connection any more");

  const again = new Heard<readonly Instance[]>();
  registry.follow(query(), again);
  t.same(again.values, [], "what was known is forgotten with the last follower");
  await again.until(({ values }) => values.length === 1);
});

test("a follower that ends another one in the midst of a round is the last that was told", async (t) => {
  const agent = await startBlocking(t);
  const registry = registryFor(t, agent.address);
  const query = healthQuery({ service: "orders" });
  const [first, second, third] = Array.from({ length: 3 }, () => new Heard<readonly Instance[]>());
  registry.follow(query, {
    value: (value) => {
      endSecond();
      first!.value(value);
    },
    silent: () => {},
  });
  const endSecond = registry.follow(query, second!);
  registry.follow(query, third!);
  await third!.until(({ values }) => values.length === 1);
  t.same([first!.values.length, second!.values.length], [1, 0]);
});

test("questions that differ in anything that changes the answer are different watches", async (t) => {
  const agent = await startBlocking(t);
  const registry = registryFor(t, agent.address);
  const service = "orders";
  const queries = [
    healthQuery({ service }),
    healthQuery({ service: "basket" }),
    healthQuery({ service, datacenter: "north" }),
    healthQuery({ service, namespace: "north" }),
    healthQuery({ service, partition: "north" }),
    healthQuery({ service, peer: "north" }),
    healthQuery({ service, filter: "north" }),
    // Asked alike, and read differently.
    healthQuery({ service, onlyPassing: true }),
    healthQuery({ service, connect: true }),
    healthQuery({ service, stale: true }),
    preparedQuery("orders", {}),
    preparedQuery("orders", { connect: true }),
    preparedQuery("orders", { datacenter: "north" }),
  ];
  for (const query of [...queries, ...queries]) registry.follow(query, new Heard());
  t.equal(registry.counts.watches, queries.length);
  // Those of several subsets share one, apart from whoever needs no labels.
  const labelled = { service, labelled: true };
  const ends = [1, 2].map(() => registry.follow(healthQuery(labelled), new Heard()));
  t.equal(registry.counts.watches, queries.length + 1);
  for (const end of ends) end();
  t.equal(registry.counts.watches, queries.length);
  await agent.until(() => new Set(agent.asked).size >= queries.length - 1);
  const kept = queries.filter(({ query }) => query?.["stale"] === undefined).map(({ name }) => name);
  // A copy of the last list is kept under this name.
  t.equal(new Set(kept).size, kept.length, "and what differs has another name");
});

test("an outage is said to each follower, and counted", async (t) => {
  const app = await startApp(t, (_, response) => answerJson(response, 500, "No cluster leader"));
  const records: LogRecord[] = [];
  const registry = registryFor(t, `http://${app.address}`, records);
  const followers = [new Heard<readonly Instance[]>(), new Heard<readonly Instance[]>()];
  for (const heard of followers) registry.follow(healthQuery({ service: "orders" }), heard);
  await followers[1]!.until(({ silences }) => silences.length === 2);
  for (const { silences, values } of followers) {
    t.same(new Set(silences), new Set(["the agent answered 500: No cluster leader"]));
    t.same([silences.length, values.length], [2, 0]);
  }
  t.same(registry.counts, { watches: 1, answered: 0, failed: 2 });
  const late = new Heard<readonly Instance[]>();
  registry.follow(healthQuery({ service: "orders" }), late);
  t.same(late.values, [], "of what nothing is known nothing is said");
  t.equal(records.length, 1);
});

test("stop hangs up: a question that blocks does not hold a connection of the agent", async (t) => {
  const agent = await startBlocking(t);
  const records: LogRecord[] = [];
  const registry = registryFor(t, agent.address, records);
  const heard = new Heard<readonly Instance[]>();
  const source = new ConsulSource(healthQuery({ service: "orders" }), registry);
  t.equal(source.name, "consul:orders");
  source.start({ list: (instances) => heard.value(instances), silent: (why) => heard.silent(why) });
  await agent.until(() => agent.open.size === 1);
  source.stop();
  await agent.until(() => agent.open.size === 0);
  t.match(heard.values, [[{ port: 1001, source: "consul:orders" }]]);
  t.same([heard.silences, records], [[], []], "and takes the end for no outage");
  source.stop();

  registry.follow(healthQuery({ service: "orders" }), heard);
  registry.follow(healthQuery({ service: "basket" }), heard);
  await agent.until(() => agent.open.size === 2);
  registry.close();
  await agent.until(() => agent.open.size === 0);
  t.equal(registry.counts.watches, 0);
  t.same([heard.silences, records], [[], []]);
});
