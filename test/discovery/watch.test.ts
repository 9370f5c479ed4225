import { test } from "tap";
import {
  type ConsulAnswer,
  type ConsulCall,
  type ConsulClient,
  ConsulRefusal,
} from "../../discovery/consul/client.ts";
import type { ConsulOptions } from "../../discovery/consul/options.ts";
import { type ConsulQuery, Watch } from "../../discovery/consul/watch.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { type LogRecord, logInto } from "../support/sidecar.ts";

const OPTIONS: ConsulOptions = { address: "http://127.0.0.1:8500", tls: {}, waitMs: 60_000 };

interface Question extends ConsulCall {
  readonly method: "GET" | "POST";
  readonly atMs: number;
}

/** The edge to the agent, answered by the test: every question waits until `answer`, `fail` or an abort. */
class ScriptedClient implements Pick<ConsulClient, "get" | "post" | "options"> {
  readonly options: ConsulOptions;
  readonly asked: Question[] = [];
  /** When set, answers at once instead. */
  automatic: (() => ConsulAnswer) | undefined;
  readonly #clock: ManualClock;
  #waiting: PromiseWithResolvers<ConsulAnswer> | undefined;

  constructor(clock: ManualClock, options: ConsulOptions) {
    this.#clock = clock;
    this.options = options;
  }

  get(call: ConsulCall): Promise<ConsulAnswer> {
    return this.#ask("GET", call);
  }

  post(call: ConsulCall): Promise<ConsulAnswer> {
    return this.#ask("POST", call);
  }

  async #ask(method: Question["method"], call: ConsulCall): Promise<ConsulAnswer> {
    // As the client does.
    if (call.signal?.aborted === true) throw new Error("no longer wanted");
    this.asked.push({ ...call, method, atMs: this.#clock.now() });
    if (this.automatic !== undefined) return this.automatic();
    const waiting = Promise.withResolvers<ConsulAnswer>();
    this.#waiting = waiting;
    call.signal?.addEventListener("abort", () => waiting.reject(new Error("request aborted")));
    return waiting.promise;
  }

  get isAsked(): boolean {
    return this.#waiting !== undefined;
  }

  take(): PromiseWithResolvers<ConsulAnswer> {
    if (this.#waiting === undefined) throw new Error("nothing was asked");
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting;
  }
}

const answer = (headers: ConsulAnswer["headers"], body: unknown, status = 200): ConsulAnswer => ({
  status,
  headers,
  body,
});
const withIndex = (index: number | string, body: unknown = "x", status = 200) =>
  answer({ "x-consul-index": String(index) }, body, status);
const withHash = (hash: string, body: unknown = "x") => answer({ "x-consul-contenthash": hash }, body);

/** Reads texts, and nothing else. */
const QUERY: ConsulQuery<string> = {
  name: "consul:orders",
  path: "/health/service/{service}",
  params: { service: "orders" },
  query: { dc: "north" },
  blocks: "index",
  read: (body) => (typeof body === "string" && !body.startsWith("<") ? body : undefined),
};

function watched(query: Partial<ConsulQuery<string>> = {}, options: Partial<ConsulOptions> = {}, seed = 1) {
  const clock = new ManualClock();
  const client = new ScriptedClient(clock, { ...OPTIONS, ...options });
  const records: LogRecord[] = [];
  const told: string[] = [];
  const silences: string[] = [];
  const watch = new Watch<string>(
    { ...QUERY, ...query },
    { client, clock, random: seededRandom(seed), log: logInto(records).log },
    { value: (value) => told.push(value), silent: (why) => silences.push(why) },
  );
  watch.start();
  const due = async () => {
    for (let i = 0; !client.isAsked; i++) {
      if (i > 10_000) throw new Error("nothing is asked");
      await clock.pass(10);
    }
  };
  return {
    clock,
    client,
    watch,
    told,
    silences,
    records,
    said: (message: string) => records.filter(({ msg }) => msg.includes(message)).length,
    /** Waits for the next question, and answers it. */
    async answers(given: ConsulAnswer): Promise<void> {
      await due();
      client.take().resolve(given);
      await settled();
    },
    async fails(thrown = new Error("connect ECONNREFUSED")): Promise<void> {
      await due();
      client.take().reject(thrown);
      await settled();
    },
    /** What every question waited for: `0` for nothing, or the index or hash. */
    positions: () => client.asked.map(({ query }) => query?.["index"] ?? query?.["hash"] ?? "0"),
  };
}

test("the first question does not block, and later ones block from the index of the answer before", async (t) => {
  const { client, told, answers, positions } = watched();
  await answers(withIndex(7, "a"));
  t.same(told, ["a"], "told at once");
  await answers(withIndex(9, "b"));
  await answers(withIndex(9, "b"));
  await settled();
  t.same(told, ["a", "b", "b"], "as it is: what a change is decides who is told");
  t.same(positions(), ["0", "7", "9", "9"]);
  const [first, second] = client.asked;
  t.match(first, { method: "GET", path: QUERY.path, params: QUERY.params, accept: [], timeoutMs: 5_000 });
  t.same(first?.query, { dc: "north" });
  t.same(second?.query, { dc: "north", index: "7", wait: "60000ms" });
  // The agent adds up to a sixteenth to what it is told.
  t.ok(second!.timeoutMs! >= 60_000 * (17 / 16) + 1_000, `${second!.timeoutMs} ms for a wait of a minute`);
});

test("an index that runs backwards is forgotten, and it is asked again at once, from 0", async (t) => {
  const { clock, client, told, answers, positions } = watched();
  await answers(withIndex(500, "a"));
  const startMs = clock.now();
  await answers(withIndex(3, "b"));
  t.equal(client.asked.length, 3, "at once");
  await answers(withIndex(3, "b"));
  await answers(withIndex(4, "c"));
  t.same(positions(), ["0", "500", "0", "3", "4"]);
  t.same(told, ["a", "b", "b", "c"]);
  t.equal(clock.now(), startMs);
});

test("an answer without a usable index cannot be waited for: it is asked again after about 10 s", async (t) => {
  const headers: ConsulAnswer["headers"][] = [
    {},
    { "x-consul-index": "0" },
    { "x-consul-index": "-4" },
    { "x-consul-index": "many" },
    { "x-consul-index": "9007199254740993" },
    { "x-consul-index": ["7", "8"] },
    { "x-consul-contenthash": "abc" },
  ];
  const gaps = new Set<number>();
  for (const [seed, given] of headers.entries()) {
    const { clock, client, told, answers, positions, silences } = watched({}, {}, seed);
    await answers(withIndex(500, "a"));
    await answers(answer(given, "b"));
    t.equal(client.asked.length, 2, "not at once");
    await clock.pass(7_490);
    t.equal(client.asked.length, 2);
    await answers(withIndex(501, "c"));
    await settled();
    const gapMs = client.asked[2]!.atMs - 1_000;
    gaps.add(Math.round(gapMs));
    t.ok(gapMs >= 7_500 && gapMs <= 12_510, `${gapMs} ms`);
    t.same(positions(), ["0", "500", "0", "501"], "and it blocks again as soon as it can");
    t.same([told, silences], [["a", "b", "c"], []], "it is an answer all the same");
  }
  t.ok(gaps.size > 3, "each sidecar at another moment");
});

test("an endpoint of the agent itself is waited for by the hash of its content", async (t) => {
  const { told, answers, fails, positions, client } = watched({ blocks: "hash" });
  await answers(withHash("aa", "a"));
  await answers(withHash("bb", "b"));
  await answers(withHash("bb", "b"));
  await fails();
  await answers(withHash("bb", "b"));
  await settled();
  t.same(positions(), ["0", "aa", "bb", "bb", "0", "bb"], "and after an error without one");
  t.same(told, ["a", "b", "b", "b"]);
  t.same(client.asked[1]?.query, { dc: "north", hash: "aa", wait: "60000ms" });
  t.equal(client.asked[1]?.timeoutMs, client.asked[2]?.timeoutMs);
  t.ok(client.asked[1]!.timeoutMs! > 60_000);
});

test("without a hash it is polled", async (t) => {
  for (const headers of [{}, { "x-consul-contenthash": "" }, { "x-consul-index": "7" }]) {
    const { client, clock, answers, positions } = watched({ blocks: "hash" });
    await answers(answer(headers, "a"));
    await clock.pass(7_000);
    t.equal(client.asked.length, 1);
    await answers(withHash("aa"));
    t.same(positions().slice(0, 2), ["0", "0"]);
  }
});

test("a 404 is what the question says it is, and otherwise an error", async (t) => {
  const absent = watched({ absent: "nobody" });
  t.same(absent.client.asked[0]?.accept, [404]);
  await absent.answers(withIndex(7, undefined, 404));
  await absent.answers(withIndex(9, "somebody"));
  await absent.answers(withIndex(10, undefined, 404));
  await settled();
  t.same(absent.told, ["nobody", "somebody", "nobody"]);
  t.same(absent.positions(), ["0", "7", "9", "10"], "a 404 with an index is waited for");

  const gone = watched({ blocks: "hash", absent: "nobody" });
  await gone.answers(withHash("aa", "somebody"));
  await gone.answers(answer({}, "unknown service ID", 404));
  t.same(gone.told, ["somebody", "nobody"]);
  await gone.clock.pass(7_000);
  t.equal(gone.client.asked.length, 2, "and one without a hash is polled");
  await gone.answers(withHash("aa", "somebody"));
  t.same(gone.told, ["somebody", "nobody", "somebody"]);

  const required = watched();
  t.same(required.client.asked[0]?.accept, [], "the client refuses it");
  await required.fails(new ConsulRefusal(404, "the agent answered 404: no such thing"));
  t.same([required.told, required.silences], [[], ["the agent answered 404: no such thing"]]);
});

test("a question that never blocks is polled, whatever the headers say", async (t) => {
  const { clock, client, told, positions, watch } = watched({ blocks: "never" });
  client.automatic = () => answer({ "x-consul-index": "1", "x-consul-contenthash": "aa" }, "a");
  client.take().resolve(client.automatic());
  await clock.pass(100_000);
  watch.stop();
  t.ok(client.asked.length >= 8 && client.asked.length <= 14, `${client.asked.length} questions in 100 s`);
  t.same(new Set(positions()), new Set(["0"]));
  t.equal(told.length, client.asked.length);
});

test("where connections are scarce nothing blocks, and each question is asked as often as is set", async (t) => {
  for (const blocks of ["index", "hash", "never"] as const) {
    const { clock, client, positions, watch } = watched({ blocks }, { pollMs: 2_000 });
    let index = 7;
    client.automatic = () =>
      answer({ "x-consul-index": String(index++), "x-consul-contenthash": String(index) }, "a");
    client.take().resolve(client.automatic());
    await clock.pass(100_000);
    watch.stop();
    t.ok(client.asked.length >= 41 && client.asked.length <= 66, `${client.asked.length} in 100 s`);
    t.same(new Set(positions()), new Set(["0"]));
    t.ok(client.asked.every(({ timeoutMs }) => timeoutMs === 5_000));
  }
});

test("a question with a body is a POST, and blocks like any other", async (t) => {
  const body = { OverrideConnectTimeout: "1s" };
  const { client, answers, told } = watched({ body });
  await answers(withIndex(7, "a"));
  await answers(withIndex(8, "b"));
  t.same(told, ["a", "b"]);
  t.match(client.asked, [
    { method: "POST", body },
    { method: "POST", body, query: { index: "7" } },
  ]);
});

test("after an error of any kind the index is forgotten, since the agent may have lost its memory", async (t) => {
  const { told, answers, fails, positions } = watched();
  await answers(withIndex(500, "a"));
  await fails();
  await fails(new ConsulRefusal(500, "the agent answered 500: No cluster leader"));
  await answers(withIndex(2, "b"));
  await answers(withIndex(3, "<html>busy</html>"));
  await answers(withIndex(2, "b"));
  await settled();
  t.same(positions(), ["0", "500", "0", "0", "2", "0", "2"]);
  t.same(told, ["a", "b", "b"], "and the first answer is passed on");
});

test("each failed attempt is said to the follower with its reason, and logged once when it begins and ends", async (t) => {
  const { told, silences, answers, fails, said, records } = watched();
  await answers(withIndex(500, "a"));
  for (let round = 0; round < 5; round++) {
    await fails();
    for (const body of ["<html>busy</html>", undefined, null, { Error: "no leader" }, []])
      await answers(answer({ "x-consul-index": "600" }, body));
  }
  t.equal(silences.length, 30);
  t.same(new Set(silences), new Set(["connect ECONNREFUSED", "the answer is not what was asked for"]));
  t.same(told, ["a"]);
  t.same([said("does not answer"), said("answers again")], [1, 0]);
  t.match(records[0], { level: "warn", source: "consul:orders", why: "connect ECONNREFUSED" });
  await answers(withIndex(500, "a"));
  await answers(withIndex(501, "b"));
  t.same([said("does not answer"), said("answers again")], [1, 1]);
  t.match(records.at(-1), { level: "info", source: "consul:orders", failures: 30 });
  await fails();
  t.equal(said("does not answer"), 2, "the next outage is another one");
  t.equal(records.length, 3, "and nothing else is logged");
});

test("whatever never blocks is not asked in a busy loop, however it answers", async (t) => {
  let n = 0;
  const fail = (thrown: Error) => () => {
    throw thrown;
  };
  const manners: Readonly<Record<string, [Partial<ConsulQuery<string>>, () => ConsulAnswer]>> = {
    "the same index": [{}, () => withIndex(9)],
    "a new index each time": [{}, () => withIndex(++n)],
    "no index": [{}, () => answer({}, "x")],
    "an index that runs backwards": [{}, () => withIndex(1_000_000 - ++n)],
    "an index that jumps to and fro": [{}, () => withIndex(++n % 2 === 0 ? 5 : 500)],
    "the same hash": [{ blocks: "hash" }, () => withHash("aa")],
    "a new hash each time": [{ blocks: "hash" }, () => withHash(String(++n))],
    "no hash": [{ blocks: "hash" }, () => answer({}, "x")],
    "404 with an index": [{ absent: "nobody" }, () => withIndex(9, "", 404)],
    "404 without": [{ absent: "nobody" }, () => answer({}, "", 404)],
    "a question that never blocks": [{ blocks: "never" }, () => withIndex(9)],
    nonsense: [{}, () => withIndex(9, "<html>")],
    refusals: [{}, fail(new ConsulRefusal(429, "the agent answered 429"))],
    "errors at once": [{}, fail(new Error("connect ECONNREFUSED"))],
    "errors and answers in turns": [
      {},
      () => {
        if (++n % 2 === 0) throw new Error("read ECONNRESET");
        return withIndex(9);
      },
    ],
  };
  for (const [manner, [query, respond]] of Object.entries(manners)) {
    const { clock, client, watch } = watched(query);
    client.automatic = respond;
    client.take().resolve(withIndex(1));
    await clock.pass(30_000);
    watch.stop();
    const times = client.asked.map(({ atMs }) => atMs);
    const most = Math.max(
      ...times.map((atMs) => times.filter((at) => at >= atMs && at < atMs + 1_000).length),
    );
    t.ok(
      times.length >= 3 && times.length <= 10 + 8 * 30 + 1,
      `${manner}: ${times.length} questions in 30 s`,
    );
    t.ok(most <= 10 + 8 + 1, `${manner}: ${most} within a second`);
    t.ok(times.at(-1)! > 1_000 + 30_000 - 12_600, `${manner}: and it goes on`);
  }
});

test("a roll-out that wakes the watch ten times in a row is followed without a pause", async (t) => {
  const { clock, answers, told } = watched();
  for (let index = 1; index <= 10; index++) await answers(withIndex(index, `${index}`));
  t.equal(clock.now(), 1_000, "no time has passed");
  t.equal(told.length, 10);
  await answers(withIndex(11, "11"));
  t.ok(clock.now() >= 1_125, "and then eight a second");
});

test("retries spread out: sidecars that lost the registry together do not come back together", async (t) => {
  const nth = 6;
  const times = new Set<number>();
  const gaps: number[] = [];
  for (let seed = 0; seed < 20; seed++) {
    const { clock, client, watch, fails } = watched({}, {}, seed);
    client.automatic = () => {
      throw new Error("connect ECONNREFUSED");
    };
    await fails();
    while (client.asked.length < nth) await clock.pass(100);
    watch.stop();
    const at = client.asked.map(({ atMs }) => atMs);
    times.add(Math.round(at.at(-1)! / 100));
    for (let i = 1; i < at.length; i++) gaps.push(at[i]! - at[i - 1]!);
  }
  t.ok(times.size > 10, `${times.size} different moments of 20`);
  t.ok(Math.max(...gaps) <= 2_051, `never longer apart than 2 s: ${Math.max(...gaps)}`);
  t.ok(Math.min(...gaps) >= 50, `never closer than 50 ms: ${Math.min(...gaps)}`);
});

test("however long an outage lasts, it is asked every 2 s at the latest", async (t) => {
  const { clock, client, watch } = watched();
  client.automatic = () => {
    throw new Error("connect ECONNREFUSED");
  };
  client.take().reject(new Error("connect ECONNREFUSED"));
  await clock.pass(600_000);
  watch.stop();
  const gaps = client.asked.slice(1).map(({ atMs }, i) => atMs - client.asked[i]!.atMs);
  t.ok(
    Math.max(...gaps) <= 2_051 && Math.min(...gaps) >= 50,
    `from ${Math.min(...gaps)} to ${Math.max(...gaps)} ms`,
  );
  t.ok(gaps.length < 600 / 0.8, `${gaps.length} times in ten minutes`);
});

test("stop leaves nothing: no question, no word, no timer", async (t) => {
  const moments: Readonly<Record<string, (one: ReturnType<typeof watched>) => Promise<void>>> = {
    "before the first answer": async () => {},
    "while it blocks": async ({ answers }) => answers(withIndex(7)),
    "while it rests after an error": async ({ fails }) => fails(),
    "until the next poll": async ({ answers }) => answers(answer({}, "x")),
    "while it waits for its turn": async ({ answers }) => {
      for (let index = 1; index <= 10; index++) await answers(withIndex(index));
    },
  };
  for (const [moment, begin] of Object.entries(moments)) {
    const one = watched();
    await begin(one);
    const { clock, client, watch, told, silences, records } = one;
    const before = [client.asked.length, told.length, silences.length, records.length];
    watch.stop();
    await clock.pass(100_000);
    t.same([client.asked.length, told.length, silences.length, records.length], before, moment);
    t.equal(clock.pending, 0, moment);
    if (client.isAsked) t.ok(client.asked.at(-1)?.signal?.aborted, `${moment}: it has hung up`);
    watch.stop();
  }
  const late = watched();
  const { resolve } = late.client.take();
  resolve(withIndex(7));
  late.watch.stop();
  await settled();
  t.same(late.told, [], "an answer that comes with the end is not passed on");
});
