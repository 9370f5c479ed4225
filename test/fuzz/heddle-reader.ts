/**
 * Feeds heddle's codec as a connection would: until a message says that it is the last one.
 *
 * This runs once for every offset of every case, so it keeps the codec's own heads and compares readings without
 * writing them out; `inWords` does that once per case. Each piece is laid into a larger buffer with line ends around
 * it that are not its own, and is overwritten after use, so that a codec which looks too far or keeps a slice gives
 * itself away.
 */
import {
  type MessageEvents,
  MessageFault,
  MessageParser,
  type ParsedRequest,
  type ParsedResponse,
  parseRequestHead,
  parseResponseHead,
} from "../../proxy/http1/index.ts";
import type { Connection } from "./connection.ts";
import type { Ending, Message, Reading, Split } from "./reading.ts";

type Head = ParsedRequest | ParsedResponse;

interface RawMessage {
  readonly head: Head;
  body: string;
  trailers: readonly string[];
  end: number;
}

export interface RawReading {
  readonly messages: readonly RawMessage[];
  readonly ending: Ending;
}

const NONE: readonly string[] = [];
const CRLF_BYTES = 2;
const LEAD = CRLF_BYTES;
let laid = Buffer.alloc(4096);

function layCrlf(at: number): void {
  laid[at] = 13;
  laid[at + 1] = 10;
}

export function readByHeddle(connection: Connection, bytes: Buffer, split: Split): RawReading {
  const listener = new Listener(connection);
  const { messages } = listener;
  try {
    if (bytes.length + 3 * CRLF_BYTES > laid.length) laid = Buffer.alloc(bytes.length * 2);
    if (split === "bytes") {
      for (let at = 0; at < bytes.length; at++)
        if (!listener.take(bytes, at, at + 1, LEAD)) return { messages, ending: { how: "stopped" } };
    } else {
      const middle = split === "whole" ? bytes.length : split;
      if (!listener.take(bytes, 0, middle, 0)) return { messages, ending: { how: "stopped" } };
      if (!listener.take(bytes, middle, bytes.length, LEAD)) return { messages, ending: { how: "stopped" } };
    }
    return { messages, ending: { how: listener.finish(bytes.length) } };
  } catch (thrown) {
    if (thrown instanceof MessageFault) return { messages, ending: { how: "refused", code: thrown.reason } };
    return { messages, ending: { how: "broken", code: String(thrown) } };
  }
}

class Listener implements MessageEvents<Head> {
  readonly messages: RawMessage[] = [];
  readonly #parser: MessageParser<Head>;
  #ended = false;
  #answered = 0;

  constructor({ kind, limits, methods }: Connection) {
    this.#parser = new MessageParser<Head>(
      kind === "requests"
        ? (block) => parseRequestHead(block, limits)
        : (block) => parseResponseHead(block, limits, methods[Math.min(this.#answered, methods.length - 1)]!),
      limits,
      this,
    );
  }

  onHead(head: Head): void {
    this.#assertNotEnded();
    this.messages.push({ head, body: "", trailers: NONE, end: -1 });
  }

  onData(bytes: Buffer, start: number, end: number): void {
    this.#assertNotEnded();
    if (end <= start) throw new Error("an empty piece of data");
    this.messages.at(-1)!.body += bytes.toString("latin1", start, end);
  }

  onEnd(trailers: readonly string[]): void {
    this.#assertNotEnded();
    this.messages.at(-1)!.trailers = trailers;
    this.#ended = true;
    this.#answered++;
  }

  /** Reads bytes[from, to) laid at `lead`; false when the connection wants no more. */
  take(bytes: Buffer, from: number, to: number, lead: number): boolean {
    const end = lead + to - from;
    layCrlf(0);
    bytes.copy(laid, lead, from, to);
    layCrlf(end);
    layCrlf(end + CRLF_BYTES);
    let offset = lead;
    while (offset < end) {
      const reached = this.#parser.execute(laid, offset, end);
      if (reached <= offset || reached > end) throw new Error(`execute went from ${offset} to ${reached}`);
      if (reached < end && !this.#ended) throw new Error("execute stopped before an end");
      offset = reached;
      if (this.#ended && !this.#settle(from + offset - lead)) return false;
    }
    laid.fill(0x7f, lead, end);
    return true;
  }

  finish(at: number): "idle" | "cut" {
    const { idle } = this.#parser;
    if (!this.#parser.finish()) return idle ? "idle" : "cut";
    this.#settle(at);
    return "idle";
  }

  #settle(at: number): boolean {
    const message = this.messages.at(-1)!;
    message.end = at;
    this.#ended = false;
    return message.head.keepAlive;
  }

  #assertNotEnded(): void {
    if (this.#ended) throw new Error("an event behind the end of a message, in the same call");
  }
}

export function sameRawReading(one: RawReading, other: RawReading): boolean {
  if (!sameValues(one.ending, other.ending)) return false;
  const { messages } = one;
  if (messages.length !== other.messages.length) return false;
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i]!;
    const their = other.messages[i]!;
    if (message.body !== their.body || message.end !== their.end) return false;
    if (!sameItems(message.trailers, their.trailers) || !sameValues(message.head, their.head)) return false;
  }
  return true;
}

/** All that is in `one`, whatever it comes to hold. */
function sameValues(one: object, other: object): boolean {
  for (const key in one) {
    const value: unknown = one[key as keyof typeof one];
    const their: unknown = other[key as keyof typeof other];
    if (value === their) continue;
    if (!Array.isArray(value) || !Array.isArray(their) || !sameItems(value, their)) return false;
  }
  return true;
}

function sameItems(items: readonly unknown[], others: readonly unknown[]): boolean {
  if (items.length !== others.length) return false;
  for (let i = 0; i < items.length; i++) if (items[i] !== others[i]) return false;
  return true;
}

export function inWords({ messages, ending }: RawReading): Reading {
  return { messages: messages.map(messageInWords), ending };
}

function messageInWords({ head, body, trailers, end }: RawMessage): Message {
  const { headers, keepAlive } = head;
  const rest = { headers, body, trailers, keepAlive, end: end === -1 ? undefined : end };
  if ("status" in head) {
    const { status, reason, interim } = head;
    return { start: { status, reason }, interim, upgrade: false, complete: interim || end !== -1, ...rest };
  }
  const { method, target, authority, minorVersion, upgrade } = head;
  const start = { method, target, authority, minorVersion };
  return { start, interim: false, upgrade: upgrade !== "", complete: end !== -1, ...rest };
}
