import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { test } from "tap";
import { DEFAULT_LIMITS } from "../../../proxy/http1/index.ts";
import { type BrokenCase, runCampaign } from "../../fuzz/campaign.ts";
import { type Connection, connectionOf } from "../../fuzz/connection.ts";
import { EXCEPTIONS } from "../../fuzz/exceptions.ts";
import { explain } from "../../fuzz/explain.ts";
import { READERS, type Readers, tryCase } from "../../fuzz/try-case.ts";
import { block } from "../../support/codec.ts";

/** The seeded part of `npm run fuzz`, which finds the same with this seed. */
const SEED = 20260802;
const CASES = 6000;

test("heddle accepts nothing that llhttp refuses, reads every message as it does, and alike at every split", (t) => {
  const found: string[] = [];
  const onBroken = (broken: BrokenCase) => {
    found.push(explain(SEED, broken, READERS));
    return found.length < 3;
  };
  const tally = runCampaign({ seed: SEED, from: 0, cases: CASES }, { onBroken });
  t.same(found, []);
  t.equal(tally.cases, CASES);
  t.ok(tally.withMessage > 0.4 * CASES, `${tally.withMessage} cases have a message that both accept`);
  t.ok(tally.refusedByBoth > 0.25 * CASES, `${tally.refusedByBoth} cases are refused by both`);
  t.ok(tally.splits > 60 * CASES, `${tally.splits} splits`);
  for (const [reason, count] of Object.entries(tally.reasons)) t.ok(count > 0, `${reason} has been met`);
  for (const [name, count] of Object.entries(tally.exceptions))
    t.ok(count < 0.02 * CASES, `${name} is seldom: ${count}`);
  t.end();
});

function requests(text: string): Connection {
  return { kind: "requests", text, methods: ["GET"], limits: DEFAULT_LIMITS };
}

function responses(text: string): Connection {
  return { ...requests(text), kind: "responses" };
}

type OwnReading = ReturnType<Readers["own"]>;

/** Reads as heddle would read it if `wrong` were in its bytes where `right` is. */
function mistaking(right: string, wrong: string): Readers {
  const own: Readers["own"] = (connection, bytes, split) =>
    READERS.own(connection, Buffer.from(bytes.toString("latin1").replace(right, wrong), "latin1"), split);
  return { ...READERS, own };
}

function changing(change: (reading: OwnReading, split: unknown) => void): Readers {
  const own: Readers["own"] = (connection, bytes, split) => {
    const reading = READERS.own(connection, bytes, split);
    change(reading, split);
    return reading;
  };
  return { ...READERS, own };
}

/** The last message that was read, which there is in all of these cases. */
const last = ({ messages }: OwnReading) => messages.at(-1)!;

const POST = block("POST / HTTP/1.1", "Host: a", "Content-Length: 5");
const CHUNKED = block("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked");
const OK = block("HTTP/1.1 200 OK", "Content-Length: 2");

const WRONG_READINGS: readonly (readonly [string, Connection, Readers, RegExp])[] = [
  [
    "a body that is one byte longer",
    requests(`${POST}hello`),
    changing((reading) => {
      last(reading).body += "x";
    }),
    /^another body$/,
  ],
  [
    "a body that ends one byte later",
    requests(`${POST}hello`),
    changing((reading) => {
      last(reading).end++;
    }),
    /^another offset at the end$/,
  ],
  [
    "a message that llhttp refuses",
    requests(`${POST.replace("5", "+5")}hello`),
    mistaking("+5", " 5"),
    /^llhttp refuses what heddle accepts$/,
  ],
  [
    "a chunk that llhttp refuses",
    requests(`${CHUNKED}5 \r\nhello\r\n0\r\n\r\n`),
    mistaking("5 ", "05"),
    /^another body$/,
  ],
  [
    "a request that llhttp takes for a body",
    requests(`${POST}GET /`),
    mistaking("Content-Length: 5", "Content-Length: 0"),
    /^another body$/,
  ],
  [
    "a message that llhttp has read and heddle has not",
    responses(`${OK}hi`),
    changing((reading) => {
      Object.assign(reading, { messages: [] });
    }),
    /^llhttp reads a message where heddle waits$/,
  ],
  [
    "a field that is left out",
    requests(block("GET / HTTP/1.1", "Host: a", "X-A: b")),
    changing((reading) => {
      last(reading).head.headers.length = 0;
    }),
    /^other headers$/,
  ],
  [
    "another field value",
    requests(block("GET / HTTP/1.1", "Host: a", "X-A: b")),
    mistaking(": b", ": c"),
    /^other headers$/,
  ],
  [
    "another target",
    requests(block("GET /a HTTP/1.1", "Host: a")),
    mistaking("/a", "/b"),
    /^another target$/,
  ],
  [
    "another authority",
    requests(block("GET / HTTP/1.1", "Host: a")),
    mistaking(": a", ": b"),
    /^another authority$/,
  ],
  ["another status", responses(`${OK}hi`), mistaking("200", "201"), /^another status$/],
  [
    "a connection that is kept though llhttp closes it",
    requests(block("GET / HTTP/1.1", "Host: a", "Connection: close")),
    mistaking("close", "other"),
    /^llhttp closes what heddle keeps$/,
  ],
  [
    "an upgrade that llhttp does not see",
    requests(block("GET / HTTP/1.1", "Host: a", "Connection: upgrada", "Upgrade: b")),
    mistaking("upgrada", "upgrade"),
    /^heddle would switch where llhttp would not$/,
  ],
  [
    "a body that depends on where the bytes were split",
    requests(`${POST}hello`),
    changing((reading, split) => {
      if (split === POST.length + 2) last(reading).body = "hel";
    }),
    /^heddle depends on the split \(\d+\)/,
  ],
  [
    "a head that depends on the bytes coming one by one",
    requests(`${POST}hello`),
    changing((reading, split) => {
      if (split === "bytes") last(reading).head.headers.push("X-A", "b");
    }),
    /^heddle depends on the split \(bytes\)/,
  ],
];

test("the fuzzer tells of a reading that is wrong", (t) => {
  for (const [what, connection, readers, expected] of WRONG_READINGS) {
    t.equal(tryCase(connection, READERS).broken, undefined, `not of the right one of ${what}`);
    t.match(tryCase(connection, readers).broken, expected, what);
  }
  t.end();
});

test("an exception covers its own situation and no other one in the same connection", (t) => {
  const covered = {
    unknown_method: requests(block("FOO / HTTP/1.1", "Host: a")),
    chunk_extension: requests(`${CHUNKED}1;a =b\r\nx\r\n0\r\n\r\n`),
    interim_ends_connection: responses(`${block("HTTP/1.1 103", "Connection: close")}${OK}hi`),
    proxy_connection: requests(block("GET / HTTP/1.1", "Host: a", "Proxy-Connection: close")),
    tab_behind_chunked: requests(`${CHUNKED.replace("chunked", "chunked\t")}0\r\n\r\n`),
  };
  t.same(Object.keys(covered), Object.keys(EXCEPTIONS));
  const trailers = `${CHUNKED}0\r\nProxy-Connection: close\r\n\r\n${block("GET / HTTP/1.1", "Host: a")}`;
  t.equal(tryCase(requests(trailers), READERS).exception, "proxy_connection", "in trailers too");
  const upgrade = block(
    "GET / HTTP/1.1",
    "Host: a",
    "Connection: upgrade",
    "Upgrade: b",
    "Transfer-Encoding: chunked\t",
  );
  t.equal(tryCase(requests(upgrade), READERS).exception, "tab_behind_chunked", "before an upgrade too");
  for (const [name, connection] of Object.entries(covered)) {
    const { exception, broken } = tryCase(connection, READERS);
    t.same([exception, broken], [name, undefined], name);
    const refused = requests(`${POST.replace("5", "+5")}hello`);
    if (connection.kind === "responses") continue;
    const before = { ...refused, text: refused.text + connection.text };
    t.match(tryCase(before, mistaking("+5", " 5")).broken, /refuses/, `behind another refusal, ${name}`);
    if (name !== "unknown_method")
      t.equal(
        tryCase(connection, mistaking("/ ", "/b ")).broken,
        "another target",
        `another target, ${name}`,
      );
  }
  t.end();
});

test("a disagreement names its seed and case, which show it again alone, its bytes, and the shortest text", (t) => {
  const readers = changing((reading) => {
    for (const message of reading.messages) if (message.body !== "") message.body += "x";
  });
  const found: BrokenCase[] = [];
  const onBroken = (broken: BrokenCase) => {
    found.push(broken);
    return false;
  };
  runCampaign({ seed: SEED, from: 0, cases: 200 }, { onBroken }, readers);
  t.equal(found.length, 1, "and the campaign ends with it");
  const { caseNumber, connection, broken } = found[0]!;
  t.same(connectionOf(SEED, caseNumber), connection);
  t.match(broken, "body");
  const text = explain(SEED, found[0]!, readers);
  t.match(text, `DISAGREEMENT: ${broken}\nrepeat: npm run fuzz -- --seed ${SEED} --only ${caseNumber}\n`);
  const shrunk: string = JSON.parse(/^shrunk: (.*)$/m.exec(text)![1]!.replaceAll("\\x", "\\u00"));
  t.ok(shrunk.length < connection.text.length, "is shorter");
  t.match(tryCase({ ...connection, text: shrunk }, readers).broken, "body", "and still shows it");
  t.match(text, /^[\n\x20-\x7e]*$/, "all in visible ASCII");
  t.end();
});

test("npm run fuzz counts what it tried, shows a case alone, and refuses what it does not understand", async (t) => {
  const program = join(import.meta.dirname, "../../fuzz/run.ts");
  const run = (...args: readonly string[]) => promisify(execFile)(process.execPath, [program, ...args]);
  const { stdout, stderr } = await run("--seed", "3", "--cases", "50");
  t.match(stdout, /^cases +50 of seed 3,/m);
  t.match(stdout, /^disagreements +0$/m);
  t.equal(stderr, "", "no warning, though the parser is an inner part of Node");
  t.match((await run("--seed", "3", "--only", "7")).stdout, JSON.stringify(connectionOf(3, 7).text));
  await t.rejects(run("--cases", "many"), { code: 2 });
});
