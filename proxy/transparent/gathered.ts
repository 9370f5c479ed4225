/**
 * What a connection has said so far, and whether the end of a head is in it.
 *
 * Not by putting all of it together with each packet: whoever sends a head of 64 KiB byte by byte would have 2 GiB copied and
 * searched. Room grows by doubling, and what has been searched is not searched again. One packet is copied once.
 */
const END_OF_HEAD = "\r\n\r\n";
const NOTHING: Buffer = Buffer.alloc(0);

export class Gathered {
  #room: Buffer = NOTHING;
  #length = 0;
  #searched = 0;

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

  /** Whether an empty line has come since this was asked last. */
  endsHead(): boolean {
    // The end may have begun with what was there before.
    const from = Math.max(0, this.#searched - (END_OF_HEAD.length - 1));
    this.#searched = this.#length;
    return this.#room.subarray(from, this.#length).includes(END_OF_HEAD);
  }
}
