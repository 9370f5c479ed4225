/**
 * By hash, on a ring: each candidate holds as many points of it as its weight says, at hashes of its key, and a request
 * belongs to the next point from its own hash on. When a candidate goes, only its own keys move, to the next points.
 *
 * Choose it over Maglev where a moved key is dear, such as a cold cache: shares are uneven by one part in the root of the
 * points that each has, 3 % of them for 1024. (Karger and others, "Consistent Hashing and Random Trees", STOC 1997; the
 * points by weight are those of libketama, 2007, and of Envoy's `ring_hash`.)
 *
 * One thing differs from Envoy. There a ring is of the least size as long as each candidate has a point, so that all have
 * other numbers of points after every change, and keys move between candidates that stay. Here every unit of weight
 * has as many points as the least ring, and candidates that stay keep their keys, until the ring is of the greatest size.
 * Rounding to powers of two would keep them beyond it, but move half of all keys when sixteen become fifteen.
 */
import type { Random } from "../core/index.ts";
import type { Balancer, BalancingOptions, Candidate } from "./balancer.ts";
import { type Circle, circleBalancer } from "./circle.ts";
import { hash32, mix32 } from "./hash.ts";
import { inSlices, orderByHash, type Sliced } from "./hash-order.ts";
import { Loan, Shelf } from "./shelf.ts";

export type RingHashOptions = Pick<BalancingOptions, "minimumRingSize" | "maximumRingSize" | "loadFactor">;

/** Envoy's default; here also the points for a unit of weight. */
const MINIMUM_RING_SIZE = 1024;
/**
 * What a ring may be without being asked for: 3 MB, reached by 256 endpoints of weight 1. Envoy's default is its limit of
 * 8,388,608 points, which 100 endpoints of weight 100 would reach here.
 */
const MAXIMUM_RING_SIZE = 262_144;
/** Envoy's limit; a ring of that size takes 100 MB. */
const RING_SIZE_LIMIT = 8_388_608;

/** Which part of a point a key rounds up; nothing that a point of a ring is made of. */
const ROUNDING_SEED = 0x726f756e;

/** @param options `minimumRingSize` and `maximumRingSize` from 1 to 8,388,608; `loadFactor` above 1, see bounded-load.ts */
export function ringHashBalancer(random: Random, options: RingHashOptions = {}): Balancer {
  const { maximumRingSize = MAXIMUM_RING_SIZE, loadFactor } = options;
  const { minimumRingSize = Math.min(MINIMUM_RING_SIZE, maximumRingSize) } = options;
  if (!(minimumRingSize >= 1 && minimumRingSize <= maximumRingSize && maximumRingSize <= RING_SIZE_LIMIT))
    throw new RangeError(
      `expected 1 <= minimumRingSize <= maximumRingSize <= ${RING_SIZE_LIMIT}, got ${minimumRingSize} and ${maximumRingSize}`,
    );
  const shelf = new Shelf();
  const lay = (candidates: readonly Candidate[]) =>
    layRing(candidates, minimumRingSize, maximumRingSize, shelf);
  return circleBalancer(lay, random, loadFactor);
}

/**
 * @param candidates at least one
 * @param least the points for a unit of weight
 * @param most what the sum of them comes to where it would be more, but for rounding, and for the one that each has at least
 * @param shelf where the memory of rings that are not needed any more waits for the next
 */
export function* layRing(
  candidates: readonly Candidate[],
  least: number,
  most: number,
  shelf = new Shelf(),
): Sliced<Circle> {
  const loan = new Loan(shelf);
  try {
    const { seeds, counts, size } = yield* countPoints(candidates, least, most);
    const hashes = loan.take(size);
    const holders = loan.take(size);
    let index = -1;
    let seed = 0;
    let left = 0;
    yield* inSlices(size, (from, until) => {
      for (let i = from; i < until; i++) {
        if (left === 0) {
          left = counts[++index]!;
          seed = seeds[index]!;
        }
        // The last first: the points of a smaller number are among those of a greater.
        hashes[i] = mix32(seed, --left);
        holders[i] = index;
      }
    });
    const { order, starts, shift } = yield* orderByHash(
      hashes,
      (one, other) => candidates[holders[one]!]!.key < candidates[holders[other]!]!.key,
      (length) => loan.take(length),
    );
    const points = loan.take(size);
    // The order is not needed after this, so it becomes what it leads to.
    yield* inSlices(size, (from, until) => {
      for (let i = from; i < until; i++) {
        points[i] = hashes[order[i]!]!;
        order[i] = holders[order[i]!]!;
      }
    });
    for (const array of [points, order, starts]) loan.keep(array);
    return new Ring({ points, holders: order, starts, shift }, shelf);
  } finally {
    // Also where the ring is given up before it is laid, as the list has changed again.
    loan.end();
  }
}

/** How many points each candidate has, what they are made from, and how many there are of all. */
function* countPoints(
  candidates: readonly Candidate[],
  least: number,
  most: number,
): Sliced<{ seeds: Uint32Array; counts: Uint32Array; size: number }> {
  const total = candidates.reduce((sum, { weight }) => sum + weight, 0);
  const scale = Math.min(least, most / total);
  const seeds = new Uint32Array(candidates.length);
  const counts = new Uint32Array(candidates.length);
  let size = 0;
  yield* inSlices(candidates.length, (from, until) => {
    for (let i = from; i < until; i++) {
      const { key, weight } = candidates[i]!;
      seeds[i] = hash32(key);
      // Each key rounds at a point of its own: when the scale changes a little, a few lose a point, and not all at once.
      const rounding = mix32(ROUNDING_SEED, seeds[i]!) / 2 ** 32;
      counts[i] = Math.max(1, Math.floor(weight * scale + rounding));
      size += counts[i]!;
    }
  });
  return { seeds, counts, size };
}

interface Points {
  /** Ascending hashes. */
  readonly points: Uint32Array;
  readonly holders: Uint32Array;
  /** As in {@link orderByHash}. */
  readonly starts: Uint32Array;
  readonly shift: number;
}

class Ring implements Circle {
  readonly size: number;
  readonly #points: Uint32Array;
  readonly #holders: Uint32Array;
  readonly #starts: Uint32Array;
  readonly #shift: number;
  readonly #shelf: Shelf;

  constructor({ points, holders, starts, shift }: Points, shelf: Shelf) {
    this.size = points.length;
    this.#points = points;
    this.#holders = holders;
    this.#starts = starts;
    this.#shift = shift;
    this.#shelf = shelf;
  }

  /** The first point from the hash on: by binary search, in the few points of the bucket that the hash is in. */
  placeOf(hash: number): number {
    const bucket = hash >>> this.#shift;
    let low = this.#starts[bucket]!;
    let high = this.#starts[bucket + 1]!;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#points[middle]! < hash) low = middle + 1;
      else high = middle;
    }
    return low === this.size ? 0 : low;
  }

  holderOf(place: number): number {
    return this.#holders[place]!;
  }

  release(): void {
    for (const array of [this.#points, this.#holders, this.#starts]) this.#shelf.give(array);
  }
}
