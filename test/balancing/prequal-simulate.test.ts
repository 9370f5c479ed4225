import { test } from "tap";
import { Engine } from "../../bench/simulate/engine.ts";
import { prequal, roundRobin, weightedRoundRobin } from "../../bench/simulate/experiments/prequal-rules.ts";
import { ALLOCATED, type Asker, DEADLINE_MS, Machine, Query } from "../../bench/simulate/machine.ts";
import { MEAN_WORK_MS, runProbingFarm } from "../../bench/simulate/probing-farm.ts";

type Ending = [sentAtMs: number, endedAtMs: number, failed: boolean];

/** A machine whose antagonists want all that there is: what is promised is what it has. */
function busyMachine(
  engine: Engine,
  slowness?: number,
): { machine: Machine; endings: Ending[]; asker: Asker } {
  const endings: Ending[] = [];
  const asker: Asker = {
    ended: (query, failed, nowMs) => endings.push([query.sentAtMs, Math.round(nowMs * 1e6) / 1e6, failed]),
  };
  return { machine: new Machine(engine, { next: () => 0.999 }, slowness), endings, asker };
}

test("a query uses one core, and more of them share what there is evenly", async (t) => {
  t.equal(ALLOCATED, 2);
  const engine = new Engine();
  const { machine, endings, asker } = busyMachine(engine);
  const send = (atMs: number, workMs: number) =>
    engine.at(atMs, { happen: (nowMs) => machine.accept(new Query(asker, 0, nowMs, workMs), nowMs) });
  send(0, 10);
  send(100, 10);
  send(101, 30);
  // Four on two cores, each at half of the speed.
  for (const atMs of [200, 200, 200, 200]) send(atMs, 10);
  engine.run(1000);
  t.same(endings, [
    [0, 10, false],
    [100, 110, false],
    [101, 131, false],
    [200, 220, false],
    [200, 220, false],
    [200, 220, false],
    [200, 220, false],
  ]);
  t.same(machine.work(1000).done, 7);
  t.ok(Math.abs(machine.work(1000).usedMs - 90) < 1e-6);
});

test("a slow machine needs twice the work, and an idle one has more than is promised", async (t) => {
  const engine = new Engine();
  const slow = busyMachine(engine, 2);
  slow.machine.accept(new Query(slow.asker, 0, 0, 10), 0);
  const endings: Ending[] = [];
  const asker: Asker = { ended: (query, failed, nowMs) => endings.push([query.sentAtMs, nowMs, failed]) };
  // Antagonists that want as little as they ever do leave it fifteen cores.
  const idle = new Machine(engine, { next: () => 0.001 });
  for (let i = 0; i < 15; i++) idle.accept(new Query(asker, 0, 0, 10), 0);
  engine.run(100);
  t.same(slow.endings, [[0, 20, false]]);
  t.ok(endings.length === 15 && endings.every(([, endedAtMs]) => endedAtMs < 10.1));
});

test("what is not done at the deadline is given up, and the others go on with what it leaves", async (t) => {
  const engine = new Engine();
  const { machine, endings, asker } = busyMachine(engine);
  for (let i = 0; i < 4; i++) machine.accept(new Query(asker, 0, 0, 100_000), 0);
  engine.at(4000, { happen: (nowMs) => machine.accept(new Query(asker, 0, nowMs, 1000), nowMs) });
  engine.run(20_000);
  // A thousand milliseconds at two fifths of the speed, and then all of a core.
  t.same(endings, [...Array.from({ length: 4 }, () => [0, DEADLINE_MS, true]), [4000, 5600, false]]);
  t.equal(machine.inFlight, 0);
  t.equal(machine.own.answer(20_000).inFlight, 0);
});

test("one that fails is done at once", async (t) => {
  const engine = new Engine();
  const { machine, endings, asker } = busyMachine(engine);
  machine.failFrom(50);
  engine.at(50, { happen: (nowMs) => machine.accept(new Query(asker, 0, nowMs, 1000), nowMs) });
  engine.run(100);
  t.same(endings, [[50, 51, true]]);
});

test("the farm's load is what it says, all rules meet the same queries, and a seed gives the same again", async (t) => {
  const run = (rule = roundRobin, seed = 1) => runProbingFarm({ seed, rule, load: 0.5, lastsMs: 4_000 });
  const [turns, again, ours, other] = [run(), run(), run(prequal()), run(roundRobin, 2)];
  t.equal(turns.times.percentile(0.99), again.times.percentile(0.99));
  t.not(turns.times.percentile(0.99), other.times.percentile(0.99));
  t.equal(turns.queries, ours.queries);
  for (const { used } of [turns, ours]) {
    const mean = used.reduce((sum, value) => sum + value, 0) / used.length;
    // Of 5000 queries' work, 1.3 % is chance; queues at both ends are the rest.
    t.ok(Math.abs(mean - 0.5) < 0.04, `${mean}`);
  }
  t.ok(ours.times.percentile(0.5) > MEAN_WORK_MS, "nobody is quicker than the work is long");
});

test("turns by weight give slow machines less, so that all are used alike", async (t) => {
  const spread = (rule: typeof roundRobin) => {
    const { used } = runProbingFarm({ seed: 1, rule, load: 0.4, halfSlow: true, lastsMs: 10_000 });
    const of = (odd: number) => used.filter((_, i) => i % 2 === odd).reduce((sum, value) => sum + value, 0);
    return of(1) / of(0);
  };
  const [even, weighted] = [spread(roundRobin), spread(weightedRoundRobin)];
  t.ok(even > 1.9 && even < 2.1, `${even}`);
  t.ok(weighted > 0.85 && weighted < 1.3, `${weighted}`);
});
