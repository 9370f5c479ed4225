/**
 * A replica that has just started joins nine warm ones: what it gets while it is new, and what that spares the callers.
 *
 * The share is compared with Envoy's curve, weight * max(floor, (age / window)^(1 / aggression)) ("Slow start mode" of its
 * documentation), integrated over the window: with a list of candidates for each request, and with lists as they are made
 * in fact, in steps, which lag behind the curve by half a step in the mean. Turns are only tried in steps: a list that is
 * seen once has no turns of its own.
 *
 * What a cold replica costs has no closed form. The rows say what slow start is for: a shorter tail, by more than chance.
 * Balancers that go by load do without it where one sidecar sees all of the load, and there it must only do no harm; where
 * a hundred see a hundredth each, a cold replica looks idle to most of them. The replica becomes quick by serving, not by
 * waiting, since that is what slow start could spoil: it has less to become quick by.
 */
import {
  type BalancingAlgorithm,
  createBalancer,
  DEFAULT_SLOW_START,
  SlowStart,
  type SlowStartOptions,
} from "../../../balancing/index.ts";
import { clientsOf, Source, Target } from "../clients.ts";
import { type Distribution, exponential } from "../distributions.ts";
import { Engine } from "../engine.ts";
import { Server } from "../farm.ts";
import { type Estimate, meanOf, Samples } from "../measures.ts";
import { STREAMS, sfc32 } from "../random.ts";
import { comparedWithout, type Findings, fixed, nearByChance, percent, type Row } from "../rows.ts";

const WARM = 9;
/** When the tenth comes, in milliseconds: what is known of the others has settled by then. */
const JOINS_MS = 6_000;
const { windowMs: WINDOW_MS, floor: FLOOR } = DEFAULT_SLOW_START;

export function slowStart(seed: number): Findings {
  const curves = [1, 2].map((aggression) => curve(aggression, seed));
  const cold = CLIENTS.flatMap((count) => ALGORITHMS.map((algorithm) => coldReplica(algorithm, count, seed)));
  return {
    rows: [...[1, 2].flatMap((aggression) => shareRows(aggression, seed)), ...cold],
    plots: [
      {
        name: "slow-start",
        title: "A tenth endpoint joins nine: its share while it is new",
        x: { label: "seconds since it came", scale: "linear", from: 0, to: WINDOW_MS / 1000 },
        y: { label: "its share of requests", scale: "linear", from: 0, to: 0.12 },
        series: curves.flat(),
      },
    ],
  };
}

// --- its share

const REQUESTS = 30_000;
const RUNS = 20;

function shareRows(aggression: number, seed: number): Row[] {
  const options = { ...DEFAULT_SLOW_START, aggression };
  const name = `one new among ${WARM + 1}, aggression ${aggression}: its share over the window`;
  const inSteps = sumOfSteps(aggression, new SlowStart(options).stepMs);
  const row = (algorithm: BalancingAlgorithm, how: string, published: number, stepwise: boolean) =>
    nearByChance(
      `\`${algorithm}\`, ${name}, ${how}`,
      published,
      shareOver(algorithm, options, stepwise, seed),
      percent(3),
      `${RUNS} runs`,
    );
  return [
    row("random", "by the curve", integral(aggression), false),
    row("random", "in steps", inSteps, true),
    row("roundRobin", "in steps", inSteps, true),
  ];
}

/** Of one of weight `factor` among warm ones of weight 1. */
const shareOf = (factor: number) => factor / (WARM + factor);
const envoysFactor = (part: number, aggression: number) => Math.max(FLOOR, part ** (1 / aggression));

/** By the rule of the midpoint, which is right to nine digits with so many. */
function integral(aggression: number, parts = 100_000): number {
  let sum = 0;
  for (let i = 0; i < parts; i++) sum += shareOf(envoysFactor((i + 0.5) / parts, aggression));
  return sum / parts;
}

/** Each step has the factor of its beginning. */
function sumOfSteps(aggression: number, stepMs: number): number {
  const steps = Math.round(WINDOW_MS / stepMs);
  let sum = 0;
  for (let i = 0; i < steps; i++) sum += shareOf(envoysFactor(i / steps, aggression));
  return sum / steps;
}

function shareOver(
  algorithm: BalancingAlgorithm,
  options: SlowStartOptions,
  inSteps: boolean,
  seed: number,
): Estimate {
  return meanOf(
    Array.from({ length: RUNS }, (_, run) => {
      let sent = 0;
      let toNew = 0;
      picks(algorithm, options, inSteps, seed + 1000 * run, (isNew) => {
        sent++;
        if (isNew) toNew++;
      });
      return toNew / sent;
    }),
  );
}

/** Requests over the window, by a Poisson process: what they ask for takes no time. */
function picks(
  algorithm: BalancingAlgorithm,
  options: SlowStartOptions,
  inSteps: boolean,
  seed: number,
  onPick: (isNew: boolean, ageMs: number) => void,
): void {
  const balancer = createBalancer({ algorithm }, sfc32(seed));
  const arrivals = sfc32(seed, STREAMS.arrivals);
  const gap = exponential(WINDOW_MS / REQUESTS);
  const young = youngAmong(WARM, options);
  let candidates: readonly Target[] = young.targets;
  let renewAtMs = JOINS_MS;
  for (let nowMs = JOINS_MS + gap.draw(arrivals); nowMs < JOINS_MS + WINDOW_MS; nowMs += gap.draw(arrivals)) {
    if (!inSteps) candidates = young.listAt(nowMs);
    for (; inSteps && nowMs >= renewAtMs; renewAtMs += young.stepMs) candidates = young.listAt(renewAtMs);
    onPick(balancer.pick(candidates, nowMs) === young.targets[WARM], nowMs - JOINS_MS);
  }
}

/** Endpoints that were there all the time, and one more, the last of them, that came to them. */
function youngAmong(
  warm: number,
  options: SlowStartOptions,
  targets: readonly Target[] = freshTargets(warm + 1),
) {
  const slowStart = new SlowStart(options);
  const keys = targets.map(({ key }) => key);
  slowStart.replace(keys.slice(0, warm), 0);
  slowStart.replace(keys, JOINS_MS);
  return {
    targets,
    stepMs: slowStart.stepMs,
    /** All of them with the weights that they have then, in a list of its own. */
    listAt(nowMs: number): readonly Target[] {
      for (const target of targets) target.weight = slowStart.factor(target.key, nowMs);
      return [...targets];
    },
  };
}

const freshTargets = (count: number) => Array.from({ length: count }, (_, i) => new Target(i));

const SLICES = 30;

/** The share in each second, of all runs together, beside the formula. */
function curve(aggression: number, seed: number) {
  const counts = Array.from({ length: SLICES }, () => ({ sent: 0, toNew: 0 }));
  for (let run = 0; run < RUNS; run++)
    picks("random", { ...DEFAULT_SLOW_START, aggression }, true, seed + 1000 * run, (isNew, ageMs) => {
      const count = counts[Math.floor((SLICES * ageMs) / WINDOW_MS)]!;
      count.sent++;
      if (isNew) count.toNew++;
    });
  const seconds = WINDOW_MS / 1000 / SLICES;
  const colour = aggression === 1 ? 0 : 1;
  return [
    {
      name: `aggression ${aggression}, random`,
      points: counts.map(({ sent, toNew }, i) => [(i + 0.5) * seconds, toNew / sent] as const),
      as: "dots" as const,
      colour,
    },
    {
      name: "formula",
      points: Array.from(
        { length: 101 },
        (_, i) => [(i * WINDOW_MS) / 100_000, shareOf(envoysFactor(i / 100, aggression))] as const,
      ),
      as: "dashes" as const,
      colour,
    },
  ];
}

// --- what it costs

const ALGORITHMS = ["roundRobin", "leastRequest", "peakEwma"] as const;
/** One that sees all that is in flight, and so many that each see little, as sidecars do. */
const CLIENTS = [1, 100];
const SERVICE = exponential(20);
const WORKERS = 4;
const LOAD = 0.6;
/** A cold replica takes this many times as long, and less with each request until it has served so many. */
const COLD_FACTOR = 5;
const WARM_AFTER = 1000;
/** An answer that takes longer is late. */
const TIMEOUT_MS = 1000;
const COLD_RUNS = 6;

function coldReplica(algorithm: BalancingAlgorithm, count: number, seed: number): Row {
  const without = coldRuns(algorithm, { ...DEFAULT_SLOW_START, windowMs: 0 }, count, seed);
  const withIt = coldRuns(algorithm, DEFAULT_SLOW_START, count, seed);
  const late = percent(2);
  const needless = count === 1 && algorithm !== "roundRobin";
  const row = comparedWithout(
    `\`${algorithm}\`, ${count === 1 ? "1 client" : `${count} clients`}, a cold replica joins ${WARM}: 99th percentile in ms with slow start (answers later than 1 s)`,
    needless ? "no more" : "less",
    without.p99,
    withIt.p99,
    fixed(0),
  );
  return {
    ...row,
    published: `${row.published} (${late(without.late)})`,
    here: `${row.here} (${late(withIt.late)})`,
  };
}

function coldRuns(algorithm: BalancingAlgorithm, options: SlowStartOptions, count: number, seed: number) {
  const runs = Array.from({ length: COLD_RUNS }, (_, run) =>
    coldRun(algorithm, options, count, seed + 1000 * run),
  );
  return {
    late: meanOf(runs.map((times) => 1 - times.shareUpTo(TIMEOUT_MS))).value,
    p99: runs.map((times) => times.percentile(0.99)),
  };
}

/** How long answers take that were asked for within the window. */
function coldRun(
  algorithm: BalancingAlgorithm,
  options: SlowStartOptions,
  count: number,
  seed: number,
): Samples {
  const engine = new Engine();
  const services = sfc32(seed, STREAMS.services);
  const servers = Array.from(
    { length: WARM + 1 },
    (_, i) => new Server(engine, services, { service: i < WARM ? SERVICE : warmingUp(), workers: WORKERS }),
  );
  const times = new Samples();
  const clients = clientsOf(count, { algorithm }, sfc32(seed), servers, ({ sentAtMs }, nowMs) => {
    if (sentAtMs >= JOINS_MS && sentAtMs < JOINS_MS + WINDOW_MS) times.add(nowMs - sentAtMs);
  });
  for (const client of clients) {
    client.candidates = client.targets.slice(0, WARM);
    const young = youngAmong(WARM, options, client.targets);
    const renew = (nowMs: number) => {
      client.candidates = young.listAt(nowMs);
    };
    for (let atMs = JOINS_MS; atMs <= JOINS_MS + WINDOW_MS; atMs += young.stepMs || WINDOW_MS + 1)
      engine.at(atMs, { happen: renew });
  }
  new Source(
    engine,
    {
      gap: exponential(SERVICE.meanMs / (WORKERS * (WARM + 1) * LOAD)),
      untilMs: JOINS_MS + WINDOW_MS,
      arrivals: sfc32(seed, STREAMS.arrivals),
      choice: sfc32(seed, STREAMS.clients),
    },
    clients,
  );
  engine.run();
  return times;
}

/** Quicker with each service. */
function warmingUp(): Distribution {
  let served = 0;
  return {
    ...SERVICE,
    draw(random) {
      const cold = Math.max(0, 1 - served++ / WARM_AFTER);
      return SERVICE.draw(random) * (1 + (COLD_FACTOR - 1) * cold);
    },
  };
}
