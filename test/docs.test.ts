import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "tap";
import { BALANCING_ALGORITHMS, HASHING_ALGORITHMS } from "../balancing/index.ts";
import { COMMANDS } from "../cli/commands.ts";
import { parseConfig } from "../config/index.ts";
import { settings } from "../config/reference.ts";
import { ERROR_KINDS } from "../core/index.ts";
import { ANNOTATIONS, CONSUL_FOLLOWED, PREFIX, WEBHOOK_METRICS } from "../kubernetes/index.ts";
import { ADMIN_PAGES, methodsOf } from "../proxy/admin/index.ts";
import { DEFAULT_LIMITS, FAULT_REASONS, reasonPhrase } from "../proxy/http1/index.ts";
import { CHUNK_LINE_BYTES, INTERIM_COUNT } from "../proxy/http1/limits.ts";
import { ACCESS_LOG_FIELDS, MAX_REQUEST_SERIES, METRICS } from "../telemetry/index.ts";
import { FAULTS } from "./fault-matrix/faults.ts";
import { POLICIES } from "./fault-matrix/policies.ts";
import { policyTable } from "./fault-matrix/table.ts";
import { block, requests, wire } from "./support/codec.ts";
import { startInProcess } from "./support/in-process.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const page = (path: string) => readFileSync(join(ROOT, path), "utf8");
const manifest = JSON.parse(page("package.json"));

/** The first column of the tables of a page, without its backticks. */
function firstColumn(text: string): string[] {
  return [...text.matchAll(/^\| (.+?) \|/gm)]
    .flatMap((match) => [...match[1]!.matchAll(/`([^`]+)`/g)])
    .map((match) => match[1]!);
}

test("ARCHITECTURE.md walks the stack that runs", async (t) => {
  const { admin } = await startInProcess(t, "upstreams: { orders: { endpoints: [127.0.0.1:1] } }");
  const running = JSON.parse(await admin("/stack"));
  const [, written] = /<!-- stack:begin -->\n(.*?)<!-- stack:end -->/s.exec(page("ARCHITECTURE.md"))!;
  const lists = Object.fromEntries(
    [...written!.matchAll(/^- (\w+): (.+)$/gm)].map(([, name, layers]) => [name, layers!.split(" → ")]),
  );
  t.same(lists, running);
});

test("ARCHITECTURE.md names every command, every room and every layer", async (t) => {
  const text = page("ARCHITECTURE.md");
  const [, picture] = /## The house\n.*?```\n(.*?)```/s.exec(text)!;
  const [, commands] = /^cli\/ +the commands: (.+)$/m.exec(picture!)!;
  t.same(commands!.split(", "), Object.keys(COMMANDS));
  const files = readdirSync(ROOT, { encoding: "utf8" })
    .filter((room) => existsSync(join(ROOT, room, "index.ts")) || existsSync(join(ROOT, room, "commands.ts")))
    .flatMap((room) =>
      readdirSync(join(ROOT, room), { recursive: true, encoding: "utf8" }).map((file) => `${room}/${file}`),
    );
  const rooms = files.filter((file) => file.endsWith("/index.ts")).map((file) => file.split("/").at(-2)!);
  t.ok(rooms.length > 15, `${rooms.length} rooms`);
  for (const room of rooms) t.match(picture, new RegExp(`(?:^|[ ─])${room}/`, "m"), room);
  const layers = files.filter((file) => file.endsWith(".layer.ts"));
  t.ok(layers.length > 15, `${layers.length} files of layers`);
  for (const file of layers)
    for (const [, layer] of page(file).matchAll(/^ +name: "([\w-]+)"/gm))
      t.match(text, new RegExp(`[\`→:] ?${layer}\\b`), `${layer} of ${file}`);
});

test("docs/errors.md says of every error code what the table of codes says, and lists no other", async (t) => {
  const whose = { downstream: "caller", upstream: "endpoint", local: "heddle" };
  const again = {
    safe: "yes, nothing was processed",
    idempotent: "if the method is idempotent or has an `Idempotency-Key`",
    never: "no",
  };
  const rows = page("docs/errors.md")
    .split("\n")
    .filter((line) => line.startsWith("| `"));
  t.same(
    rows,
    Object.entries(ERROR_KINDS).map(
      ([code, { status, origin, resend, meaning }]) =>
        `| \`${code}\` | ${status} | ${whose[origin]} | ${again[resend]} | ${meaning} |`,
    ),
  );
  for (const [code, { status }] of Object.entries(ERROR_KINDS))
    if (!/never sent$/.test(ERROR_KINDS[code as keyof typeof ERROR_KINDS].meaning))
      t.not(reasonPhrase(status), "", `${status} has a reason phrase`);
});

test("docs/access-log.md says of every field what the table of fields says, in their order, and lists no other", async (t) => {
  const rows = page("docs/access-log.md")
    .split("\n")
    .filter((line) => line.startsWith("| `"));
  t.same(
    rows,
    Object.entries(ACCESS_LOG_FIELDS).map(
      ([name, { unit = "", when = "always", what }]) => `| \`${name}\` | ${unit} | ${when} | ${what} |`,
    ),
  );
});

test("docs/http1.md lists every reason for refusing a message with what a request gets, and no other", async (t) => {
  const ofAnswers = page("docs/http1.md").indexOf("\n## Answers only\n");
  t.not(ofAnswers, -1);
  const rows = [...page("docs/http1.md").matchAll(/^\| `(\w+)` \| (.+?) \| (\d+) `(\w+)` \| (.*) \|$/gm)];
  t.same(
    Object.fromEntries(
      rows.map(({ index, 1: reason, 2: what, 3: status, 4: code }) => {
        // A reason that only an answer can have is no request's.
        if (index < ofAnswers) return [reason, [code, what, Number(status)]];
        t.equal(`${status} ${code}`, "502 bad_response", reason!);
        const asRequest = FAULT_REASONS[reason as keyof typeof FAULT_REASONS]?.[0] ?? "bad_request";
        return [reason, [asRequest, what, ERROR_KINDS[asRequest].status]];
      }),
    ),
    Object.fromEntries(
      Object.entries(FAULT_REASONS).map(([reason, [code, what]]) => [
        reason,
        [code, what, ERROR_KINDS[code].status],
      ]),
    ),
  );
  t.equal(rows.length, Object.keys(FAULT_REASONS).length, "each reason has one row");
  for (const [, reason, , , , why] of rows) t.match(why, /\w+ \w+ \w+/, `${reason} has a why`);
});

test("docs/http1.md names tests that exist", async (t) => {
  const rows = [...page("docs/http1.md").matchAll(/^\| .+ \| `(test\/[^`]+)` \| (.+) \|$/gm)];
  t.ok(rows.length > 0);
  for (const [, file, title] of rows)
    t.ok(page(file!).includes(`test(${JSON.stringify(title)}`), `${file} has: ${title}`);
});

test("docs/http1.md states the limits that are kept", async (t) => {
  const stated = [...page("docs/http1.md").matchAll(/^\| (.+) \| (\d+)(?: bytes)? \| .*\|$/gm)];
  const { startLineBytes, headBytes, fieldCount } = DEFAULT_LIMITS;
  const digitsBehind = (beginning: string) => {
    let digits = 1;
    const read = () => requests()([wire(`${beginning}${"0".repeat(digits)}\r\n\r\n`)]);
    while (read().every(({ on }) => on !== "fault")) digits++;
    return digits - 1;
  };
  const post = "POST / HTTP/1.1\r\nHost: a\r\n";
  t.same(
    stated.map(([, , value]) => Number(value)),
    [
      startLineBytes,
      headBytes,
      headBytes,
      fieldCount,
      digitsBehind(`${post}Content-Length: `),
      digitsBehind(`${post}Transfer-Encoding: chunked\r\n\r\n`),
      CHUNK_LINE_BYTES,
      INTERIM_COUNT,
    ],
  );
});

test("docs/http1.md lists fields that end at this hop, that Connection cannot remove, and that no trailer may be", async (t) => {
  /** The field names between two pieces of the page; a name that stands for all with its beginning gets an end. */
  const names = (from: string, to: string) => {
    const [, rest] = page("docs/http1.md").split(from);
    const list = rest!.slice(0, rest!.indexOf(to)).replaceAll("\\*", "");
    return [...list.matchAll(/[A-Z][\w-]*/g)].map(([name]) => (name.endsWith("-") ? `${name}Any` : name));
  };
  const headers = (...fields: string[]) => {
    const [first] = requests()([wire(block("POST / HTTP/1.1", "Host: a", ...fields))]);
    return first?.on === "head" ? first.head.headers : first;
  };
  const hop = names("**Fields of this hop** end here:", ".");
  t.ok(hop.length > 4);
  for (const name of hop)
    t.same(headers(`${name}: ${name === "Transfer-Encoding" ? "chunked" : "x"}`), [], name);
  const kept = names("since heddle and its peers rely on them:", ". Nor");
  t.ok(kept.length > 6);
  for (const name of kept) t.same(headers(`${name}: x`, `Connection: ${name}`), [name, "x"], name);
  const trailers = names("Forbidden trailers are", ".\n");
  t.ok(trailers.length > 10);
  const body = block("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked");
  for (const name of trailers)
    t.match(
      requests()([wire(`${body}0\r\n${name}: x\r\n\r\n`)]).at(-1),
      { reason: "forbidden_trailer" },
      name,
    );
});

test("docs/timeouts.md has every time limit on the way of a request, with the default that holds and a code that exists", async (t) => {
  const [, table] = /<!-- limits:begin -->\n(.*?)<!-- limits:end -->/s.exec(page("docs/timeouts.md"))!;
  const rows = [...table!.matchAll(/^\| (.+?) \| (.+?) \| .+ \| .+ \|(.*)\|$/gm)].slice(1);
  const places: Record<string, readonly string[]> = {
    "<side>": ["inbound", "outbound"],
    "<to>": ["inbound", "upstreams.<name>"],
  };
  const stated: Record<string, string> = {};
  for (const [, cell, fallback, code] of rows) {
    for (const [, named] of code!.matchAll(/`(\w+)`/g)) t.ok(named! in ERROR_KINDS, named!);
    const [, pattern] = /^`([^`]+)`$/.exec(cell!) ?? [];
    if (pattern === undefined) continue;
    const [first] = /^<\w+>/.exec(pattern) ?? [""];
    for (const place of places[first] ?? [""]) stated[pattern.replace(first, place)] = fallback!;
  }
  const defaults: Record<string, string> = {};
  for (const [, path, fallback] of page("docs/configuration.md").matchAll(/^\| `(\S+)` \| .+? \| (.+?) \|/gm))
    defaults[path!] = fallback!;
  for (const [path, fallback] of Object.entries(stated)) t.equal(fallback, defaults[path], path);
  // Windows, intervals and ages are no limits, and discovery has its own page.
  const onTheWay =
    /^(?:inbound|outbound|upstreams\.<name>|routes\[\])\.(?:\w*[tT]imeout|timeouts\.\w+|keepAlive\w*|retries\.backoff\.\w+)$/;
  const wanted = settings()
    .filter(({ path, expected }) => onTheWay.test(path) && expected.startsWith("a duration"))
    .map(({ path }) => path);
  t.ok(wanted.length > 20, `${wanted.length}`);
  for (const path of wanted) t.ok(path in stated, path);
});

test("docs/fault-matrix.md has every fault with every policy, as they are, and names the tests that hold them", async (t) => {
  const text = page("docs/fault-matrix.md");
  const [, policies] = /<!-- policies:begin -->\n(.*)\n<!-- policies:end -->/s.exec(text)!;
  t.equal(policies, policyTable(POLICIES), "`npm run fault-matrix` renews it");
  const [, matrix] = /<!-- matrix:begin -->\n(.*)\n<!-- matrix:end -->/s.exec(text)!;
  const sections = matrix!.split("\n### ").slice(1);
  t.same(
    sections.map((section) => [
      section.split("\n")[0],
      [...section.matchAll(/^\| (?!policy |---)(.+?) \|/gm)].map(([, policy]) => policy),
    ]),
    FAULTS.map(({ name }) => [name, POLICIES.map((policy) => policy.name)]),
  );
  for (const [n, { says }] of FAULTS.entries()) t.ok(sections[n]?.includes(says), says);
  const [, outages] = /<!-- outages:begin -->\n(.*)\n<!-- outages:end -->/s.exec(text)!;
  t.same(
    [...outages!.matchAll(/^\| (?!fault |---)(.+?) \|/gm)].map(([, fault]) => fault),
    FAULTS.filter(({ ending }) => ending !== "none").map(({ name }) => name),
  );
});

test("docs/metrics.md lists every metric with its type and labels, and no other", async (t) => {
  const rows = [...page("docs/metrics.md").matchAll(/^\| `(\w+)` \| (\w+) \|([^|]*)\|/gm)];
  t.same(
    Object.fromEntries(rows.map(([, name, type, labels]) => [name, [type, labels!.trim()]])),
    Object.fromEntries(
      Object.entries(METRICS).map(([name, { type, labels }]) => [name, [type, labels.join(", ")]]),
    ),
  );
  t.match(page("docs/metrics.md"), `beyond ${MAX_REQUEST_SERIES} different pairs`);
});

test("docs/admin.md lists every page of the admin port with its method, and no other", async (t) => {
  const rows = [...page("docs/admin.md").matchAll(/^\| `(\/[\w-]*)` \| ([\w, ]+) \|/gm)];
  const pages = Object.entries(ADMIN_PAGES).map(([path, of]) => [path, methodsOf(of).join(", ")]);
  t.same(Object.fromEntries(rows.map(([, path, method]) => [path, method])), {
    "/": "GET",
    ...Object.fromEntries(pages),
  });
});

test("docs/kubernetes.md lists every annotation with what it expects and what holds without it, and every metric of the webhook, and no other", async (t) => {
  const part = (name: string) =>
    new RegExp(`<!-- ${name}:begin -->\\n(.*?)<!-- ${name}:end -->`, "s").exec(
      page("docs/kubernetes.md"),
    )![1]!;
  const rows = part("annotations")
    .split("\n")
    .filter((line) => line.startsWith("| `"));
  t.same(
    rows,
    Object.entries(ANNOTATIONS).map(
      ([name, { kind, fallback, about }]) =>
        `| \`${PREFIX}${name}\` | ${kind.expected} | ${fallback} | ${about} |`,
    ),
  );
  t.same(firstColumn(part("consul")), CONSUL_FOLLOWED);
  t.same(
    Object.fromEntries(
      [...part("webhook-metrics").matchAll(/^\| `(\w+)` \| (.+) \|$/gm)].map(([, name, what]) => [
        name,
        what,
      ]),
    ),
    WEBHOOK_METRICS,
  );
});

test("docs/dependencies.md names every dependency, and no other", async (t) => {
  const named = page("docs/dependencies.md");
  const tables = firstColumn(named).sort();
  t.same(tables, Object.keys({ ...manifest.dependencies, ...manifest.devDependencies }).sort());
  for (const name of Object.keys(manifest.optionalDependencies)) t.match(named, `\`${name}\``);
});

test("the files and folders that the pages name are there", async (t) => {
  const pages = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
  for (const folder of ["docs", "docs/decisions"])
    for (const name of readdirSync(join(ROOT, folder)))
      if (name.endsWith(".md")) pages.push(`${folder}/${name}`);
  for (const name of pages) {
    const text = page(name);
    for (const [, link] of text.matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g))
      t.ok(existsSync(join(ROOT, name, "..", link!)), `${name} links to ${link}`);
    for (const [, path] of text.matchAll(
      /`((?:core|balancing|resilience|discovery|config|telemetry|proxy|kubernetes|cli|test|bench|build|bin|packaging|examples|docs)\/[\w./-]*)`/g,
    ))
      t.ok(existsSync(join(ROOT, path!)), `${name} names ${path}`);
  }
});

test("decisions are numbered without a gap", async (t) => {
  const numbers = readdirSync(join(ROOT, "docs/decisions"))
    .sort()
    .map((name) => Number(name.slice(0, 4)));
  t.same(
    numbers,
    numbers.map((_, i) => i + 1),
  );
});

test("every example is a configuration without a fault", async (t) => {
  for (const name of readdirSync(join(ROOT, "examples")))
    t.doesNotThrow(() => parseConfig(page(`examples/${name}`), name, {}), name);
  const [, readme] = /```yaml\n(.*?)```/s.exec(page("README.md"))!;
  t.doesNotThrow(() => parseConfig(readme!, "README.md", {}));
});

test("docs/benchmarks.md has figures of every algorithm that does not go by a hash, with a slow replica and a busy one", async (t) => {
  const [, written] = /<!-- balancing:begin -->\n(.*?)<!-- balancing:end -->/s.exec(
    page("docs/benchmarks.md"),
  )!;
  const algorithms = BALANCING_ALGORITHMS.filter((name) => !HASHING_ALGORITHMS.has(name)).toSorted();
  const [slow, busy] = written!.split("One of six is busy");
  for (const table of [slow, busy]) {
    const rows = [...table!.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name!);
    t.same([...new Set(rows)].toSorted(), algorithms);
  }
});

test("README.md names the two commands and only scripts and commands that exist", async (t) => {
  for (const name of ["README.md", "CONTRIBUTING.md", "docs/benchmarks.md"]) {
    const text = page(name);
    for (const [, script] of text.matchAll(/npm run ([\w:]+)/g))
      t.ok(manifest.scripts[script!], `npm run ${script}`);
    for (const [, command] of text.matchAll(/npx heddle (\w+)/g))
      t.ok(COMMANDS[command!], `heddle ${command}`);
  }
  t.match(page("README.md"), "npm ci && npm start");
  t.match(page("README.md"), "npm ci && npm test");
});
