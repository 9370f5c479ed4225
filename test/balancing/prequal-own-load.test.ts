import { test } from "tap";
import { OwnLoad } from "../../balancing/own-load.ts";

/** So many requests come, one after the other, and nothing ends. */
function arrive(own: OwnLoad, count: number): number[] {
  return Array.from({ length: count }, () => own.arrived());
}

/** A request that met so many others took this long; how many are in flight stays as it is. */
function sample(own: OwnLoad, inFlight: number, latencyMs: number, nowMs = 0, failed = false): void {
  own.arrived();
  own.completed(inFlight, latencyMs, failed, nowMs);
}

test("what is in flight is what came and has not ended, however it ended", async (t) => {
  const own = new OwnLoad();
  t.same(arrive(own, 3), [0, 1, 2], "a request is told how many it met");
  t.equal(own.answer(0).inFlight, 3);
  own.completed(0, 10, false, 0);
  own.completed(1, 10, true, 0);
  own.abandoned();
  t.equal(own.answer(0).inFlight, 0);
});

test("who knows nothing says 0, and whoever is abandoned teaches nothing", async (t) => {
  const own = new OwnLoad();
  own.arrived();
  own.abandoned();
  t.same(own.answer(0), { inFlight: 0, latencyMs: 0 });
});

test("latency is the median of what it took at about the present load", async (t) => {
  const own = new OwnLoad();
  for (let i = 0; i < 15; i++) sample(own, 8, 80 + i);
  for (let i = 0; i < 15; i++) sample(own, 2, 20 + i);
  t.equal(own.answer(0).latencyMs, 27, "idle: those that met 2 are nearer than those that met 8");
  arrive(own, 7);
  t.same(own.answer(0), { inFlight: 7, latencyMs: 87 });
});

test("with few samples all of them count, and of an even number the two in the middle", async (t) => {
  const own = new OwnLoad();
  sample(own, 0, 10);
  t.equal(own.answer(0).latencyMs, 10);
  sample(own, 50, 40);
  t.equal(own.answer(0).latencyMs, 25);
  sample(own, 3, 20);
  t.equal(own.answer(0).latencyMs, 20);
});

test("nothing is extrapolated: with none near, those that are least far", async (t) => {
  const own = new OwnLoad();
  for (let i = 0; i < 20; i++) sample(own, 1, 10);
  for (let i = 0; i < 20; i++) sample(own, 3, 30);
  arrive(own, 500);
  t.equal(own.answer(0).latencyMs, 30);
});

test("one slow request in ten moves nothing, a replica that has become slow shows it after eight", async (t) => {
  const own = new OwnLoad();
  own.arrived();
  for (let i = 0; i < 30; i++) sample(own, 0, i % 10 === 0 ? 5000 : 10);
  t.equal(own.answer(0).latencyMs, 10);
  for (let i = 0; i < 7; i++) sample(own, 0, 100);
  t.equal(own.answer(0).latencyMs, 10);
  sample(own, 0, 100);
  t.equal(own.answer(0).latencyMs, 100, "of as near ones the newest 15 count");
});

test("only the last 64 are remembered", async (t) => {
  const own = new OwnLoad();
  for (let i = 0; i < 15; i++) sample(own, 0, 10);
  for (let i = 0; i < 50; i++) sample(own, 9, 90);
  t.equal(own.answer(0).latencyMs, 10, "14 of those that met nobody are left");
  for (let i = 0; i < 14; i++) sample(own, 9, 90);
  t.equal(own.answer(0).latencyMs, 90);
});

test("an idle replica forgets after ten seconds, a busy one that ends nothing does not", async (t) => {
  const own = new OwnLoad();
  sample(own, 0, 500, 1000);
  t.equal(own.answer(11_000).latencyMs, 500);
  t.equal(own.answer(11_001).latencyMs, 0, "it is worth a try again");
  own.arrived();
  t.same(own.answer(60_000), { inFlight: 1, latencyMs: 500 });
});

test("a failure counts as a second at least, so that failing fast is no praise", async (t) => {
  const own = new OwnLoad();
  for (let i = 0; i < 7; i++) sample(own, 0, 10);
  for (let i = 0; i < 8; i++) sample(own, 0, 1, 0, true);
  t.equal(own.answer(0).latencyMs, 1000);
  for (let i = 0; i < 15; i++) sample(own, 0, 4000, 0, true);
  t.equal(own.answer(0).latencyMs, 4000);
});
