/**
 * Where requests go when they are to stay near and the endpoints there are too few.
 *
 * All zones play: what one sends abroad is another one's load. Each request is of a caller, its zone is drawn by the
 * shares that the caller's zone has, and an endpoint of it is taken in turns: first the zone, then the balancer.
 * Published is Envoy's rule ("Zone aware routing" of its documentation, in numbers): a zone keeps what its part of the
 * endpoints is of its part of the callers, and the rest goes where endpoints are left over. heddle has the same rule with a
 * tolerance, so its formula has that factor in it, and no endpoint gets more than the tolerance times the mean.
 */
import {
  type Candidate,
  createBalancer,
  DEFAULT_ZONES,
  type ZoneCapacity,
  zoneShares,
} from "../../../balancing/index.ts";
import { below } from "../../../core/index.ts";
import { placeBy, total } from "../by-share.ts";
import { Target } from "../clients.ts";
import { binomialError } from "../measures.ts";
import { STREAMS, sfc32 } from "../random.ts";
import { between, type Findings, fixed, nearByChance, percent, type Row } from "../rows.ts";

const REQUESTS = 200_000;
const { tolerance: TOLERANCE } = DEFAULT_ZONES;

export function zones(seed: number): Findings {
  const curves = [1, TOLERANCE].map((tolerance) => shrinking(tolerance, seed));
  return {
    rows: [
      ...[1, TOLERANCE].flatMap((tolerance) => unequal(tolerance, seed)),
      untold(seed),
      anySpread(seed),
      ...curves.map(({ row }) => row),
    ],
    plots: [
      {
        name: "zones",
        title: "A zone of three that loses its ten endpoints one by one",
        x: { label: "endpoints that it has left", scale: "linear", from: SIZE, to: 0, ticks: TICKS },
        y: { label: "share that it keeps; load over the mean", scale: "linear", from: 0, to: 1.6 },
        series: curves.flatMap(({ series }) => series),
      },
    ],
  };
}

/** What of each zone there is, by its place. */
interface Spread {
  readonly callers: readonly number[];
  readonly endpoints: readonly number[];
  /** How many of the endpoints may be chosen; all of them if left out. */
  readonly well?: readonly number[];
}

/** Half of the callers beside a fifth of the endpoints. */
const UNEQUAL: Spread = { callers: [5, 3, 2], endpoints: [4, 10, 6] };

interface Traffic {
  /** Of the requests of each zone, the share that stays in it. */
  readonly kept: readonly number[];
  /** Of all requests. */
  readonly leaving: number;
  /** Of each zone, the load of an endpoint over the mean, and its error. */
  readonly loads: readonly { readonly value: number; readonly standardError: number }[];
  /** The greatest load of a single endpoint over the mean. */
  readonly most: number;
}

interface Told {
  readonly tolerance: number;
  /** Whether sidecars know how the callers are spread, or take it to be even. */
  readonly told?: boolean;
}

function sharesOf(spread: Spread, { tolerance, told = true }: Told): number[][] {
  const capacities = spread.endpoints.map(
    (endpoints, zone): ZoneCapacity => ({
      zone: `z${zone}`,
      endpoints,
      weight: spread.well?.[zone] ?? endpoints,
    }),
  );
  const callers = new Map(spread.callers.map((count, zone) => [`z${zone}`, count]));
  const options = { ...DEFAULT_ZONES, tolerance };
  return capacities.map(({ zone }) => zoneShares(capacities, zone, options, told ? callers : undefined));
}

function traffic(spread: Spread, told: Told, seed: number, requests = REQUESTS): Traffic {
  const shares = sharesOf(spread, told);
  const random = sfc32(seed, STREAMS.clients);
  const balancer = createBalancer({ algorithm: "roundRobin" }, sfc32(seed));
  const targets = (spread.well ?? spread.endpoints).map((count) =>
    Array.from({ length: count }, (_, i) => new Target(i)),
  );
  const counts = new Map<Candidate, number>();
  const inZone = spread.callers.map(() => ({ from: 0, kept: 0, to: 0 }));
  for (let i = 0; i < requests; i++) {
    const own = placeBy(spread.callers, random);
    const zone = placeBy(shares[own]!, random);
    const target = balancer.pick(targets[zone]!, 0)!;
    counts.set(target, (counts.get(target) ?? 0) + 1);
    inZone[own]!.from++;
    inZone[zone]!.to++;
    if (own === zone) inZone[own]!.kept++;
  }
  const mean = requests / total(targets.map((some) => some.length));
  return {
    kept: inZone.map(({ from, kept }) => kept / from),
    leaving: 1 - total(inZone.map(({ kept }) => kept)) / requests,
    loads: inZone.map(({ to }, zone) => {
      const here = mean * targets[zone]!.length;
      const error = binomialError(to / requests, requests) * requests;
      return here === 0 ? { value: 0, standardError: 0 } : { value: to / here, standardError: error / here };
    }),
    most: Math.max(...counts.values()) / mean,
  };
}

/** What of its callers' requests a zone keeps, by Envoy's rule times the tolerance. */
function keptBy({ callers, endpoints, well = endpoints }: Spread, zone: number, tolerance: number): number {
  return Math.min(1, (tolerance * well[zone]!) / total(well) / (callers[zone]! / total(callers)));
}

function unequal(tolerance: number, seed: number): Row[] {
  const found = traffic(UNEQUAL, { tolerance }, seed);
  const { callers } = UNEQUAL;
  const leaving =
    1 - total(callers.map((count, zone) => (count / total(callers)) * keptBy(UNEQUAL, zone, tolerance)));
  const rule = tolerance === 1 ? "tolerance 1, Envoy's rule" : `tolerance ${tolerance}`;
  const name = `callers ${callers.join(", ")}, endpoints ${UNEQUAL.endpoints.join(", ")}, ${rule}`;
  const most = found.loads.reduce((one, other) => (other.value > one.value ? other : one));
  return [
    nearByChance(
      `${name}: requests that leave their zone`,
      leaving,
      { value: found.leaving, standardError: binomialError(leaving, REQUESTS) },
      percent(2),
      "binomial",
    ),
    nearByChance(
      `${name}: load over the mean in the zone that has most`,
      tolerance,
      most,
      fixed(3),
      "binomial",
    ),
  ];
}

/** The assumption of an even spread, where it is wrong: the bound is that of what is assumed. */
function untold(seed: number): Row {
  const found = traffic(UNEQUAL, { tolerance: TOLERANCE, told: false }, seed);
  const { callers, endpoints } = UNEQUAL;
  const even = { ...UNEQUAL, callers: callers.map(() => 1) };
  const load =
    (callers[0]! / total(callers)) * keptBy(even, 0, TOLERANCE) * (total(endpoints) / endpoints[0]!);
  return nearByChance(
    "the same, tolerance 1.4, sidecars not told how the callers are spread: load over the mean in the zone of half of them",
    load,
    found.loads[0]!,
    fixed(3),
    "binomial",
  );
}

const SPREADS = 20_000;
/** What shares are rounded to, times the endpoints that share it. */
const ROUNDING = 1e-6;

/** By the shares alone, so that the bound is not blurred by chance. */
function anySpread(seed: number): Row {
  const random = sfc32(seed);
  let most = 0;
  for (let i = 0; i < SPREADS; i++) {
    const places = Array.from({ length: 2 + below(random, 3) });
    const spread = {
      callers: places.map(() => below(random, 10)),
      endpoints: places.map(() => below(random, 21)),
    };
    if (total(spread.callers) === 0 || total(spread.endpoints) < DEFAULT_ZONES.minimumEndpoints) continue;
    const shares = sharesOf(spread, { tolerance: TOLERANCE });
    for (const [zone, endpoints] of spread.endpoints.entries()) {
      const load =
        total(spread.callers.map((count, own) => count * shares[own]![zone]!)) / total(spread.callers);
      if (endpoints > 0) most = Math.max(most, (load * total(spread.endpoints)) / endpoints);
    }
  }
  return between(
    `${SPREADS} spreads over two to four zones, drawn by chance: the greatest load of an endpoint over the mean`,
    [Number.NEGATIVE_INFINITY, TOLERANCE + ROUNDING],
    { value: most, standardError: 0 },
    "the tolerance, and 10^-6 for rounding",
    fixed(4),
  );
}

const SIZE = 10;
const TICKS = Array.from({ length: SIZE + 1 }, (_, left) => [left, String(left)] as const);

/** Three zones of as many callers; the first one's endpoints go one by one. */
function shrinking(tolerance: number, seed: number) {
  const points = TICKS.map(([left]) => {
    const spread = { callers: [1, 1, 1], endpoints: [SIZE, SIZE, SIZE], well: [left, SIZE, SIZE] };
    const found = traffic(spread, { tolerance }, seed + 1000 * left, REQUESTS / 4);
    const kept = keptBy(spread, 0, tolerance);
    const error = binomialError(kept, REQUESTS / 12);
    return { left, kept, found: found.kept[0]!, error, most: found.most };
  });
  const meanOf = (values: readonly number[]) => total(values) / values.length;
  const row = nearByChance(
    `one of three zones loses its ${SIZE} endpoints, tolerance ${tolerance}: what it keeps, mean of ${SIZE} left to none`,
    meanOf(points.map(({ kept }) => kept)),
    {
      value: meanOf(points.map(({ found }) => found)),
      standardError: Math.hypot(...points.map(({ error }) => error)) / points.length,
    },
    percent(2),
    "binomial",
  );
  const colour = tolerance === 1 ? 0 : 1;
  const name = tolerance === 1 ? "kept, tolerance 1" : `kept, ${tolerance}`;
  const series = [
    {
      name,
      points: points.map(({ left, found }) => [left, found] as const),
      as: "dots" as const,
      colour,
    },
    {
      name: "formula",
      points: points.map(({ left, kept }) => [left, kept] as const),
      as: "dashes" as const,
      colour,
    },
    {
      name: `most loaded, ${tolerance}`,
      points: points.map(({ left, most }) => [left, most] as const),
      colour: colour + 2,
    },
  ];
  return { row, series };
}
