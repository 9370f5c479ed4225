import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "tap";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Which rooms a room may import; the rooms below are entered only by their index.ts. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  balancing: ["core"],
  resilience: ["core"],
  telemetry: ["core"],
  discovery: ["core", "resilience"],
  config: ["core", "balancing", "resilience", "telemetry", "discovery"],
  proxy: ["core", "balancing", "resilience", "telemetry", "discovery", "config"],
  kubernetes: ["core", "discovery", "config"],
  cli: ["core", "config", "telemetry", "proxy", "kubernetes"],
};

/** A room of its own inside another: entered by its index.ts only, and blind to what is around it but for this. */
const INNER_ROOMS: Readonly<Record<string, readonly string[]>> = {
  "proxy/http1": ["core"],
  "proxy/downstream": ["core", "proxy"],
  "proxy/upstream": ["core", "balancing", "resilience", "telemetry", "proxy"],
  "proxy/own-load": ["core", "balancing", "resilience"],
  "proxy/upgrade": ["core", "resilience", "proxy"],
  "proxy/transparent": ["core", "proxy"],
  "proxy/tcp": ["core", "resilience", "proxy"],
  "proxy/workers": ["core", "resilience", "telemetry", "proxy"],
  "proxy/control": ["core", "balancing", "resilience", "discovery", "config", "telemetry", "proxy"],
  "proxy/admin": ["core", "resilience", "discovery", "config", "telemetry", "proxy"],
  "kubernetes/inject": ["config"],
  "kubernetes/redirect": [],
  "kubernetes/webhook": ["core", "discovery", "kubernetes"],
};

const PURE_ROOMS = ["core", "balancing", "resilience", "proxy/http1"];

/** Modules of Node that a pure room may use, and why. */
const PURE_EXCEPTIONS: Readonly<Record<string, readonly string[]>> = {
  // opossum is fed by an emitter that turns its windows.
  "resilience/breaker.ts": ["node:events"],
  "resilience/breaker-rotation.ts": ["node:events"],
};

/** The one place that reads clock and dice, and those that stand outside of the proxy. */
const MAY_READ_CLOCK = [
  /^proxy\/system\.ts$/,
  /^cli\/demo\//,
  /^cli\/pause\.ts$/,
  /^telemetry\/logger\.ts$/,
  // It makes dates of the times that it is given.
  /^kubernetes\/webhook\/certificates\.ts$/,
];

const MOST_LINES = 400;
const MOST_TEST_LINES = 600;

interface Source {
  /** `core/body.ts`. */
  readonly file: string;
  readonly text: string;
  readonly imports: readonly string[];
}

function sourcesOf(room: string): Source[] {
  return readdirSync(join(ROOT, room), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => {
      const file = join(room, name);
      const text = readFileSync(join(ROOT, file), "utf8");
      const imports = [...text.matchAll(/(?:\bfrom|\bimport\()\s*"([^"]+)"/g)].map((match) => match[1]!);
      return { file, text, imports };
    });
}

const SOURCES = Object.keys(MAY_IMPORT).flatMap(sourcesOf);

/** The file that a relative import leads to; undefined for a package. */
function target(source: Source, imported: string): string | undefined {
  return imported.startsWith(".") ? relative(ROOT, join(ROOT, dirname(source.file), imported)) : undefined;
}

const roomOf = (file: string) => file.split("/", 1)[0]!;
const innerRoomOf = (file: string) => Object.keys(INNER_ROOMS).find((inner) => file.startsWith(`${inner}/`));

test("imports point down: a room imports only the rooms that it may", async (t) => {
  for (const source of SOURCES) {
    const from = roomOf(source.file);
    for (const imported of source.imports) {
      const to = target(source, imported);
      if (to === undefined || roomOf(to) === from) continue;
      t.ok(MAY_IMPORT[from]!.includes(roomOf(to)), `${source.file} imports ${to}`);
    }
  }
});

test("a room is entered by its door: from outside only index.ts is imported", async (t) => {
  // The schema is written by a script and read by tests; its module needs a package that users do not have.
  for (const source of SOURCES) {
    for (const imported of source.imports) {
      const to = target(source, imported);
      if (to === undefined) continue;
      if (roomOf(to) !== roomOf(source.file))
        t.match(to, /^[a-z]+\/index\.ts$/, `${source.file} imports ${to}`);
      const inner = innerRoomOf(to);
      if (inner !== undefined && innerRoomOf(source.file) !== inner)
        t.equal(to, `${inner}/index.ts`, `${source.file} imports ${to}`);
    }
  }
});

test("an inner room sees only what it may of the rooms around it", async (t) => {
  for (const source of SOURCES) {
    const inner = innerRoomOf(source.file);
    if (inner === undefined) continue;
    for (const imported of source.imports) {
      const to = target(source, imported);
      if (to === undefined || innerRoomOf(to) === inner) continue;
      t.ok(INNER_ROOMS[inner]!.includes(roomOf(to)), `${source.file} imports ${to}`);
    }
  }
});

test("no file imports itself through others, within a room or across rooms, by value or by type", async (t) => {
  const edges = new Map(
    SOURCES.map((source) => [
      source.file,
      source.imports.map((imported) => target(source, imported)).filter((to) => to !== undefined),
    ]),
  );
  const finished = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) {
      t.fail([...path.slice(path.indexOf(file)), file].join(" -> "));
      return;
    }
    if (finished.has(file)) return;
    for (const next of edges.get(file) ?? []) visit(next, [...path, file]);
    finished.add(file);
  };
  for (const file of edges.keys()) visit(file, []);
  t.equal(finished.size, SOURCES.length, "every file has been followed");
});

test("pure rooms use nothing of Node and no ambient time, timer or chance", async (t) => {
  for (const { file, text, imports } of SOURCES) {
    if (!PURE_ROOMS.some((room) => file.startsWith(`${room}/`))) continue;
    const allowed = PURE_EXCEPTIONS[file] ?? [];
    t.same(
      imports.filter((imported) => imported.startsWith("node:") && !allowed.includes(imported)),
      [],
      file,
    );
    t.notMatch(withoutComments(text), /\bprocess\.|\bset(?:Timeout|Interval|Immediate)\b/, file);
  }
});

test("the clock and the dice are read in one file", async (t) => {
  const reads =
    /\bDate\.now\b|\bnew Date\b|\bperformance\.now\b|\bMath\.random\b|\brandomUUID\b|\bset(?:Timeout|Interval)\b(?!")/;
  for (const { file, text } of SOURCES) {
    if (MAY_READ_CLOCK.some((allowed) => allowed.test(file))) continue;
    t.notMatch(withoutComments(text), reads, file);
  }
});

test("files fit in the head and open by saying what they decide", async (t) => {
  for (const { file, text } of SOURCES) {
    const lines = text.split("\n").length;
    t.ok(lines <= MOST_LINES, `${file} has ${lines} lines`);
    if (!file.endsWith("index.ts")) t.match(text, /^\/\*\*\n( \* .+\n){1}/, `${file} opens with a comment`);
  }
});

test("tests fit in the head, too", async (t) => {
  for (const { file, text } of sourcesOf("test")) {
    const lines = text.trimEnd().split("\n").length;
    t.ok(lines <= MOST_TEST_LINES, `${file} has ${lines} lines`);
  }
});

test("a door holds re-exports and no code", async (t) => {
  for (const { file, text } of SOURCES)
    if (file.endsWith("/index.ts")) t.notMatch(text, /^(?!export | {2}|\} from|\n|$).+/m, file);
});

test("there is no default export, no enum and no any", async (t) => {
  for (const { file, text } of SOURCES) {
    const code = withoutComments(text);
    t.notMatch(code, /\bexport default\b|^\s*(?:export )?(?:const )?enum\b|: any\b|<any>|as any\b/m, file);
  }
});

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
}
