/**
 * The chunked coding (RFC 9112, 7.1) as a table-free state machine over bytes.
 *
 * Data is handed on as slices of what came in. Extensions are checked and dropped: they are defined for one hop
 * only, and what a next reader makes of them has been a way to smuggle.
 */
import { MessageFault } from "./fault.ts";
import { CHUNK_LINE_BYTES } from "./limits.ts";

type State = "size" | "extension" | "size-lf" | "data" | "data-cr" | "data-lf" | "last";

const CR = 13;
const LF = 10;
const SEMICOLON = 59;

/** Told where the data is; small chunks have been moved together where they lay. */
export interface ChunkEvents {
  onData(bytes: Buffer, start: number, end: number): void;
}

export class ChunkedReader {
  #state: State = "size";
  #sizeBytes = 0;
  #digits = 0;
  #lineBytes = 0;

  reset(): void {
    this.#state = "size";
    this.#sizeBytes = 0;
    this.#digits = 0;
    this.#lineBytes = 0;
  }

  /** The line of the last chunk has been read; what follows is the trailer section. */
  get atTrailers(): boolean {
    return this.#state === "last";
  }

  /**
   * Reads bytes[offset, limit) until they are used up or the last chunk has been read; returns the new offset.
   * @throws MessageFault
   */
  read(bytes: Buffer, offset: number, limit: number, events: ChunkEvents): number {
    let position = offset;
    let start = offset;
    let end = offset;
    try {
      while (position < limit && this.#state !== "last") {
        if (this.#state === "data") {
          const pieceEnd = Math.min(limit, position + this.#sizeBytes);
          this.#sizeBytes -= pieceEnd - position;
          if (this.#sizeBytes === 0) this.#state = "data-cr";
          if (start === end) start = end = position;
          else bytes.copyWithin(end, position, pieceEnd);
          end += pieceEnd - position;
          position = pieceEnd;
        } else {
          this.#step(bytes[position++]!);
        }
      }
    } finally {
      // Also before a fault: what came before it does not depend on the packets.
      if (end > start) events.onData(bytes, start, end);
    }
    return position;
  }

  #step(byte: number): void {
    switch (this.#state) {
      case "size":
        this.#countLine();
        this.#sizeByte(byte);
        return;
      case "extension":
        this.#countLine();
        if (byte === CR) this.#state = "size-lf";
        else if ((byte < 32 && byte !== 9) || byte === 127)
          throw new MessageFault("malformed_chunk_extension");
        return;
      case "size-lf":
        if (byte !== LF) throw new MessageFault("malformed_chunk_size");
        this.#state = this.#sizeBytes === 0 ? "last" : "data";
        return;
      case "data-cr":
        if (byte !== CR) throw new MessageFault("malformed_chunk_end");
        this.#state = "data-lf";
        return;
      case "data-lf":
        if (byte !== LF) throw new MessageFault("malformed_chunk_end");
        this.reset();
        return;
    }
  }

  #sizeByte(byte: number): void {
    const digit = hexDigit(byte);
    if (digit !== -1) {
      // 12 hexadecimal digits are 256 TiB; more is an attempt at an overflow.
      if (++this.#digits > 12) throw new MessageFault("malformed_chunk_size");
      this.#sizeBytes = this.#sizeBytes * 16 + digit;
    } else if (this.#digits === 0) {
      throw new MessageFault("malformed_chunk_size");
    } else if (byte === CR) {
      this.#state = "size-lf";
    } else if (byte === SEMICOLON) {
      this.#state = "extension";
    } else {
      throw new MessageFault("malformed_chunk_size");
    }
  }

  #countLine(): void {
    if (++this.#lineBytes > CHUNK_LINE_BYTES) throw new MessageFault("chunk_line_too_long");
  }
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const lower = byte | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}
