/**
 * The figures by which balancers that choose by hash are judged: how even they are, what a change moves, and what a
 * bound on the load costs. Numbers only, for tests and for experiments.
 */
import {
  type ApertureSlice,
  aperture,
  type BalancingOptions,
  type Candidate,
  createBalancer,
  hash32,
  PeakEwma,
  type PeerPlace,
} from "../../balancing/index.ts";
import type { Random } from "../../core/index.ts";

export class Host implements Candidate {
  readonly key: string;
  readonly weight: number;
  readonly latency: PeakEwma = new PeakEwma();
  inFlight = 0;

  constructor(key: string, weight = 1) {
    this.key = key;
    this.weight = weight;
  }
}

/** Addresses as a cluster has them. */
export function hosts(count: number, weightOf: (i: number) => number = () => 1): Host[] {
  return Array.from({ length: count }, (_, i) => new Host(`10.1.${i >> 8}.${i & 255}:8080`, weightOf(i)));
}

/** The options of the two, and what they have for a request without a hash, which none of these is. */
export type HashOptions = BalancingOptions & { readonly algorithm: "ringHash" | "maglev" };

const NO_CHANCE: Random = { next: () => 0 };

/** Whom each of so many hashes, evenly spread, belongs to, when these are the first candidates of a balancer. */
function holders(options: HashOptions, candidates: readonly Host[], samples: number): Host[] {
  const balancer = createBalancer(options, NO_CHANCE);
  return Array.from(
    { length: samples },
    (_, i) => balancer.pick(candidates, 0, Math.floor((i * 2 ** 32) / samples))!,
  );
}

const SAMPLES = 2 ** 20;

export interface Shares {
  /** Of all candidates the least and the greatest part of the hashes, over the part that its weight gives it. */
  readonly least: number;
  readonly most: number;
  /** Of those parts, the standard deviation. */
  readonly deviation: number;
}

/** How even it is. With 2^20 samples a part of a hundredth is right within a thousandth of itself. */
export function sharesByHash(options: HashOptions, candidates: readonly Host[], samples = SAMPLES): Shares {
  const counts = new Map<Host, number>(candidates.map((host) => [host, 0]));
  for (const host of holders(options, candidates, samples)) counts.set(host, counts.get(host)! + 1);
  const weight = candidates.reduce((sum, host) => sum + host.weight, 0);
  const parts = Array.from(counts, ([host, count]) => (count * weight) / (samples * host.weight));
  const variance = parts.reduce((sum, part) => sum + (part - 1) ** 2, 0) / parts.length;
  return { least: Math.min(...parts), most: Math.max(...parts), deviation: Math.sqrt(variance) };
}

export interface Disruption {
  /** The part of all hashes that belong to somebody else after the change. */
  readonly moved: number;
  /** The part that moved although its holder stayed and the new one had been there before. */
  readonly needless: number;
}

/** What a change of the candidates moves, once it has been applied. */
export function disruptionByHash(
  options: HashOptions,
  before: readonly Host[],
  after: readonly Host[],
  samples = SAMPLES,
): Disruption {
  const news = holders(options, after, samples);
  const stayed = new Set(after);
  const known = new Set(before);
  let moved = 0;
  let needless = 0;
  for (const [i, old] of holders(options, before, samples).entries()) {
    const now = news[i]!;
    if (now === old) continue;
    moved++;
    if (stayed.has(old) && known.has(now)) needless++;
  }
  return { moved: moved / samples, needless: needless / samples };
}

export interface Popularity {
  /** How many different keys requests have. */
  readonly keys: number;
  /** The key of rank r is asked for in proportion to `1 / r ** exponent`; 0 is all alike, 1 is Zipf's law. */
  readonly exponent: number;
}

export interface LoadFigures {
  /** The greatest load of a candidate at any time, over its share of all that was in flight by weight. */
  readonly most: number;
  /** The part of the requests that did not go where their hash led. */
  readonly passedOn: number;
}

/** With always so many requests in flight, each as long as the others; hot keys make hot candidates. */
export function loadsByHash(
  options: HashOptions,
  candidates: readonly Host[],
  inFlight: number,
  requests: number,
  popularity: Popularity,
  random: Random,
): LoadFigures {
  const bounded = createBalancer(options, random);
  const { loadFactor: _, ...unbounded } = options;
  const free = createBalancer(unbounded, random);
  const hashOf = popularHashes(popularity, random);
  const weight = candidates.reduce((sum, host) => sum + host.weight, 0);
  const underWay: Host[] = [];
  let most = 0;
  let passedOn = 0;
  for (let i = 0; i < requests; i++) {
    if (i >= inFlight) underWay[i % inFlight]!.inFlight--;
    const hash = hashOf();
    const host = bounded.pick(candidates, 0, hash)!;
    if (host !== free.pick(candidates, 0, hash)) passedOn++;
    host.inFlight++;
    underWay[i % inFlight] = host;
    if (i >= inFlight) most = Math.max(most, (host.inFlight * weight) / (inFlight * host.weight));
  }
  for (const host of candidates) host.inFlight = 0;
  return { most, passedOn: passedOn / requests };
}

function popularHashes({ keys, exponent }: Popularity, random: Random): () => number {
  let sum = 0;
  const sums = Float64Array.from({ length: keys }, (_, i) => (sum += (i + 1) ** -exponent));
  const hashes = Array.from({ length: keys }, (_, i) => hash32(`key ${i}`));
  return () => {
    const ticket = random.next() * sum;
    let low = 0;
    let high = keys - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle]! > ticket) high = middle;
      else low = middle + 1;
    }
    return hashes[low]!;
  };
}

export interface ApertureFigures {
  /** The least and the greatest load of an endpoint from all clients, over its share by weight. */
  readonly least: number;
  readonly most: number;
  /** How many endpoints a client talks to, at least and at most. */
  readonly smallest: number;
  readonly largest: number;
}

/** The load on endpoints when each of these clients sends one unit, spread over its subset by weight. */
export function apertureFigures(
  candidates: readonly Host[],
  places: readonly PeerPlace[],
  minimumSize?: number,
): ApertureFigures {
  const loads = new Map<Host, number>(candidates.map((host) => [host, 0]));
  const sizes: number[] = [];
  const weightOf = ({ candidate, share }: ApertureSlice<Host>) => candidate.weight * share;
  for (const place of places) {
    const slices = aperture(candidates, place, minimumSize);
    const total = slices.reduce((sum, slice) => sum + weightOf(slice), 0);
    for (const slice of slices)
      loads.set(slice.candidate, loads.get(slice.candidate)! + weightOf(slice) / total);
    sizes.push(slices.length);
  }
  const weight = candidates.reduce((sum, host) => sum + host.weight, 0);
  const parts = Array.from(loads, ([host, load]) => (load * weight) / (places.length * host.weight));
  return {
    least: Math.min(...parts),
    most: Math.max(...parts),
    smallest: Math.min(...sizes),
    largest: Math.max(...sizes),
  };
}
