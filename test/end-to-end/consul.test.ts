import { type Test, test } from "tap";
import type { Teardown } from "../support/apps.ts";
import { type Consul, startConsul, withoutConsul } from "../support/consul.ts";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/free-ports.ts";
import { Load, Replica } from "../support/mesh.ts";
import { type SidecarProcess, startSidecar } from "../support/sidecar.ts";

const PER_SECOND = 200;
const CONSECUTIVE_FAILURES = 5;

async function passing(consul: Consul): Promise<string[]> {
  const entries = await consul.ask<{ Service: { ID: string } }[]>("/v1/health/service/orders?passing");
  return entries.map(({ Service }) => Service.ID).sort();
}

/** A sidecar of a client of `orders`. */
function startCaller(t: Teardown, consul: Consul, orders: object): Promise<SidecarProcess> {
  return startSidecar(t, {
    upstreams: { orders: { follow: "always", ...orders } },
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
    ...ports.map((port, n) => new Replica(t, { address: consul.address }, `orders-${n}`, port).start(t)),
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
    // What was asked in vain waits a moment before it is asked again.
    await Promise.all(loads.map((each) => each.hears()));
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
