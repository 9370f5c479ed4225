/**
 * Hashes put in order, in time that grows with their number and not faster, and in slices.
 *
 * Hashes are spread evenly, so a bucket for each range of them, as many buckets as half of the hashes, holds a few:
 * the buckets are in order by themselves, and within them little is left to do. The sort of the platform needs four
 * times as long with a comparison, and cannot be interrupted. (Bucket sort; Knuth, volume 3, 5.2.5.)
 */

/** Makes an array of that many items of 32 bits, with anything in it. */
export type TakeMemory = (length: number) => Uint32Array;

/** Work in pieces: whoever runs it decides when the next piece is done. */
export type Sliced<T> = Generator<undefined, T, undefined>;

/** How many items are worked on between two breaks; about a fifth of a millisecond. */
const ITEMS_IN_A_SLICE = 32_768;

/** Calls `work` for [0, count) in parts, with a break after each. */
export function* inSlices(count: number, work: (from: number, until: number) => void): Sliced<void> {
  for (let from = 0; from < count; from += ITEMS_IN_A_SLICE) {
    work(from, Math.min(from + ITEMS_IN_A_SLICE, count));
    yield;
  }
}

/** Does all pieces at once. */
export function whole<T>(sliced: Sliced<T>): T {
  for (;;) {
    const step = sliced.next();
    if (step.done) return step.value;
  }
}

export interface HashOrder {
  /** The places of the hashes in the list that was given, by ascending hash. */
  readonly order: Uint32Array;
  /** Where in `order` each bucket begins, and where the last one ends. */
  readonly starts: Uint32Array;
  /** `hash >>> shift` is the bucket of a hash. */
  readonly shift: number;
}

/**
 * @param hashes each 32 bits without sign
 * @param before decides between two places whose hashes are equal, so that the order does not depend on that of the list
 * @param take makes the arrays of the result; undefined for fresh memory
 */
export function* orderByHash(
  hashes: Uint32Array,
  before: (one: number, other: number) => boolean,
  take: TakeMemory = (length) => new Uint32Array(length),
): Sliced<HashOrder> {
  const count = hashes.length;
  // A shift by 32 would be one by 0.
  const shift = Math.min(31, Math.clz32(count) + 1);
  // One further on than it will be: where a bucket begins moves on to where it ends, which is where the next begins.
  const starts = take((0xffffffff >>> shift) + 3).fill(0);
  yield* inSlices(count, (from, until) => {
    for (let i = from; i < until; i++) starts[(hashes[i]! >>> shift) + 2]!++;
  });
  yield* inSlices(starts.length - 1, (from, until) => {
    for (let bucket = from; bucket < until; bucket++) starts[bucket + 1]! += starts[bucket]!;
  });
  const order = take(count);
  yield* inSlices(count, (from, until) => {
    for (let i = from; i < until; i++) order[starts[(hashes[i]! >>> shift) + 1]!++] = i;
  });
  // Nothing leaves its bucket here, so the way back is short.
  yield* inSlices(count, (from, until) => {
    for (let i = from; i < until; i++) {
      const moved = order[i]!;
      const hash = hashes[moved]!;
      let at = i;
      for (; at > 0; at--) {
        const other = order[at - 1]!;
        if (hashes[other]! < hash || (hashes[other] === hash && !before(moved, other))) break;
        order[at] = other;
      }
      order[at] = moved;
    }
  });
  return { order, starts, shift };
}
