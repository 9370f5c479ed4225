/**
 * Which part of a large set of endpoints this sidecar talks to, so that all endpoints get the same load, exactly.
 *
 * A thousand sidecars that each talk to a thousand endpoints hold a million connections, most of them cold, and a
 * latency that is measured once a minute says nothing. A subset drawn at random cures that, but some endpoints are in
 * many subsets and some in few: at 20 of 1000 endpoints for each of 100 clients, from none to four times the mean.
 *
 * So clients and endpoints are laid on one ring. Endpoints cover it side by side, each as much as its weight. The
 * client of index k of n covers an arc from k/n on, as long as a whole number of n-ths: the arcs of all clients go round
 * the ring a whole number of times, so each point of it lies in the same number of arcs. An endpoint at an end of the arc
 * is only partly in it, and takes that part of its traffic. (Finagle's deterministic aperture, Twitter 2019. Google's
 * subsetting by rounds, "Site Reliability Engineering" chapter 20, has no parts and is even only to one client, and
 * one endpoint more changes all of its subsets; here it changes one or two others of each.)
 *
 * It holds as far as clients send equally much, agree on the list, and choose within the subset by its weights.
 */
import type { Candidate } from "./balancer.ts";
import { hash32 } from "./hash.ts";
import { orderByHash, whole } from "./hash-order.ts";

/** Where a client stands among those that do the same: `index` from 0 to `count - 1`. */
export interface PeerPlace {
  readonly index: number;
  readonly count: number;
}

export interface ApertureSlice<C> {
  readonly candidate: C;
  /** How much of it is within the arc, above 0 and at most 1; its weight for this client is that part of its weight. */
  readonly share: number;
}

/** Finagle's default: with fewer, one unlucky client might have nobody left who is well. */
const MINIMUM_SIZE = 12;

/**
 * @param candidates in any order: that on the ring is by the hash of their keys, for neighbours by address are
 *   often neighbours in a rack. At most 2^53 / count in weight of all.
 * @param minimumSize how many the arc is to cover, in endpoints of mean weight; the arc is longer by less than one
 *   `count`-th of the ring, for the sake of evenness. With no more candidates than that, it is the whole ring.
 * @returns in the order of the ring
 */
export function aperture<C extends Pick<Candidate, "key" | "weight">>(
  candidates: readonly C[],
  place: PeerPlace,
  minimumSize = MINIMUM_SIZE,
): readonly ApertureSlice<C>[] {
  const { index, count } = place;
  if (!(Number.isInteger(index) && Number.isInteger(count) && index >= 0 && index < count))
    throw new RangeError(`expected a place among peers, got ${index} of ${count}`);
  let total = 0;
  for (const { weight } of candidates) total += weight;
  const units = Math.min(count, Math.ceil((minimumSize * count) / candidates.length));
  // All lengths are in units of which the ring has `total * count`: whole numbers, so nothing is rounded.
  const ring = total * count;
  const begin = index * total;
  const end = begin + units * total;
  const slices: ApertureSlice<C>[] = [];
  let from = 0;
  for (const candidate of onTheRing(candidates)) {
    const length = candidate.weight * count;
    // The arc may go past the end of the ring, to its beginning.
    const covered =
      overlap(begin, end, from, from + length) + overlap(begin, end, from + ring, from + ring + length);
    if (covered > 0) slices.push({ candidate, share: covered / length });
    from += length;
  }
  return slices;
}

function onTheRing<C extends Pick<Candidate, "key">>(candidates: readonly C[]): readonly C[] {
  const hashes = Uint32Array.from(candidates, ({ key }) => hash32(key));
  const before = (one: number, other: number) => candidates[one]!.key < candidates[other]!.key;
  return Array.from(whole(orderByHash(hashes, before)).order, (i) => candidates[i]!);
}

function overlap(begin: number, end: number, from: number, until: number): number {
  return Math.max(0, Math.min(end, until) - Math.max(begin, from));
}

/** The place of a client that knows all of its peers, itself among them; each of them finds another. */
export function placeAmong(id: string, peers: readonly string[]): PeerPlace {
  const ids = new Set(peers).add(id);
  let index = 0;
  for (const peer of ids) if (peer < id) index++;
  return { index, count: ids.size };
}

/**
 * The place of a client that knows only itself. It does not depend on who comes and goes, but places are then spread by
 * chance, and loads differ as those of random subsets do.
 */
export function placeOfId(id: string): PeerPlace {
  return { index: hash32(id) >>> (32 - PLACE_BITS), count: 2 ** PLACE_BITS };
}

/** A million places: far more than clients, and few enough to leave 2^33 for the weights of all. */
const PLACE_BITS = 20;
