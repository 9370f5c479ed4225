/**
 * Keys by popularity over a circle with a bound on the load: what the bound holds, and what it costs in requests that do
 * not stay on the endpoint of their key, and in those that go elsewhere when one endpoint has gone. (Mirrokni, Thorup and
 * Zadimoghaddam, "Consistent hashing with bounded loads", SODA 2018.)
 *
 * Published are the bound, the factor times the mean and rounded up, and what a change moves: O(1/e²) times what has to
 * move, for a factor 1 + e of at most 2. The paper has no constant for it, so the row asks what can be asked: that from
 * one factor to the next the number grows no faster than that. The paper moves what is placed; here a request ends where
 * it began, so moved are those that would have gone elsewhere had the endpoint not been missing.
 *
 * hashing.ts has the bound where the mean is a round number. Here it is 7, so that rounding up shows.
 */
import { createBalancer, hash32 } from "../../../balancing/index.ts";
import type { Random } from "../../../core/index.ts";
import {
  type HashOptions,
  type Host,
  hosts,
  type LoadFigures,
  loadsByHash,
} from "../../../test/support/hash-figures.ts";
import { type Estimate, exact, meanOf } from "../measures.ts";
import { STREAMS, sfc32 } from "../random.ts";
import { between, type Findings, fixed, percent, type Row } from "../rows.ts";

type HashAlgorithm = HashOptions["algorithm"];
const ALGORITHMS: readonly HashAlgorithm[] = ["ringHash", "maglev"];
const FACTORS = [1.1, 1.25, 1.5, 2];
const SHOWN_FACTORS = [1.05, ...FACTORS, 3];

const HOSTS = 50;
const IN_FLIGHT = 350;
const MEAN = IN_FLIGHT / HOSTS;
const REQUESTS = 40_000;
/** Zipf's law. */
const POPULARITY = { keys: 1000, exponent: 1 };

const NO_CHANCE: Random = { next: () => 0 };

/** In thousandths, as 1.1 times 10 is a little above 11 otherwise. */
const boundOf = (factor: number) => Math.ceil((Math.round(factor * 1000) * IN_FLIGHT) / HOSTS / 1000);

export function boundedLoad(seed: number): Findings {
  const all = ALGORITHMS.map((algorithm) => {
    const free = figures(algorithm, undefined, seed);
    const byFactor = new Map(SHOWN_FACTORS.map((factor) => [factor, figures(algorithm, factor, seed)]));
    return { algorithm, free, byFactor };
  });
  const span = [SHOWN_FACTORS[0]!, SHOWN_FACTORS.at(-1)!] as const;
  return {
    rows: all.flatMap(({ algorithm, free, byFactor }) => [
      ...FACTORS.map((factor) => held(algorithm, factor, byFactor.get(factor)!, free)),
      stays(
        algorithm,
        FACTORS.map((factor) => 1 - byFactor.get(factor)!.passedOn),
      ),
      moves(algorithm, seed),
    ]),
    plots: [
      {
        name: "bounded-load",
        title: `Keys by Zipf's law over ${HOSTS} endpoints with a bound, ${MEAN} requests each in the mean`,
        x: { label: "factor", scale: "linear", from: 1, to: span[1] },
        y: { label: "greatest load over the mean", scale: "linear", from: 0, to: 12 },
        series: [
          ...all.flatMap(({ algorithm, free, byFactor }, i) => [
            {
              name: algorithm,
              points: [...byFactor].map(([factor, { most }]) => [factor, most] as const),
              as: "dots" as const,
              colour: i,
            },
            {
              name: `${algorithm}, no bound`,
              points: span.map((factor) => [factor, free.most] as const),
              colour: i,
            },
          ]),
          {
            name: "the bound",
            points: steps(span).map((factor) => [factor, boundOf(factor) / MEAN] as const),
            as: "dashes",
            colour: 2,
          },
        ],
      },
    ],
  };
}

function steps([from, until]: readonly [number, number]): number[] {
  return Array.from({ length: 400 }, (_, i) => from + ((until - from) * i) / 399);
}

function figures(algorithm: HashAlgorithm, factor: number | undefined, seed: number): LoadFigures {
  return loadsByHash(
    optionsOf(algorithm, factor),
    hosts(HOSTS),
    IN_FLIGHT,
    REQUESTS,
    POPULARITY,
    sfc32(seed),
  );
}

function optionsOf(algorithm: HashAlgorithm, factor: number | undefined): HashOptions {
  return factor === undefined ? { algorithm } : { algorithm, loadFactor: factor };
}

function held(algorithm: HashAlgorithm, factor: number, here: LoadFigures, free: LoadFigures): Row {
  return between(
    `\`${algorithm}\`, keys by Zipf's law, factor ${factor}: the greatest load over the mean of ${MEAN} (${fixed(1)(free.most)} without a bound)`,
    [Number.NEGATIVE_INFINITY, boundOf(factor) / MEAN],
    exact(here.most),
    "the factor times the mean, rounded up",
    fixed(3),
  );
}

// --- who stays

/**
 * No endpoint can keep more than it may carry, nor more than it is asked for. The mean of the smaller of the two is at
 * most the smaller of their means, whatever the order in which requests come.
 */
function stays(algorithm: HashAlgorithm, shares: readonly number[]): Row {
  const demands = demandsOn(algorithm);
  const most = FACTORS.map((factor) =>
    demands.reduce((sum, demand) => sum + Math.min(demand, boundOf(factor) / IN_FLIGHT), 0),
  );
  const off = shares.findIndex((share, i) => share > most[i]! || share <= (shares[i - 1] ?? 0));
  const list = (values: readonly number[]) => values.map(percent(1)).join(", ");
  return {
    result: `\`${algorithm}\`, the same, factors ${FACTORS.join(", ")}: requests that stay on the endpoint of their key`,
    published: `at most ${list(most)}`,
    here: list(shares),
    tolerance: "the bounds: what each may carry of what it is asked for; and more with each factor",
    holds: off < 0,
    ...(off < 0 ? {} : { why: `not at ${FACTORS[off]}` }),
  };
}

/** The part of all requests that each endpoint is asked for, by the keys that lead to it. */
function demandsOn(algorithm: HashAlgorithm): number[] {
  const among = hosts(HOSTS);
  const balancer = createBalancer({ algorithm }, NO_CHANCE);
  const demands = new Map<Host, number>();
  let all = 0;
  for (let rank = 1; rank <= POPULARITY.keys; rank++) {
    const part = rank ** -POPULARITY.exponent;
    // The keys of `loadsByHash`.
    const host = balancer.pick(among, 0, hash32(`key ${rank - 1}`))!;
    demands.set(host, (demands.get(host) ?? 0) + part);
    all += part;
  }
  return [...demands.values()].map((demand) => demand / all);
}

// --- who moves

const MOVING_HOSTS = 50;
const MOVING_MEAN = 20;
const MOVING_REQUESTS = 20_000;
/** Which of them go, one at a time. */
const GOING = [0, 10, 20, 30, 40];

/** From a wide factor to a tight one, what moves grows at most as 1/e² does, but for chance. */
function moves(algorithm: HashAlgorithm, seed: number): Row {
  const widestFirst = FACTORS.toReversed();
  const moved = widestFirst.map((factor) =>
    meanOf(GOING.map((gone) => MOVING_HOSTS * movedBy(algorithm, factor, gone, seed + gone))),
  );
  const off = moved.findIndex((here, i) => i > 0 && grows(moved[i - 1]!, here, limitOf(widestFirst, i)));
  return {
    result: `\`${algorithm}\`, even keys, one of ${MOVING_HOSTS} goes, factors ${widestFirst.join(", ")}: requests that go elsewhere, over those that have to`,
    published: `grows at most by ${widestFirst
      .slice(1)
      .map((_, i) => fixed(2)(limitOf(widestFirst, i + 1)))
      .join(", ")} (1/e²)`,
    here: moved
      .map(({ value, standardError }) => `${value.toFixed(2)} ± ${standardError.toFixed(2)}`)
      .join(", "),
    tolerance: `3 standard errors between neighbours (${GOING.length} runs)`,
    holds: off < 0,
    ...(off < 0 ? {} : { why: `not at ${widestFirst[off]}` }),
  };
}

const limitOf = (factors: readonly number[], i: number) => ((factors[i - 1]! - 1) / (factors[i]! - 1)) ** 2;

function grows(before: Estimate, here: Estimate, limit: number): boolean {
  const error = Math.hypot(here.standardError, limit * before.standardError);
  return here.value - limit * before.value > 3 * error;
}

/** The same requests to all of them, and to all but one: the part of them that went to different ones. */
function movedBy(algorithm: HashAlgorithm, factor: number, gone: number, seed: number): number {
  const random = sfc32(seed, STREAMS.arrivals);
  const inFlight = MOVING_HOSTS * MOVING_MEAN;
  const hashes = Array.from({ length: inFlight + MOVING_REQUESTS }, () =>
    Math.floor(random.next() * 2 ** 32),
  );
  const before = placesOf(algorithm, factor, hosts(MOVING_HOSTS), inFlight, hashes);
  const after = placesOf(algorithm, factor, hosts(MOVING_HOSTS).toSpliced(gone, 1), inFlight, hashes);
  let moved = 0;
  for (let i = inFlight; i < hashes.length; i++) if (before[i] !== after[i]) moved++;
  return moved / MOVING_REQUESTS;
}

/** Where each request goes, when always so many are under way. */
function placesOf(
  algorithm: HashAlgorithm,
  factor: number,
  among: readonly Host[],
  inFlight: number,
  hashes: readonly number[],
): string[] {
  const balancer = createBalancer({ algorithm, loadFactor: factor }, NO_CHANCE);
  const placed: Host[] = [];
  for (const [i, hash] of hashes.entries()) {
    if (i >= inFlight) placed[i - inFlight]!.inFlight--;
    const host = balancer.pick(among, 0, hash)!;
    host.inFlight++;
    placed.push(host);
  }
  return placed.map(({ key }) => key);
}
