/**
 * Gathers bytes until an empty line. In the usual case the whole block is in one packet and nothing is copied.
 *
 * Every byte is looked at a bounded number of times, however small the packets are, and a fault is found at the
 * same byte, with the same reason, wherever the bytes were split: a block is judged as a whole, and a block that
 * cannot become right any more is refused before its end comes.
 */
import { MessageFault } from "./fault.ts";
import { assertCleanBlock } from "./grammar.ts";
import { HeadBlock } from "./head-block.ts";
import type { MessageLimits } from "./limits.ts";

const END = Buffer.from("\r\n\r\n");
const CARRIAGE_RETURN = 13;
/**
 * One for all connections: a block is read and understood in one go, and ten thousand callers with nothing to say would
 * otherwise each keep their own.
 */
const BLOCK = new HeadBlock();
/** A connection keeps its buffer for the next head only when it is small. */
const KEPT_BYTES = 4096;

export class BlockReader {
  readonly #limitBytes: number;
  #gathered: Buffer | undefined;
  #length = 0;
  #trailers = false;
  readonly #maxFields: number;

  constructor(limits: Pick<MessageLimits, "headBytes" | "fieldCount">) {
    this.#limitBytes = limits.headBytes;
    this.#maxFields = limits.fieldCount;
  }

  /** What `read` has found; valid until the next read of any reader. */
  get block(): HeadBlock {
    return BLOCK;
  }

  /** Starts a block that follows a line already consumed, so that an empty line right away ends it. */
  startAfterLine(): void {
    this.#trailers = true;
    this.#append(END.subarray(0, 2));
  }

  /**
   * Reads chunk[offset, limit). Returns the offset after the empty line, or -1 when more bytes are needed.
   * @throws MessageFault
   */
  read(chunk: Buffer, offset: number, limit: number): number {
    if (this.#length === 0) {
      const end = BLOCK.scan(chunk, offset, limit, false, this.#maxFields);
      if (end !== -1) {
        if (end - 2 - offset > this.#limitBytes) this.#refuseTooLarge(chunk, offset);
        return end;
      }
    }
    const before = this.#length;
    // Never more than the limit is copied, so a peer cannot make heddle hold more.
    const room = this.#limitBytes + END.length - before;
    const taken = chunk.subarray(offset, Math.min(limit, offset + room));
    this.#append(taken);
    const gathered = this.#gathered!.subarray(0, this.#length);
    const end = gathered.indexOf(END, Math.max(0, before - 3));
    if (end !== -1) {
      this.#length = 0;
      this.#finish(gathered, end + 2);
      return offset + (end + 4 - before);
    }
    this.#refuseHopeless(gathered, before);
    return -1;
  }

  /** @param end behind the CRLF of the last line */
  #finish(bytes: Buffer, end: number): void {
    if (end > this.#limitBytes) this.#refuseTooLarge(bytes, 0);
    const trailers = this.#trailers;
    this.#trailers = false;
    if (BLOCK.scan(bytes, 0, bytes.length, trailers, this.#maxFields) === -1)
      BLOCK.refuse(bytes.toString("latin1", 0, end), 0);
    if (this.#gathered!.length > KEPT_BYTES) this.#gathered = undefined;
  }

  #refuseHopeless(gathered: Buffer, before: number): void {
    // What came before was judged already, but for a CR at its end, which must now see its LF.
    const from = before > 0 && gathered[before - 1] === CARRIAGE_RETURN ? before - 1 : before;
    const text = gathered.toString("latin1", from, Math.min(gathered.length, this.#limitBytes));
    assertCleanBlock(withoutOpenEnd(text));
    if (this.#tooLarge(gathered)) this.#refuseTooLarge(gathered, 0);
  }

  /** The limit is on the block; the CR of the empty line after it may come one byte above. */
  #tooLarge(gathered: Buffer): boolean {
    const above = gathered.length - this.#limitBytes;
    return above > 1 || (above === 1 && gathered.toString("latin1", this.#limitBytes - 2) !== "\r\n\r");
  }

  #refuseTooLarge(bytes: Buffer, start: number): never {
    const beginning = bytes.toString("latin1", start, start + this.#limitBytes);
    assertCleanBlock(withoutOpenEnd(beginning));
    throw new MessageFault(beginning.includes("\r\n") ? "head_too_large" : "start_line_too_long");
  }

  #append(bytes: Buffer): void {
    const needed = this.#length + bytes.length;
    if (this.#gathered === undefined || this.#gathered.length < needed) {
      const grown = Buffer.allocUnsafeSlow(Math.max(1024, needed, (this.#gathered?.length ?? 0) * 2));
      this.#gathered?.copy(grown, 0, 0, this.#length);
      this.#gathered = grown;
    }
    bytes.copy(this.#gathered, this.#length);
    this.#length = needed;
  }
}

/** A CR at the very end may still get its LF. */
function withoutOpenEnd(text: string): string {
  return text.charCodeAt(text.length - 1) === CARRIAGE_RETURN ? text.slice(0, -1) : text;
}
