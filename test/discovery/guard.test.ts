import { test } from "tap";
import { Guard } from "../../discovery/outage/guard.ts";
import { LastGood } from "../../discovery/outage/last-good.ts";
import { guarded, MINUTE, OPTIONS, range, said } from "../support/guarded.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { logInto } from "../support/sidecar.ts";

// What is believed at once.

test("the first list is applied at once, and later ones with what comes within 60 ms", async (t) => {
  const { told, says, pass } = guarded();
  await says("1 2", 0);
  t.same(told, ["1 2"]);
  await says("1 2 3", 20);
  await says("1 2 3 4", 20);
  t.same(told, ["1 2"], "gathered");
  await pass(20);
  t.same(told, ["1 2", "1 2 3 4"]);
  await says("1", 20);
  await says("1 2 3 4", 100);
  t.equal(told.length, 2, "a change that is taken back is none");
});

test("a service without instances is known to have none at once", async (t) => {
  const { told, says } = guarded();
  await says("", 0);
  t.same(told, [""]);
});

test("content decides what is a change, not the order", async (t) => {
  const { told, guard, says, pass, endpoints } = guarded();
  await says("1 2 3");
  await says("3 1 2");
  await says("1 2w 3");
  t.equal(told.length, 1);
  guard.list(said("1 2").concat({ ...said("3")[0]!, weight: 5, zone: "b" }));
  await pass(100);
  t.same(told, ["1 2 3", "1 2 3"], "weight and zone are content");
  t.match(endpoints().at(-1), { port: 3, weight: 5, zone: "b" });
  t.strictSame(Object.keys(endpoints()[0]!).sort(), ["address", "port", "source", "weight"]);
});

test("a registry that names an address twice is believed where it says the better", async (t) => {
  for (const text of ["1c 1 2", "1 1c 2"]) {
    const { used, says } = guarded();
    await says(text);
    t.equal(used(), "1 2", text);
  }
  const { used, says, asked } = guarded();
  await says("1 1c 2 3 4");
  await says("1 1c 2");
  t.same([used(), asked.length], ["1 2", 0], "and counts once: half has gone");
});

test("what concerns a few is believed at once: absent, unreachable, critical or in maintenance", async (t) => {
  for (const rest of ["3 4", "1u 3 4", "1c 2c 3 4", "1m 2m 3 4", "1u 2c 3 4", "1c 3 4"]) {
    const { used, asked, says } = guarded();
    await says("1 2 3 4");
    await says(rest);
    t.same([used(), asked.length], ["3 4", 0], rest);
  }
});

test("a share is exact: 57 of 100 is not more than 57 %", async (t) => {
  for (const [share, of, leave] of [
    [0.57, 100, 57],
    [0.7, 10, 7],
    [0.1, 30, 3],
    [0.29, 100, 29],
  ] as const) {
    const believed = guarded({ suspiciousShare: share });
    await believed.says(range(1, of));
    await believed.says(range(leave + 1, of));
    t.equal(believed.asked.length, 0, `${leave} of ${of} at ${share}`);
    const asked = guarded({ suspiciousShare: share });
    await asked.says(range(1, of));
    await asked.says(range(leave + 2, of));
    t.ok(asked.asked.length > 0, `${leave + 1} of ${of} at ${share}`);
  }
});

test("with a share of 100 % the registry is always believed", async (t) => {
  const { used, asked, says } = guarded({ suspiciousShare: 1 });
  await says("1 2 3");
  await says("3u");
  t.equal(used(), "");
  await says("1");
  await says("");
  t.same([used(), asked.length], ["", 0]);
});

test("a list that is replaced by another of about its length is a roll-out, and believed at once", async (t) => {
  const { used, asked, says } = guarded();
  await says(range(1, 10));
  await says(range(11, 20));
  t.equal(used(), range(11, 20));
  await says(range(21, 27));
  t.same([used(), asked.length], [range(21, 27), 0]);
});

test("a rolling update is believed at each step, however quick", async (t) => {
  const { used, asked, says } = guarded();
  await says(range(1, 10));
  for (let step = 1; step <= 30; step++) {
    await says(range(1 + step, 10 + step));
    t.equal(used(), range(1 + step, 10 + step));
  }
  t.equal(asked.length, 0);
});

test("one instance that comes and goes does not make the others look as if they had gone", async (t) => {
  const { used, asked, says } = guarded();
  for (let round = 0; round < 20; round++) {
    await says("1 2 3");
    await says("1 2");
    t.equal(used(), "1 2");
  }
  t.equal(asked.length, 0);
});

test("maintenance is somebody's wish, also when it is wished for all", async (t) => {
  const { used, asked, says } = guarded();
  await says("1 2 3");
  await says("1m 2m 3m");
  t.same([used(), asked.length], ["", 0]);
});

test("maintenance of most does not make the absence of a few suspicious", async (t) => {
  const { used, asked, says } = guarded();
  await says(range(1, 10));
  await says(`${range(1, 8, "m")} 9 10`);
  await says(`${range(1, 8, "m")} 9`);
  t.same([used(), asked.length], ["9", 0]);
});

test("one in doubt that goes into maintenance leaves at once", async (t) => {
  const { used, says } = guarded();
  await says("1 2 3");
  await says("", 3_000);
  t.equal(used(), "1 2 3");
  await says("2m");
  t.equal(used(), "1 3");
});

// Those that are known and not well.

test("who is critical or unreachable is known to be unwell, and nobody else", async (t) => {
  const { guard, told, unwellNow, says } = guarded();
  await says("1 2w 3c 4m 5u@2 6o", 0);
  t.same([told, unwellNow()], [["1 2"], "3 5"]);
  const at = { address: "10.0.0.1", weight: 1, source: "test" };
  t.strictSame(guard.unwell, [
    { ...at, port: 3 },
    { ...at, port: 5, priority: 2 },
  ]);
  await says("1 2 3 4c 6o");
  t.same([told.at(-1), unwellNow()], ["1 2 3", "4"]);
});

test("that only the unwell have changed is said apart, and changes nothing of what is used", async (t) => {
  const { told, unwell, says, records } = guarded();
  await says("1 2 3c");
  const logged = records.length;
  await says("1 2 3c 4c");
  await says("4c 3c 2 1");
  await says("1 2 4c 3m");
  await says("1 2");
  t.same(unwell, ["3 4", "4", ""]);
  t.same(told, ["1 2"]);
  t.equal(records.length, logged);
  await says("1 2c");
  t.same([told.length, unwell.length], [2, 3], "what changes together is said together");
});

test("who is used as a last resort or in doubt is not unwell besides, and who is refuted is while it is listed", async (t) => {
  const { used, unwellNow, dead, says } = guarded();
  await says("1 2 3");
  dead.add(3);
  await says("1c 2c 3c", 5_000);
  t.same([used(), unwellNow()], ["1* 2*", "3"]);
  await says("1 2u 3u", 5_000);
  t.same([used(), unwellNow()], ["1 2", "3"]);
});

test("in a silence the unwell are who they were, and nobody when it has lasted too long", async (t) => {
  const { used, unwellNow, says, isSilent } = guarded();
  await says("1 2c");
  await isSilent(30 * MINUTE);
  t.same([used(), unwellNow()], ["1", "2"]);
  await isSilent(31 * MINUTE);
  t.same([used(), unwellNow()], ["", ""]);
});

test("a priority is content, and kept", async (t) => {
  const { told, endpoints, says, lastGood } = guarded();
  await says("1 2@1");
  await says("1 2@2");
  t.equal(told.length, 2);
  t.strictSame(
    endpoints().map(({ port, priority }) => [port, priority]),
    [
      [1, undefined],
      [2, 2],
    ],
  );
  t.notOk("priority" in endpoints()[0]!);
  t.match(lastGood.recall("test")?.instances, [{ port: 1 }, { port: 2, priority: 2 }]);
});

// Silence.

test("a silence keeps the endpoints for as long as is said, then drops them with an error", async (t) => {
  const { told, says, isSilent, pass, guard, logged, records } = guarded();
  await says("1 2");
  for (let i = 0; i < 59; i++) await isSilent(MINUTE);
  t.same(told, ["1 2"]);
  t.equal(logged("endpoints are kept"), 1, "said once");
  t.match(guard.view(), { state: "silent", why: "connect ECONNREFUSED" });
  await pass(MINUTE);
  t.same(told, ["1 2", ""]);
  t.equal(guard.view().state, "expired");
  t.equal(records.filter(({ level }) => level === "error").length, 1);
  await isSilent(MINUTE);
  await says("1");
  t.same(told, ["1 2", "", "1"]);
  t.equal(logged("speaks again"), 1);
});

test("a word ends a silence, also when it changes nothing", async (t) => {
  const { told, says, isSilent, guard } = guarded();
  await says("1 2");
  for (let i = 0; i < 5; i++) {
    await isSilent(50 * MINUTE);
    await says("1 2");
  }
  t.same(told, ["1 2"]);
  t.equal(guard.view().state, "current");
});

test("what waits to be applied when the registry goes silent is applied", async (t) => {
  const { told, says, isSilent, guard } = guarded();
  await says("1 2 3");
  await says("1 2 4", 10);
  await isSilent(1_000);
  t.same(told, ["1 2 3", "1 2 4"]);
  t.equal(guard.view().state, "silent");
});

test("an empty list that is followed by silence is neither believed nor insisted upon", async (t) => {
  const { told, says, isSilent } = guarded();
  await says("1 2");
  await says("", 10);
  await isSilent(50 * MINUTE);
  t.same(told, ["1 2"]);
});

test("a list that waits to be applied is dropped when the registry then lists nothing", async (t) => {
  const { told, says } = guarded();
  await says("1 2");
  await says("1", 10);
  await says("", 1_000);
  t.same(told, ["1 2"]);
});

test("in a silence only those go that were in doubt and do not answer", async (t) => {
  const { used, dead, says, isSilent } = guarded();
  await says("1 2 3 4");
  await says("4", 500);
  dead.add(1).add(4);
  await isSilent(30 * MINUTE);
  t.equal(used(), "2 3 4");
  await says("", 5_000);
  t.equal(used(), "2 3");
});

test("a last resort comes back in a silence as soon as it answers", async (t) => {
  const { used, dead, says, isSilent, pass } = guarded();
  await says("1 2");
  dead.add(1);
  await says("1c 2c", 3_000);
  await isSilent(1_000);
  dead.clear();
  await pass(3_000);
  t.equal(used(), "1* 2*");
});

test("after everything has expired nobody is asked, and nobody returns by answering", async (t) => {
  const { used, asked, dead, says, isSilent, pass } = guarded();
  await says("1 2");
  await says("", 2_000);
  await isSilent(61 * MINUTE);
  t.equal(used(), "");
  const before = asked.length;
  dead.add(1);
  await pass(MINUTE);
  t.same([used(), asked.length], ["", before]);
});

test("after everything has expired, a new doubt is asked as the first was", async (t) => {
  const { used, asked, says, isSilent } = guarded();
  await says("1 2");
  await says("", 500);
  await isSilent(61 * MINUTE);
  t.equal(used(), "");
  await says("3 4");
  await says("", 10);
  await isSilent(0);
  const before = asked.length;
  await says("", 3_000);
  t.equal(used(), "3 4");
  t.ok(asked.slice(before).some(({ port }) => port === 3));
});

// Copies.

test("a start without a word uses the copy after a second, and at once when the registry is known to be away", async (t) => {
  const waiting = guarded({ kept: "1 2" });
  await waiting.pass(990);
  t.same(waiting.told, []);
  await waiting.pass(10);
  t.same(waiting.told, ["1 2"]);
  t.match(waiting.guard.view(), { state: "copy", instances: [{ health: "passing", used: true }, {}] });
  const refused = guarded({ kept: "1 2" });
  await refused.isSilent();
  t.same(refused.told, ["1 2"]);
  await refused.says("1 2 3");
  t.same(refused.told, ["1 2", "1 2 3"]);
  t.equal(refused.guard.view().state, "current");
});

test("a copy is used until it is too old, counted from when it was made", async (t) => {
  const { clock, lastGood, guard, told } = guarded({ kept: "1 2" });
  guard.stop();
  clock.advance(50 * MINUTE);
  const later: string[] = [];
  const second = new Guard(OPTIONS, {
    name: "test",
    clock,
    random: seededRandom(1),
    log: logInto([]).log,
    probe: async () => ({ passing: true, note: "" }),
    lastGood,
    onChange: (endpoints) => later.push(String(endpoints.length)),
    onUnwell: () => {},
    onNothing: () => {},
  });
  second.silent("away");
  clock.advance(10 * MINUTE - 1);
  t.same(later, ["2"]);
  clock.advance(1);
  t.same(later, ["2", "0"]);
  t.equal(second.view().state, "expired");
  second.stop();
  t.same([told, clock.pending], [[], 0]);
});

test("without a copy a silence is told, as nobody needs to wait; and nothing is not told as if it were a list", async (t) => {
  const { told, nothing, isSilent, says, guard } = guarded();
  await isSilent(500);
  await isSilent(5_000);
  t.same(told, []);
  t.ok(nothing() > 0);
  t.match(guard.view(), { state: "starting", why: "connect ECONNREFUSED" });
  await says("1", 0);
  t.same(told, ["1"]);
});

test("a copy is no more certain than what is in use: a registry that returns without memory is doubted", async (t) => {
  const { used, dead, says, isSilent } = guarded({ kept: "1 2 3" });
  await isSilent(100);
  dead.add(2);
  await says("", 3_000);
  t.equal(used(), "1 3");
});

test("a start beside a registry that lists nobody asks those that were there before, and uses those that answer", async (t) => {
  for (const list of ["", "3c", "3m"]) {
    const { told, dead, says } = guarded({ kept: "1 2 3" });
    dead.add(2);
    await says(list, 3_000);
    t.equal(told.length, 1, "they are asked before anything is told");
    const third = { "": " 3", "3c": " 3*", "3m": "" }[list];
    t.equal(told[0], `1${third}`, `beside a list of "${list}"`);
  }
});

test("a start beside a registry that lists somebody believes it", async (t) => {
  const { told, asked, says } = guarded({ kept: range(1, 10) });
  await says("1", 3_000);
  t.same([told, asked.length], [["1"], 0]);
});

test("when none that was there before answers, that is told at once", async (t) => {
  const { told, dead, says, guard, pass, lastGood } = guarded({ kept: range(1, 6) });
  for (let port = 1; port <= 6; port++) dead.add(port);
  await says("", 100);
  t.same(told, [""]);
  await pass(5_000);
  t.equal(guard.view().state, "current");
  t.equal(
    lastGood.recall("test")?.instances.length,
    6,
    "and the copy has another chance with the next start",
  );
});

test("the first word waits for answers, but not for long", async (t) => {
  const { told, says, pass } = guarded({ kept: "1 2", probe: () => new Promise(() => {}) });
  await says("", 1_400);
  t.same(told, []);
  await pass(200);
  t.same(told, [""]);
});

test("a silence right after an empty first list does not hide those that answer", async (t) => {
  const { used, dead, says, isSilent, guard } = guarded({ kept: "1 2" });
  dead.add(2);
  guard.list([]);
  await isSilent(3_000);
  t.equal(used(), "1");
  await says("", 3_000);
  t.equal(used(), "1");
});

test("what was remembered and has answered is given up like all others: after two failures, or when the registry has insisted", async (t) => {
  const { used, dead, asked, says, pass } = guarded({ kept: "1 2" });
  await says("", 3_000);
  dead.add(1);
  const before = asked.length;
  while (!asked.slice(before).some(({ port }) => port === 1)) await pass(10);
  await pass(100);
  t.equal(used(), "1 2", "one lost packet is no proof");
  await pass(2_000);
  t.equal(used(), "2");
  await pass(10 * MINUTE);
  t.equal(used(), "");
});

test("those that were remembered and did not answer are no measure for what comes later", async (t) => {
  const { used, dead, asked, says } = guarded({ kept: range(1, 6) });
  for (let port = 1; port <= 6; port++) dead.add(port);
  await says("", 3_000);
  await says("7 8", 15_000);
  await says("7");
  t.equal(used(), "7");
  t.notOk(asked.some(({ port }) => port > 6));
});

test("a copy is kept of what is settled, and of nobody when nobody is left", async (t) => {
  const { lastGood, dead, used, says, pass } = guarded();
  const kept = () => lastGood.recall("test")?.instances.map(({ port }) => port);
  await says("1 2");
  t.same(kept(), [1, 2]);
  await says("", 5_000);
  t.same(kept(), [1, 2], "not while there is a doubt");
  await pass(10 * MINUTE);
  t.same(kept(), undefined, "an address that was given up may have another owner at the next start");
  await says("3w");
  t.same(kept(), [3]);
  await says("3 4 5 6");
  dead.add(3);
  await says("6", 3_000);
  t.equal(used(), "4 5 6");
  t.same(kept(), [3, 4, 5, 6], "nor of what a doubt has left so far");
});

test("a source that has nothing new to say keeps its copy young, and a silent one does not", async (t) => {
  const { lastGood, says, isSilent, pass } = guarded();
  await says("1 2", 30 * MINUTE);
  t.ok(lastGood.recall("test")!.ageMs <= MINUTE);
  await isSilent(30 * MINUTE);
  t.ok(lastGood.recall("test")!.ageMs >= 30 * MINUTE);
  await pass(MINUTE);
});

// The end.

test("after stop nothing is told, asked or waited for any more", async (t) => {
  const before: Readonly<Record<string, (of: ReturnType<typeof guarded>) => Promise<unknown>>> = {
    starting: async () => {},
    gathering: ({ says }) => says("1", 10),
    doubting: ({ says }) => says("", 100),
    "between two questions": ({ says }) => says("", 500),
    "a last resort": ({ says }) => says("1c 2c", 500),
    silent: ({ isSilent }) => isSilent(500),
    "silent in doubt": async ({ says, isSilent }) => {
      await says("", 500);
      await isSilent(500);
    },
    expired: ({ isSilent }) => isSilent(61 * MINUTE),
  };
  for (const [state, reach] of Object.entries(before)) {
    const all = guarded({ kept: "8" });
    if (state !== "starting") await all.says("1 2");
    await reach(all);
    const counts = [all.told.length, all.asked.length];
    all.guard.stop();
    t.equal(all.clock.pending, 0, state);
    all.guard.list(said("7"));
    all.guard.silent("why");
    await all.pass(MINUTE);
    t.same([all.told.length, all.asked.length, all.clock.pending], [...counts, 0], state);
  }
});

test("whoever is told may stop it", async (t) => {
  for (const kept of [undefined, "1 2"]) {
    const clock = new ManualClock();
    const { log } = logInto([]);
    const lastGood = new LastGood(undefined, MINUTE, { clock, wallClock: () => clock.now(), log });
    if (kept !== undefined) lastGood.remember("test", said(kept));
    const guard = new Guard(OPTIONS, {
      name: "test",
      clock,
      random: seededRandom(1),
      log,
      probe: async () => ({ passing: true, note: "" }),
      lastGood,
      onChange: () => guard.stop(),
      onUnwell: () => {},
      onNothing: () => guard.stop(),
    });
    if (kept === undefined) guard.list(said("1"));
    else guard.silent("away");
    await settled();
    t.equal(clock.pending, 0);
  }
});
