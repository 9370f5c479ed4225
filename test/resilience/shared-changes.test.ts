import { once } from "node:events";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { test } from "tap";
import { type Asking, GoodAnswers } from "../../resilience/good-answers.ts";
import { SharedChanges, sharedChanges } from "../../resilience/shared-changes.ts";
import { seededRandom } from "../support/seeded-random.ts";

const OPTIONS = { maxAgeMs: 60_000, maxBytes: 1_000_000, maxBodyBytes: 1_000, vary: [] };

const cacheOf = (changes: SharedArrayBuffer) => new GoodAnswers({ ...OPTIONS, changes });
const questionOf = (place: string, form = "GET") => ({ place, key: `${place}\n${form}` });
const answerAt = (storedAtMs: number) => ({
  status: 200,
  reason: "",
  headers: [],
  body: new Uint8Array(),
  storedAtMs,
});

/** Somebody who writes down what he is told. */
function listeningTo(memory: SharedArrayBuffer) {
  const heard: string[] = [];
  const log = new SharedChanges(memory, {
    changed: (place, question) => void heard.push(question === undefined ? place : `${place}: ${question}`),
    lostTrack: () => void heard.push("lost track"),
  });
  return {
    log,
    heard() {
      log.readOn();
      return heard.splice(0);
    },
  };
}

test("whatever several caches do in whichever order, none shows what another one knows to be gone, and each what is not", async (t) => {
  const step = fc.record({
    cache: fc.integer({ min: 0, max: 2 }),
    place: fc.constantFrom("a", "b"),
    form: fc.constantFrom("GET", "HEAD"),
    what: fc.constantFrom("ask", "ask", "answer", "answer", "changed", "gone", "forbidden"),
  });
  const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const memory = sharedChanges(seededRandom(1));
    const caches = [0, 1, 2].map(() => cacheOf(memory));
    const asked: { asking: Asking; cache: number; atMs: number; overtaken: boolean }[] = [];
    /** By cache and key: when what it may show was asked for. */
    const known = new Map<string, number>();
    for (const [nowMs, { cache, place, form, what }] of steps.entries()) {
      const question = questionOf(place, form);
      if (what === "ask") {
        asked.push({ asking: caches[cache]!.begin(question), cache, atMs: nowMs, overtaken: false });
      } else if (what === "answer") {
        const first = asked.shift();
        if (first === undefined) continue;
        caches[first.cache]!.end(first.asking, answerAt(first.atMs));
        if (!first.overtaken) known.set(`${first.cache} ${first.asking.question.key}`, first.atMs);
      } else {
        if (what === "changed") caches[cache]!.forgetPlace(place);
        else caches[cache]!.overrule(question, what === "gone" ? 404 : 403);
        for (const of of asked) if (of.asking.question.place === place) of.overtaken = true;
        for (const key of [...known.keys()])
          if (key.endsWith(` ${question.key}`) || (what !== "forbidden" && key.includes(` ${place}\n`)))
            known.delete(key);
      }
    }
    for (const [at, cache] of caches.entries())
      for (const question of ["a", "b"].flatMap((place) => [questionOf(place), questionOf(place, "HEAD")])) {
        const found = cache.find(question, steps.length)?.storedAtMs;
        const expected = known.get(`${at} ${question.key}`);
        if (found !== expected) return false;
      }
    return true;
  });
  fc.assert(property, { numRuns: 2_000 });
  t.pass("2,000 histories");
});

test("who has not looked for a whole round takes everything for changed, and hears of all that comes then", async (t) => {
  const memory = sharedChanges(seededRandom(1));
  const teller = listeningTo(memory);
  const late = listeningTo(memory);
  for (let i = 0; i < 4096; i++) teller.log.tell(`${i}`);
  t.equal(new Set(late.heard()).size, 4096, "a round is heard whole");
  for (let i = 0; i < 4097; i++) teller.log.tell(`${i}`);
  t.same(late.heard(), ["lost track"]);
  teller.log.tell("a", "q");
  const [place, question] = [late.log.markOf("a"), late.log.markOf("q")];
  t.same(late.heard(), [`${place}: ${question}`]);

  const cache = cacheOf(memory);
  cache.keep(questionOf("/"), answerAt(0));
  const asking = cache.begin(questionOf("/other"));
  for (let i = 0; i < 4097; i++) teller.log.tell(`${i}`);
  t.equal(cache.find(questionOf("/"), 1), undefined);
  t.equal(cache.bytes, 0);
  cache.end(asking, answerAt(0));
  t.equal(cache.find(questionOf("/other"), 1), undefined, "nor is it known what was on its way");
});

test("a thread that ends as it writes an entry keeps nobody: the others take everything for changed, once", async (t) => {
  const memory = sharedChanges(seededRandom(1));
  const [teller, other] = [listeningTo(memory), listeningTo(memory)];
  teller.log.tell("before");
  // It has taken its place, and no more.
  Atomics.add(new Int32Array(memory), 0, 1);
  t.same(other.heard(), [other.log.markOf("before"), "lost track"]);
  teller.log.tell("after");
  t.same(other.heard(), [other.log.markOf("after")]);
});

test("a count that goes round its 32 bits loses nothing", async (t) => {
  const memory = sharedChanges(seededRandom(1));
  new Int32Array(memory)[0] = 2 ** 31 - 2;
  const [teller, other] = [listeningTo(memory), listeningTo(memory)];
  const told = ["a", "b", "c", "d"];
  for (const place of told) teller.log.tell(place);
  t.same(
    other.heard(),
    told.map((place) => other.log.markOf(place)),
  );
  new Int32Array(memory)[0] = -2;
  const late = listeningTo(memory);
  for (const place of told) teller.log.tell(place);
  t.same(
    late.heard(),
    told.map((place) => late.log.markOf(place)),
  );
});

test("threads that tell at the same time are all heard, or it is known that they were not", async (t) => {
  const memory = sharedChanges(seededRandom(1));
  const told = 1_500;
  const reader = listeningTo(memory);
  const telling = `
    const { workerData } = require("node:worker_threads");
    import(workerData.module).then(({ SharedChanges }) => {
      const log = new SharedChanges(workerData.memory, { changed() {}, lostTrack() {} });
      const go = new Int32Array(workerData.go);
      Atomics.add(go, 0, 1);
      while (Atomics.load(go, 0) < 2);
      for (let i = 0; i < ${told}; i++) log.tell(workerData.name + i, "question " + workerData.name + i);
    });`;
  const module = new URL("../../resilience/shared-changes.ts", import.meta.url).href;
  const go = new SharedArrayBuffer(4);
  const workers = ["a", "b"].map(
    (name) => new Worker(telling, { eval: true, workerData: { memory, module, go, name } }),
  );
  let over = false;
  const ended = Promise.all(workers.map((worker) => once(worker, "exit"))).finally(() => {
    over = true;
  });
  const heard: string[] = [];
  while (!over) {
    heard.push(...reader.heard());
    await new Promise(setImmediate);
  }
  await ended;
  heard.push(...reader.heard());
  const all = ["a", "b"].flatMap((name) => Array.from({ length: told }, (_, i) => `${name}${i}`));
  const expected = new Set(
    all.map((place) => `${reader.log.markOf(place)}: ${reader.log.markOf(`question ${place}`)}`),
  );
  t.same(
    heard.filter((of) => of !== "lost track" && !expected.has(of)),
    [],
    "nothing is heard that was not told",
  );
  t.ok(heard.includes("lost track") || heard.length === 2 * told, `${heard.length} heard`);
});
