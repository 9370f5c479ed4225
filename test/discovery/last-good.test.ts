import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { test } from "tap";
import { LastGood } from "../../discovery/outage/last-good.ts";
import { eventually } from "../support/eventually.ts";
import { said } from "../support/guarded.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { type LogRecord, logInto } from "../support/sidecar.ts";

const DAY = 24 * 3_600_000;
const START = 1_800_000_000_000;

/** A copy whose wall clock goes with its clock, but for what a test sets it back. */
function keeping(file: string | undefined, { atMs = START, keepForMs = DAY } = {}) {
  const clock = new ManualClock(0);
  const records: LogRecord[] = [];
  const time = { shiftMs: 0 };
  const wallClock = () => atMs + clock.now() + time.shiftMs;
  const lastGood = new LastGood(file, keepForMs, { clock, wallClock, log: logInto(records).log });
  return { clock, lastGood, records, time, messages: () => records.map(({ msg }) => msg) };
}

const portsOf = (of: LastGood, source = "a") => of.recall(source)?.instances.map(({ port }) => port);

/** A file as heddle leaves it. */
async function written(file: string): Promise<Buffer> {
  const { lastGood } = keeping(file);
  lastGood.remember("a", said("1 2w"));
  lastGood.note("chain", { service: "größe" });
  await lastGood.stop();
  return readFileSync(file);
}

test("what was remembered is recalled, with its age, also without a file", async (t) => {
  const { lastGood, clock } = keeping(undefined);
  t.equal(lastGood.recall("a"), undefined);
  lastGood.remember("a", said("2 1w"));
  lastGood.remember("b", said("3"));
  clock.advance(5_000);
  t.match(lastGood.recall("a"), { ageMs: 5_000, instances: [{ port: 1, health: "warning" }, { port: 2 }] });
  t.same(portsOf(lastGood, "b"), [3]);
  lastGood.remember("b", []);
  t.equal(lastGood.recall("b"), undefined, "of nobody nothing is kept");
  clock.advance(DAY);
  t.equal(lastGood.recall("a"), undefined, "too old");
  await lastGood.stop();
  t.equal(clock.pending, 0);
});

test("a start finds what was written, and when", async (t) => {
  const file = join(t.testdir(), "copy");
  await written(file);
  const later = keeping(file, { atMs: START + 3_600_000 });
  t.equal(later.lastGood.recall("a")?.ageMs, 3_600_000);
  t.same(portsOf(later.lastGood), [1, 2]);
  t.same(later.lastGood.noted("chain"), { service: "größe" });
  t.equal(later.lastGood.noted("other"), undefined);
  t.same(portsOf(keeping(file, { atMs: START + DAY + 1 }).lastGood), undefined, "a day later it is too old");
  t.same(later.records, []);
});

test("the file is for nobody else, and nothing is left beside it", async (t) => {
  const folder = t.testdir();
  await written(join(folder, "copy"));
  t.equal(statSync(join(folder, "copy")).mode & 0o777, 0o600);
  t.same(readdirSync(folder), ["copy"]);
});

test("changes are written together a second later, and stop writes what has not been written", async (t) => {
  const file = join(t.testdir(), "copy");
  const { lastGood, clock } = keeping(file);
  const onDisk = () => portsOf(keeping(file).lastGood);
  lastGood.remember("a", said("1"));
  clock.advance(500);
  lastGood.remember("a", said("1 2"));
  clock.advance(499);
  await settled();
  t.equal(onDisk(), undefined);
  clock.advance(1);
  await eventually("a file", () => onDisk() !== undefined);
  t.same(onDisk(), [1, 2]);
  lastGood.remember("a", said("3"));
  await lastGood.stop();
  t.same(onDisk(), [3]);
  lastGood.remember("a", said("4"));
  t.equal(clock.pending, 0, "after stop nothing is waited for");
});

test("neither the order of a list nor the words of a check are written anew", async (t) => {
  const { lastGood, clock } = keeping(join(t.testdir(), "copy"));
  lastGood.remember("a", said("1 2w"));
  await lastGood.stop();
  const again = keeping(join(t.testdirName, "copy"));
  again.lastGood.remember(
    "a",
    said("2w 1").map((instance) => ({ ...instance, note: `${Math.PI} ms` })),
  );
  t.equal(again.clock.pending + clock.pending, 0);
  again.lastGood.remember("a", said("2 1"));
  t.equal(again.clock.pending, 1);
  await again.lastGood.stop();
});

test("a list that does not change is confirmed on disk each minute, however often it is confirmed", async (t) => {
  const file = join(t.testdir(), "copy");
  const { lastGood, clock } = keeping(file);
  const ageOnDisk = () => keeping(file, { atMs: START + clock.now() }).lastGood.recall("a")?.ageMs;
  let writes = 0;
  for (let second = 0; second < 600; second += 5) {
    lastGood.remember("a", said("1"));
    const isDue = clock.pending > 0;
    clock.advance(5_000);
    if (!isDue) continue;
    writes++;
    await eventually(
      "a younger file",
      () => (ageOnDisk() ?? 60_000) <= 5_000 && readdirSync(t.testdirName).length === 1,
    );
  }
  t.ok(writes >= 9, `${writes} writes in ten minutes`);
  t.ok(writes < 60, "and not with every confirmation");
  await lastGood.stop();
});

test("lists that are too old leave the file, and notes stay", async (t) => {
  const file = join(t.testdir(), "copy");
  await written(file);
  const { lastGood } = keeping(file, { atMs: START + 2 * DAY });
  lastGood.remember("b", said("3"));
  await lastGood.stop();
  const text = readFileSync(file, "utf8");
  t.notMatch(text, '"a"');
  t.match(text, '"b"');
  t.match(text, "größe");
});

test("notes are bounded: names that callers made up push out those that were noted longest ago", async (t) => {
  const { lastGood } = keeping(undefined);
  lastGood.note("first", 1);
  lastGood.note("old", 1);
  for (let i = 0; i < 4_095; i++) {
    lastGood.note(`made up ${i}`, i);
    lastGood.note("first", 1);
  }
  t.equal(lastGood.noted("old"), undefined);
  t.equal(lastGood.noted("first"), 1);
});

test("a clock that was set back makes a copy useless, not young for ever", async (t) => {
  const file = join(t.testdir(), "copy");
  await written(file);
  t.same(portsOf(keeping(file, { atMs: START - 30_000 }).lastGood), [1, 2], "a little is forgiven");
  t.equal(keeping(file, { atMs: START - 30_000 }).lastGood.recall("a")?.ageMs, 0);
  t.equal(portsOf(keeping(file, { atMs: START - 61_000 }).lastGood), undefined);
});

test("a clock that is set back while heddle runs does not stop the copy from being confirmed", async (t) => {
  const file = join(t.testdir(), "copy");
  const { lastGood, clock, time } = keeping(file);
  lastGood.remember("a", said("1"));
  clock.advance(1_000);
  await eventually(
    "the file",
    () => portsOf(keeping(file).lastGood) !== undefined && readdirSync(t.testdirName).length === 1,
  );
  await setTimeout(20);
  time.shiftMs = -DAY;
  lastGood.remember("a", said("1"));
  await lastGood.stop();
  t.same(portsOf(keeping(file, { atMs: START - DAY }).lastGood), [1]);
});

test("a file that is cut short anywhere is moved aside and not believed", async (t) => {
  const file = join(t.testdir(), "copy");
  const whole = await written(file);
  for (let length = 0; length < whole.length; length++) {
    writeFileSync(file, whole.subarray(0, length));
    rmSync(`${file}.damaged`, { force: true });
    const { lastGood, records } = keeping(file);
    // Without its last line break it is still all there.
    if (length === whole.length - 1) {
      t.same(portsOf(lastGood), [1, 2]);
      continue;
    }
    const isAside =
      readFileSync(`${file}.damaged`).length === length && !readdirSync(t.testdirName).includes("copy");
    if (
      !isAside ||
      portsOf(lastGood) !== undefined ||
      lastGood.noted("chain") !== undefined ||
      records.length !== 1
    )
      t.fail(`cut to ${length} bytes`);
  }
});

test("a file in which one byte is another is believed only if it says the same", async (t) => {
  const file = join(t.testdir(), "copy");
  const whole = await written(file);
  let believed = 0;
  for (let position = 0; position < whole.length; position++)
    for (const flip of [0x01, 0x20, 0x80, 0xff]) {
      const bytes = Buffer.from(whole);
      bytes[position]! ^= flip;
      writeFileSync(file, bytes);
      const { lastGood } = keeping(file);
      const isGood =
        JSON.stringify([portsOf(lastGood), lastGood.noted("chain")]) === '[[1,2],{"service":"größe"}]';
      const isNothing = portsOf(lastGood) === undefined && lastGood.noted("chain") === undefined;
      if (isGood) believed++;
      else if (!isNothing || readdirSync(t.testdirName).includes("copy"))
        t.fail(`byte ${position} changed by ${flip}`);
    }
  t.equal(believed, 0);
});

test("files of another version, or of something else, are moved aside with their content", async (t) => {
  const file = join(t.testdir(), "copy");
  const version2 = (await written(file)).toString().replace('{"heddle":1', '{"heddle":2');
  for (const text of [version2, "null\n{}\n", "[]\n", "\0\0\0\0", '{"heddle":1}\n', "x".repeat(100_000)]) {
    writeFileSync(file, text);
    const { lastGood, messages } = keeping(file);
    t.same(messages(), ["the copy of the endpoints cannot be used; it is moved aside"]);
    t.equal(readFileSync(`${file}.damaged`, "utf8"), text);
    lastGood.remember("a", said("1"));
    await lastGood.stop();
    t.same(portsOf(keeping(file).lastGood), [1], "and a new one takes its place");
  }
});

test("a folder that does not exist is said once, and tried again with what comes next", async (t) => {
  const folder = join(t.testdir(), "later");
  const { lastGood, clock, messages } = keeping(join(folder, "copy"));
  t.same(messages(), [], "nothing is there yet, which is how every first start looks");
  for (const ports of ["1", "1 2"]) {
    lastGood.remember("a", said(ports));
    clock.advance(1_000);
    await eventually("a message", () => messages().length > 0);
    await setTimeout(20);
  }
  t.same(messages(), ["the copy of the endpoints could not be written"]);
  t.same(portsOf(lastGood), [1, 2], "in memory it is kept");
  mkdirSync(folder);
  lastGood.remember("a", said("1 2"));
  await lastGood.stop();
  t.same(portsOf(keeping(join(folder, "copy")).lastGood), [1, 2]);
});

test("a place where nothing can be written or read is said, and does no other harm", async (t) => {
  t.testdir({ file: "I am a file", folder: {} });
  for (const place of [join(t.testdirName, "file", "copy"), join(t.testdirName, "folder")]) {
    const { lastGood, messages, clock } = keeping(place);
    lastGood.remember("a", said("1"));
    clock.advance(1_000);
    await lastGood.stop();
    t.match(messages(), [
      "the copy of the endpoints could not be read",
      "the copy of the endpoints could not be written",
    ]);
    t.same(portsOf(lastGood), [1]);
  }
  t.same(readdirSync(t.testdirName).sort(), ["file", "folder"]);
  t.same(readdirSync(join(t.testdirName, "folder")), []);
});

test("two that write the same file at the same time never leave half a file", async (t) => {
  const file = join(t.testdir(), "copy");
  const lists = [said("1"), said(Array.from({ length: 2_000 }, (_, i) => i + 1).join(" "))];
  let reads = 0;
  for (let round = 0; round < 20; round++) {
    const writers = lists.map((list) => {
      const { lastGood } = keeping(file);
      lastGood.remember("a", list.slice(0, Math.max(1, list.length - round)));
      return lastGood.stop();
    });
    let isOver = false;
    const over = Promise.all(writers).then(() => {
      isOver = true;
    });
    while (!isOver) {
      const { lastGood, records } = keeping(file);
      if (records.length > 0) t.fail(JSON.stringify(records));
      const count = portsOf(lastGood)?.length;
      if (count !== undefined) reads++;
      if (count !== undefined && count !== 1 && count < 1_980) t.fail(`${count} of them`);
      await settled();
    }
    await over;
  }
  t.ok(reads > 20);
  t.same(readdirSync(t.testdirName), ["copy"]);
});

test("what changes while it is written is written by the next", async (t) => {
  const file = join(t.testdir(), "copy");
  const { lastGood, clock } = keeping(file);
  for (let port = 1; port <= 30; port++) {
    lastGood.remember("a", said(`${port}`));
    clock.advance(1_000);
    if (port % 3 === 0) await settled();
  }
  await lastGood.stop();
  t.same(portsOf(keeping(file).lastGood), [30]);
  t.same(readdirSync(t.testdirName), ["copy"]);
});

test("a source may be called anything", async (t) => {
  const file = join(t.testdir(), "copy");
  const { lastGood } = keeping(file);
  for (const name of ["__proto__", "constructor", "", "größe\n"]) lastGood.remember(name, said("1"));
  await lastGood.stop();
  for (const name of ["__proto__", "constructor", "", "größe\n"])
    t.same(portsOf(keeping(file).lastGood, name), [1]);
});
