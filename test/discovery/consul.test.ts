import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "tap";
import { ConsulAgent, ConsulSource } from "../../discovery/index.ts";
import { systemClock, systemRandom } from "../../proxy/system.ts";
import { startApp, type Teardown } from "../support/apps.ts";
import { type Consul, startConsul, withoutConsul } from "../support/consul.ts";
import { type LogRecord, logInto } from "../support/sidecar.ts";

/** What a registry is asked, and what a watch makes of the answers, as a list on which a test can wait. */
class Followed {
  /** Ports, with their weight unless it is 1: `1001`, `1002*4`. */
  readonly pushed: string[][] = [];
  /** Each question's index, and what came of it. */
  readonly asked: { readonly index: number; outcome: "open" | "answer" | "error" }[] = [];
  /** The last answer, as text. */
  body = "";
  readonly records: LogRecord[] = [];
  readonly source: ConsulSource;
  #changed = Promise.withResolvers<void>();

  constructor(t: Teardown, address: string, waitMs = 60_000) {
    const agent = new ConsulAgent({ address, waitMs });
    const health = async (service: string, index: number, signal: AbortSignal) => {
      const question: Followed["asked"][number] = { index, outcome: "open" };
      this.asked.push(question);
      this.#wake();
      try {
        const answer = await agent.health(service, index, signal);
        this.body = JSON.stringify(answer.body);
        question.outcome = "answer";
        return answer;
      } catch (thrown) {
        question.outcome = "error";
        throw thrown;
      } finally {
        this.#wake();
      }
    };
    const parts = { agent: { health }, clock: systemClock, random: systemRandom };
    this.source = new ConsulSource("orders", { ...parts, log: logInto(this.records).log });
    t.teardown(() => {
      this.source.stop();
      agent.close();
    });
    this.source.start((endpoints) => {
      this.pushed.push(endpoints.map(({ port, weight }) => (weight === 1 ? `${port}` : `${port}*${weight}`)));
      this.#wake();
    });
  }

  /** Resolves when this holds; it is asked after every question, answer and push. */
  async until(holds: (followed: this) => boolean): Promise<void> {
    // The clock of the process does not keep it alive, and between two questions nothing else does.
    const alive = setInterval(() => {}, 1_000);
    while (!holds(this)) await this.#changed.promise;
    clearInterval(alive);
  }

  lists(...instances: (number | string)[]): Promise<void> {
    return this.until(({ pushed }) => pushed.at(-1)?.join() === instances.join());
  }

  answers(): number {
    return this.asked.filter(({ outcome }) => outcome === "answer").length;
  }

  errors(): number {
    return this.asked.filter(({ outcome }) => outcome === "error").length;
  }

  said(message: string): number {
    return this.records.filter(({ msg }) => msg.includes(message)).length;
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
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
    await followed.lists(1001);
    t.same([followed.pushed.length, followed.answers()], [1, 1]);
  });

  await t.test("an instance that comes is added, and one that goes is removed", async (t) => {
    await register(consul, 1002);
    await followed.lists(1001, 1002);
    await consul.tell("/v1/agent/service/deregister/orders-1001");
    await followed.lists(1002);
    t.equal(followed.errors(), 0);
  });

  await t.test("the worst check counts: warning stays, critical goes, passing comes back", async (t) => {
    const check = { CheckID: "ttl", TTL: "1h", Status: "passing" };
    await register(consul, 1003, { Check: check, Weights: { Passing: 4, Warning: 1 } });
    await followed.lists(1002, "1003*4");
    await consul.tell("/v1/agent/check/warn/ttl");
    await followed.lists(1002, 1003);
    await consul.tell("/v1/agent/check/fail/ttl");
    await followed.lists(1002);
    await consul.tell("/v1/agent/check/pass/ttl");
    await followed.lists(1002, "1003*4");
    await consul.tell("/v1/agent/service/maintenance/orders-1003?enable=true");
    await followed.lists(1002);
    t.pass("maintenance is one more critical check");
    await consul.tell("/v1/agent/service/deregister/orders-1003");
  });

  await t.test("a move of the index that changes no endpoint is no change", async (t) => {
    const pushes = followed.pushed.length;
    await register(consul, 1002, { Tags: ["blue"] });
    await followed.until(({ body }) => body.includes("blue"));
    await register(consul, 1004);
    await followed.lists(1002, 1004);
    t.equal(followed.pushed.length, pushes + 1);
  });

  await t.test(
    "while the agent is away its endpoints stay; back without memory, it is believed at once",
    async (t) => {
      const pushes = followed.pushed.length;
      await consul.kill();
      await followed.until(() => followed.errors() >= 3);
      t.equal(followed.pushed.length, pushes, "nothing was taken away");
      // Counted before the start: the watch may have its answer before the test knows that the agent is up.
      const asked = followed.asked.length;
      await consul.start();
      await followed.until(() => followed.asked.slice(asked).some(({ outcome }) => outcome === "answer"));
      // Longer than changes are gathered: what would be taken away is gone by now.
      await pause(200);
      t.equal(followed.pushed.length, pushes, "an agent that knows nobody takes nothing away either");
      await register(consul, 1005);
      await followed.lists(1005);
      const questions = followed.asked.slice(
        followed.asked.findIndex(({ outcome }) => outcome === "error") + 1,
      );
      const recovered = questions.findIndex(({ outcome }) => outcome === "answer");
      t.ok(
        questions.slice(0, recovered + 1).every(({ index }) => index === 0),
        "it was asked from 0",
      );
      t.equal(followed.said("does not answer"), 1);
      t.equal(followed.said("answers again"), 1);
      await register(consul, 1006);
      await followed.lists(1005, 1006);
      t.pass("and changes are followed again");
    },
  );
});

test("an agent that hangs is given up, and its endpoints stay", { skip: withoutConsul }, async (t) => {
  const consul = await startConsul(t);
  await register(consul, 1001);
  const followed = new Followed(t, consul.address, 1_000);
  await followed.lists(1001);
  consul.signal("SIGSTOP");
  await followed.until(() => followed.errors() > 0);
  t.equal(followed.pushed.length, 1);
  consul.signal("SIGCONT");
  await register(consul, 1002);
  await followed.lists(1001, 1002);
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
  "an empty body": (response) => answerJson(response, 200, ""),
  "500 with an index": (response) => answerJson(response, 500, "No cluster leader", 1),
  "403": (response) => answerJson(response, 403, "ACL not found"),
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

test("an agent that answers nonsense takes no endpoint away, and is asked until it is well", async (t) => {
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
      t.same(followed.pushed, [["1001"]], `${name}: the endpoints stay`);
      ill = false;
      await followed.lists(1001, 1002);
      t.equal(followed.said("does not answer"), 1, `${name}: said once`);
      t.ok(
        followed.asked.slice(2, -1).every(({ index }) => index === 0),
        `${name}: asked from 0`,
      );
    }),
  );
});

test("stop hangs up: a question that blocks does not hold a connection of the agent", async (t) => {
  const hungUp = Promise.withResolvers<void>();
  const agent = await startApp(t, (request, response) => {
    if (request.url?.includes("index=") === true) response.once("close", () => hungUp.resolve());
    else answerJson(response, 200, body(1001));
  });
  const followed = new Followed(t, `http://${agent.address}`);
  await followed.until(({ asked }) => asked.length === 2);
  while (agent.served < 2) await new Promise((resolve) => setImmediate(resolve));
  followed.source.stop();
  await hungUp.promise;
  t.equal(followed.said("does not answer"), 0, "and takes the end for no outage");
});

test("what is asked is the service, with token, datacenter and wait", async (t) => {
  const asked: IncomingMessage[] = [];
  const registry = await startApp(t, (request, response) => {
    asked.push(request);
    answerJson(response, 200, "[]", 12);
  });
  const address = `http://${registry.address}/`;
  const agent = new ConsulAgent({ address, token: "secret", datacenter: "north", waitMs: 90_000 });
  t.teardown(() => agent.close());
  const { signal } = new AbortController();
  t.same(await agent.health("or/ders", 0, signal), { index: 12, body: [] });
  await agent.health("orders", 12, signal);
  const [first, second] = asked.map(({ url }) => new URL(url ?? "", address));
  t.equal(first?.pathname, "/v1/health/service/or%2Fders");
  t.same(Object.fromEntries(first!.searchParams), { dc: "north" }, "judged here, so without passing");
  t.same(Object.fromEntries(second!.searchParams), { dc: "north", index: "12", wait: "90000ms" });
  for (const { headers } of asked) t.equal(headers["x-consul-token"], "secret", "not in the URL");
});
