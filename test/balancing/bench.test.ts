import { test } from "tap";
import { callAtRate, type Sample } from "../../bench/balancing/callers.ts";
import { prepare, REPLICA_HEADER } from "../../bench/balancing/ground.ts";
import { report } from "../../bench/balancing/report.ts";
import type { Results } from "../../bench/balancing/scenes.ts";
import { type Figures, figuresOf, mediansOf, ratioOf } from "../../bench/balancing/turns.ts";
import { sfc32 } from "../../bench/simulate/random.ts";
import { call, startApp } from "../support/apps.ts";

const RATE = { perSecond: 1000, seconds: 0.1, warmUpSeconds: 0.05 };

function figures(p99Ms: number): Figures {
  return { p50Ms: 1, p90Ms: 2, p99Ms, p999Ms: 200, meanMs: 3, share: 0.01 };
}

test("a request that could not be sent when it was due has waited since then", async (t) => {
  const app = await startApp(t, (_, response) => {
    // Nobody in this process can send anything meanwhile.
    if (app.served === 1) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
    response.setHeader(REPLICA_HEADER, 3);
    response.end();
  });
  const samples = await callAtRate(app.port, "orders", { ...RATE, perSecond: 200 }, sfc32(1));
  t.ok(samples.some(({ lateMs }) => lateMs > 100));
  for (const { latencyMs, lateMs } of samples) t.ok(latencyMs >= lateMs, `${latencyMs} of ${lateMs} ms`);
  t.same(new Set(samples.map(({ replica }) => replica)), new Set([3]));
  t.ok(app.served > samples.length, "those of the warm-up are sent and not counted");
});

test("every contender of a round meets the same number of arrivals, though one answers late", async (t) => {
  const counts: number[] = [];
  for (const ms of [0, 30]) {
    const app = await startApp(t, (_, response) => setTimeout(() => response.end(), ms));
    counts.push((await callAtRate(app.port, "orders", RATE, sfc32(2))).length);
  }
  t.equal(counts[0], counts[1]);
  t.ok(counts[0]! > 50);
});

test("an answer that is no 200 ends the turn", async (t) => {
  const app = await startApp(t, (_, response) => {
    response.statusCode = app.served === 20 ? 503 : 200;
    response.end();
  });
  await t.rejects(callAtRate(app.port, "orders", RATE, sfc32(3)), {
    message: "orders: expected 200, got 503",
  });
});

test("the figures of a turn are those of its samples", async (t) => {
  const samples = Array.from(
    { length: 1000 },
    (_, i): Sample => ({ latencyMs: 1000 - i, lateMs: 0, replica: i % 8 }),
  );
  t.same(figuresOf(samples, 0), {
    p50Ms: 500,
    p90Ms: 900,
    p99Ms: 990,
    p999Ms: 999,
    meanMs: 500.5,
    share: 0.125,
  });
});

test("one bad round moves neither the medians nor the ratio", async (t) => {
  t.equal(mediansOf([10, 900, 12].map(figures)).p99Ms, 12);
  t.equal(ratioOf([10, 900, 12].map(figures), [100, 1000, 100].map(figures)), 0.12);
});

test("the report says whether the target is met, and whether the machine was quiet", async (t) => {
  const results = (p99Ms: number, lateMs = 1.5): Results => ({
    rows: [
      { label: "`roundRobin`", rounds: [figures(90)] },
      { label: "`peakEwma`", rounds: [figures(p99Ms)] },
    ],
    coreUse: { heddle: 0.1, replicas: 0.2, callers: 0.05 },
    lateMs: [lateMs],
  });
  const occasion = { date: "2026-01-31", rounds: 1, seconds: 2, processor: "a", kernel: "b", version: "c" };
  t.match(report(results(30), results(30), occasion), ": 0.33, target at most 0.33: met\n");
  t.match(report(results(31), results(30), occasion), ": 0.34, target at most 0.33: missed\n");
  t.notMatch(report(results(30), results(30), occasion), "had other work");
  t.match(report(results(30, 30), results(30, 30), occasion), "had other work");
});

test("the bench's replicas are reached themselves and by their sidecars, and serve so many at once", async (t) => {
  const contenders = (["app", "sidecar"] as const).map((to) => ({
    name: to,
    label: to,
    algorithm: "roundRobin",
    to,
  }));
  const { sidecar, replicas, cpuSeconds } = await prepare(t, { usualMs: [1, 2], atOnce: 1 }, contenders);
  const { port } = sidecar.addresses.outbound;
  for (const { name } of contenders) {
    const answers = await Promise.all(Array.from({ length: 10 }, () => call(port, name)));
    for (const place of ["0", "1"])
      t.equal(
        answers.filter(({ headers }) => headers[REPLICA_HEADER] === place).length,
        5,
        `${name} ${place}`,
      );
  }
  t.equal(replicas.length, 2);
  t.same(Object.keys(cpuSeconds()), ["heddle", "replicas", "callers"]);
  t.ok(cpuSeconds().replicas > 0);
});
