import fc from "fast-check";
import { test } from "tap";
import { type Endpoint, endpointKey } from "../../core/index.ts";
import { type HealthCheckOptions, HealthChecks } from "../../discovery/health/checks.ts";
import type { Probe, ProbeResult } from "../../discovery/health/probe.ts";
import type { Health } from "../../discovery/health/rise-fall.ts";
import { QuestionLimit } from "../../discovery/question-limit.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { type LogRecord, logInto } from "../support/sidecar.ts";

const OPTIONS: HealthCheckOptions = {
  probe: { type: "tcp" },
  intervalMs: 5_000,
  fastIntervalMs: 500,
  timeoutMs: 1_000,
  rise: 2,
  fall: 3,
  jitter: 0,
};

const endpoint = (port: number): Endpoint => ({ address: "10.0.0.1", port, weight: 1, source: "static" });
const keyOf = (port: number) => endpointKey(endpoint(port));

interface Question {
  readonly port: number;
  readonly atMs: number;
  readonly signal: AbortSignal;
  /** Says that it went well, or not, and why. */
  answer(passing: boolean, note?: string): void;
}

/** Checks whose questions are answered by the test, or at once by `automatic`. */
function checking(given: Partial<HealthCheckOptions> = {}, limit = new QuestionLimit(), seed = 1) {
  const clock = new ManualClock();
  const records: LogRecord[] = [];
  const questions: Question[] = [];
  const underWay = new Map<number, number>();
  let changes = 0;
  const script = {
    automatic: undefined as ((port: number) => boolean) | undefined,
    /** The most questions to one endpoint that were ever under way together. */
    mostOfOne: 0,
    /** The same for all endpoints. */
    mostOfAll: 0,
  };
  const probe: Probe = ({ port }, signal) => {
    const { promise, resolve } = Promise.withResolvers<ProbeResult>();
    const end = (result: ProbeResult) => {
      signal.removeEventListener("abort", callOff);
      underWay.delete(port);
      resolve(result);
    };
    const callOff = () => end({ passing: false, note: "called off" });
    const answer = (passing: boolean, note = passing ? "200" : "503") => end({ passing, note });
    signal.addEventListener("abort", callOff);
    questions.push({ port, atMs: clock.now(), signal, answer });
    underWay.set(port, (underWay.get(port) ?? 0) + 1);
    script.mostOfOne = Math.max(script.mostOfOne, underWay.get(port)!);
    script.mostOfAll = Math.max(script.mostOfAll, underWay.size);
    if (script.automatic !== undefined) answer(script.automatic(port));
    return promise;
  };
  const options = { ...OPTIONS, ...given };
  const checks = new HealthChecks(
    options,
    { probe, clock, random: seededRandom(seed), log: logInto(records).log, name: "orders", limit },
    () => changes++,
  );
  return {
    checks,
    clock,
    limit,
    questions,
    records,
    script,
    underWay,
    changes: () => changes,
    health: (port = 1) => checks.stateOf(keyOf(port)).health,
    /** Moves on to the next question, which must be there, and answers it. Returns how long it took to come. */
    async next(passing: boolean, note?: string): Promise<number> {
      const [asked, fromMs] = [questions.length, clock.now()];
      for (let ms = 0; questions.length === asked; ms++) {
        if (ms > 2 * options.intervalMs) throw new Error("nothing is asked");
        clock.advance(1);
        await Promise.resolve();
      }
      const { atMs, answer } = questions.at(-1)!;
      answer(passing, note);
      await settled();
      return atMs - fromMs;
    },
    /** Lets time pass, and promises after every millisecond in which anything was asked. */
    async elapse(ms: number): Promise<void> {
      for (let left = ms; left > 0; left--) {
        const asked = questions.length;
        clock.advance(1);
        await Promise.resolve();
        if (questions.length > asked) await settled();
      }
      await settled();
    },
  };
}

test("a new endpoint is unknown, and its first success decides", async (t) => {
  const { checks, clock, health, next, changes } = checking();
  checks.follow([endpoint(1)]);
  t.same(checks.stateOf(keyOf(1)), {
    health: "unknown",
    note: "",
    sinceMs: clock.now(),
    checkedAtMs: undefined,
  });
  t.ok((await next(true)) <= 1_000, "which is asked for soon");
  t.equal(health(), "passing");
  t.equal(changes(), 0, "as it was not failing before either");
});

test("the first question comes within an interval that is shorter than a second", async (t) => {
  for (let seed = 0; seed < 20; seed++) {
    const { checks, next } = checking({ intervalMs: 100 }, new QuestionLimit(), seed);
    checks.follow([endpoint(1)]);
    t.ok((await next(true)) <= 100);
  }
});

test("a new endpoint is failing only after as many failures in a row as any other", async (t) => {
  const { checks, health, next, changes } = checking();
  checks.follow([endpoint(1)]);
  await next(false);
  await next(false);
  t.equal(health(), "unknown");
  t.notOk(checks.failing(keyOf(1)));
  await next(false);
  t.equal(health(), "failing");
  t.ok(checks.failing(keyOf(1)));
  t.equal(changes(), 1);
});

test("a success between failures starts the count anew", async (t) => {
  const { checks, health, next } = checking();
  checks.follow([endpoint(1)]);
  for (const passing of [true, false, false, true, false, false]) await next(passing);
  t.equal(health(), "passing");
  await next(false);
  t.equal(health(), "failing");
});

test("a failing endpoint comes back after so many successes in a row", async (t) => {
  const { checks, health, next, changes } = checking();
  checks.follow([endpoint(1)]);
  for (const passing of [false, false, false, true, false, true]) await next(passing);
  t.equal(health(), "failing");
  await next(true);
  t.equal(health(), "passing");
  t.equal(changes(), 2);
});

test("questions come fast while the last result speaks against the state, and only then", async (t) => {
  const { checks, next } = checking();
  checks.follow([endpoint(1)]);
  await next(true);
  t.equal(await next(true), 5_000);
  t.equal(await next(false), 5_000);
  t.equal(await next(false), 500, "after one failure");
  t.equal(await next(false), 500);
  t.equal(await next(false), 5_000, "an endpoint that stays failing is not asked more often");
  t.equal(await next(true), 5_000);
  t.equal(await next(true), 500, "one that may be coming back is");
  t.equal(await next(true), 5_000);
});

test("questions to a new endpoint come fast until something is known", async (t) => {
  const { checks, next } = checking();
  checks.follow([endpoint(1)]);
  await next(false);
  t.equal(await next(false), 500);
  t.equal(await next(false), 500);
  t.equal(await next(false), 5_000);
});

test("the pause begins with the answer, so that a slow endpoint is never asked twice at once", async (t) => {
  const { checks, clock, questions, elapse, next } = checking();
  checks.follow([endpoint(1)]);
  await next(true);
  await elapse(5_000);
  t.equal(questions.length, 2);
  await elapse(60_000);
  t.equal(questions.length, 2);
  t.equal(clock.pending, 0, "and nothing else is planned");
  questions[1]!.answer(true);
  await settled();
  await elapse(4_999);
  t.equal(questions.length, 2);
  await elapse(1);
  t.equal(questions.length, 3);
});

test("pauses vary by the share that is given, evenly around the interval", async (t) => {
  const { checks, next } = checking({ jitter: 0.2, intervalMs: 1_000 });
  checks.follow([endpoint(1)]);
  await next(true);
  const pauses: number[] = [];
  for (let i = 0; i < 500; i++) pauses.push(await next(true));
  t.ok(Math.min(...pauses) >= 800 && Math.max(...pauses) <= 1_201);
  t.ok(Math.min(...pauses) < 820 && Math.max(...pauses) > 1_180);
  const meanMs = pauses.reduce((sum, ms) => sum + ms, 0) / pauses.length;
  t.ok(Math.abs(meanMs - 1_000) < 20, `${meanMs} ms on average`);
});

test("the note and the times are those of the last result, and since when it is so", async (t) => {
  const { checks, clock, questions, next } = checking();
  checks.follow([endpoint(1)]);
  await next(true, "204");
  const passingSinceMs = questions[0]!.atMs;
  await next(false, "ECONNREFUSED");
  t.same(checks.stateOf(keyOf(1)), {
    health: "passing",
    note: "ECONNREFUSED",
    sinceMs: passingSinceMs,
    checkedAtMs: clock.now(),
  });
  await next(false, "ECONNREFUSED");
  await next(false, "no answer within 1000 ms");
  t.same(checks.stateOf(keyOf(1)), {
    health: "failing",
    note: "no answer within 1000 ms",
    sinceMs: clock.now(),
    checkedAtMs: clock.now(),
  });
});

test("a change is logged once, and a result that changes nothing is not", async (t) => {
  const { checks, records, next } = checking();
  checks.follow([endpoint(1)]);
  for (let i = 0; i < 5; i++) await next(true);
  for (let i = 0; i < 9; i++) await next(false, "ECONNREFUSED");
  for (let i = 0; i < 5; i++) await next(true, "204");
  t.same(
    records.map(({ level, msg, upstream, endpoint, note }) => [level, msg, upstream, endpoint, note]),
    [
      ["debug", "health checks pass", "orders", keyOf(1), "200"],
      ["warn", "health checks fail", "orders", keyOf(1), "ECONNREFUSED"],
      ["info", "health checks pass again", "orders", keyOf(1), "204"],
    ],
  );
});

test("what is known of an endpoint that stays is kept, and its question goes on", async (t) => {
  const { checks, clock, questions, script, health, next, elapse } = checking();
  checks.follow([endpoint(1)]);
  for (let i = 0; i < 3; i++) await next(false);
  clock.advance(5_000);
  await settled();
  const question = questions.at(-1)!;
  checks.follow([endpoint(2), { ...endpoint(1), weight: 7 }]);
  t.same([health(1), health(2)], ["failing", "unknown"]);
  t.notOk(question.signal.aborted);
  question.answer(true);
  await settled();
  t.equal(health(1), "failing");
  script.automatic = () => true;
  await elapse(1_000);
  t.same([health(1), health(2)], ["passing", "passing"], "with one more success");
});

test("an endpoint that goes is forgotten, and its question is called off", async (t) => {
  const { checks, clock, limit, questions, records, health, next, changes, elapse } = checking();
  checks.follow([endpoint(1)]);
  for (let i = 0; i < 3; i++) await next(false);
  clock.advance(5_000);
  await settled();
  const [told, logged] = [changes(), records.length];
  checks.follow([]);
  t.ok(questions.at(-1)!.signal.aborted);
  t.notOk(checks.failing(keyOf(1)));
  checks.follow([endpoint(1)]);
  t.equal(health(), "unknown");
  await settled();
  t.equal(health(), "unknown", "the old question has no say in the new one's state");
  t.equal(limit.underWay, 0);
  t.same([changes(), records.length], [told, logged]);
  checks.follow([]);
  await elapse(10_000);
  t.equal(questions.length, 4);
});

test("an endpoint that is listed twice is asked once", async (t) => {
  const { checks, questions, script, elapse } = checking();
  script.automatic = () => true;
  checks.follow([endpoint(1), endpoint(1)]);
  await elapse(1_000);
  t.equal(questions.length, 1);
});

test("who is told of a change may change the set", async (t) => {
  const clock = new ManualClock();
  const checks: HealthChecks = new HealthChecks(
    { ...OPTIONS, fall: 1 },
    {
      probe: async () => ({ passing: false, note: "503" }),
      clock,
      random: seededRandom(1),
      log: logInto([]).log,
      name: "orders",
      limit: new QuestionLimit(),
    },
    () => checks.follow([]),
  );
  checks.follow([endpoint(1)]);
  clock.advance(1_000);
  await settled();
  t.equal(clock.pending, 0);
});

test("a bug in the probe counts as a failure, and the questions go on", async (t) => {
  const clock = new ManualClock();
  let asked = 0;
  const throwing: Probe = () => {
    asked++;
    if (asked % 2 === 0) throw new TypeError("undefined is not a function");
    return Promise.reject(new TypeError("undefined is not a function"));
  };
  const limit = new QuestionLimit(1);
  const checks = new HealthChecks(
    OPTIONS,
    { probe: throwing, clock, random: seededRandom(1), log: logInto([]).log, name: "orders", limit },
    () => {},
  );
  checks.follow([endpoint(1)]);
  for (let i = 0; i < 6; i++) {
    clock.advance(5_000);
    await settled();
  }
  t.equal(asked, 6);
  t.match(checks.stateOf(keyOf(1)), { health: "failing", note: "undefined is not a function" });
  t.equal(limit.underWay, 0);
});

test("after stop nothing is asked, told or waited for any more", async (t) => {
  const { checks, clock, limit, questions, elapse, changes } = checking({ fall: 1 }, new QuestionLimit(2));
  checks.follow([1, 2, 3, 4, 5].map(endpoint));
  await elapse(1_000);
  t.same([questions.length, limit.waiting], [2, 3]);
  checks.stop();
  await settled();
  t.ok(questions.every(({ signal }) => signal.aborted));
  t.same([limit.underWay, limit.waiting, clock.pending], [0, 0, 0]);
  await elapse(20_000);
  t.same([questions.length, changes()], [2, 0]);
});

test("a thousand endpoints are asked spread over the time, at the start and ever after", async (t) => {
  const { checks, clock, questions, script, elapse } = checking({ jitter: 0.1 });
  script.automatic = () => true;
  const startMs = clock.now();
  checks.follow(Array.from({ length: 1_000 }, (_, i) => endpoint(i + 1)));
  await elapse(1_000);
  t.equal(questions.length, 1_000, "all of them within the first second");
  const inWindow = (fromMs: number, untilMs: number) =>
    questions.filter(({ atMs }) => atMs > startMs + fromMs && atMs <= startMs + untilMs).length;
  for (let fromMs = 0; fromMs < 1_000; fromMs += 100) {
    const asked = inWindow(fromMs, fromMs + 100);
    // The standard deviation is 9.5.
    t.ok(asked > 60 && asked < 140, `${asked} from ${fromMs} ms on`);
  }
  await elapse(59_000);
  const asked = inWindow(30_000, 60_000);
  t.ok(asked > 5_800 && asked < 6_200, `${asked} in 30 s, with an interval of 5 s`);
  const busiest = Math.max(...Array.from({ length: 300 }, (_, i) => inWindow(i * 100, i * 100 + 100)));
  t.ok(busiest < 140, `never more than ${busiest} in 100 ms`);
});

test("when none of a thousand endpoints answers, no more than the limit are asked at once, in turn", async (t) => {
  const { checks, questions, script, limit, elapse, health } = checking({ fall: 1 });
  checks.follow(Array.from({ length: 1_000 }, (_, i) => endpoint(i + 1)));
  await elapse(1_000);
  t.same([questions.length, limit.underWay, limit.waiting], [64, 64, 936]);
  for (let answered = 0; answered < 1_000; answered++) {
    questions[answered]!.answer(false, "no answer within 1000 ms");
    if (answered % 64 === 0) await settled();
  }
  await settled();
  t.equal(script.mostOfAll, 64);
  t.equal(new Set(questions.slice(0, 1_000).map(({ port }) => port)).size, 1_000, "each had its turn");
  t.same([health(1), health(500), health(1_000)], ["failing", "failing", "failing"]);
  t.equal(limit.underWay, 0);
  checks.stop();
});

test("who waits for a turn gets it in order, and who is called off leaves the queue", async (t) => {
  const limit = new QuestionLimit(1);
  const begun: number[] = [];
  const first = Promise.withResolvers<number>();
  const controllers = Array.from({ length: 5 }, () => new AbortController());
  const all = controllers.map(({ signal }, i) =>
    limit.run(signal, () => {
      begun.push(i);
      return i === 0 ? first.promise : Promise.resolve(i);
    }),
  );
  await settled();
  t.same([begun, limit.waiting], [[0], 4]);
  controllers[2]!.abort();
  t.equal(limit.waiting, 3);
  first.resolve(0);
  t.same(await Promise.all(all), [0, 1, undefined, 3, 4]);
  t.same([begun, limit.underWay], [[0, 1, 3, 4], 0]);
  t.equal(await limit.run(AbortSignal.abort(), async () => "begun"), undefined);
  t.equal(limit.underWay, 0);
});

test("a place that is given back by a failure, or to one who has just left, is not lost", async (t) => {
  const limit = new QuestionLimit(1);
  const never = new AbortController().signal;
  const first = Promise.withResolvers<void>();
  const leaving = new AbortController();
  const failing = limit.run(never, () => first.promise);
  const left = limit.run(leaving.signal, async () => "begun");
  const last = limit.run(never, async () => "done");
  first.reject(new Error("a bug"));
  await t.rejects(failing, { message: "a bug" });
  leaving.abort();
  t.equal(await last, "done");
  await left;
  t.same([limit.underWay, limit.waiting], [0, 0]);
});

test("a limit that lets nobody through is refused", async (t) => {
  for (const most of [0, -1, 0.5, Number.NaN]) t.throws(() => new QuestionLimit(most), RangeError);
});

/** What a state is by its history alone: the last run that was long enough decides. */
function healthAfter(results: readonly boolean[], rise: number, fall: number): Health {
  const ends = (history: readonly boolean[], length: number, passing: boolean) =>
    history.length >= length && history.slice(-length).every((result) => result === passing);
  let health: Health = "unknown";
  for (let n = 1; n <= results.length; n++) {
    const history = results.slice(0, n);
    if (ends(history, fall, false)) health = "failing";
    else if (ends(history, health === "failing" ? rise : 1, true)) health = "passing";
  }
  return health;
}

test("whatever the results, the state follows from the last long enough run of them", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.boolean(), { maxLength: 40 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer(),
      async (results, rise, fall, seed) => {
        const { checks, clock, questions, health, changes } = checking(
          { rise, fall, jitter: 0.5 },
          undefined,
          seed,
        );
        checks.follow([endpoint(1)]);
        let told = 0;
        let [earliestMs, latestMs] = [0, 1_000];
        for (const [i, passing] of results.entries()) {
          clock.advance(Math.max(0, earliestMs - 0.001));
          await settled();
          if (questions.length > i) throw new Error(`result ${i} was asked for too early`);
          clock.advance(latestMs - earliestMs + 0.002);
          await settled();
          if (questions.length !== i + 1) throw new Error(`result ${i} was not asked for once`);
          const before = healthAfter(results.slice(0, i), rise, fall);
          const after = healthAfter(results.slice(0, i + 1), rise, fall);
          questions[i]!.answer(passing);
          await settled();
          if (health() !== after) throw new Error(`${health()} and not ${after} after result ${i}`);
          if ((before === "failing") !== (after === "failing")) told++;
          if (changes() !== told) throw new Error(`${changes()} changes told instead of ${told}`);
          const meanMs = (after === "passing") === passing && after !== "unknown" ? 5_000 : 500;
          [earliestMs, latestMs] = [meanMs * 0.5, meanMs * 1.5];
        }
        checks.stop();
        return clock.pending === 0;
      },
    ),
    { numRuns: 300 },
  );
  t.pass();
});

test("whatever comes and goes, nobody is asked twice at once, the limit holds, and nothing is left behind", async (t) => {
  const step = fc.oneof(
    fc.record({ follow: fc.subarray([1, 2, 3, 4, 5, 6]) }),
    fc.record({ passMs: fc.integer({ min: 1, max: 6_000 }) }),
    fc.record({ answer: fc.nat(9), passing: fc.boolean() }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.boolean(), async (steps, settling) => {
      const { checks, clock, limit, questions, script, underWay } = checking(
        { jitter: 1 },
        new QuestionLimit(3),
      );
      for (const taken of steps) {
        if ("follow" in taken) checks.follow(taken.follow.map(endpoint));
        else if ("passMs" in taken) clock.advance(taken.passMs);
        else {
          const open = questions.filter(({ port, signal }) => underWay.has(port) && !signal.aborted);
          open[taken.answer % Math.max(1, open.length)]?.answer(taken.passing);
        }
        if (settling) await settled();
      }
      checks.stop();
      await settled();
      return (
        script.mostOfOne <= 1 &&
        script.mostOfAll <= 3 &&
        limit.underWay + limit.waiting + clock.pending + underWay.size === 0
      );
    }),
    { numRuns: 300 },
  );
  t.pass();
});
