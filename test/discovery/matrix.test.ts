import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "tap";
import type { Probe } from "../../discovery/health/probe.ts";
import { LastGood } from "../../discovery/outage/last-good.ts";
import { QuestionLimit } from "../../discovery/question-limit.ts";
import type { Sink } from "../../discovery/source.ts";
import { Supply } from "../../discovery/supply.ts";
import { range, said } from "../support/guarded.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { logInto } from "../support/sidecar.ts";

const PAGE = fileURLToPath(new URL("../../docs/discovery.md", import.meta.url));

const KEEP_MS = 60_000;
const BELIEVE_MS = 30_000;
/** For all that is not a matter of insistence: two rounds of questions. */
const SETTLED_MS = 5_000;
const CHECK = {
  probe: { type: "tcp" },
  intervalMs: 1_000,
  fastIntervalMs: 200,
  timeoutMs: 500,
  jitter: 0.1,
  rise: 2,
  fall: 2,
} as const;

const ALL = 10;
const COUNTS: Readonly<Record<string, number>> = { one: 1, most: 8, all: ALL };
const ANSWERS = ["passing", "failing", "unknown"] as const;
type Answer = (typeof ANSWERS)[number];

/** The world of one cell: the first `count` of ten instances are those that it is about. */
interface World {
  readonly sink: Sink;
  readonly count: number;
  readonly clock: ManualClock;
  /** How they answer, from now on. */
  answer(): void;
  /** What is told from now on decides. */
  watch(): void;
}

const others = (count: number) => (count === ALL ? "" : range(count + 1, ALL));

/** All are well, then the registry says this for some time. */
function then(list: (count: number) => string, forMs = SETTLED_MS) {
  return async ({ sink, count, clock, answer, watch }: World) => {
    sink.list(said(range(1, ALL)));
    await clock.pass(3_000);
    answer();
    watch();
    sink.list(said(list(count)));
    await clock.pass(forMs);
  };
}

/** The same for a registry that says nothing. */
function thenSilent(forMs: number) {
  return async ({ sink, clock, answer, watch }: World) => {
    sink.list(said(range(1, ALL)));
    await clock.pass(3_000);
    answer();
    watch();
    sink.silent("away");
    await clock.pass(forMs);
  };
}

/** A start with a copy of that age. */
function start(speak: (sink: Sink) => void, ageMs = 1_000) {
  return Object.assign(
    async ({ sink, clock, answer, watch }: World) => {
      answer();
      watch();
      speak(sink);
      await clock.pass(SETTLED_MS);
    },
    { copyMs: ageMs },
  );
}

const saying = (letter: string) => (count: number) => `${range(1, count, letter)} ${others(count)}`;
const silent = (sink: Sink) => sink.silent("away");

/** By the first column. */
const SCENES: Readonly<Record<string, ((world: World) => Promise<void>) & { readonly copyMs?: number }>> = {
  "says `passing`": then(saying("")),
  "says `warning`": then(saying("w")),
  "says `critical`": then(saying("c")),
  "says `maintenance`": then(saying("m")),
  "says `unreachable`": then(saying("u")),
  "does not list it": then(others),
  "says `unreachable`, for longer than `believeAfter`": then(saying("u"), BELIEVE_MS + 3_000),
  "does not list it, for longer than `believeAfter`": then(others, BELIEVE_MS + 3_000),
  "lists others in its place": then((count) => `${others(count)} ${range(101, 100 + count)}`),
  "is silent": thenSilent(SETTLED_MS),
  "is silent, for longer than `keepFor`": thenSilent(KEEP_MS + 1_000),
  "is silent at the start, and there is a copy": start(silent),
  "is silent at the start, and the copy is older than `keepFor`": start(silent, KEEP_MS + 1),
  "lists nobody at the start, and there is a copy": start((sink) => sink.list([])),
  "lists others at the start, and there is a copy": start((sink) => sink.list(said("101 102"))),
};

/** Whose instances are asked without a health check as well. */
const ASKED = /critical|unreachable|does not list it|lists nobody/;

/** @returns what was told while it mattered, the last at the end; each as the ports that are used */
async function played(scene: string, count: number, answer: Answer, isChecked: boolean): Promise<number[][]> {
  const clock = new ManualClock();
  const { log } = logInto([]);
  const play = SCENES[scene]!;
  const lastGood = new LastGood(undefined, KEEP_MS, { clock, wallClock: () => clock.now(), log });
  if (play.copyMs !== undefined) {
    lastGood.remember("test", said(range(1, ALL)));
    clock.advance(play.copyMs);
  }
  let answers: Answer = "passing";
  // Who has never been asked is one of whom nothing is known, so a hanging probe hangs from the beginning.
  const isUnknown = answer === "unknown";
  const probe: Probe = ({ port }, signal) => {
    const how = port > count ? "passing" : isUnknown ? "unknown" : answers;
    if (how !== "unknown") return Promise.resolve({ passing: how === "passing", note: how });
    return new Promise((resolve) =>
      signal.addEventListener("abort", () => resolve({ passing: false, note: "called off" })),
    );
  };
  let sink: Sink | undefined;
  let current: number[] = [];
  let told: number[][] = [];
  const supply = new Supply(
    [
      {
        name: "test",
        start(given) {
          sink = given;
        },
        stop() {},
      },
    ],
    {
      merge: "fallback",
      outage: { keepForMs: KEEP_MS, suspiciousShare: 0.5, believeAfterMs: BELIEVE_MS },
      healthCheck: isChecked ? CHECK : undefined,
    },
    {
      name: "orders",
      clock,
      random: seededRandom(1),
      log,
      lastGood,
      probe,
      questionLimit: new QuestionLimit(),
    },
    (endpoints) => {
      current = endpoints.map(({ port }) => port);
      told.push(current);
    },
  );
  supply.start();
  await play({
    sink: sink!,
    count,
    clock,
    answer() {
      answers = answer;
    },
    watch() {
      told = [];
    },
  });
  told.push(current);
  supply.stop();
  if (clock.pending > 0) throw new Error(`${clock.pending} timers are left`);
  return told;
}

interface Row {
  readonly scene: string;
  readonly howMany: string;
  readonly cells: readonly string[];
}

function rows(): Row[] {
  const [, table] = /<!-- matrix:begin -->\n(.*?)<!-- matrix:end -->/s.exec(readFileSync(PAGE, "utf8"))!;
  const lines = table!.trim().split("\n");
  return lines.slice(2).map((line) => {
    const [scene, howMany, ...cells] = line
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim());
    return { scene: scene!, howMany: howMany!, cells };
  });
}

test("the table of docs/discovery.md is what happens, in every cell", async (t) => {
  for (const { scene, howMany, cells } of rows()) {
    const count = COUNTS[howMany];
    if (SCENES[scene] === undefined || count === undefined || cells.length !== ANSWERS.length) {
      t.fail(`a row that cannot be played: ${scene}, ${howMany}`);
      continue;
    }
    for (const [i, answer] of ANSWERS.entries()) {
      const expected = /^(used|not used)(?:$|: )/.exec(cells[i]!)?.[1];
      // Without a check nobody asks, unless there is a doubt.
      const variants = answer === "unknown" || ASKED.test(scene) ? [true, false] : [true];
      for (const isChecked of variants) {
        const told = await played(scene, count, answer, isChecked);
        const used = told.map((ports) =>
          range(1, count)
            .split(" ")
            .filter((port) => ports.includes(Number(port))),
        );
        const all =
          used.at(-1)!.length === count ? "used" : used.at(-1)!.length === 0 ? "not used" : "some used";
        const name = `${scene}, ${howMany}, ${answer}, ${isChecked ? "with" : "without"} a check`;
        t.equal(all, expected, name);
        // Checks that fail everywhere fail one after the other.
        if (expected === "used" && answer !== "failing")
          t.ok(
            used.every(({ length }) => length === count),
            `${name}: at no time without them`,
          );
        const isAlone = count === ALL || SCENES[scene].copyMs !== undefined || scene.includes("keepFor");
        if (!isAlone)
          t.ok(
            told.every((ports) => ports.some((port) => port > count)),
            `${name}: the others are used at any time`,
          );
      }
    }
  }
});

test("the table has a row for everything that a registry can say", async (t) => {
  const seen = rows().map(({ scene, howMany }) => `${scene}, ${howMany}`);
  t.equal(new Set(seen).size, seen.length, "each once");
  t.same(new Set(rows().map(({ scene }) => scene)), new Set(Object.keys(SCENES)));
  for (const scene of [
    "says `passing`",
    "says `warning`",
    "says `critical`",
    "says `maintenance`",
    "says `unreachable`",
  ])
    for (const howMany of Object.keys(COUNTS))
      t.ok(seen.includes(`${scene}, ${howMany}`), `${scene}, ${howMany}`);
});
