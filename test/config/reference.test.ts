// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to variables are what is tested here
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { test } from "tap";
import { parse } from "yaml";
import { type Config, ConfigError, parseConfig } from "../../config/index.ts";
import { configJsonSchema } from "../../config/json-schema.ts";
import { settings, withSettings } from "../../config/reference.ts";
import { OTHER_DEFAULTS, SENTENCES } from "../../config/sentences.ts";

const ROOT = join(import.meta.dirname, "../..");
const page = readFileSync(join(ROOT, "docs/configuration.md"), "utf8");
const written: unknown = JSON.parse(readFileSync(join(ROOT, "docs/heddle.schema.json"), "utf8"));

/** What a route, an upstream and the way in may ask for alike. */
const POLICY = { fallback: { lastGood: {} }, faults: [{ kind: "reset", match: { header: "x-fault-test" } }] };

/** The smallest file in which every section has a place. */
const BASE = {
  service: { name: "web", port: 3000 },
  health: { probes: [{ path: "/app-health/web/readiness", port: 3000 }] },
  inbound: { rateLimits: [{ requests: 100, by: { caller: "address" } }], ...POLICY },
  discovery: { consul: {} },
  upstreams: {
    orders: {
      endpoints: [{ address: "127.0.0.1:9001" }],
      hedge: {},
      rateLimits: [{ requests: 100, by: { header: "x-api-key" } }],
      ...POLICY,
    },
  },
  routes: [
    {
      to: [{ upstream: "orders" }],
      breaker: {},
      rateLimits: [{ requests: 100, by: { header: "x-api-key" } }],
      hedge: {},
      ...POLICY,
    },
  ],
};

/** The same for sources that are not in the file itself; each is of one kind. */
const FROM = [
  { consul: {} },
  { dns: { name: "orders.internal", port: 80 } },
  { kubernetes: { service: "orders" } },
  { endpoints: [{ address: "127.0.0.1:9001" }] },
].map((source) => ({
  ...BASE,
  upstreams: {
    orders: { from: [source], hedge: {}, healthCheck: {}, balancing: { sticky: { cookie: "replica" } } },
  },
}));

function config(value: unknown): Config {
  return parseConfig(JSON.stringify(value), "heddle.json", {});
}

// --- the page and the schema file

test("docs/heddle.schema.json is what the shape gives; `npm run schema` writes it", async (t) => {
  t.same(written, configJsonSchema());
});

test("the tables of docs/configuration.md are what the shape gives; `npm run schema` writes them", async (t) => {
  t.equal(page, withSettings(page));
  for (const { path } of settings()) if (path.includes(".")) t.match(page, `\n| \`${path}\` |`);
});

test("every setting has a sentence, and every sentence a setting", async (t) => {
  const paths = settings().map(({ path }) => path);
  t.same(Object.keys(SENTENCES).toSorted(), paths.toSorted());
  for (const [path, sentence] of Object.entries(SENTENCES)) t.match(sentence, /^[A-Z`].*[^.]\.$/, path);
  t.same(
    Object.keys(OTHER_DEFAULTS).filter((path) => !paths.includes(path)),
    [],
  );
});

test("every example on the page is a good file", async (t) => {
  const examples = [...page.matchAll(/^```yaml\n(.*?)^```/gms)].map(([, text]) => text!);
  t.ok(examples.length >= 5);
  for (const text of examples) t.ok(parseConfig(text, "page", { ORDERS_HOST: "127.0.0.1" }), text);
});

test("the page shows faults as they are told", async (t) => {
  const table = parse(readFileSync(join(import.meta.dirname, "faults/cross-checks.yaml"), "utf8"));
  const shown = (table as { promise: string; says: string }[]).find(({ promise }) =>
    promise.includes("docs/"),
  );
  t.ok(page.includes(`\`\`\`\n${shown!.says}\`\`\`\n`));
});

// --- defaults

test("writing every default down changes nothing", async (t) => {
  const counted = new Set<string>();
  for (const base of [BASE, ...FROM]) {
    const explicit = structuredClone(base);
    for (const { path, fallback, isSection } of settings()) {
      if (fallback === undefined || isSection || path === "upstreams" || path === "routes") continue;
      if (!hasPlace(base, path)) continue;
      put(explicit, path, fallback);
      counted.add(path);
    }
    t.same(config(explicit), config(base));
  }
  const all = settings().filter(
    ({ path, fallback, isSection }) => fallback !== undefined && !isSection && path.includes("."),
  );
  t.same(
    all.map(({ path }) => path).filter((path) => !counted.has(path)),
    [],
    "every default has been written down",
  );
});

/** Sections that mean something by being there: what is in them has a place only where they are. */
function hasPlace(base: object, path: string): boolean {
  const optional = settings().filter(
    ({ isSection, required, fallback }) => isSection && !required && fallback === undefined,
  );
  return optional
    .filter((section) => path.startsWith(`${section.path}.`))
    .map((section) => section.path)
    .concat([...path.matchAll(/\[\]/g)].map(({ index }) => path.slice(0, index)))
    .every((section) => isIn(base, concrete(section)));
}

function isIn(value: unknown, steps: readonly (string | number)[]): boolean {
  let inner = value;
  for (const step of steps) inner = (inner as Record<string | number, unknown> | undefined)?.[step];
  return inner !== undefined;
}

test("the defaults that are no plain value are what the page says", async (t) => {
  const { service, inbound, upstreams } = config(BASE);
  const ms = (path: string) =>
    Number(/^`(\d+)s`, at most `request`$/.exec(OTHER_DEFAULTS[path] ?? "")?.[1]) * 1000;
  t.match(inbound.app.timeouts, {
    connectMs: ms("inbound.timeouts.connect"),
    attemptMs: ms("inbound.timeouts.attempt"),
  });
  t.match(upstreams["orders"]?.options.timeouts, {
    connectMs: ms("upstreams.<name>.timeouts.connect"),
    attemptMs: ms("upstreams.<name>.timeouts.attempt"),
  });
  t.same([service?.id, service?.advertise, upstreams["orders"]?.service], [undefined, undefined, undefined]);
});

/** Writes a value at a setting's path, into the one entry that each list and mapping of BASE has. */
function put(file: object, path: string, value: unknown): void {
  const steps = concrete(path);
  let inner = file as Record<string | number, unknown>;
  for (const step of steps.slice(0, -1)) {
    inner[step] ??= {};
    inner = inner[step] as Record<string | number, unknown>;
  }
  inner[steps.at(-1)!] = value;
}

function concrete(path: string): readonly (string | number)[] {
  return path
    .replace("<name>", "orders")
    .replaceAll("[]", ".0")
    .split(".")
    .map((step) => (step === "0" ? 0 : step));
}

// --- the schema agrees with the parser

test("what the JSON Schema refuses, the parser refuses", async (t) => {
  const all = settings();
  const paths = [...all.map(({ path }) => path), "other", "service.x", "routes[].to[].x"];
  const numbers = [0, 1, -1, 1.5, 399, 503, 600, 3000, 70_000, 1e9];
  const words = [
    "5",
    "5s",
    "250ms",
    "50%",
    "64KiB",
    "127.0.0.1:9001",
    "[::1]:0",
    "orders",
    "GET",
    "/x",
    "none",
    "",
  ];
  const others = [true, false, null, [], {}, ["reset"], [503], ["GET"], [1], { a: "b" }, { a: 1 }];
  const value = fc.oneof(
    fc.constantFrom<unknown>(...all.map(({ fallback }) => fallback).filter((usual) => usual !== undefined)),
    fc.constantFrom<unknown>(...numbers, ...words, ...others),
    fc.jsonValue({ maxDepth: 1 }),
  );
  const seen = { refusedByBoth: 0, refusedByParser: 0, accepted: 0 };
  const property = fc.property(fc.constantFrom(...paths), value, (path, changed) => {
    const file = structuredClone(BASE);
    put(file, path, changed);
    const isValid = validate(written as Rules, file);
    const isAccepted = accepts(file);
    if (isAccepted) assert.ok(isValid, "the schema refuses what the parser accepts");
    seen[isAccepted ? "accepted" : isValid ? "refusedByParser" : "refusedByBoth"]++;
  });
  t.doesNotThrow(() => fc.assert(property, { seed: 20_260_102, numRuns: 2000 }));
  t.ok(seen.refusedByBoth > 500 && seen.accepted > 100, JSON.stringify(seen));
  // Only a little is left that the schema cannot say: a port that two have, a duration out of range.
  t.ok(seen.refusedByParser < 100, JSON.stringify(seen));
});

test("each kind of value has a file that the schema refuses and one that it accepts", async (t) => {
  const verdicts: readonly [path: string, good: unknown, bad: unknown][] = [
    ["service.name", "web", "Web"],
    ["service.port", 3000, "3000"],
    ["service.check.http", "/health", "health"],
    ["inbound.maxHead", "64KiB", 65_536],
    ["inbound.retries.on", ["reset", 503], ["reset", 600]],
    ["inbound.breaker.errorRate", "50%", 0.5],
    ["outbound.listen", "[::1]:0", "15001"],
    ["discovery.consul.register", "none", "peers"],
    ["upstreams.<name>.endpoints", ["127.0.0.1:9001", { address: "b:1" }], []],
    ["upstreams.<name>.timeouts.request", "1.5s", 1],
    ["routes[].match.methods", ["GET"], ["get"]],
    ["telemetry.accessLog", false, "no"],
    ["workers", 2, 0],
  ];
  for (const [path, good, bad] of verdicts) {
    for (const [value, verdict] of [
      [good, true],
      [bad, false],
    ] as const) {
      const file = structuredClone(BASE);
      put(file, path, value);
      t.equal(validate(written as Rules, file), verdict, `${path}: ${JSON.stringify(value)}`);
      t.equal(accepts(file), verdict, `${path}: ${JSON.stringify(value)}`);
    }
  }
});

test("the schema lets a variable stand for any value, as the parser does", async (t) => {
  const file = structuredClone(BASE);
  const values = { PORT: "3000", LOG: "true", GRACE: "5s", LEVEL: "warn" };
  put(file, "service.port", "PORT");
  put(file, "telemetry.accessLog", "LOG");
  put(file, "telemetry.logLevel", "LEVEL");
  put(file, "shutdown.grace", "GRACE");
  // Without quotes around the variables, as people write them; JSON.stringify would put quotes there.
  const text = JSON.stringify(file).replaceAll(/"(PORT|LOG|LEVEL|GRACE)"/g, "$${$1}");
  t.equal(parseConfig(text, "heddle.yaml", values).service?.port, 3000);
  t.ok(validate(written as Rules, JSON.parse(text.replaceAll(/\$\{[A-Z]+\}/g, '"$&"'))));
});

function accepts(file: unknown): boolean {
  try {
    config(file);
    return true;
  } catch (thrown) {
    if (thrown instanceof ConfigError) return false;
    throw thrown;
  }
}

/** What the schema file uses of JSON Schema, draft 7. */
interface Rules {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Rules>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Rules | false;
  readonly propertyNames?: Rules;
  readonly items?: Rules;
  readonly minItems?: number;
  readonly anyOf?: readonly Rules[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly pattern?: string;
  readonly minLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly $ref?: string;
}

const RULES = [
  "type",
  "properties",
  "required",
  "additionalProperties",
  "propertyNames",
  "items",
  "minItems",
  "anyOf",
];
const MORE_RULES = ["enum", "const", "pattern", "minLength", "minimum", "maximum", "$ref"];
const REMARKS = ["$schema", "title", "description", "default", "definitions"];

test("the schema uses no keyword that these tests do not know", async (t) => {
  const unknown = new Set<string>();
  const look = (rules: object) => {
    for (const [keyword, value] of Object.entries(rules)) {
      if (![...RULES, ...MORE_RULES, ...REMARKS].includes(keyword)) unknown.add(keyword);
      const inner = keyword === "properties" || keyword === "anyOf" ? Object.values(value) : [value];
      if (!["default", "definitions", "enum", "required"].includes(keyword))
        for (const one of inner) if (typeof one === "object" && one !== null) look(one);
    }
  };
  look(written as object);
  t.same([...unknown], []);
});

function validate(rules: Rules, value: unknown): boolean {
  const { anyOf, pattern, minLength = 0, minItems = 0, items, propertyNames } = rules;
  if (rules.$ref !== undefined) return typeof value === "string" && value.includes("${");
  if (anyOf !== undefined && !anyOf.some((one) => validate(one, value))) return false;
  if (rules.enum !== undefined && !rules.enum.includes(value)) return false;
  if (rules.const !== undefined && rules.const !== value) return false;
  if (rules.type !== undefined && rules.type !== typeOf(value, rules.type)) return false;
  if (typeof value === "string")
    return value.length >= minLength && (pattern === undefined || new RegExp(pattern, "u").test(value));
  if (typeof value === "number")
    return (
      value >= (rules.minimum ?? Number.NEGATIVE_INFINITY) &&
      value <= (rules.maximum ?? Number.POSITIVE_INFINITY)
    );
  if (Array.isArray(value))
    return value.length >= minItems && (items === undefined || value.every((one) => validate(items, one)));
  if (typeof value !== "object" || value === null) return true;
  const { properties = {}, additionalProperties: others, required = [] } = rules;
  return (
    required.every((key) => Object.hasOwn(value, key)) &&
    Object.entries(value).every(([key, inner]) => {
      if (propertyNames !== undefined && !validate(propertyNames, key)) return false;
      if (Object.hasOwn(properties, key)) return validate(properties[key]!, inner);
      return others === undefined || (others !== false && validate(others, inner));
    })
  );
}

function typeOf(value: unknown, wanted: string): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number")
    return wanted === "integer" && Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}
