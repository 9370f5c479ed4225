import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "tap";
import { defaultsPage } from "../../config/defaults-page.ts";
import { FIXED_NUMBERS } from "../../config/fixed-numbers.ts";

const ROOT = join(import.meta.dirname, "../..");
const page = (name: string) => readFileSync(join(ROOT, "docs", name), "utf8");
const written = page("defaults.md");

test("docs/defaults.md is what the shape and the code give; `npm run schema` writes it", async (t) => {
  t.equal(written, defaultsPage());
});

test("every default of docs/configuration.md is in docs/defaults.md, and no setting without one", async (t) => {
  const [, settings] = written.split("## Settings");
  const stated: Record<string, string> = {};
  for (const [, paths, usual] of settings!.matchAll(/^\| (`.+?`) \| (.+?) \| .+ \|$/gm))
    for (const [, path] of paths!.matchAll(/`([^`]+)`/g)) stated[path!] = usual!;
  // Of the second table the last column is a constant.
  for (const { name } of FIXED_NUMBERS) delete stated[name];
  const rows = page("configuration.md").matchAll(/^\| `(\S+)` \| .+? \| (.*?) \| .+ \|$/gm);
  const wanted = [...rows].filter(([, , usual]) => !["", "none", "required"].includes(usual!));
  t.ok(wanted.length > 200, `${wanted.length}`);
  t.same(stated, Object.fromEntries(wanted.map(([, path, usual]) => [path, usual])));
});

/** Times that nobody can notice, or that are bounds of a setting, which configuration.md states. */
const NO_DEFAULTS: readonly string[] = [
  "resilience/latency-histogram.ts LEAST_MS",
  "config/shape-discovery.ts LONGEST_KEPT_MS",
  "config/units.ts LONGEST_MS",
  "proxy/workers/worker-planes.ts HOUR_MS",
];

test("every time that the code keeps to is in docs/defaults.md", async (t) => {
  const found: string[] = [];
  for (const room of ["core", "balancing", "resilience", "discovery", "telemetry", "config", "proxy"])
    for (const file of readdirSync(join(ROOT, room), { recursive: true, encoding: "utf8" })) {
      if (!file.endsWith(".ts")) continue;
      const text = readFileSync(join(ROOT, room, file), "utf8");
      for (const [, name] of text.matchAll(/^(?:export )?const (\w+_M?S) = \d/gm))
        found.push(`${room}/${file} ${name}`);
    }
  const listed = FIXED_NUMBERS.map(({ file, name }) => `${file} ${name}`);
  t.equal(new Set(listed).size, listed.length, "each once");
  t.same(found.filter((one) => !listed.includes(one)).toSorted(), NO_DEFAULTS.toSorted());
  for (const { sentence } of FIXED_NUMBERS) t.match(sentence, /^[A-Z`].*[^.]\.$/);
});

test("what docs/timeouts.md calls not configurable is in docs/defaults.md", async (t) => {
  const rows = [...page("timeouts.md").matchAll(/^\| not configurable \| (.+?) \|/gm)];
  t.ok(rows.length > 0);
  for (const [, value] of rows) t.ok(written.includes(`| ${value} |`), value!);
});
