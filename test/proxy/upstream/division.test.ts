import { mock } from "node:test";
import fc from "fast-check";
import { test } from "tap";
import type { Endpoint } from "../../../core/index.ts";
import { Candidates } from "../../../proxy/upstream/candidates.ts";
import { divide, levelsOf } from "../../../proxy/upstream/division.ts";
import { UpstreamEndpoint } from "../../../proxy/upstream/endpoint.ts";
import {
  Breaker,
  BreakerRotation,
  DEFAULT_OUTLIERS,
  FAILURE_CLASSES,
  OutlierDetection,
  type Standing,
} from "../../../resilience/index.ts";
import { choosing, holdTimers, many, named, optionsOf } from "../../support/choosing.ts";
import { exchangeOf, responseOf } from "../../support/exchange.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { SILENT_LOG } from "../../support/silent-log.ts";

holdTimers();

const OPEN_FOR_MS = 5_000;

/** What may be said of one endpoint. */
interface Said {
  readonly weight: number;
  readonly priority: number;
  readonly zone: string | undefined;
  readonly unwell: boolean;
  readonly breaker: "closed" | "open" | "halfOpen";
  readonly standing: Standing["is"];
}

const aSaid: fc.Arbitrary<Said> = fc.record({
  weight: fc.integer({ min: 1, max: 4 }),
  priority: fc.nat(2),
  zone: fc.constantFrom("a", "b", "c", undefined),
  unwell: fc.boolean(),
  breaker: fc.constantFrom("closed", "closed", "open", "halfOpen"),
  standing: fc.constantFrom("in", "in", "ejected", "probing"),
});

const aManner = fc.record({
  panicThreshold: fc.constantFrom(0, 0.3, 0.5, 1),
  isByZone: fc.boolean(),
  minimumEndpoints: fc.constantFrom(1, 6),
  zone: fc.constantFrom("a", "b", undefined),
});

type Manner = typeof aManner extends fc.Arbitrary<infer M> ? M : never;

const COMMON = { sinceMs: 0, times: 1, rule: "successRate", slowMs: Number.POSITIVE_INFINITY } as const;
const STANDINGS: Readonly<Record<Standing["is"], Standing>> = {
  in: { is: "in", sinceMs: 0, times: 0 },
  ejected: { is: "ejected", untilMs: 1e9, ...COMMON },
  probing: { is: "probing", passed: 0, askedAtMs: undefined, ...COMMON },
};

function optionsIn({ panicThreshold, isByZone, minimumEndpoints }: Manner) {
  return {
    priority: { overprovisioning: 1.4, panicThreshold },
    zones: isByZone ? { minimumEndpoints, tolerance: 1.4 } : undefined,
    aperture: 0,
    slowStart: { windowMs: 0, aggression: 1, floor: 0.1 },
    patienceMs: OPEN_FOR_MS,
  };
}

/** Endpoints with their own breakers and standings, as an upstream has them. */
function endpointsOf(t: { teardown(end: () => void): void }) {
  const clock = new ManualClock();
  const log = SILENT_LOG;
  const random = { next: () => 0.5 };
  const rotation = new BreakerRotation(clock, 10_000);
  const detection = new OutlierDetection(DEFAULT_OUTLIERS, {
    clock,
    random,
    log,
    upstream: "orders",
    onChange() {},
  });
  const made: UpstreamEndpoint[] = [];
  const reach = {
    watch: ({ key }: UpstreamEndpoint) => detection.of(key),
    createBreaker: () => {
      const options = {
        mode: "enforce" as const,
        errorRate: 0.5,
        minimumRequests: 20,
        windowMs: 10_000,
        consecutiveFailures: 1,
        failures: FAILURE_CLASSES,
        openForMs: OPEN_FOR_MS,
        openForMaxMs: OPEN_FOR_MS,
        probes: 1,
      };
      return new Breaker(options, { clock, random: { next: () => 0 }, rotation }, () => {});
    },
    createPool: () => {
      throw new Error("nobody is called");
    },
    prepare: () => async () => responseOf(),
  };
  t.teardown(() => {
    for (const endpoint of made) endpoint.retire();
    rotation.stop();
    detection.stop();
  });
  const standAs = (one: UpstreamEndpoint, { standing }: Said) => one.watched!.stand(STANDINGS[standing]);
  const endpointOf = ({ weight, priority, zone, unwell }: Said, place: number): Endpoint =>
    named(`e${place}`, {
      weight,
      priority,
      ...(zone === undefined ? {} : { zone }),
      ...(unwell ? { unwell } : {}),
    });
  return {
    clock,
    standAs,
    endpointOf,
    make(said: readonly Said[]): UpstreamEndpoint[] {
      const all = said.map((one, place) => new UpstreamEndpoint(endpointOf(one, place), reach));
      made.push(...all);
      detection.endpoints(all.map(({ key }) => key));
      const fail = ({ breaker }: UpstreamEndpoint) => breaker.settle(breaker.admit()!, "failure");
      for (const [place, one] of all.entries()) {
        standAs(one, said[place]!);
        if (said[place]!.breaker === "halfOpen") fail(one);
      }
      clock.advance(OPEN_FOR_MS);
      mock.timers.tick(OPEN_FOR_MS);
      for (const [place, one] of all.entries()) if (said[place]!.breaker === "open") fail(one);
      return all;
    },
  };
}

test("whatever is said of them: parts share all of the traffic, nobody is in two, and only who may be used is in one", async (t) => {
  const { make } = endpointsOf(t);
  const property = fc.property(fc.array(aSaid, { maxLength: 12 }), aManner, (said, manner) => {
    const all = make(said);
    const levels = levelsOf(all).map((endpoints) => ({ endpoints, isWhole: true }));
    const { shares, onTrial } = divide(levels, optionsIn(manner), { zone: manner.zone });
    const used = shares.flatMap(({ endpoints }) => endpoints);
    const ends = shares.map(({ until }) => until);
    const isRising = ends.every((end, place) => end > (ends[place - 1] ?? 0));
    if (!isRising || (shares.length > 0 && ends.at(-1) !== 1)) throw new Error(`they end at ${ends}`);
    if (shares.some(({ endpoints }) => endpoints.length === 0)) throw new Error("a part is nobody");
    if (new Set(used).size !== used.length) throw new Error("somebody is in two");
    if (used.some((one) => !all.includes(one))) throw new Error("somebody is not there");
    // A breaker is always believed; what discovery says, always where there is no panic.
    const isUsable = ({ breakerState, endpoint }: UpstreamEndpoint) =>
      breakerState === "closed" && !(manner.panicThreshold === 0 && endpoint.unwell === true);
    if (!used.every(isUsable)) throw new Error("one is used that may not be");
    if (used.length === 0 && all.some(isUsable)) throw new Error("nobody is used, though one may be");
    if (onTrial.some(({ breakerState }) => breakerState === "open"))
      throw new Error("one is on trial whose breaker refuses");
    // Where ejections are ignored, one that is probed is used as well.
    if (onTrial.some((one) => one.isIn && used.includes(one))) throw new Error("one on trial is used");
    const mayBeTried = ({ breakerState, endpoint }: UpstreamEndpoint) =>
      breakerState === "halfOpen" && !(manner.panicThreshold === 0 && endpoint.unwell === true);
    if (used.length === 0 && onTrial.length === 0 && all.some(mayBeTried))
      throw new Error("nobody is used, and none of those that could be is tried");
    const waits = onTrial.map(({ onTrialSinceMs }) => onTrialSinceMs);
    if (waits.some((since, place) => since < (waits[place - 1] ?? 0)))
      throw new Error("not the longest first");
  });
  t.doesNotThrow(() => fc.assert(property, { seed: 1, numRuns: 400 }));
});

const aStep = fc.oneof(
  { weight: 3, arbitrary: fc.record({ does: fc.constant("begin" as const), at: fc.nat(11) }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant("end" as const), at: fc.nat(99) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("stand" as const), at: fc.nat(11), said: aSaid }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("list" as const), without: fc.nat(11) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("say" as const), at: fc.nat(11), said: aSaid }) },
);

test("whatever begins, ends and changes: what is in flight at a part is what is in flight at its endpoints", async (t) => {
  const { make, standAs, endpointOf, clock } = endpointsOf(t);
  const property = fc.property(
    fc.array(aSaid, { minLength: 1, maxLength: 12 }),
    aManner,
    fc.array(aStep, { maxLength: 40 }),
    (said, manner, steps) => {
      const all = make(said);
      let at = 0;
      const candidates = new Candidates(optionsIn(manner), { next: () => at }, { zone: manner.zone });
      let list: readonly UpstreamEndpoint[] = [];
      const relist = (next: readonly UpstreamEndpoint[]) => {
        const keys = (from: readonly UpstreamEndpoint[], not: readonly UpstreamEndpoint[]) =>
          from.filter((one) => !not.includes(one)).map(({ key }) => key);
        candidates.replace(next, keys(next, list), keys(list, next), clock.now());
        list = next;
      };
      relist(all);
      const running: UpstreamEndpoint[] = [];
      for (const step of steps) {
        const one = "at" in step ? all[step.at % all.length]! : undefined;
        if (step.does === "begin") {
          one!.begin();
          running.push(one!);
        } else if (step.does === "end") {
          running.splice(step.at % (running.length || 1), 1)[0]?.end();
        } else if (step.does === "stand") {
          standAs(one!, step.said);
          candidates.changed();
        } else if (step.does === "say") {
          one!.endpoint = endpointOf(step.said, all.indexOf(one!));
          relist(list);
        } else {
          relist(list.length < all.length ? all : all.filter((_, place) => place !== step.without));
        }
        for (at = 0; at < 1; at += 1 / 32) {
          const { endpoints, inFlight } = candidates.draw(clock.now(), undefined);
          const truth = running.filter((where) => endpoints.includes(where)).length;
          if (inFlight !== truth) throw new Error(`after ${step.does}: ${inFlight} for ${truth}`);
        }
      }
    },
  );
  t.doesNotThrow(() => fc.assert(property, { seed: 1, numRuns: 300 }));
});

// --- the same list

test("lists are the same as long as nothing in them changes, whoever is tried meanwhile or tells them again", async (t) => {
  const { make, clock, standAs } = endpointsOf(t);
  const well: Said = {
    weight: 1,
    priority: 0,
    zone: undefined,
    unwell: false,
    breaker: "closed",
    standing: "in",
  };
  const all = make([{ ...well, breaker: "halfOpen" }, well, well, well]);
  const manner: Manner = { panicThreshold: 0.5, isByZone: false, minimumEndpoints: 1, zone: undefined };
  const candidates = new Candidates(optionsIn(manner), { next: () => 0 });
  candidates.replace(
    all,
    all.map(({ key }) => key),
    [],
    clock.now(),
  );
  const lists = () => [candidates.draw(clock.now(), undefined).endpoints, candidates.everybody(clock.now())];
  const before = lists();
  const isAsBefore = () => lists().every((list, place) => list === before[place]);
  const [tried] = all;
  for (let trial = 0; trial < 3; trial++) {
    t.equal(tried!.breakerState, "halfOpen");
    tried!.breaker.settle(tried!.breaker.admit()!, "failure");
    candidates.changed();
    t.ok(isAsBefore(), "a trial has failed");
    clock.advance(OPEN_FOR_MS);
    mock.timers.tick(OPEN_FOR_MS);
    candidates.changed();
    t.ok(isAsBefore(), "another may begin");
  }
  candidates.replace([...all], [], [], clock.now());
  t.ok(isAsBefore(), "the same list is told again");
  standAs(all[3]!, { ...well, standing: "ejected" });
  candidates.changed();
  t.notOk(isAsBefore(), "one less is another list");
  standAs(all[3]!, well);
  candidates.changed();
  const again = lists();
  all[3]!.endpoint = { ...all[3]!.endpoint, weight: 2 };
  candidates.replace([...all], [], [], clock.now());
  t.ok(
    lists().every((list, place) => list !== again[place]),
    "and so is one with another weight: balancers keep what they make of weights",
  );
});

test("a list in another order keeps what has been learned, and turns are still taken", async (t) => {
  const world = choosing(t, many("a", 10), { options: optionsOf("balancing: { algorithm: roundRobin }") });
  const before = new Map(world.upstream.endpoints.map((one) => [one.key, one]));
  const counts: Record<string, number> = {};
  for (let turn = 0; turn < 500; turn++) {
    const list = many("a", 10);
    // Named twice, it is one all the same.
    world.upstream.update([...list.slice(turn % 10), ...list.slice(0, turn % 10), list[turn % 7]!]);
    for (let i = 0; i < 3; i++) {
      const address = world.choose(exchangeOf());
      counts[address] = (counts[address] ?? 0) + 1;
    }
  }
  t.ok(world.upstream.endpoints.every((one) => before.get(one.key) === one));
  t.equal(world.upstream.endpoints.length, 10);
  const each = Object.values(counts);
  t.ok(Math.max(...each) - Math.min(...each) <= 15, `${Math.min(...each)} to ${Math.max(...each)} of 150`);
});
