import fc from "fast-check";
import { test } from "tap";
import { KeyedHash } from "../../resilience/keyed-hash.ts";
import { RateBuckets, rateCounts } from "../../resilience/rate-buckets.ts";
import { networkOf } from "../../resilience/rate-limit.layer.ts";
import { type Rate, RateLimit } from "../../resilience/rate-limit.ts";
import { seededRandom } from "../support/seeded-random.ts";

function bucketsOf(rate: Rate, maxKeys = 100): RateBuckets {
  return new RateBuckets(new RateLimit(rate), maxKeys, rateCounts(maxKeys, seededRandom(1)));
}

/** How many of so many requests with one key are admitted at once. */
function admitted(buckets: RateBuckets, key: string, nowMs: number, requests = 100): number {
  let count = 0;
  for (let i = 0; i < requests; i++) if (buckets.take(key, nowMs)) count++;
  return count;
}

// --- one bucket

test("a burst is admitted whole, and then one request each time that there is room again", async (t) => {
  const buckets = bucketsOf({ requests: 10, perMs: 1000, burst: 5 });
  t.equal(admitted(buckets, "a", 5_000), 5);
  t.equal(admitted(buckets, "a", 5_099), 0);
  t.equal(admitted(buckets, "a", 5_100), 1);
  t.equal(admitted(buckets, "a", 5_399), 2);
  t.equal(admitted(buckets, "a", 60_000), 5, "a pause is worth no more than a burst");
});

test("what is left and how long to wait is said exactly", async (t) => {
  const limit = new RateLimit({ requests: 4, perMs: 1000, burst: 2 });
  let fullAtMs = 0;
  t.same([limit.left(fullAtMs, 100), limit.waitMs(fullAtMs, 100)], [2, 0]);
  fullAtMs = limit.taken(fullAtMs, 100);
  t.same([limit.left(fullAtMs, 100), limit.waitMs(fullAtMs, 100)], [1, 0]);
  fullAtMs = limit.taken(fullAtMs, 100);
  t.same([limit.left(fullAtMs, 100), limit.waitMs(fullAtMs, 100)], [0, 250]);
  t.same([limit.left(fullAtMs, 225), limit.waitMs(fullAtMs, 225)], [0, 125]);
  t.equal(limit.untilFullMs(fullAtMs, 225), 375);
  t.notOk(limit.admits(fullAtMs, 349));
  t.ok(limit.admits(fullAtMs, 350));
});

test("of any stretch of time no more is admitted than a burst and what flows in, and of those who wait no less", async (t) => {
  const rates = fc.record({
    requests: fc.integer({ min: 1, max: 100 }),
    perMs: fc.integer({ min: 1000, max: 60_000 }),
    burst: fc.integer({ min: 1, max: 50 }),
  });
  const pauses = fc.array(fc.double({ min: 0, max: 50, noNaN: true }), {
    minLength: 60,
    maxLength: 80,
    size: "max",
  });
  let refused = 0;
  fc.assert(
    fc.property(rates, pauses, fc.double({ min: 0, max: 1e9, noNaN: true }), (rate, between, startMs) => {
      const buckets = bucketsOf(rate);
      const atMs: number[] = [];
      let nowMs = startMs;
      for (const pause of between) {
        nowMs += pause;
        if (buckets.take("a", nowMs)) atMs.push(nowMs);
        else refused++;
      }
      for (const [i, from] of atMs.entries())
        for (let j = i; j < atMs.length; j++) {
          const most = rate.burst + (rate.requests * (atMs[j]! - from)) / rate.perMs;
          if (j - i + 1 > most + 0.0011) return false;
        }
      // Whoever waits as long as is said is admitted, however many fractions that are summed up.
      const limit = new RateLimit(rate);
      buckets.take("a", nowMs);
      return buckets.take("a", nowMs + limit.waitMs(buckets.fullAtMs, nowMs));
    }),
    { numRuns: 400, seed: 7 },
  );
  t.ok(refused > 1000, `${refused} were refused`);
});

test("fractions add up: a third of a request each second is one in three", async (t) => {
  const buckets = bucketsOf({ requests: 1, perMs: 3000, burst: 1 });
  let count = 0;
  for (let second = 0; second < 3_000; second++) if (buckets.take("a", 1_000.1 + second * 1000)) count++;
  t.equal(count, 1000);
});

test("a clock that jumps forward fills the bucket and no more; one that jumps back does not refuse for ever", async (t) => {
  const buckets = bucketsOf({ requests: 1, perMs: 1000, burst: 3 });
  admitted(buckets, "a", 1e9);
  t.equal(admitted(buckets, "a", 2e9), 3);
  t.equal(admitted(buckets, "a", 5_000), 0, "it was empty");
  t.equal(admitted(buckets, "a", 6_000), 1);
  t.equal(admitted(buckets, "a", 5_990), 0, "threads read their clocks at different moments");
});

test("what is given back can be taken again", async (t) => {
  const buckets = bucketsOf({ requests: 1, perMs: 1000, burst: 2 });
  admitted(buckets, "a", 5_000);
  buckets.giveBack("a");
  t.equal(admitted(buckets, "a", 5_000), 1);
});

// --- many buckets

test("keys have limits of their own", async (t) => {
  const buckets = bucketsOf({ requests: 2, perMs: 1000, burst: 2 });
  for (const key of ["a", "b", ""]) t.equal(admitted(buckets, key, 5_000), 2, key);
});

test("as many keys as there may be are told apart, up to a few that meet", async (t) => {
  const buckets = bucketsOf({ requests: 1, perMs: 60_000, burst: 1 }, 10_000);
  for (let i = 0; i < 10_000; i++) buckets.take(`key-${i}`, 5_000);
  let forgotten = 0;
  for (let i = 0; i < 10_000; i++) if (buckets.take(`key-${i}`, 5_000)) forgotten++;
  t.ok(forgotten < 500, `${forgotten} of 10,000 were forgotten`);
});

test("a flood of new keys does not make a busy one forgotten, and no new one is refused", async (t) => {
  const buckets = bucketsOf({ requests: 10, perMs: 60_000, burst: 10 });
  let busy = 0;
  let refused = 0;
  for (let i = 0; i < 200_000; i++) {
    if (i % 1000 < 20 && buckets.take("busy", 5_000)) busy++;
    if (!buckets.take(`flood-${i}`, 5_000)) refused++;
  }
  t.equal(busy, 10, "its limit holds");
  t.equal(refused, 0);
});

test("several who share the memory share the limit", async (t) => {
  const counts = rateCounts(100, seededRandom(1));
  const limit = new RateLimit({ requests: 10, perMs: 1000, burst: 10 });
  const planes = Array.from({ length: 4 }, () => new RateBuckets(limit, 100, counts));
  const each = planes.map((buckets) => admitted(buckets, "a", 5_000, 4));
  t.same(each, [4, 4, 2, 0]);
});

test("a thread that ended at work stops nobody", async (t) => {
  const counts = rateCounts(1, seededRandom(1));
  const buckets = new RateBuckets(new RateLimit({ requests: 2, perMs: 1000, burst: 2 }), 1, counts);
  // The last word says that somebody is at work.
  new Int32Array(counts)[counts.byteLength / 4 - 1] = 1;
  t.equal(admitted(buckets, "a", 5_000), 2);
});

// --- what a key is

test("the hash is the one of its authors", async (t) => {
  // Of the texts 0, 0 1, 0 1 2 and so on, under the key 0 1 2 … 7, as the authors' own tests have them.
  const expected: [number, string][] = [
    [0, "218d1f59b9b83cc8"],
    [1, "be552412f8387315"],
    [2, "064f39ef7c50eb57"],
    [3, "ce0f1a45f7060679"],
    [4, "d5e78a175be52ea1"],
  ];
  const hash = new KeyedHash(0x03020100, 0x07060504);
  const hex = Buffer.alloc(8);
  for (const [length, value] of expected) {
    hash.of(String.fromCharCode(...Array.from({ length }, (_, i) => i)));
    hex.writeInt32LE(hash.low, 0);
    hex.writeInt32LE(hash.high, 4);
    t.equal(hex.toString("hex"), value);
  }
});

test("an address of IPv6 counts with its network, one of IPv4 alone", async (t) => {
  t.equal(networkOf("10.0.0.1"), "10.0.0.1");
  t.equal(networkOf("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
  t.equal(networkOf("2001:db8:1:2::6"), "2001:db8:1:2::");
  t.equal(networkOf("2001:db8::6"), "2001:db8:0:0::");
  t.equal(networkOf("::1"), "0:0:0:0::");
  t.equal(networkOf("::"), "0:0:0:0::");
});
