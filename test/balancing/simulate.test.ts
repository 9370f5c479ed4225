import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "tap";
import {
  erlangMean,
  fanOutShare,
  pollaczekKhinchineMean,
  sharingMean,
  singleQueueError,
  supermarketMean,
  supermarketTail,
  turnsMean,
} from "../../bench/simulate/closed-forms.ts";
import { constant, exponential, normal, twoMode } from "../../bench/simulate/distributions.ts";
import { Engine, type Happening } from "../../bench/simulate/engine.ts";
import { EXPERIMENTS, LONGEST_FIRST } from "../../bench/simulate/experiments.ts";
import { Job, type Sender, Server } from "../../bench/simulate/farm.ts";
import { BatchMeans, Levels, Samples } from "../../bench/simulate/measures.ts";
import { type OpenFarm, runOpenFarm } from "../../bench/simulate/open-farm.ts";
import { svg } from "../../bench/simulate/plot.ts";
import { sfc32 } from "../../bench/simulate/random.ts";
import { page, report, table } from "../../bench/simulate/report.ts";
import { between, type Findings, fixed, nearBy, nearByChance } from "../../bench/simulate/rows.ts";
import { runInThreads } from "../../bench/simulate/threads.ts";

const DOCS = join(import.meta.dirname, "../../docs");

// --- virtual time

test("what is planned happens in order of time, and at one moment in the order it was planned", async (t) => {
  const engine = new Engine();
  const random = sfc32(1);
  const seen: [number, number][] = [];
  const note: Happening = { happen: (nowMs, argument) => seen.push([nowMs, argument]) };
  // More than the heap has room for at first, and many at the same moment.
  for (let i = 0; i < 5000; i++) engine.at(Math.floor(random.next() * 50), note, i);
  engine.run();
  t.equal(seen.length, 5000);
  const ordered = seen.every(([at, order], i) => {
    const [before, orderBefore] = seen[i - 1] ?? [-1, -1];
    return before < at || (before === at && orderBefore < order);
  });
  t.ok(ordered);
});

test("a run stops at its moment, goes on later, and plans nothing in the past", async (t) => {
  const engine = new Engine();
  const seen: number[] = [];
  engine.at(10, {
    happen(nowMs) {
      seen.push(nowMs);
      engine.at(5, { happen: (atMs) => seen.push(atMs) });
    },
  });
  engine.at(30, { happen: (nowMs) => seen.push(nowMs) });
  engine.run(20);
  t.same(seen, [10, 10]);
  t.equal(engine.nowMs, 20);
  engine.run();
  t.same(seen, [10, 10, 30]);
});

test("the engine is a clock to what sets timers", async (t) => {
  const engine = new Engine();
  const seen: number[] = [];
  const { clock } = engine;
  clock.schedule(10, () => seen.push(clock.now()));
  clock.schedule(20, () => seen.push(-1)).cancel();
  clock.schedule(30, () => seen.push(clock.recentMs));
  engine.run();
  t.same(seen, [10, 30]);
});

// --- chance

test("chance is even, the same for a seed, and another for each stream", async (t) => {
  const draws = (seed: number, stream: number) => {
    const random = sfc32(seed, stream);
    return Array.from({ length: 64_000 }, () => random.next());
  };
  const first = draws(1, 1);
  t.same(first, draws(1, 1));
  t.equal(
    new Set([...first, ...draws(1, 2), ...draws(2, 1)].map((value) => value * 2 ** 32)).size > 191_000,
    true,
  );
  const bins = new Array<number>(64).fill(0);
  for (const value of first) bins[Math.floor(value * 64)]!++;
  const chiSquare = bins.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
  // 63 degrees of freedom: 63 ± 11; five deviations.
  t.ok(chiSquare > 8 && chiSquare < 119, `${chiSquare}`);
});

test("distributions have the moments that they state", async (t) => {
  const kinds = {
    constant: constant(3),
    exponential: exponential(2),
    normal: normal(167, 5),
    twoMode: twoMode(5, 50, 0.1),
  };
  for (const [name, distribution] of Object.entries(kinds)) {
    const random = sfc32(7);
    const values = Array.from({ length: 200_000 }, () => distribution.draw(random));
    const mean = values.reduce((sum, value) => sum + value) / values.length;
    const square = values.reduce((sum, value) => sum + value * value, 0) / values.length;
    t.ok(Math.abs(mean / distribution.meanMs - 1) < 0.02, `${name}: mean ${mean}`);
    t.ok(Math.abs(square / distribution.squareMs2 - 1) < 0.03, `${name}: second moment ${square}`);
  }
});

// --- measures

test("percentiles are exact, and so is the part of the time at each length", async (t) => {
  const samples = new Samples();
  for (let i = 100; i >= 1; i--) samples.add(i);
  t.same(
    [0, 0.5, 0.99, 0.991, 1].map((share) => samples.percentile(share)),
    [1, 50, 99, 100, 100],
  );
  t.equal(samples.shareUpTo(95), 0.95);
  const levels = new Levels(10, 20, 2, 3);
  levels.add(0, 0, 12);
  levels.add(1, 12, 17);
  levels.add(7, 17, 40);
  t.same(
    [0, 1, 2, 3].map((i) => Math.round(100 * levels.tail(i).value)),
    [100, 80, 30, 30],
  );
});

test("a mean leaves out the warm-up and knows its error from its batches", async (t) => {
  const means = new BatchMeans(100, 300, 4);
  means.add(99, 1e9);
  for (let at = 100; at < 300; at++) means.add(at, at < 200 ? 1 : 3);
  t.equal(means.count, 200);
  t.equal(means.mean.value, 2);
  // Batches of 1, 1, 3, 3: their variance is 4/3, over four of them.
  t.ok(Math.abs(means.mean.standardError - Math.sqrt(1 / 3)) < 1e-12);
});

// --- formulas

test("the formulas give the published figures", async (t) => {
  const near = (actual: number, expected: number) =>
    t.ok(Math.abs(actual / expected - 1) < 1e-3, `${actual}, ${expected}`);
  near(supermarketMean(0.9, 1), 10);
  near(supermarketMean(0.9, 2), 2.6141);
  near(supermarketMean(0.99, 2), 5.432);
  near(supermarketMean(0.99, 3), 3.8578);
  near(supermarketTail(0.9, 2, 4), 0.2059);
  near(erlangMean(0.9, 1), 10);
  // Two workers: 1 / (1 - load²).
  near(erlangMean(0.8, 2), 1 / (1 - 0.64));
  near(pollaczekKhinchineMean(0.9, 1, 2), 10);
  near(sharingMean(0.9, 1), 10);
  near(turnsMean(0.9, 1), 10);
  near(fanOutShare(0.01, 100), 0.634);
});

// --- queues

const ALONE = { seed: 3, balancing: { algorithm: "random" }, servers: 1, jobs: 150_000 } as const;

test("M/M/1: the mean time is 1 / (1 - load)", async (t) => {
  for (const load of [0.3, 0.5, 0.8]) {
    const { meanMs, jobs } = runOpenFarm({ ...ALONE, load });
    const allowed = 3 * singleQueueError(load, jobs);
    t.ok(Math.abs(meanMs.value - 1 / (1 - load)) < allowed, `${meanMs.value} at ${load}, ± ${allowed}`);
  }
});

test("M/M/c: the mean time is Erlang's, within three standard errors", async (t) => {
  for (const workers of [2, 5, 20]) {
    const { meanMs } = runOpenFarm({ ...ALONE, load: 0.8, workers });
    t.ok(
      Math.abs(meanMs.value - erlangMean(0.8, workers)) < 3 * meanMs.standardError,
      `${workers}: ${meanMs.value}`,
    );
  }
});

test("a shared processor: of the services only the mean counts", async (t) => {
  for (const service of [constant(1), exponential(1), twoMode(0.5, 10.5, 0.05)]) {
    const { meanMs } = runOpenFarm({ ...ALONE, load: 0.6, service, workers: "sharing" });
    t.ok(
      Math.abs(meanMs.value - 2.5) < 3 * meanMs.standardError,
      `${meanMs.value} ± ${meanMs.standardError}`,
    );
  }
});

test("the same seed gives the same run to the last digit, and another seed another one", async (t) => {
  const farm: OpenFarm = {
    seed: 5,
    balancing: { algorithm: "leastRequest" },
    servers: 50,
    load: 0.9,
    jobs: 20_000,
    clients: 3,
  };
  const result = (seed: number) => {
    const { meanMs, tail, jobs } = runOpenFarm({ ...farm, seed });
    return { meanMs, jobs, tail: [1, 2, 3].map(tail) };
  };
  t.same(result(5), result(5));
  t.not(result(5).meanMs.value, result(6).meanMs.value);
});

test("a server becomes slow or fails at its moment, and those before are not touched", async (t) => {
  const engine = new Engine();
  const ends: [number, number, boolean][] = [];
  const sender: Sender = { settled: (job, nowMs) => ends.push([job.sentAtMs, nowMs, job.failed]) };
  const server = new Server(engine, sfc32(1), { service: constant(10), workers: 1 });
  server.serveFrom(15, constant(100));
  server.failFrom(30, constant(1));
  server.failFrom(40, undefined);
  for (const atMs of [0, 1, 20, 35, 45])
    engine.at(atMs, { happen: (nowMs) => server.accept(new Job(sender, 0, nowMs), nowMs) });
  engine.run();
  t.same(ends, [
    [0, 10, false],
    [1, 20, false],
    [35, 36, true],
    [20, 120, false],
    [45, 220, false],
  ]);
});

// --- threads

test("threads find what one alone finds, in the order that was asked for, and say what each took", async (t) => {
  const names = ["priorities", "fan-out", "zones"];
  const took = new Map<string, number>();
  const found = await runInThreads(names, 2, { threads: 2, onEnd: (name, cpuMs) => took.set(name, cpuMs) });
  t.same([...found.keys()], names);
  for (const name of names) t.same(found.get(name), EXPERIMENTS[name]!(2), name);
  t.same([...took.keys()].sort(), names.toSorted());
  for (const cpuMs of took.values()) t.ok(cpuMs > 0);
});

test("an experiment that fails fails the run by its name, and the others are given up", async (t) => {
  const ended: string[] = [];
  const onEnd = (name: string) => ended.push(name);
  // There is none of that name, so its thread throws; the other one takes half a minute.
  const running = runInThreads(["supermarket", "astrology"], 1, { threads: 2, onEnd });
  await t.rejects(running, { message: "astrology: no such experiment" });
  t.same(ended, []);
});

test("the longest experiments are known by their names", async (t) => {
  t.same(
    LONGEST_FIRST.filter((name) => EXPERIMENTS[name] === undefined),
    [],
  );
});

// --- the page

test("a row holds within what was set, or within chance where that is more", async (t) => {
  const estimate = (value: number, standardError: number) => ({ value, standardError });
  t.equal(nearBy("", 10, estimate(10.29, 0.05), 0.03).holds, true);
  t.equal(nearBy("", 10, estimate(10.31, 0.05), 0.03).holds, false);
  t.match(nearBy("", 10, estimate(10.31, 0.2), 0.03), { holds: true, tolerance: /3 standard errors/ });
  t.match(nearByChance("", 10, estimate(9, 0.3)), {
    holds: false,
    why: "off by -1.0000, -3.3 standard errors",
  });
  const bounds = (value: number) => between("", [0.9, 0.95], estimate(value, 0), "", fixed(2)).holds;
  t.same([0.899, 0.9, 0.95, 0.951].map(bounds), [false, true, true, false]);
});

test("the table keeps the rows of experiments that were not run", async (t) => {
  const row = { result: "new", published: "1", here: "2", tolerance: "0", holds: false, why: "it is 2" };
  const text = table(["a", "b"], new Map([["b", [row]]]), [
    "| a: old | 1 | 1 | 0 | yes |",
    "| b: old | | | | |",
  ]);
  t.equal(
    text.split("\n").slice(2).join("\n"),
    "| a: old | 1 | 1 | 0 | yes |\n| b: new | 1 | 2 | 0 | no: it is 2 |",
  );
});

test("what is published and not found is told below the rows, and fails none of them", async (t) => {
  const departure = { result: "d", published: "1", here: "2", why: "who knows" };
  const row = { result: "r", published: "1", here: "1", tolerance: "0", holds: true };
  const findings: Findings = { rows: [row], plots: [], departures: [departure] };
  const told = report(["a", "b"], new Map([["b", findings]]));
  t.match(told, /\| b: r \| 1 \| 1 \| 0 \| yes \|\n\nPublished, and not found here:\n\n/);
  t.match(told, /\n\| b: d \| 1 \| 2 \| who knows \|$/);
  t.notMatch(report(["a", "b"], new Map([["b", { rows: [row], plots: [] }]])), "not found");

  const empty = ["simulate", "departures"].map((name) => `<!-- ${name}:begin -->\n<!-- ${name}:end -->\n`);
  const first = page(empty.join("prose\n"), ["a", "b"], new Map([["a", findings]]));
  const second = page(first, ["a", "b"], new Map([["b", findings]]));
  const lines = (text: string) => text.split("\n").filter((line) => /^\| [ab]: /.test(line));
  t.same(lines(second), [
    "| a: r | 1 | 1 | 0 | yes |",
    "| b: r | 1 | 1 | 0 | yes |",
    "| a: d | 1 | 2 | who knows |",
    "| b: d | 1 | 2 | who knows |",
  ]);
  const gone = page(second, ["a", "b"], new Map([["a", { rows: [row], plots: [] }]]));
  t.same(lines(gone).slice(2), ["| b: d | 1 | 2 | who knows |"]);
});

test("a plot stays in its frame and escapes its words", async (t) => {
  const text = svg({
    name: "x",
    title: "a < b & c",
    x: { label: "x", scale: "log", from: 1, to: 1000 },
    y: { label: "y", scale: "linear", from: 0, to: 1 },
    series: [
      {
        name: "s",
        points: [
          [1, 0],
          [1000, 1],
          [1e9, 7],
        ],
        colour: 0,
      },
    ],
  });
  t.match(text, "a &lt; b &amp; c");
  t.match(text, 'd="M70 344L550 44L550 44"');
  for (const mark of ["1", "10", "100", "1000"]) t.match(text, `>${mark}</text>`);
});

test("docs/balancing.md has rows of every experiment, and every plot is shown", async (t) => {
  const shownPage = readFileSync(join(DOCS, "balancing.md"), "utf8");
  for (const name of Object.keys(EXPERIMENTS)) t.match(shownPage, `\n| ${name}: `, name);
  t.match(shownPage.slice(shownPage.indexOf("<!-- departures:begin -->")), "\n| prequal: ");
  const pages = readdirSync(DOCS).filter((name) => name.endsWith(".md"));
  const shown = pages.flatMap((name) =>
    [...readFileSync(join(DOCS, name), "utf8").matchAll(/\]\((plots\/[^)]+)\)/g)].map((match) => match[1]!),
  );
  for (const path of shown) t.ok(existsSync(join(DOCS, path)), path);
  for (const file of readdirSync(join(DOCS, "plots"))) t.ok(shown.includes(`plots/${file}`), file);
});
