/**
 * The HTTP/1.x codec's reading half: bytes in, events out. It never touches a socket and keeps no clock, so
 * every message can be tried at every split of its bytes.
 *
 * Its law: `execute` stops at the end of a message and says how far it came, so that what follows (a pipelined
 * request, or bytes nobody asked for) is the connection's decision. After a MessageFault it must not be fed again.
 */
import { BlockReader } from "./block-reader.ts";
import { ChunkedReader } from "./chunked-reader.ts";
import { MessageFault } from "./fault.ts";
import { readFields } from "./fields.ts";
import { CHUNKED, type Framing, UNTIL_CLOSE } from "./framing.ts";
import type { HeadBlock } from "./head-block.ts";
import { INTERIM_COUNT, type MessageLimits } from "./limits.ts";

/** What the parser asks of a head, whichever way the message goes. */
export interface ParsedHead {
  readonly framing: Framing;
  /** A 1xx response: another head follows. */
  readonly interim?: boolean;
}

export interface MessageEvents<Head extends ParsedHead> {
  onHead(head: Head): void;
  /** Where in what was fed in there is data: not copied, but small chunks have been moved together where they lay. */
  onData(bytes: Buffer, start: number, end: number): void;
  /** `trailers` are flat pairs. */
  onEnd(trailers: readonly string[]): void;
}

type State =
  | "start"
  | "leading-lf"
  | "after-empty-line"
  | "head"
  | "length"
  | "chunked"
  | "trailers"
  | "until-close";

const NO_TRAILERS: readonly string[] = [];
const CR = 13;
const LF = 10;

export class MessageParser<Head extends ParsedHead> {
  readonly #parseHead: (block: HeadBlock) => Head;
  readonly #events: MessageEvents<Head>;
  readonly #block: BlockReader;
  /** Made with the first body that needs it. */
  #chunked: ChunkedReader | undefined = undefined;
  #state: State = "start";
  #remainingBytes = 0;
  #interims = 0;

  constructor(parseHead: (block: HeadBlock) => Head, limits: MessageLimits, events: MessageEvents<Head>) {
    this.#parseHead = parseHead;
    this.#events = events;
    this.#block = new BlockReader(limits);
  }

  /** No byte of a next message has been read, but perhaps the empty line that old clients send after a body. */
  get idle(): boolean {
    return this.#state === "start" || this.#state === "after-empty-line";
  }

  /**
   * Reads bytes[start, end) to the end of the message or of the bytes; returns the offset reached.
   * @throws MessageFault
   */
  execute(bytes: Buffer, start: number, end: number): number {
    let position = start;
    while (position < end) {
      switch (this.#state) {
        case "start":
          // RFC 9112, 2.2: one empty line before a message is ignored, for the sake of old clients.
          if (bytes[position] === CR) {
            position++;
            this.#state = "leading-lf";
            break;
          }
          this.#state = "head";
          break;
        case "leading-lf":
          if (bytes[position++] !== LF) throw new MessageFault("bare_carriage_return");
          this.#state = "after-empty-line";
          break;
        case "after-empty-line":
          this.#state = "head";
          break;
        case "head": {
          const headEnd = this.#block.read(bytes, position, end);
          if (headEnd === -1) return end;
          position = headEnd;
          if (this.#startBody(this.#parseHead(this.#block.block))) return position;
          break;
        }
        case "length": {
          const dataEnd = Math.min(end, position + this.#remainingBytes);
          this.#remainingBytes -= dataEnd - position;
          this.#events.onData(bytes, position, dataEnd);
          position = dataEnd;
          if (this.#remainingBytes === 0) {
            this.#end(NO_TRAILERS);
            return position;
          }
          break;
        }
        case "chunked":
          position = this.#chunked!.read(bytes, position, end, this.#events);
          if (this.#chunked!.atTrailers) {
            this.#block.startAfterLine();
            this.#state = "trailers";
          }
          break;
        case "trailers": {
          const trailersEnd = this.#block.read(bytes, position, end);
          if (trailersEnd === -1) return end;
          this.#end(parseTrailers(this.#block.block));
          return trailersEnd;
        }
        case "until-close":
          this.#events.onData(bytes, position, end);
          return end;
      }
    }
    return position;
  }

  /** The peer has closed its side. True when that ended a message; false when it cut one off, or came between two. */
  finish(): boolean {
    if (this.#state !== "until-close") return false;
    this.#end(NO_TRAILERS);
    return true;
  }

  /** Returns true when the message is complete with its head. */
  #startBody(head: Head): boolean {
    const framing = head.framing;
    if (head.interim === true) {
      if (++this.#interims > INTERIM_COUNT) throw new MessageFault("too_many_interims");
      this.#state = "start";
      this.#events.onHead(head);
      return false;
    }
    this.#interims = 0;
    // The state is set before the event: a listener may ask for it.
    if (framing === CHUNKED) {
      this.#chunked ??= new ChunkedReader();
      this.#chunked.reset();
      this.#state = "chunked";
    } else if (framing === UNTIL_CLOSE) {
      this.#state = "until-close";
    } else {
      this.#remainingBytes = framing;
      this.#state = "length";
    }
    this.#events.onHead(head);
    if (framing !== 0) return false;
    this.#end(NO_TRAILERS);
    return true;
  }

  #end(trailers: readonly string[]): void {
    this.#state = "start";
    this.#events.onEnd(trailers);
  }
}

// RFC 9110, 6.5.1. Whoever merges trailers into the header list would believe these.
const NO_TRAILER =
  /^(?:content-.*|cache-control|range|max-forwards|authorization|proxy-authorization|cookie|set-cookie|via|forwarded|x-forwarded-.*|x-real-ip|x-heddle-.*|x-request-id)$/i;

/** Fields that decide about framing, routing, trust or the connection have no business after the body. */
function parseTrailers(block: HeadBlock): readonly string[] {
  if (block.fieldCount === 0) return NO_TRAILERS;
  const { pairs, ...hop } = readFields(block);
  const { contentLength, transferEncoding, host, connection, expect } = hop;
  for (const forbidden of [contentLength, transferEncoding, host, connection, expect])
    if (forbidden !== undefined) throw new MessageFault("forbidden_trailer");
  for (let i = 0; i < pairs.length; i += 2)
    if (NO_TRAILER.test(pairs[i]!)) throw new MessageFault("forbidden_trailer");
  return pairs;
}
