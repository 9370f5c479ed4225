import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "tap";
import { COMMANDS } from "../cli/commands.ts";
import { parseConfig } from "../config/index.ts";
import { ERROR_KINDS } from "../core/index.ts";
import { ADMIN_PAGES } from "../proxy/admin/index.ts";
import { FAULT_REASONS, reasonPhrase } from "../proxy/http1/index.ts";
import { MAX_REQUEST_SERIES, METRICS } from "../telemetry/index.ts";
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

test("docs/http1.md lists every reason for refusing a message with what a request gets, and no other", async (t) => {
  const rows = [...page("docs/http1.md").matchAll(/^\| `(\w+)` \| (.+) \| (\d+) `(\w+)` \|$/gm)];
  t.same(
    Object.fromEntries(rows.map(([, reason, what, status, code]) => [reason, [code, what, Number(status)]])),
    Object.fromEntries(
      Object.entries(FAULT_REASONS).map(([reason, [code, what]]) => [
        reason,
        [code, what, ERROR_KINDS[code].status],
      ]),
    ),
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
  const rows = [...page("docs/admin.md").matchAll(/^\| `(\/[\w-]*)` \| (\w+) \|/gm)];
  const pages = Object.entries(ADMIN_PAGES).map(([path, { method }]) => [path, method]);
  t.same(Object.fromEntries(rows.map(([, path, method]) => [path, method])), {
    "/": "GET",
    ...Object.fromEntries(pages),
  });
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
      /`((?:core|balancing|resilience|discovery|config|telemetry|proxy|cli|test|bench|docs)\/[\w./-]*)`/g,
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

test("README.md names the two commands and only scripts and commands that exist", async (t) => {
  for (const name of ["README.md", "CONTRIBUTING.md"]) {
    const text = page(name);
    for (const [, script] of text.matchAll(/npm run ([\w:]+)/g))
      t.ok(manifest.scripts[script!], `npm run ${script}`);
    for (const [, command] of text.matchAll(/npx heddle (\w+)/g))
      t.ok(COMMANDS[command!], `heddle ${command}`);
  }
  t.match(page("README.md"), "npm ci && npm start");
  t.match(page("README.md"), "npm ci && npm test");
});
