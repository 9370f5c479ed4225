/**
 * Memory that is used again: large arrays of numbers, whose owner says when they are not needed any more.
 *
 * Not left to the collection of garbage, as all else is. Arrays of a megabyte come fresh from the kernel and go back to
 * it, by a thread that stops whoever touches new memory meanwhile: where a list of thousands changed each second, one
 * change in fifty held a sidecar up for 5 to 12 ms, and none with memory that stayed.
 */

/** Smaller ones are not worth it: they come from memory that the process has. */
const LEAST_ITEMS = 8192;
/** Of larger ones, 4 MiB each, those that wait would be missed elsewhere. */
const MOST_ITEMS = 1_048_576;
/** How many wait: those of a ring that has been replaced, and those that it takes to lay the next one. */
const MOST_WAITING = 6;
/** So that the array of a list that is a little longer finds room in that of the one before. */
const ROOM = 1 / 16;

export class Shelf {
  readonly #waiting: Uint32Array<ArrayBuffer>[] = [];

  /**
   * An array of that length, with anything in it.
   * @param length in items of 32 bits
   */
  take(length: number): Uint32Array {
    if (length < LEAST_ITEMS || length > MOST_ITEMS) return new Uint32Array(length);
    const place = this.#waiting.findIndex((array) => array.length >= length);
    const [array] =
      place < 0 ? [new Uint32Array(Math.ceil(length * (1 + ROOM)))] : this.#waiting.splice(place, 1);
    return array!.subarray(0, length);
  }

  /** @param array one that was taken here, and that nobody reads or writes from now on */
  give(array: Uint32Array): void {
    const { length } = array;
    if (length < LEAST_ITEMS || length > MOST_ITEMS || this.#waiting.length >= MOST_WAITING) return;
    this.#waiting.push(new Uint32Array(array.buffer as ArrayBuffer));
  }
}

/** What one piece of work takes from a shelf: at its end, however it ends, all goes back but for what is to stay. */
export class Loan {
  readonly #shelf: Shelf;
  readonly #taken = new Set<Uint32Array>();

  constructor(shelf: Shelf) {
    this.#shelf = shelf;
  }

  /** As {@link Shelf.take}. */
  take(length: number): Uint32Array {
    const array = this.#shelf.take(length);
    this.#taken.add(array);
    return array;
  }

  /** From now on it is the caller's to give back. */
  keep(array: Uint32Array): void {
    this.#taken.delete(array);
  }

  end(): void {
    for (const array of this.#taken) this.#shelf.give(array);
    this.#taken.clear();
  }
}
