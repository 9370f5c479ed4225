import { readFileSync } from "node:fs";
import fc from "fast-check";
import { test } from "tap";
import { priorityShares } from "../../balancing/index.ts";
import { below, type Random } from "../../core/index.ts";
import {
  DEFAULT_OUTLIERS,
  OutlierDetection,
  type OutlierOptions,
  type Standing,
} from "../../resilience/index.ts";
import { ejectionLimit } from "../../resilience/outlier-rules.ts";
import type { Ending } from "../../resilience/watched-endpoint.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { seededRandom } from "../support/seeded-random.ts";

const INTERVAL_MS = DEFAULT_OUTLIERS.intervalMs;
const { ejection: EJECTION } = DEFAULT_OUTLIERS;
const NEVER: Random = { next: () => 0 };

const keysOf = (count: number) => Array.from({ length: count }, (_, i) => `e${i}`);

// --- the order of things, in virtual time

interface Watching {
  readonly options?: Partial<OutlierOptions>;
  readonly seed?: number;
  readonly isAvailable?: (key: string) => boolean;
  readonly groupOf?: (key: string) => number;
}

/** A detection of so many endpoints, with what it said and did. */
function watching(endpoints: number, { options = {}, seed, isAvailable, groupOf }: Watching = {}) {
  const clock = new ManualClock();
  const changes: string[] = [];
  const said: { level: string; facts: Record<string, unknown>; message: string }[] = [];
  const log = (level: string) => (facts: object, message: string) =>
    said.push({ level, facts: { ...facts }, message });
  const detection = new OutlierDetection(
    { ...DEFAULT_OUTLIERS, ...options },
    {
      clock,
      random: seed === undefined ? NEVER : seededRandom(seed),
      log: { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") },
      upstream: "orders",
      onChange: (key, standing) => changes.push(`${key} ${standing.is}`),
      ...(isAvailable === undefined ? {} : { isAvailable }),
      ...(groupOf === undefined ? {} : { groupOf }),
    },
  );
  detection.endpoints(keysOf(endpoints));
  const at = (place: number) => detection.of(`e${place}`)!;
  return {
    clock,
    changes,
    said,
    detection,
    at,
    standing: (place: number): Standing => at(place).standing,
    /** Requests that begin and end now. */
    tell(place: number, ending: Ending, times = 1, latencyMs = 10): void {
      for (let i = 0; i < times; i++) at(place).observe(ending, latencyMs, clock.now(), clock.now());
    },
    /** An interval in which all are well but the last, which fails half. */
    badInterval(): void {
      for (const [place] of keysOf(endpoints).entries())
        for (let i = 0; i < 40; i++) {
          const isBad = place === endpoints - 1 && i % 2 === 0;
          at(place).observe(isBad ? "failure" : "success", 10, clock.now(), clock.now());
        }
      clock.advance(INTERVAL_MS);
    },
  };
}

test("an outlier is ejected, is probed when its time is over, and is back after its probes", async (t) => {
  const { badInterval, standing, clock, tell, at, changes, said } = watching(5);
  badInterval();
  t.match(standing(4), { is: "ejected", times: 1, rule: "successRate", untilMs: clock.now() + 30_000 });
  t.match(said, [
    {
      level: "warn",
      facts: { upstream: "orders", endpoint: "e4", rule: "successRate", value: 0.5, times: 1, forMs: 30_000 },
      message: "outlier is ejected",
    },
  ]);
  clock.advance(29_999);
  t.notOk(at(4).takeProbe(clock.now()), "not yet");
  clock.advance(1);
  t.equal(standing(4).is, "probing");
  for (const round of [1, 2, 3]) {
    t.ok(at(4).takeProbe(clock.now()), `probe ${round}`);
    t.notOk(at(4).takeProbe(clock.now()), "one at a time");
    tell(4, "success");
  }
  t.ok(at(4).isIn);
  t.same(changes, ["e4 ejected", "e4 probing", "e4 in"]);
});

test("a failed probe ejects again, and for longer; one that says nothing gives its place back", async (t) => {
  const { badInterval, standing, clock, tell, at } = watching(5);
  badInterval();
  clock.advance(30_000);
  at(4).takeProbe(clock.now());
  tell(4, "ignored");
  t.ok(at(4).takeProbe(clock.now()));
  tell(4, "success");
  at(4).takeProbe(clock.now());
  tell(4, "gatewayFailure");
  t.match(standing(4), { is: "ejected", times: 2, rule: "successRate", untilMs: clock.now() + 60_000 });
});

test("a probe that never ends holds its place for an interval only", async (t) => {
  const { badInterval, clock, at } = watching(5);
  badInterval();
  clock.advance(30_000);
  t.ok(at(4).takeProbe(clock.now()));
  clock.advance(INTERVAL_MS - 1);
  t.notOk(at(4).mayProbe(clock.now()));
  clock.advance(1);
  t.ok(at(4).takeProbe(clock.now()));
});

test("a probe that is answered by a stream is good when that has gone on for an interval, unless its head was slow", async (t) => {
  for (const [latencyMs, becomes] of [
    [10, "in"],
    [10_000, "ejected"],
  ] as const) {
    const { clock, at, standing, tell } = watching(5, {
      options: { latencyFactor: 3, consecutiveFailures: 0, probes: 1 },
    });
    for (let i = 0; i < 40; i++)
      for (let place = 0; place < 5; place++) tell(place, "success", 1, place === 4 ? 900 : 50);
    clock.advance(INTERVAL_MS);
    t.match(standing(4), { is: "ejected", rule: "latency" });
    clock.advance(30_000);
    t.ok(at(4).takeProbe(clock.now()));
    const startedAtMs = clock.now();
    at(4).answers(latencyMs, startedAtMs);
    clock.advance(INTERVAL_MS - 1);
    t.notOk(at(4).takeProbe(clock.now()), "not before");
    clock.advance(1);
    t.equal(at(4).takeProbe(clock.now()), becomes === "in", "who is back needs no place");
    t.equal(standing(4).is, becomes);
    at(4).observe("failure", latencyMs, startedAtMs, clock.now());
    t.equal(standing(4).is, becomes, "how it ends is no second opinion");
  }
});

test("where callers always leave in the middle of good answers, three of those are a good probe, unless their heads were slow", async (t) => {
  for (const [latencyMs, becomes] of [
    [10, "in"],
    [10_000, "ejected"],
  ] as const) {
    const { clock, at, standing, tell } = watching(5, {
      options: { latencyFactor: 3, consecutiveFailures: 0, probes: 1 },
    });
    for (let i = 0; i < 40; i++)
      for (let place = 0; place < 5; place++) tell(place, "success", 1, place === 4 ? 900 : 50);
    clock.advance(INTERVAL_MS);
    clock.advance(30_000);
    for (let left = 0; left < 3; left++) {
      // Who leaves before anything has come says nothing at all.
      for (let i = 0; i < 4; i++) {
        t.ok(at(4).takeProbe(clock.now()));
        tell(4, "ignored", 1, 20_000);
      }
      t.equal(standing(4).is, "probing", `${left} have left`);
      t.ok(at(4).takeProbe(clock.now()));
      at(4).answers(latencyMs, clock.now());
      tell(4, "ignored", 1, latencyMs);
    }
    t.equal(standing(4).is, becomes);
  }
});

test("a straggler from before neither settles a probe nor counts against one that is back", async (t) => {
  const { badInterval, standing, clock, tell, at } = watching(5);
  const longAgoMs = clock.now();
  badInterval();
  tell(4, "success", 5);
  t.equal(standing(4).is, "ejected");
  clock.advance(30_000);
  at(4).observe("failure", 10, longAgoMs, clock.now());
  t.match(standing(4), { is: "probing", passed: 0 });
  for (let i = 0; i < 3; i++) tell(4, "success");
  at(4).observe("failure", 10, longAgoMs, clock.now());
  t.equal(at(4).sample().requests, 0);
});

test("what was slow is not proved well by a slow answer", async (t) => {
  const { standing, clock, tell, at } = watching(3, { options: { latencyFactor: 5 } });
  for (const place of [0, 1]) tell(place, "success", 40, 10);
  tell(2, "success", 40, 500);
  clock.advance(INTERVAL_MS);
  t.match(standing(2), { is: "ejected", rule: "latency" });
  clock.advance(30_000);
  tell(2, "success", 1, 400);
  t.match(standing(2), { is: "ejected", times: 2 });
  clock.advance(60_000);
  tell(2, "success", 3, 90);
  t.ok(at(2).isIn);
});

test("failures in a row eject at once where that is wanted, and only then", async (t) => {
  const quiet = watching(3);
  quiet.tell(0, "failure", 50);
  t.ok(quiet.at(0).isIn, "it is the breaker's business");

  const { tell, standing, at } = watching(3, { options: { consecutiveFailures: 5 } });
  tell(0, "failure", 4);
  tell(0, "success");
  tell(0, "failure", 2);
  tell(0, "ignored");
  tell(0, "gatewayFailure", 2);
  t.ok(at(0).isIn);
  tell(0, "failure");
  t.match(standing(0), { is: "ejected", rule: "consecutiveFailures" });
});

test("failures of the gateway in a row are counted apart", async (t) => {
  const { tell, standing, at } = watching(3, { options: { consecutiveGatewayFailures: 3 } });
  tell(0, "failure", 50);
  tell(0, "gatewayFailure", 2);
  tell(0, "failure");
  tell(0, "gatewayFailure", 2);
  t.ok(at(0).isIn);
  tell(0, "gatewayFailure");
  t.match(standing(0), { is: "ejected", rule: "consecutiveGatewayFailures" });
});

test("beyond the limit outliers are left in, and it is said", async (t) => {
  const { tell, detection, said } = watching(3, { options: { consecutiveFailures: 5 } });
  for (const place of [0, 1, 2]) tell(place, "failure", 5);
  t.same(detection.counts().standings, { in: 2, ejected: 1, probing: 0 });
  t.equal(detection.counts().spared, 2);
  t.match(said.at(-1)!.message, "left in");
});

test("one that could not be ejected is ejected when it goes on and there is room", async (t) => {
  const { tell, at, detection } = watching(3, { options: { consecutiveFailures: 5 } });
  tell(0, "failure", 5);
  tell(1, "failure", 5);
  t.ok(at(1).isIn);
  detection.endpoints(["e1", "e2"]);
  tell(1, "failure", 4);
  t.ok(at(1).isIn);
  tell(1, "failure");
  t.notOk(at(1).isIn);
});

test("endpoints whose breakers are open count as out", async (t) => {
  const open = new Set(["e0"]);
  const { tell, at } = watching(3, {
    options: { consecutiveFailures: 5 },
    isAvailable: (key) => !open.has(key),
  });
  tell(1, "failure", 5);
  t.ok(at(1).isIn, "another one would be the second of three");
  tell(0, "failure", 5);
  t.notOk(at(0).isIn, "it gets nothing anyway, and now for longer");
});

test("of each group only so many are out, however large the others are, and a group that becomes smaller brings its own back", async (t) => {
  const groupOf = (key: string) => (Number(key.slice(1)) < 7 ? 0 : 1);
  const { tell, detection, standing } = watching(47, { options: { consecutiveFailures: 2 }, groupOf });
  for (let place = 46; place >= 0; place--) tell(place, "failure", 2);
  const out = () => keysOf(47).filter((key) => detection.of(key)?.isIn === false);
  const ofGroup = (group: number) => out().filter((key) => groupOf(key) === group).length;
  t.same([ofGroup(0), ofGroup(1)], [ejectionLimit(7, EJECTION), ejectionLimit(40, EJECTION)]);
  t.same([standing(6).is, standing(5).is, standing(4).is], ["ejected", "ejected", "in"]);
  detection.endpoints(keysOf(47).filter((key) => Number(key.slice(1)) >= 4));
  t.same([ofGroup(0), ofGroup(1)], [ejectionLimit(3, EJECTION), ejectionLimit(40, EJECTION)]);
});

test("a list that becomes shorter brings those back that are too many, and so the last", async (t) => {
  const { tell, at, detection, changes } = watching(10, { options: { consecutiveFailures: 5 } });
  for (const place of [0, 1, 2]) tell(place, "failure", 5);
  detection.endpoints(["e0", "e1", "e9"]);
  t.same([at(0).isIn, at(1).isIn, at(9).isIn], [true, false, true]);
  t.equal(detection.of("e2"), undefined);
  detection.endpoints(["e1"]);
  t.ok(at(1).isIn);
  t.ok(detection.allIn);
  t.same(changes.slice(3), ["e0 in", "e1 in"]);
});

test("what is known of those that stay is kept", async (t) => {
  const { badInterval, standing, detection } = watching(5);
  badInterval();
  detection.endpoints(["e3", "e4", "e5", "e6"]);
  t.equal(standing(4).is, "ejected");
});

test("one that fails again soon is out for longer, one that was well for long is not", async (t) => {
  const { badInterval, standing, clock, tell } = watching(5);
  const comeBack = () => {
    const now = standing(4);
    if (now.is === "ejected") clock.advance(now.untilMs - clock.now());
    tell(4, "success", 3);
  };
  const times: number[] = [];
  for (let round = 0; round < 4; round++) {
    badInterval();
    times.push(standing(4).times);
    comeBack();
  }
  t.same(times, [1, 2, 3, 4]);
  clock.advance(60_000);
  badInterval();
  t.equal(standing(4).times, 3, "70 seconds: two are forgiven, one is added");
  comeBack();
  clock.advance(300_000);
  badInterval();
  t.equal(standing(4).times, 1);
});

test("where requests are few they are gathered over some intervals, and then let go", async (t) => {
  const { clock, tell, standing, at } = watching(3);
  for (let i = 0; i < 4; i++) {
    for (const place of [0, 1]) tell(place, "success", 5);
    tell(2, "failure", 5);
    t.ok(at(2).isIn);
    clock.advance(INTERVAL_MS);
  }
  t.equal(standing(2).is, "ejected");

  const quiet = watching(3);
  for (const place of [0, 1, 2]) quiet.tell(place, "failure", 5);
  quiet.clock.advance(6 * INTERVAL_MS);
  t.equal(quiet.at(0).sample().requests, 0);
  t.equal(quiet.clock.pending, 0);
});

test("there is a timer only while there is something to do", async (t) => {
  const { clock, tell, badInterval, detection, at } = watching(5);
  t.equal(clock.pending, 0);
  tell(0, "success");
  t.equal(clock.pending, 1);
  clock.advance(6 * INTERVAL_MS);
  t.equal(clock.pending, 0, "a window that nobody asked in");
  badInterval();
  t.equal(clock.pending, 1, "an ejection");
  clock.advance(30_000);
  t.equal(at(4).standing.is, "probing");
  t.equal(clock.pending, 0, "a trial waits for requests");
  tell(4, "failure");
  t.equal(clock.pending, 1);
  detection.stop();
  t.equal(clock.pending, 0);
  tell(0, "success");
  t.equal(clock.pending, 0);
});

// --- simulations: requests come by chance, and go to whoever may have them

interface Simulation extends Watching {
  readonly endpoints: number;
  readonly perSecond: number;
  readonly forMs: number;
  readonly answer: (place: number, random: Random) => { ending: Ending; latencyMs: number };
}

/** Even chance among those that are in; one that may be probed is. Nobody in: everybody, as in a panic. */
function simulate({ endpoints, perSecond, forMs, answer, ...watched }: Simulation) {
  const all = watching(endpoints, { seed: 1, ...watched });
  const { clock, at, detection } = all;
  const random = seededRandom(2);
  const ejectedAtMs = new Map<number, number>();
  const sentTo: number[] = new Array(endpoints).fill(0);
  let mostOut = 0;
  const startMs = clock.now();
  const places = keysOf(endpoints).map((_, place) => place);
  for (let sent = 0; sent < (perSecond * forMs) / 1000; sent++) {
    clock.advance(1000 / perSecond);
    const nowMs = clock.now();
    const probe = detection.allIn ? undefined : places.find((place) => at(place).takeProbe(nowMs));
    const usable = places.filter((place) => at(place).isIn);
    const among = usable.length > 0 ? usable : places;
    const chosen = probe ?? among[below(random, among.length)]!;
    const { ending, latencyMs } = answer(chosen, random);
    at(chosen).observe(ending, latencyMs, nowMs, nowMs);
    sentTo[chosen]!++;
    mostOut = Math.max(mostOut, endpoints - usable.length);
    for (const place of places)
      if (at(place).standing.is === "ejected" && !ejectedAtMs.has(place))
        ejectedAtMs.set(place, nowMs - startMs);
  }
  return { ...all, ejectedAtMs, sentTo, mostOut };
}

const failing =
  (bad: number, share: number) =>
  (place: number, random: Random): { ending: Ending; latencyMs: number } => ({
    ending: random.next() < (place === bad ? share : 0.005) ? "failure" : "success",
    latencyMs: 5 + 10 * random.next(),
  });

test("of 3, 10 and 100 endpoints the one that fails half of its requests is ejected within an interval, and no other", async (t) => {
  for (const endpoints of [3, 10, 100]) {
    const { ejectedAtMs } = simulate({
      endpoints,
      perSecond: endpoints * 10,
      forMs: 30_000,
      answer: failing(1, 0.5),
    });
    t.same([...ejectedAtMs.keys()], [1], `${endpoints} endpoints`);
    t.ok(ejectedAtMs.get(1)! <= INTERVAL_MS + 200, `after ${ejectedAtMs.get(1)} ms`);
  }
});

test("at a request a second it takes the two or three intervals in which there are twenty", async (t) => {
  const { ejectedAtMs } = simulate({ endpoints: 3, perSecond: 3, forMs: 60_000, answer: failing(1, 0.5) });
  t.same([...ejectedAtMs.keys()], [1]);
  t.ok(ejectedAtMs.get(1)! <= 3 * INTERVAL_MS + 1000, `after ${ejectedAtMs.get(1)} ms`);
});

test("in its first hour an endpoint that fails gets the part of its requests that docs/outliers.md says", async (t) => {
  const page = readFileSync(new URL("../../docs/outliers.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| (\d+) % \| \d+ % \| \d+ \| ([\d.]+) % \|$/gm)];
  t.equal(rows.length, 3);
  for (const [, fails, reaches] of rows) {
    const { sentTo, mostOut } = simulate({
      endpoints: 10,
      perSecond: 100,
      forMs: 3_600_000,
      answer: failing(1, Number(fails) / 100),
    });
    t.equal((sentTo[1]! / 360).toFixed(1), reaches, `per cent of what one that fails ${fails} % would get`);
    t.ok(mostOut <= 2, "perhaps another one by chance");
  }
});

test("when all are bad nobody is ejected by comparison, and by runs only as many as may be", async (t) => {
  const answer = () => ({ ending: "failure" as const, latencyMs: 1 });
  const compared = simulate({ endpoints: 10, perSecond: 100, forMs: 60_000, answer });
  t.equal(compared.mostOut, 0);
  const options = { consecutiveFailures: 5 };
  const byRuns = simulate({ endpoints: 10, perSecond: 100, forMs: 600_000, answer, options });
  t.equal(byRuns.mostOut, 3);
});

test("when the breakers of all are open nobody is ejected on top, and panic keeps routing", async (t) => {
  const { tell, detection } = watching(10, {
    options: { consecutiveFailures: 5 },
    isAvailable: () => false,
  });
  for (let place = 0; place < 10; place++) tell(place, "failure", 5);
  t.ok(detection.allIn);
  const healthyWeight = 0;
  t.same(priorityShares([{ healthyWeight, totalWeight: 10 }]), [{ share: 1, panic: true }]);
});

test("a slow endpoint is ejected where that is wanted", async (t) => {
  const { ejectedAtMs } = simulate({
    endpoints: 5,
    perSecond: 50,
    forMs: 30_000,
    options: { latencyFactor: 5 },
    answer: (place, random) => ({
      ending: "success",
      latencyMs: (place === 3 ? 200 : 20) * (0.5 + random.next()),
    }),
  });
  t.same([...ejectedAtMs.keys()], [3]);
  t.ok(ejectedAtMs.get(3)! <= INTERVAL_MS + 200);
});

// --- properties

const anEnding = fc.constantFrom<Ending>("success", "failure", "failure", "gatewayFailure", "ignored");
const aStep = fc.oneof(
  fc.record({
    on: fc.constant("requests" as const),
    place: fc.nat(11),
    ending: anEnding,
    count: fc.integer({ min: 1, max: 40 }),
    latencyMs: fc.constantFrom(1, 10, 1000),
  }),
  fc.record({
    on: fc.constant("time" as const),
    ms: fc.constantFrom(1, 5_000, 10_000, 31_000, 100_000, 400_000),
  }),
  fc.record({ on: fc.constant("list" as const), size: fc.integer({ min: 0, max: 12 }), from: fc.nat(3) }),
);

test("one that was ejected for being slow is judged by what is slow when it is tried, and not by what was", async (t) => {
  const options = { latencyFactor: 5, latencyFloorMs: 100 };
  const { clock, standing, at } = watching(4, { options });
  const interval = (latencies: readonly number[]) => {
    for (const [place, latencyMs] of latencies.entries())
      for (let i = 0; i < 30; i++) {
        const watched = at(place);
        if (watched.isIn || watched.takeProbe(clock.now()))
          watched.observe("success", latencyMs, clock.now(), clock.now());
      }
    clock.advance(INTERVAL_MS);
  };
  interval([10, 10, 10, 300]);
  t.match(standing(3), { is: "ejected", slowMs: 100 });
  // A release has made all of them slow.
  for (let i = 0; i < 6; i++) interval([150, 150, 150, 150]);
  t.equal(standing(3).is, "in");
  interval([150, 150, 150, 900]);
  t.equal(standing(3).is, "ejected", "and one that is slower than the others still is an outlier");
});

test("whatever happens: the limit holds, somebody is in, and every ejection ends", async (t) => {
  const options = {
    consecutiveFailures: 5,
    consecutiveGatewayFailures: 3,
    failureShare: 0.5,
    latencyFactor: 3,
  };
  const property = fc.property(fc.array(aStep, { maxLength: 60 }), fc.nat(1000), (steps, seed) => {
    const { clock, detection } = watching(6, { options, seed });
    let keys = keysOf(6);
    for (const step of steps) {
      if (step.on === "time") clock.advance(step.ms);
      else if (step.on === "list") {
        keys = keysOf(step.from + step.size).slice(step.from);
        detection.endpoints(keys);
      } else {
        const endpoint = detection.of(`e${step.place}`);
        for (let i = 0; i < step.count; i++)
          endpoint?.observe(step.ending, step.latencyMs, clock.now(), clock.now());
      }
      const out = keys.filter((key) => !detection.of(key)!.isIn);
      if (out.length > ejectionLimit(keys.length, EJECTION)) return false;
      if (keys.length > 0 && out.length === keys.length) return false;
      const { standings } = detection.counts();
      if (standings.ejected + standings.probing !== out.length || standings.in !== keys.length - out.length)
        return false;
      for (const key of out) {
        const { standing } = detection.of(key)! as { standing: Standing };
        if (standing.is !== "ejected") continue;
        const lastsMs = standing.untilMs - standing.sinceMs;
        const leastMs = Math.min(EJECTION.maxMs, EJECTION.baseMs * standing.times);
        if (lastsMs < leastMs - 1e-6 || lastsMs > leastMs * 1.2 + 1e-6 || standing.untilMs < clock.now())
          return false;
      }
    }
    clock.advance(EJECTION.maxMs * 1.2 + 1);
    if (detection.counts().standings.ejected > 0) return false;
    clock.advance(6 * INTERVAL_MS);
    return clock.pending === 0 || detection.counts().standings.ejected > 0;
  });
  t.doesNotThrow(() => fc.assert(property, { seed: 9, numRuns: 1500 }));
});
