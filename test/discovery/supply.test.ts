import { test } from "tap";
import type { Endpoint } from "../../core/index.ts";
import type { HealthCheckOptions } from "../../discovery/health/checks.ts";
import type { Probe } from "../../discovery/health/probe.ts";
import type { Merge } from "../../discovery/merge.ts";
import { LastGood } from "../../discovery/outage/last-good.ts";
import { QuestionLimit } from "../../discovery/question-limit.ts";
import type { Sink, Source } from "../../discovery/source.ts";
import { staticSource } from "../../discovery/static.ts";
import { Supply, supplied } from "../../discovery/supply.ts";
import { OPTIONS, said } from "../support/guarded.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { logInto } from "../support/sidecar.ts";

const CHECK: HealthCheckOptions = {
  probe: { type: "tcp" },
  intervalMs: 1_000,
  fastIntervalMs: 200,
  timeoutMs: 500,
  jitter: 0,
  rise: 2,
  fall: 2,
};

class ScriptedSource implements Source {
  readonly name: string;
  sink: Sink | undefined;
  stops = 0;

  constructor(name: string) {
    this.name = name;
  }

  start(sink: Sink): void {
    this.sink = sink;
  }

  stop(): void {
    this.stops++;
  }
}

interface Given {
  readonly merge?: Merge;
  readonly check?: boolean;
  readonly kept?: Readonly<Record<string, string>>;
  readonly sources?: readonly Source[];
}

function supply(names: string, { merge = "fallback", check = false, kept = {}, sources: given }: Given = {}) {
  const clock = new ManualClock();
  const { log } = logInto([]);
  const lastGood = new LastGood(undefined, OPTIONS.keepForMs, { clock, wallClock: () => clock.now(), log });
  for (const [name, list] of Object.entries(kept)) lastGood.remember(name, said(list));
  const sources = names.split(" ").map((name) => new ScriptedSource(name));
  const dead = new Set<number>();
  const told: string[] = [];
  const withLevels: string[] = [];
  let endpoints: readonly Endpoint[] = [];
  const probe: Probe = async ({ port }) =>
    dead.has(port) ? { passing: false, note: "ECONNREFUSED" } : { passing: true, note: "connected" };
  const one = new Supply(
    given ?? sources,
    { merge, outage: OPTIONS, healthCheck: check ? CHECK : undefined },
    {
      name: "orders",
      clock,
      random: seededRandom(1),
      log,
      lastGood,
      probe,
      questionLimit: new QuestionLimit(),
    },
    (now) => {
      endpoints = now;
      const byPort = now.toSorted((a, b) => a.port - b.port);
      withLevels.push(
        byPort
          .map(
            ({ port, priority, unwell }) =>
              `${port}${priority === undefined ? "" : `@${priority}`}${unwell ? "!" : ""}`,
          )
          .join(" "),
      );
      told.push(
        now
          .map(({ port }) => port)
          .sort((a, b) => a - b)
          .join(" "),
      );
    },
  );
  return {
    clock,
    supply: one,
    sources,
    dead,
    told,
    /** The same with levels, and a mark on those that are unwell. */
    withLevels,
    lastGood,
    endpoints: () => endpoints,
    used: () => told.at(-1),
    async says(name: string, text: string, thenMs = 100) {
      sources.find((source) => source.name === name)!.sink!.list(said(text));
      await clock.pass(thenMs);
    },
    async isSilent(name: string, thenMs = 0) {
      sources.find((source) => source.name === name)!.sink!.silent("away");
      await clock.pass(thenMs);
    },
    pass: (ms: number) => clock.pass(ms),
  };
}

test("one source is told as its guard judges it, the first word at once", async (t) => {
  const { supply: one, told, says } = supply("a");
  one.start();
  await says("a", "1 2 3c", 0);
  await says("a", "2 1 3c");
  await says("a", "1 2 3");
  t.same(told, ["1 2", "1 2 3"]);
});

test("of one source that is silent and has never spoken, nothing is told", async (t) => {
  const { supply: one, told, says, isSilent } = supply("a");
  one.start();
  await isSilent("a", 5_000);
  t.same(told, []);
  await says("a", "1", 0);
  t.same(told, ["1"]);
});

test("a fallback waits for its first choice, for a second", async (t) => {
  const { supply: one, told, says, pass } = supply("a b");
  one.start();
  await says("b", "9", 900);
  t.same(told, []);
  await pass(100);
  t.same(told, ["9"]);
  await says("a", "1");
  t.same(told, ["9", "1"], "and moves to the first choice when it speaks");
});

test("a first choice that is away and has no copy is not waited for; one that has is used", async (t) => {
  const without = supply("a b");
  without.supply.start();
  await without.says("b", "9", 10);
  await without.isSilent("a", 10);
  t.same(without.told, ["9"]);
  const withCopy = supply("a b", { kept: { a: "1 2" } });
  withCopy.supply.start();
  await withCopy.says("b", "9", 10);
  await withCopy.isSilent("a", 10);
  t.same(withCopy.told, ["1 2"]);
});

test("a first choice that hangs uses its copy before the second choice is turned to", async (t) => {
  const { supply: one, told, says, pass } = supply("a b", { kept: { a: "1 2" } });
  one.start();
  await says("b", "9", 10);
  await pass(2_000);
  t.same(told, ["1 2"]);
});

test("when all sources are away, that is not told as if there were nobody", async (t) => {
  const { supply: one, told, isSilent, pass } = supply("a b");
  one.start();
  await isSilent("a");
  await isSilent("b");
  await pass(5_000);
  t.same(told, []);
});

test("a fallback turns to the second source when the first has nobody, and back", async (t) => {
  const { supply: one, told, says } = supply("a b");
  one.start();
  await says("a", "1");
  await says("b", "8 9");
  await says("a", "1m");
  await says("a", "1");
  t.same(told, ["1", "8 9", "1"]);
});

test("a last resort of the first source is used only when the second has nobody who is well", async (t) => {
  const { supply: one, told, says } = supply("a b");
  one.start();
  await says("a", "1 2");
  await says("b", "9");
  await says("a", "1c 2c", 2_000);
  t.same(told, ["1 2", "9"]);
  await says("b", "9m");
  t.same(told, ["1 2", "9", "1 2"]);
  await says("a", "1c 2");
  t.same(told, ["1 2", "9", "1 2", "2"]);
});

test("what is in doubt and answers is used beside no last resort", async (t) => {
  const { supply: one, used, says } = supply("a");
  one.start();
  await says("a", "1 2 3");
  await says("a", "3c", 2_000);
  t.equal(used(), "1 2");
});

test("a union uses all sources together; the first that names an address counts", async (t) => {
  const { supply: one, sources, told, says, endpoints, pass } = supply("a b", { merge: "union" });
  one.start();
  sources[0]!.sink!.list(said("1 2").map((instance) => ({ ...instance, weight: 7 })));
  t.same(told, [], "the others are waited for as well");
  await says("b", "2 3");
  t.same(told, ["1 2 3"]);
  t.same(
    [...endpoints()].sort((a, b) => a.port - b.port).map(({ weight }) => weight),
    [7, 7, 1],
  );
  await says("b", "1");
  t.equal(told.at(-1), "1 2");
  await pass(2_000);
});

test("a union does without those that do not speak within a second", async (t) => {
  const { supply: one, told, says, pass } = supply("a b c", { merge: "union" });
  one.start();
  await says("b", "2", 500);
  await says("c", "3", 400);
  t.same(told, []);
  await pass(100);
  t.same(told, ["2 3"]);
});

test("a union takes one that is unwell in one source from another where it is well", async (t) => {
  const { supply: one, used, says } = supply("a b", { merge: "union" });
  one.start();
  await says("a", "1 2");
  await says("b", "2 3");
  await says("a", "1c 2c", 2_000);
  t.equal(used(), "2 3");
  await says("b", "2c 3m", 2_000);
  t.equal(used(), "1 2", "and last resorts together");
});

test("health checks take away and give back", async (t) => {
  const { supply: one, told, dead, says, pass } = supply("a", { check: true });
  one.start();
  await says("a", "1 2", 2_000);
  dead.add(1);
  await pass(3_000);
  dead.clear();
  await pass(3_000);
  t.same(told, ["1 2", "2", "1 2"]);
});

test("health checks never take away everybody: the registry alone counts then", async (t) => {
  for (const merge of ["fallback", "union"] as const) {
    const { supply: one, told, dead, says, pass } = supply("a", { check: true, merge });
    one.start();
    dead.add(1).add(2).add(3);
    await says("a", "1 2 3", 10_000);
    t.equal(told.at(-1), "1 2 3", merge);
    t.ok(told.every((used) => used !== ""));
    dead.delete(2);
    await pass(3_000);
    t.equal(told.at(-1), "2");
  }
});

test("health checks add nobody that the registry takes away", async (t) => {
  const { supply: one, used, says } = supply("a", { check: true });
  one.start();
  await says("a", "1 2 3", 3_000);
  await says("a", "1m 2c 3", 3_000);
  t.equal(used(), "3");
});

test("a fallback turns to the second source when all of the first fail their checks", async (t) => {
  const { supply: one, used, dead, says, pass } = supply("a b", { check: true });
  one.start();
  await says("a", "1 2");
  await says("b", "8 9", 3_000);
  t.equal(used(), "1 2");
  dead.add(1);
  await pass(3_000);
  t.equal(used(), "2");
  dead.add(2);
  await pass(3_000);
  t.equal(used(), "8 9");
  dead.add(8).add(9);
  await pass(3_000);
  t.equal(used(), "1 2", "if nobody passes anywhere, the first source counts");
  dead.delete(9);
  await pass(3_000);
  t.equal(used(), "9");
});

test("levels are told with those that are not well, as registry and checks say so", async (t) => {
  const { supply: one, withLevels, dead, says, pass } = supply("a", { check: true });
  one.start();
  await says("a", "1 2 3c 4@1 5m", 2_000);
  dead.add(1);
  await pass(3_000);
  await says("a", "1 2 3 4@1 5m");
  dead.clear();
  await pass(3_000);
  t.same(withLevels, ["1 2 3! 4@1", "1! 2 3! 4@1", "1! 2 3 4@1", "1 2 3 4@1"]);
  await says("a", "1 2 3c 4m 5m");
  t.equal(withLevels.at(-1), "1 2", "with one level as ever");
});

test("that one more is known to be unwell is told where there are levels, and only there", async (t) => {
  const { supply: one, told, withLevels, says } = supply("a b", { merge: "union" });
  one.start();
  await says("a", "1 2c");
  await says("b", "3");
  await says("a", "1 2c 4c");
  t.same(told, ["1 3"]);
  await says("b", "3@1");
  await says("a", "1 2c 4c 5u");
  await says("a", "1 2c 5u");
  t.same(withLevels, ["1 3", "1 2! 3@1 4!", "1 2! 3@1 4! 5!", "1 2! 3@1 5!"]);
});

test("sources by priority are levels behind each other, and all of them are waited for", async (t) => {
  const { supply: one, withLevels, dead, says, pass } = supply("a b", { merge: "priority", check: true });
  one.start();
  await says("a", "1 2@1");
  t.same(withLevels, []);
  await says("b", "8 9@1", 2_000);
  t.same(withLevels, ["1 2@1 8@2 9@3"]);
  dead.add(1).add(2);
  await pass(3_000);
  t.equal(withLevels.at(-1), "1! 2@1! 8@2 9@3", "the next level is told of the first one's state");
  await says("a", "1m 2m");
  t.equal(withLevels.at(-1), "8@1 9@2");
  t.match(one.view(), { merge: "priority" });
});

test("the view has the state of each source, each instance with its reason, and what the checks have found", async (t) => {
  const { supply: one, dead, says, isSilent } = supply("a b", { check: true });
  one.start();
  dead.add(2);
  t.match(one.view(), { merge: "fallback", sources: [{ source: "a", state: "starting" }, {}], checks: {} });
  await says("a", "1 2 3c", 3_000);
  await says("b", "");
  await isSilent("b", 1_000);
  const { sources, checks } = one.view();
  t.match(sources[0], {
    source: "a",
    state: "current",
    instances: [
      { address: "10.0.0.1:1", health: "passing", used: true },
      { address: "10.0.0.1:2", used: true },
      { address: "10.0.0.1:3", health: "critical", used: false },
    ],
  });
  t.match(sources[1], { source: "b", state: "silent", why: "away", forMs: 1_000 });
  t.same(checks, {
    "10.0.0.1:1": { health: "passing", note: "connected" },
    "10.0.0.1:2": { health: "failing", note: "ECONNREFUSED" },
  });
  const alone = supply("a");
  t.notOk("merge" in alone.supply.view(), "one source is not put together with anything");
  t.match(supplied("static", said("1")), {
    sources: [{ source: "static", state: "current", instances: [{ address: "10.0.0.1:1", used: true }] }],
  });
});

test("of endpoints that are named for ever no copy is kept", async (t) => {
  const { supply: one, told, lastGood } = supply("", { sources: [staticSource(said("1 2"))] });
  one.start();
  t.same(told, ["1 2"]);
  t.equal(lastGood.recall("static"), undefined);
});

test("after stop nothing is told, asked or waited for any more, whenever that is", async (t) => {
  for (const sooner of [0, 100, 1_500, 5_000]) {
    const all = supply("a b", { check: true, kept: { b: "9" } });
    all.supply.start();
    await all.says("a", "1 2", 10);
    await all.says("a", "", sooner);
    all.supply.stop();
    const count = all.told.length;
    t.equal(all.clock.pending, 0, `${sooner} ms after`);
    all.dead.add(1);
    await all.says("a", "3", 100);
    await all.isSilent("b", 5_000);
    t.same([all.told.length, all.clock.pending], [count, 0]);
    t.same(
      all.sources.map(({ stops }) => stops),
      [1, 1],
    );
  }
});

test("what a source says while it is stopped is not told", async (t) => {
  let sink: Sink | undefined;
  const source: Source = {
    name: "a",
    start(given) {
      sink = given;
      sink.list(said("1"));
    },
    stop: () => {
      sink!.list(said("2"));
      sink!.silent("stopped");
    },
  };
  const { supply: one, told, clock } = supply("", { sources: [source] });
  one.start();
  one.stop();
  t.same([told, clock.pending], [["1"], 0]);
});

test("the order in which endpoints come is no change", async (t) => {
  const { supply: one, told, says } = supply("a");
  one.start();
  await says("a", "1 2");
  await says("a", "1c 2c", 2_000);
  await says("a", "2 1");
  t.same(told, ["1 2"]);
});

test("whoever is told may stop it, also while it starts", async (t) => {
  const clock = new ManualClock();
  const { log } = logInto([]);
  const lastGood = new LastGood(undefined, 1_000, { clock, wallClock: () => clock.now(), log });
  const second = new ScriptedSource("b");
  const one: Supply = new Supply(
    [staticSource(said("1")), { name: "away", start: (sink) => sink.silent("away"), stop() {} }, second],
    { merge: "fallback", outage: OPTIONS, healthCheck: CHECK },
    {
      name: "orders",
      clock,
      random: seededRandom(1),
      log,
      lastGood,
      probe: async () => ({ passing: true, note: "" }),
      questionLimit: new QuestionLimit(),
    },
    () => one.stop(),
  );
  one.start();
  await settled();
  await clock.pass(2_000);
  t.equal(clock.pending, 0);
  t.equal(second.sink, undefined, "what had not begun does not begin");
});

test("a fallback does not wait for sources behind the one that it uses, and waits for those before it", async (t) => {
  const { supply: one, sources, told } = supply("a b c");
  one.start();
  sources[1]!.sink!.list(said("2"));
  t.same(told, [], "the first may still speak");
  sources[0]!.sink!.list(said("1"));
  t.equal(told.length, 1, "and the third need not");
});
