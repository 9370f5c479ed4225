import { test } from "tap";
import type { Probe } from "../../discovery/health/probe.ts";
import { QuestionLimit } from "../../discovery/question-limit.ts";
import { guarded, MINUTE, range, said } from "../support/guarded.ts";
import type { ManualClock } from "../support/manual-clock.ts";

// What is asked first.

test("an empty list is not believed while those that were there answer", async (t) => {
  const { used, told, says, pass, guard, logged, why } = guarded();
  await says("1 2");
  await says("", 5 * MINUTE);
  t.same(told, ["1 2"]);
  t.equal(guard.view().state, "doubting");
  t.match(guard.view().why, "2 of 2 instances would go at once");
  t.match(why(1), { health: "absent", used: true, why: "in doubt, and used: it answers (connected)" });
  t.equal(logged("they are asked first"), 1);
  await pass(5 * MINUTE + 2_000);
  t.same(told, ["1 2", ""], "until the registry has insisted for long enough");
  t.equal(guard.view().state, "current");
  t.equal(logged("has insisted"), 1);
  await says("3");
  t.equal(used(), "3", "and an instance after that is used");
});

test("more than the share that goes at once is asked: absent or unreachable, the last of many or the only one", async (t) => {
  for (const [before, after] of [
    ["1 2 3 4", "4"],
    ["1 2 3 4", "1u 2u 3u 4"],
    ["1 2 3 4", "1u 3u 4"],
    ["1", ""],
    ["1", "1u"],
    ["1 2 3", "3c"],
  ] as const) {
    const { used, asked, says, guard } = guarded();
    await says(before);
    await says(after, 2_000);
    t.match(used(), new RegExp(`^${before}`), `${before} -> ${after}`);
    t.ok(asked.length > 0);
    t.equal(guard.view().state, "doubting");
  }
});

test("in doubt, one that does not answer twice goes, and the others stay", async (t) => {
  const { told, used, dead, asked, says, logged } = guarded();
  await says(range(1, 10));
  for (const port of [1, 2, 3, 4]) dead.add(port);
  await says("10", 100);
  t.equal(used(), range(1, 10), "asked once: one lost packet is no proof");
  await says("10", 2_000);
  t.same(told, [range(1, 10), range(5, 10)], "told once for all of them");
  t.ok(asked.filter(({ port }) => port === 1).length === 2, "who has gone is not asked any more");
  t.ok(asked.filter(({ port }) => port === 5).length >= 2);
  t.equal(logged("do not answer"), 1);
  await says("10", 60_000);
  t.equal(used(), range(5, 10), "those that answer are not forgotten as fewer are left to lose");
});

test("one that had answered and then fails once is kept", async (t) => {
  const { used, dead, says, pass, asked } = guarded();
  await says("1");
  await says("", 3_000);
  dead.add(1);
  const before = asked.length;
  while (asked.length === before) await pass(10);
  dead.clear();
  await pass(10_000);
  t.equal(used(), "1");
});

test("a disappearance in small steps within 10 s is one", async (t) => {
  const { used, asked, says, pass } = guarded();
  await says(range(1, 10));
  for (let gone = 1; gone <= 5; gone++) await says(range(1 + gone, 10), 1_000);
  t.same([used(), asked.length], ["6 7 8 9 10", 0]);
  await says("7 8 9 10", 3_000);
  t.equal(used(), "6 7 8 9 10");
  t.ok(asked.every(({ port }) => port === 6));
  await pass(30_000);
  t.equal(used(), "6 7 8 9 10", "and the doubt does not end because time passes");
});

test("a slow disappearance is none", async (t) => {
  const { used, asked, says } = guarded();
  await says(range(1, 10));
  for (let gone = 1; gone <= 8; gone++) await says(range(1 + gone, 10), 11_000);
  t.same([used(), asked.length], ["9 10", 0]);
});

test("instances that come back one by one from a registry's lost memory do not end the doubt about the others", async (t) => {
  const { told, says } = guarded();
  await says(range(1, 10));
  await says("", 2_000);
  for (let back = 1; back <= 10; back++) await says(range(1, back), 2_000);
  t.same(told, [range(1, 10)]);
});

test("new instances that fill the gap end it: the roll-out has come in two steps", async (t) => {
  const { used, says } = guarded();
  await says(range(1, 10));
  await says("9 10", 500);
  await says("9 10 11", 500);
  t.equal(used(), range(1, 11));
  await says(`9 10 ${range(11, 18)}`, 500);
  t.equal(used(), `9 10 ${range(11, 18)}`);
});

test("instances that come back end the doubt, and the next doubt has a time of its own", async (t) => {
  const { told, says, pass, guard, logged } = guarded();
  await says("1 2");
  await says("", 8 * MINUTE);
  await says("1 2");
  t.equal(guard.view().state, "current");
  t.equal(logged("doubt about the registry is settled"), 1);
  await says("", 9 * MINUTE);
  t.same(told, ["1 2"]);
  await pass(MINUTE + 2_000);
  t.same(told, ["1 2", ""]);
});

test("a silence interrupts the insistence", async (t) => {
  const { told, says, isSilent, pass } = guarded();
  await says("1 2");
  await says("", 9 * MINUTE);
  await isSilent(20 * MINUTE);
  await says("", 9 * MINUTE);
  t.same(told, ["1 2"], "the time begins anew");
  await pass(MINUTE + 2_000);
  t.same(told, ["1 2", ""]);
});

test("without a time to insist nobody is asked", async (t) => {
  const { used, asked, says } = guarded({ believeAfterMs: 0 });
  await says("1 2 3");
  await says("");
  t.same([used(), asked.length], ["", 0]);
});

test("weight and zone of one in doubt are those that the registry says", async (t) => {
  const { guard, says, pass, endpoints } = guarded();
  await says("1 2");
  guard.list([]);
  await pass(1_000);
  guard.list(said("1u 2u").map((instance) => ({ ...instance, weight: 7 })));
  await pass(1_000);
  t.same(
    endpoints().map(({ weight }) => weight),
    [7, 7],
  );
});

test("a probe that throws is a probe that fails", async (t) => {
  const { used, says } = guarded({
    probe: () => Promise.reject(new Error("a bug")),
  });
  await says("1 2");
  await says("", 3_000);
  t.equal(used(), "");
});

test("a question that never ends does not keep those in a later doubt from being asked", async (t) => {
  const asked: number[] = [];
  const { used, says, isSilent } = guarded({
    probe: ({ port }) => {
      asked.push(port);
      return port === 1 ? new Promise(() => {}) : Promise.resolve({ passing: false, note: "ECONNREFUSED" });
    },
  });
  await says("1");
  await says("", 1_000);
  await isSilent(61 * MINUTE);
  await says("2");
  await says("", 3_000);
  t.same([used(), asked], ["", [1, 2, 2]]);
});

test("thousands in doubt are asked in turn, without the process doing little else", async (t) => {
  let underWay = 0;
  let most = 0;
  const starts: number[] = [];
  const limit = new QuestionLimit();
  const clocks: ManualClock[] = [];
  const slow: Probe = (_, signal) =>
    limit
      .run(signal, async () => {
        most = Math.max(most, ++underWay);
        starts.push(clocks[0]!.now());
        await new Promise<void>((resolve) => clocks[0]!.schedule(5, resolve));
        underWay--;
        return { passing: true, note: "connected" };
      })
      .then((result) => result ?? { passing: false, note: "called off" });
  const { clock, guard, used, told, says, pass } = guarded({ probe: slow });
  clocks.push(clock);
  await says(range(1, 5_000));
  const cpu = process.cpuUsage();
  await says("", 5_000);
  const { user, system } = process.cpuUsage(cpu);
  t.ok(starts.length >= 5_000, `each has been asked: ${starts.length}`);
  t.ok(most <= 32, `${most} at once, so that other checks have places left`);
  const first = starts.length;
  await pass(5_000);
  t.ok(starts.length - first <= 700, `then ${starts.length - first} more in 5 s`);
  t.equal(used()?.length, range(1, 5_000).length);
  t.equal(told.length, 1);
  t.ok(
    (user + system) / 1_000 < 10_000,
    `${Math.round((user + system) / 1_000)} ms of CPU for the first 5 s`,
  );
  guard.stop();
  await pass(100);
  t.equal(clock.pending, 0);
});

test("thousands that die in doubt are told in a few changes", async (t) => {
  const { told, used, dead, says } = guarded();
  for (let port = 1; port <= 2_000; port++) dead.add(port);
  await says(range(1, 2_000));
  await says("", 5_000);
  t.equal(used(), "");
  t.ok(told.length < 10, `${told.length} changes`);
});

// Last resorts.

test("a critical instance is believed to be unwell, unless nobody would be left who is well", async (t) => {
  const { told, used, asked, says, guard, logged, why } = guarded();
  await says("1 2 3");
  await says("1c 2 3");
  await says("1c 2c 3");
  t.same([told, asked.length], [["1 2 3", "2 3", "3"], 0]);
  await says("1c 2c 3c", 1_500);
  t.equal(used(), "1* 2* 3*", "also those that went before the last one did");
  t.equal(logged("no endpoint is well"), 1);
  t.equal(guard.view().state, "doubting");
  t.match(why(1), { health: "critical", used: true, why: "a last resort, and used: it answers (connected)" });
  await says("1c 2 3c");
  t.equal(used(), "2");
  t.equal(guard.view().state, "current");
});

test("a last resort is used whenever it answers, however long that lasts", async (t) => {
  const { used, dead, says, pass } = guarded();
  await says("1 2");
  dead.add(1);
  await says("1c 2c", 3_000);
  t.equal(used(), "2*");
  dead.clear();
  await pass(3_000);
  t.equal(used(), "1* 2*");
  await pass(30 * MINUTE);
  t.equal(used(), "1* 2*");
  dead.add(1).add(2);
  await pass(4_000);
  t.equal(used(), "");
  dead.clear();
  await pass(4_000);
  t.equal(used(), "1* 2*");
});

test("an instance that has never been well is no last resort: it may not have finished its start", async (t) => {
  const { told, asked, says } = guarded();
  await says("1c 2u");
  await says("1c 2u", 3_000);
  t.same([told, asked.length], [[""], 0]);
});

test("when nobody is left, those behind agents that are away are asked as well, whenever they went", async (t) => {
  const { used, dead, says, pass } = guarded();
  await says("1 2 3 4");
  dead.add(2);
  await says("1u 2u 3 4", 15_000);
  t.equal(used(), "3 4");
  await says("1u 2u 3u 4u", 5_000);
  t.equal(used(), "1 3 4");
  await pass(10 * MINUTE);
  t.equal(used(), "", "and are given up when the registry has insisted");
  await pass(10 * MINUTE);
  t.equal(used(), "", "for good");
});

test("a last resort that leaves the list is kept from then on", async (t) => {
  const { used, says, pass } = guarded();
  await says("1 2");
  await says("1c 2c", 20 * MINUTE);
  await says("", 9 * MINUTE);
  t.equal(used(), "1* 2*");
  await pass(2 * MINUTE);
  t.equal(used(), "");
});

test("one that is a last resort and then not listed any more is asked for a proof that it is gone", async (t) => {
  const { used, dead, says, pass } = guarded();
  await says("1 2");
  await says("1c 2c", 2_000);
  await says("2c", 2_000);
  t.equal(used(), "1* 2*");
  dead.add(1);
  await pass(4_000);
  dead.clear();
  await pass(4_000);
  t.equal(used(), "2*");
});
