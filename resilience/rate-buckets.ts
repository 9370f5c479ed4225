/**
 * The buckets of a rate limit, one for each key, in memory that all workers share: a limit is one limit however many threads there
 * are. Divided among them it would be none: a caller keeps its connection, the kernel gives each connection to one thread, so a caller
 * with one connection would get a part of its due and one with many all of it.
 *
 * Keys come from callers, so there is room for a fixed number of buckets and nothing is ever allocated. A key may be in any of eight
 * places, which its hash under a secret seed names. A new key takes the place of the bucket that is full, or will be soonest. A full
 * one loses nothing by that. Where none is full, it is the one that has been used least: whoever floods the table with keys
 * pushes out keys of his own, used once, while a bucket that is nearly empty stays. To have a bucket forgotten, all others of
 * its eight would have to be used more than it. Not the least recently used, which a flood of fresh keys pushes out one and all, busy
 * ones that have paused for a moment first; and a newcomer is never refused for want of room.
 *
 * Eight places are guarded by a word that says whether somebody is at work there. The work takes less than a microsecond; who has waited
 * for much longer goes on without: the other one was interrupted, or has ended in the middle, and to let one request too many pass is
 * better than to stand still.
 */
import type { Random } from "../core/index.ts";
import { KeyedHash } from "./keyed-hash.ts";
import type { RateLimit } from "./rate-limit.ts";

const PLACES = 8;
/** Twice as many places as keys, since keys do not spread evenly: of eight places four are taken, and hardly ever nine wanted. */
const ROOM = 2;
const SEED_WORDS = 2;
/** Some ten microseconds. */
const PATIENCE = 2_000;

/** Memory for the buckets of so many keys. @param random for the seed, which nobody must know */
export function rateCounts(maxKeys: number, random: Random): SharedArrayBuffer {
  const groups = groupsFor(maxKeys);
  const counts = new SharedArrayBuffer(layout(groups).end);
  const seed = new Int32Array(counts, 0, SEED_WORDS);
  for (let i = 0; i < SEED_WORDS; i++) seed[i] = Math.floor(random.next() * 2 ** 32) | 0;
  return counts;
}

export class RateBuckets {
  /** What was found when the last request was decided: when its bucket will be full. */
  fullAtMs = 0;
  readonly #limit: RateLimit;
  readonly #groups: number;
  readonly #hash: KeyedHash;
  readonly #fullAtMs: Float64Array;
  /** Two words for each place: the hash of its key. */
  readonly #keys: Int32Array;
  /** 1 while somebody is at work there. */
  readonly #busy: Int32Array;

  /** @param counts made by `rateCounts` for as many keys */
  constructor(limit: RateLimit, maxKeys: number, counts: SharedArrayBuffer) {
    this.#limit = limit;
    this.#groups = groupsFor(maxKeys);
    const at = layout(this.#groups);
    const [low, high] = new Int32Array(counts, 0, SEED_WORDS);
    this.#hash = new KeyedHash(low!, high!);
    this.#fullAtMs = new Float64Array(counts, at.fullAtMs, this.#groups * PLACES);
    this.#keys = new Int32Array(counts, at.keys, this.#groups * PLACES * 2);
    this.#busy = new Int32Array(counts, at.busy, this.#groups);
  }

  /** Whether a request with this key is admitted; if so, it is counted. */
  take(key: string, nowMs: number): boolean {
    const group = this.#enter(key);
    const place = this.#placeOf(group);
    const fullAtMs = this.#limit.believed(this.#fullAtMs[place]!, nowMs);
    const admitted = this.#limit.admits(fullAtMs, nowMs);
    this.fullAtMs = admitted ? this.#limit.taken(fullAtMs, nowMs) : fullAtMs;
    this.#fullAtMs[place] = this.fullAtMs;
    this.#leave(group);
    return admitted;
  }

  /** What was taken for a request is given back, as somebody else has refused it. */
  giveBack(key: string): void {
    const group = this.#enter(key);
    const place = this.#placeOf(group);
    this.#fullAtMs[place] = this.#limit.givenBack(this.#fullAtMs[place]!);
    this.#leave(group);
  }

  #enter(key: string): number {
    this.#hash.of(key);
    const group = (this.#hash.low >>> 0) % this.#groups;
    for (let turn = 0; turn < PATIENCE; turn++)
      if (Atomics.compareExchange(this.#busy, group, 0, 1) === 0) break;
    return group;
  }

  #leave(group: number): void {
    Atomics.store(this.#busy, group, 0);
  }

  /** The place of the key whose hash has been taken; one that has none gets one. */
  #placeOf(group: number): number {
    const { low, high } = this.#hash;
    const first = group * PLACES;
    let soonest = first;
    for (let place = first; place < first + PLACES; place++) {
      if (this.#keys[2 * place] === low && this.#keys[2 * place + 1] === high) return place;
      if (this.#fullAtMs[place]! < this.#fullAtMs[soonest]!) soonest = place;
    }
    this.#keys[2 * soonest] = low;
    this.#keys[2 * soonest + 1] = high;
    this.#fullAtMs[soonest] = 0;
    return soonest;
  }
}

function groupsFor(maxKeys: number): number {
  return Math.ceil((maxKeys * ROOM) / PLACES);
}

/** Where what begins, in bytes; the numbers of eight bytes first, as they must begin at a multiple of that. */
function layout(groups: number) {
  const fullAtMs = SEED_WORDS * Int32Array.BYTES_PER_ELEMENT;
  const keys = fullAtMs + groups * PLACES * Float64Array.BYTES_PER_ELEMENT;
  const busy = keys + groups * PLACES * 2 * Int32Array.BYTES_PER_ELEMENT;
  return { fullAtMs, keys, busy, end: busy + groups * Int32Array.BYTES_PER_ELEMENT };
}
