/**
 * What a connection has said so far, and whether the end of a head is in it.
 *
 * Not by putting all of it together with each packet: whoever sends a head of 64 KiB byte by byte would have 2 GiB copied and
 * searched. Room grows by doubling, and what has been searched is not searched again. One packet is copied once.
 */
/** An empty line, whoever has written it. */
const ENDS_OF_HEAD = ["\n\r\n", "\n\n"];
const MOST_END = 3;
/** What a request line has in it, and other protocols that begin in the same way have not. */
const VERSION = " HTTP/";
const NOTHING: Buffer = Buffer.alloc(0);

export class Gathered {
  #room: Buffer = NOTHING;
  #length = 0;
  #searched = 0;
  #isFirstLineKnown = false;

  get length(): number {
    return this.#length;
  }

  /** All of it; valid until more is added. */
  get bytes(): Buffer {
    return this.#room.subarray(0, this.#length);
  }

  /** Copies the first bytes of what has been read. */
  add(read: Buffer, length: number): void {
    const needed = this.#length + length;
    if (needed > this.#room.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, 2 * this.#length));
      this.#room.copy(grown, 0, 0, this.#length);
      this.#room = grown;
    }
    read.copy(this.#room, this.#length, 0, length);
    this.#length = needed;
  }

  /**
   * Whether there is nothing more to wait for in what has begun like HTTP: the empty line behind a head has come since this was
   * asked last, or the first line is no request line, after which nobody says when a head would be whole.
   */
  endsHead(): boolean {
    // The end may have begun with what was there before.
    const from = Math.max(0, this.#searched - (MOST_END - 1));
    this.#searched = this.#length;
    const fresh = this.#room.subarray(from, this.#length);
    if (!this.#isFirstLineKnown) {
      const end = fresh.indexOf("\n");
      if (end === -1) return false;
      this.#isFirstLineKnown = true;
      if (!this.#room.subarray(0, from + end).includes(VERSION)) return true;
    }
    return ENDS_OF_HEAD.some((end) => fresh.includes(end));
  }
}
