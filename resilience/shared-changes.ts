/**
 * What caches of the same answers, one in each worker, tell each other: that a place was changed, or that a question has another
 * answer now. It is a log in memory that all of them share.
 *
 * Not messages: those come when a thread gets round to them, and until then it would show what another one knows to be gone. Here a
 * change is in the log before its own caller hears of it, and each cache reads on before it keeps or shows anything.
 *
 * Places and questions are known by 64 bits of their hash, so that an entry has a fixed size, and the log is written in a circle.
 * Who has not looked for a whole round, or comes upon an entry that is being written, cannot know what he has missed: he is told
 * that everything may have changed. So nobody waits for anybody, also not for a thread that has ended in the middle.
 */
import type { Random } from "../core/index.ts";
import { KeyedHash } from "./keyed-hash.ts";

/** What a cache is told. Marks are what `markOf` says of a text. */
export interface ChangeListener {
  /** @param question undefined for all that is known of the place */
  changed(place: string, question: string | undefined): void;
  /** Anything may have been changed. */
  lostTrack(): void;
}

/** Of changes, in one round; a power of two. */
const ENTRIES = 4096;
/** A seal, and the hashes of a place and of a question; where the whole place is meant, that of the place again. */
const ENTRY_WORDS = 5;
/** How many changes there have been, and the seed. */
const COUNT = 0;
const SEED = 1;
const SEED_WORDS = 2;
const FIRST = SEED + SEED_WORDS;

/** Memory for the log of caches that keep the same answers. @param random for the seed, which nobody must know */
export function sharedChanges(random: Random): SharedArrayBuffer {
  const words = new Int32Array(
    new SharedArrayBuffer((FIRST + ENTRIES * ENTRY_WORDS) * Int32Array.BYTES_PER_ELEMENT),
  );
  for (let i = 0; i < SEED_WORDS; i++) words[SEED + i] = Math.floor(random.next() * 2 ** 32) | 0;
  return words.buffer;
}

export class SharedChanges {
  readonly #words: Int32Array;
  readonly #hash: KeyedHash;
  readonly #listener: ChangeListener;
  /** The first change that has not been read. */
  #next: number;

  /** @param memory made by `sharedChanges` */
  constructor(memory: SharedArrayBuffer, listener: ChangeListener) {
    this.#words = new Int32Array(memory);
    this.#hash = new KeyedHash(this.#words[SEED]!, this.#words[SEED + 1]!);
    this.#listener = listener;
    this.#next = Atomics.load(this.#words, COUNT);
  }

  markOf(text: string): string {
    this.#hash.of(text);
    return mark(this.#hash.low, this.#hash.high);
  }

  /** Tells all others, and also whoever tells it. @param question that has another answer; all of the place unless it is given */
  tell(place: string, question: string = place): void {
    const words = this.#words;
    this.#hash.of(place);
    const { low, high } = this.#hash;
    this.#hash.of(question);
    const at = Atomics.add(words, COUNT, 1);
    const entry = entryOf(at);
    // Of no entry at all while it is being written.
    Atomics.store(words, entry, ~sealOf(at));
    Atomics.store(words, entry + 1, low);
    Atomics.store(words, entry + 2, high);
    Atomics.store(words, entry + 3, this.#hash.low);
    Atomics.store(words, entry + 4, this.#hash.high);
    Atomics.store(words, entry, sealOf(at));
  }

  /** Reads what has been told since it was read last. */
  readOn(): void {
    const end = Atomics.load(this.#words, COUNT);
    // The count may have gone round its 32 bits; a difference has not.
    if (((end - this.#next) | 0) > ENTRIES) this.#skipTo(end);
    else while (this.#next !== end) if (!this.#readNext()) this.#skipTo(end);
  }

  #readNext(): boolean {
    const words = this.#words;
    const entry = entryOf(this.#next);
    const seal = sealOf(this.#next);
    if (Atomics.load(words, entry) !== seal) return false;
    const place = mark(Atomics.load(words, entry + 1), Atomics.load(words, entry + 2));
    const question = mark(Atomics.load(words, entry + 3), Atomics.load(words, entry + 4));
    // Somebody who is a round ahead may have begun to write over it.
    if (Atomics.load(words, entry) !== seal) return false;
    this.#next = (this.#next + 1) | 0;
    this.#listener.changed(place, question === place ? undefined : question);
    return true;
  }

  #skipTo(end: number): void {
    this.#next = end;
    this.#listener.lostTrack();
  }
}

function entryOf(at: number): number {
  return FIRST + (at & (ENTRIES - 1)) * ENTRY_WORDS;
}

/** Not what is there before anything is written. */
function sealOf(at: number): number {
  return (at + 1) | 0;
}

function mark(low: number, high: number): string {
  return `${low} ${high}`;
}
