import { test } from "tap";
import { sleep } from "../../discovery/sleep.ts";
import { staticSource } from "../../discovery/static.ts";
import { TokenBucket } from "../../discovery/token-bucket.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";

test("a burst passes at once, and what comes after is spread to the rate", async (t) => {
  const bucket = new TokenBucket(3, 2, 0);
  t.same(
    [1, 2, 3, 4, 5].map(() => bucket.take(0)),
    [0, 0, 0, 500, 1000],
  );
});

test("tokens come back with time, up to the burst and no further", async (t) => {
  const bucket = new TokenBucket(3, 2, 0);
  for (let i = 0; i < 3; i++) bucket.take(0);
  t.equal(bucket.take(500), 0, "one was earned");
  t.equal(bucket.take(500), 500, "and not two");
  t.same(
    [1, 2, 3, 4].map(() => bucket.take(3_600_000)),
    [0, 0, 0, 500],
    "an hour earns a burst",
  );
});

test("whoever waits as told never passes more than the burst and the rate, at any pace of asking", async (t) => {
  const random = seededRandom(7);
  let most = 0;
  for (let run = 0; run < 50; run++) {
    const burst = 1 + Math.floor(random.next() * 6);
    const perSecond = 0.5 + random.next() * 10;
    const bucket = new TokenBucket(burst, perSecond, 0);
    const passed: number[] = [];
    for (let nowMs = 0; nowMs < 20_000; nowMs += random.next() * random.next() * 400) {
      nowMs += bucket.take(nowMs);
      passed.push(nowMs);
    }
    for (const [i, atMs] of passed.entries()) {
      const within = passed.slice(i).filter((other) => other <= atMs + 1000).length;
      most = Math.max(most, within / (burst + perSecond + 1));
    }
  }
  t.ok(most > 0.7 && most <= 1, `${most} of what is allowed in any second`);
});

test("sleep ends when its time has come, and not before", async (t) => {
  const clock = new ManualClock();
  let awake = false;
  const sleeping = sleep(clock, 100, new AbortController().signal).then(() => {
    awake = true;
  });
  clock.advance(99);
  await settled();
  t.notOk(awake);
  clock.advance(1);
  await sleeping;
  t.equal(clock.pending, 0);
});

test("sleep ends at once when it is called off, and leaves no timer behind", async (t) => {
  const clock = new ManualClock();
  const caller = new AbortController();
  const sleeping = sleep(clock, 60_000, caller.signal);
  t.equal(clock.pending, 1);
  caller.abort();
  await sleeping;
  t.equal(clock.pending, 0);
  await sleep(clock, 60_000, caller.signal);
  t.equal(clock.pending, 0, "one that was called off before does not begin");
});

test("endpoints that the configuration names are known at once, and take their health for granted", async (t) => {
  const endpoint = { address: "10.0.0.1", port: 80, weight: 1, source: "static" };
  const source = staticSource([endpoint]);
  const said: unknown[] = [];
  source.start({ list: (instances) => said.push(instances), silent: (why) => said.push(why) });
  source.stop();
  t.same(said, [[{ ...endpoint, health: "passing" }]]);
  t.equal(source.name, "static");
  t.equal(source.fixed, true, "so nobody keeps a copy of it");
});
