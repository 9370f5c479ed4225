/**
 * Feeds the codec pieces of bytes as a connection would, and writes down all that it says.
 *
 * Data events that follow each other are joined and every end carries its offset in the whole, so that the record
 * does not show where the bytes were split: two readings of the same bytes must give equal records. After each
 * call the piece is overwritten, as the buffer of a socket would be, and every second piece begins behind bytes
 * that are not its own, so that a codec which keeps a slice or looks before its offset gives itself away.
 */
import type { Random } from "../../core/index.ts";
import {
  DEFAULT_LIMITS,
  type FaultReason,
  type MessageEvents,
  MessageFault,
  type MessageLimits,
  MessageParser,
  type ParsedRequest,
  type ParsedResponse,
  parseRequestHead,
  parseResponseHead,
} from "../../proxy/http1/index.ts";

export type CodecEvent =
  | { readonly on: "head"; readonly head: ParsedRequest | ParsedResponse }
  | { readonly on: "data"; readonly bytes: string }
  /** `at` is how far execute said it had come. */
  | { readonly on: "end"; readonly trailers: readonly string[]; readonly at: number }
  | { readonly on: "fault"; readonly reason: FaultReason }
  /** The bytes are over. `ended`: that was the end of a message. `idle`: no message had begun. */
  | { readonly on: "close"; readonly ended: boolean; readonly idle: boolean };

export type Reading = (pieces: readonly Buffer[]) => readonly CodecEvent[];

export function requests(limits: MessageLimits = DEFAULT_LIMITS): Reading {
  return (pieces) =>
    record(pieces, (events) => new MessageParser((text) => parseRequestHead(text, limits), limits, events));
}

/** Answers to requests of these methods, in this order; the last one stands for all that follow. */
export function responses(methods: readonly string[], limits: MessageLimits = DEFAULT_LIMITS): Reading {
  return (pieces) => {
    let answered = 0;
    const method = () => methods[Math.min(answered, methods.length - 1)]!;
    return record(pieces, (events) => {
      const counting: MessageEvents<ParsedResponse> = {
        ...events,
        onEnd(trailers) {
          answered++;
          events.onEnd(trailers);
        },
      };
      return new MessageParser((text) => parseResponseHead(text, limits, method()), limits, counting);
    });
  };
}

type Events = MessageEvents<ParsedRequest | ParsedResponse>;

interface AnyParser {
  readonly idle: boolean;
  execute(bytes: Buffer, start: number, end: number): number;
  finish(): boolean;
}

const NOT_ITS_OWN = Buffer.from("\r\n", "latin1");

function record(pieces: readonly Buffer[], create: (events: Events) => AnyParser): readonly CodecEvent[] {
  const seen: CodecEvent[] = [];
  let ended: readonly string[] | undefined;
  const add = (event: CodecEvent) => {
    if (ended !== undefined) throw new Error(`"${event.on}" after the end of a message, in the same call`);
    seen.push(event);
  };
  const parser = create({
    onHead: (head) => add({ on: "head", head: { ...head, headers: [...head.headers] } }),
    onData(bytes, start, end) {
      const data = bytes.subarray(start, end);
      const last = seen.at(-1);
      if (data.length === 0) throw new Error("an empty piece of data");
      if (last?.on !== "data") add({ on: "data", bytes: data.toString("latin1") });
      else seen[seen.length - 1] = { on: "data", bytes: last.bytes + data.toString("latin1") };
    },
    onEnd(trailers) {
      if (ended !== undefined) throw new Error("two ends in one call");
      ended = [...trailers];
    },
  });
  const settleEnd = (at: number) => {
    if (ended === undefined) return;
    seen.push({ on: "end", trailers: ended, at });
    ended = undefined;
  };
  let before = 0;
  try {
    for (const [index, piece] of pieces.entries()) {
      const start = index % 2 === 0 ? 0 : NOT_ITS_OWN.length;
      // And bytes behind it that are not its own either.
      const bytes = Buffer.concat([NOT_ITS_OWN.subarray(0, start), piece, NOT_ITS_OWN, NOT_ITS_OWN]);
      const end = start + piece.length;
      let offset = start;
      while (offset < end) {
        const reached = parser.execute(bytes, offset, end);
        if (reached <= offset || reached > end) throw new Error(`from ${offset} to ${reached}`);
        if (reached < end && ended === undefined) throw new Error("stopped before an end");
        offset = reached;
        settleEnd(before + offset - start);
      }
      bytes.fill(0x7f);
      before += piece.length;
    }
  } catch (thrown) {
    if (!(thrown instanceof MessageFault)) throw thrown;
    seen.push({ on: "fault", reason: thrown.reason });
    return seen;
  }
  const idle = parser.idle;
  const byClosing = parser.finish();
  settleEnd(before);
  seen.push({ on: "close", ended: byClosing, idle });
  return seen;
}

/** One character of `text` is one byte. */
export function wire(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

/** Start line and field lines, each ended, and the empty line. */
export function block(...lines: readonly string[]): string {
  return `${lines.join("\r\n")}\r\n\r\n`;
}

/** `bytes` cut before each of these offsets, which are in order. */
export function cutAt(bytes: Buffer, offsets: readonly number[]): readonly Buffer[] {
  const bounds = [0, ...offsets, bytes.length];
  return bounds.slice(1).map((end, index) => bytes.subarray(bounds[index]!, end));
}

/** Offsets for at most `most` cuts, in order. */
export function randomCuts(length: number, most: number, random: Random): readonly number[] {
  const count = 1 + Math.floor(random.next() * most);
  return Array.from({ length: count }, () => Math.floor(random.next() * (length + 1))).sort((a, b) => a - b);
}

const RANDOM_SPLITS = 24;

/**
 * Reads `bytes` whole, in two pieces at every offset, byte by byte, and in random pieces. Tells the first reading
 * that differs from the whole one; nothing when none does.
 */
export function splitDifferences(read: Reading, bytes: Buffer, random: Random): readonly string[] {
  const whole = JSON.stringify(read([bytes]));
  const everywhere = Array.from({ length: bytes.length }, (_, offset) => offset);
  const splits: (readonly number[])[] = everywhere.map((offset) => [offset]);
  splits.push(everywhere);
  for (let i = 0; i < RANDOM_SPLITS; i++) splits.push(randomCuts(bytes.length, 8, random));
  for (const cuts of splits) {
    const pieces = cutAt(bytes, cuts);
    const split = JSON.stringify(read(pieces));
    if (split === whole) continue;
    const shown = pieces.map((piece) => piece.toString("latin1"));
    return [`whole: ${whole}\nsplit: ${split}\npieces: ${JSON.stringify(shown)}`];
  }
  return [];
}
