import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join, relative } from "node:path";
import { type Test, test } from "tap";
import { endpointKey } from "../../core/index.ts";
import { type FileOptions, FileSource } from "../../discovery/file/source.ts";
import type { Instance } from "../../discovery/source.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { type LogRecord, logInto } from "../support/sidecar.ts";

/** So that only a watch can have noticed what is told. */
const NEVER_MS = 1e12;
const GATHER_MS = 50;
const READ_AGAIN_MS = 100;

/** Time that notes what it was asked to wait for. */
class NotingClock extends ManualClock {
  readonly delaysMs: number[] = [];

  override schedule(delayMs: number, callback: () => void) {
    this.delaysMs.push(delayMs);
    return super.schedule(delayMs, callback);
  }
}

/** The files and what is seen of them are real; time is not, and moves while something is awaited. */
function followed(t: Test, path: string, options: Partial<FileOptions> = {}) {
  const clock = new NotingClock();
  const records: LogRecord[] = [];
  const lists: (readonly Instance[])[] = [];
  /** The addresses of a list, or why for a silence. */
  const told: (string | readonly string[])[] = [];
  const source = new FileSource(
    { path, pollMs: NEVER_MS, ...options },
    { clock, random: seededRandom(1), log: logInto(records).log },
  );
  t.teardown(() => source.stop());
  source.start({
    list(instances) {
      lists.push(instances);
      told.push(instances.map(endpointKey));
    },
    silent: (why) => told.push(why),
  });
  const until = async (holds: () => boolean) => {
    while (!holds()) {
      clock.advance(10);
      await settled();
    }
  };
  return {
    clock,
    source,
    records,
    lists,
    told,
    until,
    /** Resolves when this is the last that was told. */
    async tells(...addresses: readonly string[]): Promise<void> {
      await until(() => Array.isArray(told.at(-1)) && told.at(-1)!.toString() === addresses.toString());
      t.pass(`tells ${addresses}`);
    },
    silences: () => told.filter((what) => typeof what === "string"),
    /** Resolves with why it is silent. */
    async falls(): Promise<string> {
      await until(() => typeof told.at(-1) === "string");
      return told.at(-1) as string;
    },
  };
}

const addresses = (...last: readonly number[]) => last.map((i) => `10.0.0.${i}:80`);
const yaml = (...last: readonly number[]) =>
  addresses(...last)
    .map((address) => `- ${address}\n`)
    .join("");

/** Replaces a file as a whole, as whoever writes it should. */
function replace(path: string, content: string): void {
  writeFileSync(`${path}.new`, content);
  renameSync(`${path}.new`, path);
}

/** Writes the file before it is followed, and returns the first that is told. */
async function toldOf(
  t: Test,
  content: string | Buffer,
): Promise<{ what: string | readonly string[]; lists: (readonly Instance[])[] }> {
  const path = join(t.testdir({}), "endpoints.yaml");
  writeFileSync(path, content);
  const { told, until, lists, source } = followed(t, path);
  await until(() => told.length > 0);
  source.stop();
  const what = told[0]!;
  return { what: typeof what === "string" ? what.replace(path, "FILE") : what, lists };
}

test("endpoints are addresses, or mappings with what there is to say of them, sorted", async (t) => {
  const content = `
- 10.0.0.2:80
- address: 10.0.0.1:80
  weight: 3
  zone: b
  health: maintenance
  note: being moved
- { address: "db.internal:5432", health: warning }
- "[::0:1]:80"
`;
  const { what, lists } = await toldOf(t, content);
  t.same(what, ["10.0.0.1:80", "10.0.0.2:80", "[::1]:80", "db.internal:5432"]);
  const source = lists[0]![0]!.source;
  t.match(source, /^file:\/.*\/endpoints\.yaml$/);
  t.same(lists[0]!.slice(0, 2), [
    {
      address: "10.0.0.1",
      port: 80,
      weight: 3,
      zone: "b",
      health: "maintenance",
      note: "being moved",
      source,
    },
    { address: "10.0.0.2", port: 80, weight: 1, health: "passing", source },
  ]);
  t.same([lists[0]![3]!.health, lists[0]![2]!.address], ["warning", "::1"]);
});

test("an endpoint has a priority, and what it is chosen by where somebody chooses", async (t) => {
  const path = join(t.testdir({}), "endpoints.yaml");
  const entries = [
    { address: "10.0.0.1:80", priority: 0, tags: ["v2", "eu"] },
    { address: "10.0.0.2:80", priority: 15, meta: { version: "2" } },
    "10.0.0.3:80",
  ];
  writeFileSync(path, JSON.stringify(entries));
  const listed = async (labelled: boolean) => {
    const { until, lists, source } = followed(t, path, { labelled });
    await until(() => lists.length > 0);
    source.stop();
    return lists[0]!.map(
      ({ address: _, port: __, weight: ___, source: ____, health: _____, ...rest }) => rest,
    );
  };
  t.strictSame(await listed(false), [{}, { priority: 15 }, {}]);
  t.strictSame(await listed(true), [
    { labels: { tags: ["v2", "eu"], meta: {} } },
    { priority: 15, labels: { tags: [], meta: { version: "2" } } },
    { labels: { tags: [], meta: {} } },
  ]);
});

test("YAML and JSON are understood, as a list or as a mapping with one", async (t) => {
  const contents = [
    "- 10.0.0.1:80\n- 10.0.0.2:80\n",
    "- 10.0.0.1:80\n- 10.0.0.2:80",
    "---\nendpoints:\n- 10.0.0.1:80\n- &other 10.0.0.2:80\n",
    "\uFEFF- 10.0.0.1:80\r\n- 10.0.0.2:80\r\n",
    '["10.0.0.2:80", "10.0.0.1:80"]',
    '{"endpoints":[{"address":"10.0.0.1:80"},"10.0.0.2:80"]}',
    "# made by hand\n[10.0.0.1:80, 10.0.0.2:80,]",
  ];
  for (const content of contents) t.same((await toldOf(t, content)).what, addresses(1, 2), content);
});

test("a list without any is a list", async (t) => {
  for (const content of ["[]", "[ ]\n", "endpoints: []\n", '{"endpoints": []}'])
    t.same((await toldOf(t, content)).what, [], content);
});

test("what is wrong is told with its place, what was expected and what came", async (t) => {
  const anAddress =
    "expected an address and a port from 1 to 65535, such as 10.0.0.1:8080, db.internal:8080 or [::1]:8080";
  const anEntry =
    "expected an address such as 10.0.0.1:8080, or { address, weight, zone, priority, health, note, tags, meta }";
  const aFile = "expected a list of endpoints, or a mapping with one as endpoints";
  const aKey = "expected one of address, weight, zone, priority, health, note, tags, meta";
  const faults: Readonly<Record<string, string>> = {
    "": "FILE:1:1: expected a list of endpoints, got an empty file; [] is a list without any",
    " \n\n": "FILE:1:1: expected a list of endpoints, got an empty file; [] is a list without any",
    "# nothing\n": `FILE:1:1: ${aFile}, got an empty value`,
    "10.0.0.1:80": `FILE:1:1: ${aFile}, got "10.0.0.1:80"`,
    "endpoints:\n":
      "FILE:1:11: endpoints: expected a list of endpoints, got an empty value; [] is a list without any",
    "endpoints: a:80": 'FILE:1:12: endpoints: expected a list of endpoints, got "a:80"',
    "{}": "FILE:1:1: endpoints: expected a list of endpoints, got nothing",
    "endpoints: []\nversion: 2\n": 'FILE:2:1: version: expected one of endpoints, got "version" as the key',
    "- 10.0.0.1:80\n- 10.0.0.2\n": `FILE:2:3: [1]: ${anAddress}, got "10.0.0.2"`,
    "- { address: a:80, priority: 16 }":
      "FILE:1:30: [0].priority: expected a whole number from 0 to 15, got 16",
    "- { address: a:80, tags: v2 }": 'FILE:1:26: [0].tags: expected a list of tags, got "v2"',
    "- { address: a:80, tags: [v2, 2] }": "FILE:1:31: [0].tags[1]: expected a tag, got 2",
    "- { address: a:80, meta: [version] }":
      "FILE:1:26: [0].meta: expected a mapping of texts, got a list of 1",
    "- { address: a:80, meta: { version: 2 } }":
      "FILE:1:37: [0].meta.version: expected a text, in quotes if it looks like a number, got 2",
    "- a:0": `FILE:1:3: [0]: ${anAddress}, got "a:0"`,
    "- a:65536": `FILE:1:3: [0]: ${anAddress}, got "a:65536"`,
    "- 300.0.0.1:80": `FILE:1:3: [0]: ${anAddress}, got "300.0.0.1:80"`,
    "- '[1::2::3]:80'": `FILE:1:3: [0]: ${anAddress}, got "[1::2::3]:80"`,
    "- http://me:secret@10.0.0.1:80": `FILE:1:3: [0]: ${anAddress}, got "http://...@10.0.0.1:80"`,
    "- 80": `FILE:1:3: [0]: ${anEntry}, got 80`,
    "- [a:80]": `FILE:1:3: [0]: ${anEntry}, got a list of 1`,
    "-\n": `FILE:1:2: [0]: ${anEntry}, got an empty value`,
    "- { weight: 2 }": `FILE:1:3: [0].address: ${anAddress}, got nothing`,
    "- { address: a:80, weight: 0 }": "FILE:1:28: [0].weight: expected a whole number from 1 to 65535, got 0",
    "- { address: a:80, weight: 1.5 }":
      "FILE:1:28: [0].weight: expected a whole number from 1 to 65535, got 1.5",
    "- { address: a:80, weight: '2' }":
      'FILE:1:28: [0].weight: expected a whole number from 1 to 65535, got "2"',
    "- { address: a:80, health: ill }":
      'FILE:1:28: [0].health: expected one of passing, warning, critical, maintenance, got "ill"',
    "- { address: a:80, zone: '' }": `FILE:1:26: [0].zone: expected a zone's name, got ""`,
    "- { address: a:80, note: 7 }": "FILE:1:26: [0].note: expected a text, got 7",
    "- address: a:80\n  wieght: 2\n": `FILE:2:3: [0].wieght: ${aKey}, got "wieght" as the key`,
    "- a:80\n- b:80\n- { address: A:80 }\n":
      "FILE:3:3: [2]: expected each address once, got a:80 again, which is [0] too",
    "endpoints:\n- '[::1]:80'\n- '[0:0::1]:80'\n":
      "FILE:3:3: endpoints[1]: expected each address once, got [::1]:80 again, which is endpoints[0] too",
    '[\n  "a:80",\n  "b"\n]': `FILE:3:3: [1]: ${anAddress}, got "b"`,
    '["a:80",': "FILE:1:9: expected YAML or JSON, got something else: Flow sequence must end with a ]",
    '["a:80"]]':
      "FILE:1:9: expected YAML or JSON, got something else: Unexpected flow-seq-end token in YAML stream",
    "- a:80\n\t- b:80":
      "FILE:2:1: expected YAML or JSON, got something else: Tabs are not allowed as indentation",
    "- *gone": "FILE:1:1: expected values that can be written out, got Unresolved alias",
    "- a\n- b:80\n- c\n": `FILE:1:3: [0]: ${anAddress}, got "a"; and 1 more`,
  };
  for (const [content, fault] of Object.entries(faults)) {
    const { what } = await toldOf(t, content);
    t.ok(typeof what === "string" && what.startsWith(fault), content, { found: what, wanted: fault });
  }
});

test("a few lines that stand for more values than there is memory are refused", async (t) => {
  let content = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (let i = 1; i < 12; i++)
    content += `a${i}: &a${i} [${Array(10)
      .fill(`*a${i - 1}`)
      .join(", ")}]\n`;
  t.match(
    (await toldOf(t, content)).what,
    /FILE:1:1: expected values that can be written out, got Excessive alias count/,
  );
});

test("bytes that are no text are refused, and so is a file that is too large", async (t) => {
  t.equal(
    (await toldOf(t, Buffer.from([0x2d, 0x20, 0xff, 0xfe]))).what,
    "FILE: expected UTF-8 text, got other bytes",
  );
  const path = join(t.testdir({}), "endpoints.yaml");
  writeFileSync(path, "");
  truncateSync(path, 16 * 1024 * 1024 + 1);
  t.equal(await followed(t, path).falls(), `${path}: expected at most 16777216 bytes, got 16777217`);
});

test("what is no file is refused, and never waited for", async (t) => {
  const folder = t.testdir({ folder: {} });
  const pipe = join(folder, "pipe");
  execFileSync("mkfifo", [pipe]);
  t.equal(
    await followed(t, join(folder, "folder")).falls(),
    `${join(folder, "folder")}: expected a file, got a folder`,
  );
  t.equal(await followed(t, pipe).falls(), `${pipe}: expected a file, got a device`);
  const gone = join(folder, "gone.yaml");
  t.equal(await followed(t, gone).falls(), `${gone}: expected a file that can be read, got none`);
});

test("a replacement is noticed, and so is an edit in place", async (t) => {
  const path = join(t.testdir({ "endpoints.yaml": yaml(1) }), "endpoints.yaml");
  const { tells, silences } = followed(t, path);
  await tells(...addresses(1));
  replace(path, yaml(1, 2));
  await tells(...addresses(1, 2));
  writeFileSync(path, yaml(3));
  await tells(...addresses(3));
  appendFileSync(path, yaml(4));
  await tells(...addresses(3, 4));
  t.same(silences(), []);
});

test("an edit is noticed that leaves the size and the time as they were", async (t) => {
  const path = join(t.testdir({ "endpoints.yaml": yaml(1) }), "endpoints.yaml");
  const time = new Date(1_700_000_000_000);
  utimesSync(path, time, time);
  const { tells } = followed(t, path);
  await tells(...addresses(1));
  for (let i = 2; i < 9; i++) {
    writeFileSync(path, yaml(i));
    utimesSync(path, time, time);
    await tells(...addresses(i));
  }
});

test("a swap of links is noticed, as Kubernetes does it with a ConfigMap", async (t) => {
  const folder = t.testdir({ "..v1": { "endpoints.yaml": yaml(1) } });
  const path = join(folder, "endpoints.yaml");
  symlinkSync("..v1", join(folder, "..data"));
  symlinkSync(join("..data", "endpoints.yaml"), path);
  const { tells, silences } = followed(t, path);
  await tells(...addresses(1));
  for (let version = 2; version < 6; version++) {
    mkdirSync(join(folder, `..v${version}`));
    writeFileSync(join(folder, `..v${version}`, "endpoints.yaml"), yaml(version));
    symlinkSync(`..v${version}`, join(folder, "..data_tmp"));
    renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
    rmSync(join(folder, `..v${version - 1}`), { recursive: true });
    await tells(...addresses(version));
  }
  t.same(silences(), []);
});

test("a link to a file beside it is followed, and so is that file", async (t) => {
  const folder = t.testdir({ "blue.yaml": yaml(1), "green.yaml": yaml(2) });
  const path = join(folder, "endpoints.yaml");
  symlinkSync("blue.yaml", path);
  const { tells } = followed(t, path);
  await tells(...addresses(1));
  symlinkSync("green.yaml", `${path}.new`);
  renameSync(`${path}.new`, path);
  await tells(...addresses(2));
  replace(join(folder, "green.yaml"), yaml(3));
  await tells(...addresses(3));
});

test("what no watch can see is found by looking from time to time", async (t) => {
  const folder = t.testdir({ here: {}, elsewhere: { "endpoints.yaml": yaml(1) } });
  const path = join(folder, "here", "endpoints.yaml");
  symlinkSync(join("..", "elsewhere", "endpoints.yaml"), path);
  const { tells, clock } = followed(t, path, { pollMs: undefined });
  await tells(...addresses(1));
  const beganMs = clock.now();
  replace(join(folder, "elsewhere", "endpoints.yaml"), yaml(2));
  await tells(...addresses(2));
  t.ok(clock.now() - beganMs >= 1_900, "which is every two seconds");
});

test("a folder that goes and comes back, or is replaced, is followed again", async (t) => {
  const root = t.testdir({ a: { "endpoints.yaml": yaml(1) }, b: { "endpoints.yaml": yaml(3) } });
  const path = join(root, "a", "endpoints.yaml");
  const { tells, falls } = followed(t, path, { pollMs: 1_000 });
  await tells(...addresses(1));
  rmSync(join(root, "a"), { recursive: true });
  t.match(await falls(), /expected a file that can be read, got none/);
  mkdirSync(join(root, "a"));
  writeFileSync(path, yaml(2));
  await tells(...addresses(2));
  renameSync(join(root, "a"), join(root, "old"));
  renameSync(join(root, "b"), join(root, "a"));
  await tells(...addresses(3));
  replace(path, yaml(4));
  await tells(...addresses(4));
});

test("a file that is not there yet is awaited, its folder too", async (t) => {
  const root = t.testdir({});
  const path = join(root, "deep", "down", "endpoints.yaml");
  const { tells, falls } = followed(t, path, { pollMs: 1_000 });
  await falls();
  mkdirSync(join(root, "deep", "down"), { recursive: true });
  writeFileSync(path, yaml(1));
  await tells(...addresses(1));
});

test("a faulty or missing file is a silence, said with every look, and the first good one ends it", async (t) => {
  const path = join(t.testdir({ "endpoints.yaml": yaml(1) }), "endpoints.yaml");
  const { tells, falls, told, until, silences } = followed(t, path, { pollMs: 1_000 });
  await tells(...addresses(1));
  replace(path, "- 10.0.0.1\n");
  t.match(await falls(), /:1:3: \[0\]: expected an address/);
  const count = told.length;
  await until(() => told.length >= count + 3);
  t.equal(new Set(silences()).size, 1, "the same again and again");
  rmSync(path);
  await until(() => /got none/.test(String(told.at(-1))));
  replace(path, "");
  await until(() => /got an empty file/.test(String(told.at(-1))));
  replace(path, yaml(1));
  await tells(...addresses(1));
  t.same(
    told.filter((what) => typeof what !== "string"),
    [addresses(1), addresses(1)],
    "no other list was ever told",
  );
});

test("what is half written is read again before it is spoken of", async (t) => {
  const path = join(t.testdir({ "endpoints.yaml": yaml(1) }), "endpoints.yaml");
  for (const half of ["", "- 10.0.0.2:80\n- [", '["10.0.0.2:80"', "- 10.0.0.2\n", undefined]) {
    writeFileSync(path, yaml(1));
    const { clock, tells, told, until, source } = followed(t, path);
    await tells(...addresses(1));
    if (half === undefined) rmSync(path);
    else writeFileSync(path, half);
    await until(() => clock.delaysMs.at(-1) === READ_AGAIN_MS);
    writeFileSync(path, yaml(2, 3));
    await tells(...addresses(2, 3));
    t.ok(
      told.every((what) => typeof what !== "string"),
      String(half),
    );
    source.stop();
  }
});

test("a file is read when it has come to rest, so that its first half is no list", async (t) => {
  const path = join(t.testdir({ "endpoints.yaml": yaml(1) }), "endpoints.yaml");
  const { clock, tells, told, until } = followed(t, path);
  await tells(...addresses(1));
  let count = clock.delaysMs.length;
  const isWaiting = () => clock.delaysMs.length > count && clock.delaysMs.at(-1) === GATHER_MS;
  writeFileSync(path, yaml(1, 2));
  await until(isWaiting);
  for (let last = 3; last < 9; last++) {
    appendFileSync(path, yaml(last));
    count = clock.delaysMs.length;
    await until(isWaiting);
  }
  await tells(...addresses(1, 2, 3, 4, 5, 6, 7, 8));
  t.equal(told.length, 2);
});

test("a file that never comes to rest is read all the same", async (t) => {
  const path = join(t.testdir({ "endpoints.yaml": yaml(1) }), "endpoints.yaml");
  const { clock, tells, told } = followed(t, path);
  await tells(...addresses(1));
  while (told.length < 2) {
    appendFileSync(path, "# and on\n");
    clock.advance(10);
    await settled();
  }
  t.pass();
});

test("two hundred replacements in a row are never a silence, and the last one is the last list", async (t) => {
  const path = join(t.testdir({ "endpoints.yaml": yaml(1) }), "endpoints.yaml");
  const { clock, tells, silences, told } = followed(t, path, { pollMs: 100 });
  await tells(...addresses(1));
  for (let i = 1; i <= 200; i++) {
    replace(path, yaml(i, i + 1));
    for (let turn = 0; turn < i % 7; turn++) {
      clock.advance(20);
      await settled();
    }
  }
  await tells(...addresses(200, 201));
  t.same(silences(), []);
  t.ok(told.length > 2, "some were seen on the way");
});

test("files beside it change nothing", async (t) => {
  const folder = t.testdir({ "endpoints.yaml": yaml(1) });
  const { tells, told } = followed(t, join(folder, "endpoints.yaml"));
  await tells(...addresses(1));
  for (let i = 0; i < 50; i++) replace(join(folder, "other.yaml"), "[");
  replace(join(folder, "endpoints.yaml"), yaml(2));
  await tells(...addresses(2));
  t.same(told, [addresses(1), addresses(2)]);
});

test("a path that is not absolute is one from where the process was started", async (t) => {
  const path = relative(process.cwd(), join(t.testdir({ "endpoints.yaml": yaml(1) }), "endpoints.yaml"));
  const { tells, lists, source } = followed(t, path);
  await tells(...addresses(1));
  t.equal(source.name, `file:${path}`);
  t.equal(lists[0]![0]!.source, `file:${path}`);
});

test("after stop nothing is told or held any more, whatever it was doing", async (t) => {
  const watches = () => process.getActiveResourcesInfo().filter((kind) => /FS/.test(kind)).length;
  const path = join(t.testdir({ "endpoints.yaml": yaml(1) }), "endpoints.yaml");
  type Followed = ReturnType<typeof followed>;
  const manners: Readonly<Record<string, (one: Followed) => Promise<unknown> | undefined>> = {
    "has just begun": () => undefined,
    "is about to read": () => settled(),
    rests: ({ tells }) => tells(...addresses(1)),
    "lets the file come to rest": async ({ tells, until, clock }) => {
      await tells(...addresses(1));
      writeFileSync(path, yaml(1));
      await until(() => clock.delaysMs.at(-1) === GATHER_MS);
    },
    "is about to read again": async ({ until, clock }) => {
      writeFileSync(path, "");
      await until(() => clock.delaysMs.at(-1) === READ_AGAIN_MS);
    },
  };
  for (const [manner, reach] of Object.entries(manners)) {
    writeFileSync(path, yaml(1));
    const before = watches();
    const one = followed(t, path);
    await reach(one);
    one.source.stop();
    const count = one.told.length;
    replace(path, yaml(9));
    // What it was reading or watching when it was stopped comes to its end.
    while (watches() > before) await settled();
    one.clock.advance(2 * NEVER_MS);
    await settled();
    t.same([one.told.length, one.clock.pending], [count, 0], manner);
  }
});
