import { Agent } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { type Test, test } from "tap";
import { type Answer, type App, call, startApp, type Teardown } from "../support/apps.ts";
import { type Consul, freePorts, startConsul, withoutConsul } from "../support/consul.ts";
import { type SidecarProcess, startSidecar } from "../support/sidecar.ts";

const PER_SECOND = 200;
const CONSECUTIVE_FAILURES = 5;

/** Requests at a steady rate through one sidecar, whatever becomes of the earlier ones. */
class Load {
  readonly name: string;
  readonly sidecar: SidecarProcess;
  /** How every fourth request is sent, with a body. */
  method = "PUT";
  answered = 0;
  /** What a client would complain about. */
  readonly faults: string[] = [];
  #sent = 0;
  #most = 0;
  readonly #agent = new Agent({ keepAlive: true });
  #ticks: NodeJS.Timeout | undefined;

  constructor(name: string, sidecar: SidecarProcess) {
    this.name = name;
    this.sidecar = sidecar;
  }

  begin(t: Teardown, perSecond: number): void {
    const startedAtMs = performance.now();
    this.#ticks = setInterval(() => {
      const due = ((performance.now() - startedAtMs) * perSecond) / 1000;
      while (this.#sent < due) void this.#send(this.#sent++);
    }, 5);
    t.teardown(() => {
      clearInterval(this.#ticks);
      this.#agent.destroy();
    });
  }

  get inFlight(): number {
    return this.#sent - this.answered - this.faults.length;
  }

  /** Most requests that were in flight together since this was last asked. */
  takeMost(): number {
    const most = this.#most;
    this.#most = 0;
    return most;
  }

  /** Resolves when so many more requests have been answered. */
  async go(requests: number): Promise<void> {
    const until = this.answered + requests;
    await eventually(`${requests} more answers`, async () => this.answered >= until);
  }

  /** Sends no more, and resolves when all have ended. */
  async end(): Promise<void> {
    clearInterval(this.#ticks);
    await eventually("the last answer", async () => this.inFlight === 0);
  }

  async endpoints(): Promise<string[]> {
    const page = await this.sidecar.admin.json<Record<string, { address: string }[]>>("/endpoints");
    return (page["orders"] ?? []).map(({ address }) => address).sort();
  }

  async lists(replicas: readonly Replica[]): Promise<void> {
    const wanted = replicas.map(({ address }) => address).sort();
    await eventually(`endpoints ${wanted}`, async () => `${await this.endpoints()}` === `${wanted}`);
  }

  /** What its sidecar has counted. */
  async attempts(): Promise<{ all: number; failed: number; opened: number; outcomes: string }> {
    const { admin } = this.sidecar;
    const series = await admin.series("heddle_attempts_total");
    const count = (counted: typeof series) => counted.reduce((sum, { value }) => sum + value, 0);
    return {
      all: count(series),
      failed: count(series.filter(({ labels }) => labels["outcome"] !== "success")),
      opened: await admin.metric("heddle_breaker_opened_total"),
      outcomes: series.map(({ labels, value }) => `${value} ${labels["outcome"]}`).join(", "),
    };
  }

  async #send(n: number): Promise<void> {
    this.#most = Math.max(this.#most, this.inFlight);
    const body = n % 4 === 0 ? "four pages of order ".repeat(n % 80) : "";
    const method = n % 4 === 0 ? this.method : "GET";
    const path = `/${this.name}/${n}`;
    try {
      const { outbound } = this.sidecar.addresses;
      const reply = await call(outbound.port, "orders", { agent: this.#agent, method, path, body });
      if (reply.status === 200 && reply.body === `${path} ${body}`) this.answered++;
      else this.faults.push(`${method} ${path}: ${reply.status} ${reply.body.slice(0, 200)}`);
    } catch (thrown) {
      this.faults.push(`${method} ${path}: ${(thrown as Error).message}`);
    }
  }
}

/** Asks until it holds; the limit only says what was waited for in vain. */
async function eventually(what: string, holds: () => Promise<boolean>, limitMs = 20_000): Promise<void> {
  for (const untilMs = performance.now() + limitMs; !(await holds()); await pause(20))
    if (performance.now() > untilMs) throw new Error(`waited ${limitMs} ms for ${what}`);
}

/** One instance of `orders`: an app and its sidecar, which keeps its port over restarts. */
class Replica {
  readonly id: string;
  readonly address: string;
  /** Requests served, by the name of the load. */
  readonly served: Record<string, number> = {};
  app!: App;
  sidecar!: SidecarProcess;
  readonly #startSidecar: () => Promise<SidecarProcess>;

  constructor(t: Teardown, consul: Consul, id: string, port: number) {
    this.id = id;
    this.address = `127.0.0.1:${port}`;
    this.#startSidecar = () =>
      startSidecar(t, {
        service: { name: "orders", id, port: this.app.port, check: { interval: "1s" } },
        inbound: { listen: this.address },
        discovery: { consul: { address: consul.address } },
        telemetry: { accessLog: false },
      });
  }

  async start(t: Teardown): Promise<this> {
    this.app = await startApp(t, this.#answer);
    this.sidecar = await this.#startSidecar();
    return this;
  }

  async kill(): Promise<void> {
    await Promise.all([this.sidecar.kill(), this.app.stop()]);
  }

  async startAgain(): Promise<void> {
    await this.app.start();
    this.sidecar = await this.#startSidecar();
  }

  /** Says what was sent, so that a body that came in part is noticed; slowly, so that there is always one under way. */
  #answer: Answer = async (request, response) => {
    let text = "";
    for await (const part of request.setEncoding("utf8")) text += part;
    const [, load = ""] = request.url?.split("/") ?? [];
    this.served[load] = (this.served[load] ?? 0) + 1;
    await pause(10);
    response.end(`${request.url} ${text}`);
  };
}

async function passing(consul: Consul): Promise<string[]> {
  const entries = await consul.ask<{ Service: { ID: string } }[]>("/v1/health/service/orders?passing");
  return entries.map(({ Service }) => Service.ID).sort();
}

/** A sidecar of a client of `orders`. */
function startCaller(t: Teardown, consul: Consul, orders: object): Promise<SidecarProcess> {
  return startSidecar(t, {
    upstreams: { orders },
    discovery: { consul: { address: consul.address } },
    telemetry: { accessLog: false },
  });
}

test("clients do not notice what happens to replicas and to the registry", {
  skip: withoutConsul,
}, async (t) => {
  const consul = await startConsul(t);
  const ports = await freePorts(3);
  // One client asks its replicas in turn, so that the breaker alone keeps it from a dead one; the other has the defaults.
  const breaker = { consecutiveFailures: CONSECUTIVE_FAILURES, openFor: "500ms" };
  const [inTurn, byDefault, ...replicas] = await Promise.all([
    startCaller(t, consul, { balancing: { algorithm: "roundRobin" }, breaker }),
    startCaller(t, consul, {}),
    ...ports.map((port, n) => new Replica(t, consul, `orders-${n}`, port).start(t)),
  ]);
  const [first, second] = replicas as [Replica, Replica, Replica];
  const load = new Load("in-turn", inTurn);
  const loads = [load, new Load("by-default", byDefault)];
  await Promise.all(loads.map((each) => each.lists(replicas)));
  load.begin(t, PER_SECOND);
  loads[1]!.begin(t, PER_SECOND / 4);
  const faults = () => loads.flatMap((each) => each.faults);

  /** Resolves when each of them has served so many more. */
  async function serve(who: readonly Replica[], requests: number, name = load.name): Promise<void> {
    const until = who.map(({ served }) => (served[name] ?? 0) + requests);
    await eventually(`${requests} more at each replica ${name}`, async () =>
      who.every(({ served }, i) => (served[name] ?? 0) >= until[i]!),
    );
  }

  async function tell(t: { comment(text: string): void }, what: string): Promise<void> {
    for (const each of loads) {
      const { all, outcomes, opened } = await each.attempts();
      const served = replicas.map((replica) => replica.served[each.name] ?? 0);
      t.comment(
        `${what}, ${each.name}: ${each.answered} answered, ${each.faults.length} errors; ` +
          `${all} attempts (${outcomes}), breakers opened ${opened} times; served ${served.join(" + ")}`,
      );
    }
  }

  await t.test("every replica that Consul lists is used", async (t) => {
    await serve(replicas, 50);
    t.same(faults(), []);
    for (const each of loads) t.equal((await each.attempts()).failed, 0);
    await tell(t, "three replicas");
  });

  /** Counts what reaches a dead replica meanwhile, beyond what a breaker has to let through. */
  async function bounded(t: Test, meanwhile: () => Promise<void>): Promise<void> {
    const before = await Promise.all(loads.map((each) => each.attempts()));
    for (const each of loads) each.takeMost();
    await meanwhile();
    for (const [i, each] of loads.entries()) {
      const after = await each.attempts();
      const failed = after.failed - before[i]!.failed;
      const probes = Math.max(0, after.opened - before[i]!.opened - 1);
      // What was on its way already when the breaker opened could not be refused.
      const together = each.takeMost();
      t.comment(
        `${each.name}: ${failed} failures there, ${probes} of them probes; ${together} at once at most`,
      );
      t.ok(failed <= CONSECUTIVE_FAILURES + probes + together, `${each.name}: few attempts reached it`);
    }
    t.same(faults(), []);
  }

  await t.test("a replica that dies costs a few attempts, and no request", async (t) => {
    await bounded(t, async () => {
      await first.kill();
      await load.go(2 * PER_SECOND);
      await Promise.all(loads.map((each) => each.lists(replicas.slice(1))));
      await load.go(PER_SECOND);
    });
    await tell(t, "one died");
  });

  await t.test("a replica that comes back is used again", async (t) => {
    const used = serve([first], 20, "by-default");
    await first.startAgain();
    await Promise.all(loads.map((each) => each.lists(replicas)));
    await serve(replicas, 50);
    await used;
    t.same(faults(), []);
    await tell(t, "it came back");
  });

  await t.test("a sidecar that dies alone, while its app is well, costs as little", async (t) => {
    await bounded(t, async () => {
      await first.sidecar.kill();
      await load.go(3 * PER_SECOND);
    });
    await first.startAgain();
    await serve(replicas, 50);
    t.same(faults(), []);
    await tell(t, "a sidecar died and came back");
  });

  await t.test("a registry that dies and comes back without memory is no event for clients", async (t) => {
    const before = await load.attempts();
    await consul.kill();
    await load.go(2 * PER_SECOND);
    await serve(replicas, 50);
    for (const each of loads)
      t.equal((await each.endpoints()).length, 3, "while it is away, all stay in use");
    await consul.start();
    await eventually("three registrations", async () => (await passing(consul)).length === 3);
    await Promise.all(loads.map((each) => each.lists(replicas)));
    await serve(replicas, 50);
    t.equal((await load.attempts()).failed, before.failed);
    t.same(faults(), []);
    await tell(t, "the registry died and came back");
  });

  await t.test("a replica that is asked to end leaves without a trace", async (t) => {
    // Requests that may not be sent twice are the ones that would tell.
    for (const each of loads) each.method = "POST";
    await load.go(PER_SECOND);
    const before = await Promise.all(loads.map((each) => each.attempts()));
    const ended = second.sidecar.end();
    await eventually("its registration to end", async () => !(await passing(consul)).includes(second.id));
    t.equal(await ended, 0, "it exits with 0");
    await Promise.all(loads.map((each) => each.lists(replicas.filter((replica) => replica !== second))));
    const served = { ...second.served };
    await load.go(PER_SECOND);
    t.same(second.served, served);
    t.same(faults(), []);
    for (const [i, each] of loads.entries())
      t.equal(
        (await each.attempts()).failed,
        before[i]!.failed,
        `${each.name}: nobody found its port closed`,
      );
    await tell(t, "one was asked to end");
  });

  await t.test("every request was answered with what it had sent", async (t) => {
    await Promise.all(loads.map((each) => each.end()));
    t.same(faults(), []);
    for (const each of loads) t.equal(await each.sidecar.end(), 0);
  });
});
