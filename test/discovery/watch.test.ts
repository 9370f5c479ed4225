import { test } from "tap";
import type { Endpoint } from "../../core/index.ts";
import { type ConsulAgent, ConsulSource } from "../../discovery/index.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { type LogRecord, logInto } from "../support/sidecar.ts";

type Health = Awaited<ReturnType<ConsulAgent["health"]>>;

/** The edge to the registry, answered by the test: every question waits until `answer`, `fail` or an abort. */
class ScriptedAgent implements Pick<ConsulAgent, "health"> {
  /** The index of every question so far. */
  readonly asked: number[] = [];
  /** When set, answers at once instead. */
  automatic: (() => Health) | undefined;
  #waiting: PromiseWithResolvers<Health> | undefined;

  health(_: string, index: number, signal: AbortSignal): Promise<Health> {
    this.asked.push(index);
    if (this.automatic !== undefined) return Promise.try(this.automatic);
    const waiting = Promise.withResolvers<Health>();
    this.#waiting = waiting;
    signal.addEventListener("abort", () => waiting.reject(new Error("called off")));
    return waiting.promise;
  }

  get isAsked(): boolean {
    return this.#waiting !== undefined;
  }

  answer(index: number, body: unknown): void {
    this.#take().resolve({ index, body });
  }

  fail(): void {
    this.#take().reject(new Error("connect ECONNREFUSED"));
  }

  #take(): PromiseWithResolvers<Health> {
    if (this.#waiting === undefined) throw new Error("nothing was asked");
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting;
  }
}

const listed = (...ports: number[]) =>
  ports.map((Port) => ({ Service: { Address: "10.0.0.1", Port }, Checks: [{ Status: "passing" }] }));

function watched(seed = 1) {
  const clock = new ManualClock();
  const agent = new ScriptedAgent();
  const records: LogRecord[] = [];
  const source = new ConsulSource("orders", {
    agent,
    clock,
    random: seededRandom(seed),
    log: logInto(records).log,
  });
  const pushed: number[][] = [];
  source.start((endpoints: readonly Endpoint[]) => pushed.push(endpoints.map(({ port }) => port)));
  return {
    clock,
    agent,
    source,
    pushed,
    records,
    said: (message: string) => records.filter(({ msg }) => msg.includes(message)).length,
    /** Answers the next question, and lets what follows happen within some time. */
    async answers(index: number, body: unknown, thenMs = 100): Promise<void> {
      for (let i = 0; !agent.isAsked; i++) {
        if (i > 100_000) throw new Error("nothing is asked");
        await clock.pass(10);
      }
      agent.answer(index, body);
      await clock.pass(thenMs);
    },
    async fails(): Promise<void> {
      while (!agent.isAsked) await clock.pass(10);
      agent.fail();
      await settled();
    },
  };
}

test("the first list is applied at once, and later ones from their index on", async (t) => {
  const { agent, pushed, answers } = watched();
  t.same(agent.asked, [0], "the first question does not block");
  await answers(7, listed(1, 2), 0);
  t.same(pushed, [[1, 2]], "without waiting for others to come with it");
  await answers(9, listed(1, 2, 3));
  t.same(pushed.at(-1), [1, 2, 3]);
  await answers(12, listed(3));
  t.same(agent.asked, [0, 7, 9, 12]);
  t.same(pushed, [[1, 2], [1, 2, 3], [3]]);
});

test("a service without instances is known to have none at once", async (t) => {
  const { pushed, answers } = watched();
  await answers(7, [], 0);
  t.same(pushed, [[]]);
});

test("content decides what is a change, not the index", async (t) => {
  const { pushed, answers } = watched();
  await answers(7, listed(1, 2));
  await answers(8, listed(1, 2));
  await answers(9, listed(2, 1));
  t.equal(pushed.length, 1);
  await answers(10, listed(1));
  t.equal(pushed.length, 2);
});

test("changes that come together are applied as one, and a change that is taken back is none", async (t) => {
  const { clock, pushed, answers } = watched();
  await answers(1, listed(1));
  await answers(2, listed(1, 2), 10);
  await answers(3, listed(1, 2, 3), 10);
  await answers(4, listed(1, 2, 3, 4), 100);
  t.same(pushed, [[1], [1, 2, 3, 4]]);
  await clock.pass(10_000);
  await answers(5, listed(1), 10);
  await answers(6, listed(1, 2, 3, 4), 100);
  t.equal(pushed.length, 2);
});

test("an index that runs backwards is forgotten", async (t) => {
  const { agent, pushed, answers } = watched();
  await answers(500, listed(1));
  await answers(3, listed(2));
  await answers(3, listed(2));
  await answers(4, listed(2, 3));
  t.same(agent.asked, [0, 500, 0, 3, 4]);
  t.same(pushed, [[1], [2], [2, 3]]);
});

test("an answer without an index is followed by a question that does not block", async (t) => {
  const { agent, answers } = watched();
  await answers(500, listed(1));
  await answers(0, listed(1));
  await settled();
  t.same(agent.asked, [0, 500, 0]);
});

test("after an error the index is forgotten, since the registry may have lost its memory", async (t) => {
  const { agent, pushed, answers, fails } = watched();
  await answers(500, listed(1));
  await fails();
  await fails();
  await answers(2, listed(2), 0);
  t.same(agent.asked.slice(0, 4), [0, 500, 0, 0]);
  await answers(3, listed(2), 100);
  t.same(pushed, [[1], [2]], "and the first answer is believed");
});

test("an outage keeps the endpoints, whatever it looks like, and is logged once when it begins and ends", async (t) => {
  const { clock, agent, pushed, answers, fails, said } = watched();
  await answers(500, listed(1, 2));
  const notLists = ["<html>busy</html>", undefined, null, { Error: "no leader" }, 0];
  for (let round = 0; round < 5; round++) {
    await fails();
    for (const body of notLists) await answers(600, body);
  }
  await clock.pass(60_000);
  t.same(pushed, [[1, 2]]);
  t.equal(said("does not answer"), 1);
  await answers(500, listed(1, 2));
  t.equal(said("answers again"), 1);
  t.same(pushed, [[1, 2]]);
  t.ok(agent.asked.slice(2, -1).every((index) => index === 0));
});

test("an empty list is not believed when there was something before, until it has lasted a minute", async (t) => {
  const { clock, pushed, answers, said } = watched();
  await answers(500, listed(1, 2));
  await answers(501, []);
  await clock.pass(59_000);
  await answers(502, [], 0);
  t.same(pushed, [[1, 2]]);
  t.equal(said("lists nothing"), 1, "which is said once");
  await clock.pass(1_000);
  t.same(pushed, [[1, 2], []]);
  await answers(503, listed(3));
  t.same(pushed, [[1, 2], [], [3]], "and an instance after that is used");
});

test("instances that come back within the minute end the doubt", async (t) => {
  const { clock, pushed, answers } = watched();
  await answers(500, listed(1, 2));
  await answers(501, []);
  await clock.pass(30_000);
  await answers(502, listed(1, 2));
  await clock.pass(29_000);
  await answers(503, []);
  await clock.pass(59_000);
  t.same(pushed, [[1, 2]], "the next doubt has a minute of its own");
  await clock.pass(1_000);
  t.same(pushed, [[1, 2], []]);
});

test("an empty list that nobody confirms is not believed: a registry that went away has said nothing", async (t) => {
  const { clock, agent, pushed, answers, fails } = watched();
  await answers(500, listed(1, 2));
  await answers(1, []);
  await fails();
  agent.automatic = () => {
    throw new Error("connect ECONNREFUSED");
  };
  await clock.pass(200_000);
  t.same(pushed, [[1, 2]]);
  agent.automatic = undefined;
  await answers(1, []);
  await clock.pass(59_000);
  t.same(pushed, [[1, 2]], "the minute begins anew");
  await clock.pass(1_000);
  t.same(pushed, [[1, 2], []]);
});

test("a list that waits to be applied is dropped when the registry then lists nothing", async (t) => {
  const { clock, pushed, answers } = watched();
  await answers(500, listed(1, 2));
  await answers(501, listed(1), 10);
  await answers(502, [], 10);
  await clock.pass(1_000);
  t.same(pushed, [[1, 2]]);
});

test("a registry that never blocks is not asked in a busy loop, whatever it answers", async (t) => {
  let index = 0;
  const manners: Readonly<Record<string, () => Health>> = {
    "the same index": () => ({ index: 9, body: listed(1) }),
    "a new index each time": () => ({ index: ++index, body: listed(1, 1 + (index % 50)) }),
    "no index": () => ({ index: 0, body: listed(1) }),
    "an index that runs backwards": () => ({ index: 1_000_000 - ++index, body: listed(1) }),
    "not a list": () => ({ index: 9, body: "<html>" }),
    "an error": () => {
      throw new Error("500");
    },
  };
  for (const [manner, answer] of Object.entries(manners)) {
    const { clock, agent, source } = watched();
    agent.automatic = answer;
    agent.answer(1, listed(1));
    await clock.pass(30_000);
    source.stop();
    const asked = agent.asked.length;
    t.ok(asked > 5 && asked <= 1 + 5 + 2 * 30, `${manner}: ${asked} questions in 30 s`);
  }
});

test("retries spread out: sidecars that lost the registry together do not come back together", async (t) => {
  const nth = 6;
  const times = new Set<number>();
  const gaps: number[] = [];
  for (let seed = 0; seed < 20; seed++) {
    const { clock, agent, source } = watched(seed);
    const at: number[] = [];
    agent.automatic = () => {
      at.push(clock.now());
      throw new Error("connect ECONNREFUSED");
    };
    agent.fail();
    while (at.length < nth) await clock.pass(100);
    source.stop();
    times.add(Math.round(at.at(-1)! / 100));
    for (let i = 1; i < at.length; i++) gaps.push(at[i]! - at[i - 1]!);
  }
  t.ok(times.size > 10, `${times.size} different moments of 20`);
  t.ok(Math.max(...gaps) <= 5_060, `never longer apart than 5 s: ${Math.max(...gaps)}`);
  t.ok(Math.min(...gaps) >= 50, `never closer than 50 ms: ${Math.min(...gaps)}`);
});

test("an instance without a usable address is logged, and the others are used", async (t) => {
  const { pushed, answers, said } = watched();
  await answers(7, [{ Service: { Address: "", Port: 0 } }, ...listed(1)]);
  t.same(pushed, [[1]]);
  t.equal(said("without a usable address"), 1);
});

test("after stop nothing is asked, pushed or waited for any more", async (t) => {
  for (const before of ["asking", "gathering", "doubting", "failing"]) {
    const { clock, agent, source, pushed, answers, fails } = watched();
    await answers(7, listed(1));
    if (before === "gathering") await answers(8, listed(1, 2), 0);
    if (before === "doubting") await answers(8, [], 0);
    if (before === "failing") await fails();
    const asked = agent.asked.length;
    source.stop();
    await clock.pass(100_000);
    t.same([agent.asked.length, pushed, clock.pending], [asked, [[1]], 0], before);
  }
});
