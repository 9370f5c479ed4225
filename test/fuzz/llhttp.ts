/**
 * llhttp as Node carries it, strict in all, without a socket. Not behind a server or client of Node: their code above
 * the parser keeps what it found before a fault to itself.
 *
 * It is fed byte by byte, since it does not tell where a message ended, and whole as well, so that nobody has to
 * believe that this makes no difference.
 */
import { type HeadEvent, HTTPParser, initialize, METHOD_NAMES } from "./llhttp-binding.ts";

/** As it came: nothing left out, nothing rewritten. */
export interface RawMessage {
  /** Empty for responses. */
  readonly method: string;
  readonly target: string;
  readonly status: number;
  readonly reason: string;
  readonly minorVersion: number;
  readonly fields: readonly string[];
  readonly upgrade: boolean;
  /** Unknown for an answer to HEAD: it is told before the parser is told that no body follows. */
  readonly keepAlive: boolean | undefined;
  body: string;
  trailers: readonly string[];
  complete: boolean;
  /** Behind the last byte; known when the bytes came one by one. */
  end: number | undefined;
}

export interface RawReading {
  readonly messages: readonly RawMessage[];
  readonly refused: { readonly code: string; readonly at: number } | undefined;
  /** The bytes are over in the middle of a message. */
  readonly cut: boolean;
}

/** @param methodOf the request that the n-th final answer is for; without it, requests are read */
export function readByLlhttp(
  bytes: Buffer,
  split: "whole" | "bytes",
  methodOf?: (answer: number) => string,
): RawReading {
  const recorder = new Recorder(methodOf);
  recorder.initialize();
  let offset = 0;
  while (offset < bytes.length) {
    const piece = split === "whole" ? bytes.subarray(offset) : alone(bytes, offset);
    recorder.at = split === "whole" ? undefined : offset + 1;
    const upgraded = recorder.upgrades;
    const read = parser.execute(piece);
    if (typeof read !== "number")
      return recorder.reading({ code: `${read.code}: ${read.reason}`, at: offset });
    const stopped = recorder.upgrades > upgraded;
    if (read !== piece.length && !stopped)
      return recorder.reading(hiddenRefusal(bytes, split, methodOf, offset));
    offset += read;
    if (stopped) recorder.initialize();
  }
  recorder.at = split === "whole" ? undefined : offset;
  parser.finish();
  return recorder.reading();
}

const SKIP_BODY = 1;

const parser = new HTTPParser();

/**
 * In a message that asks for an upgrade the binding hides a fault but for what it did not read, and that perhaps one
 * byte late; so the fault is looked for once more where nothing asks for one.
 */
function hiddenRefusal(
  bytes: Buffer,
  split: "whole" | "bytes",
  methodOf: ((answer: number) => string) | undefined,
  offset: number,
): RawReading["refused"] {
  const plain = bytes.toString("latin1").replace(/upgrade/gi, "another");
  const open =
    plain === bytes.toString("latin1")
      ? undefined
      : readByLlhttp(Buffer.from(plain, "latin1"), split, methodOf);
  return open?.refused ?? { code: "hidden", at: offset };
}

// Two in turn: a fault that was hidden shows by the distance to the next buffer.
const ONE_BYTE = [Buffer.alloc(1), Buffer.alloc(1)] as const;

function alone(bytes: Buffer, offset: number): Buffer {
  const buffer = ONE_BYTE[(offset & 1) as 0 | 1];
  buffer[0] = bytes[offset]!;
  return buffer;
}

class Recorder {
  readonly #messages: RawMessage[] = [];
  readonly #methodOf: ((answer: number) => string) | undefined;
  #fields: string[] = [];
  #target = "";
  #begun = false;
  #answered = 0;
  /** Messages that ended and wanted to switch to another protocol, at which the parser stops. */
  upgrades = 0;
  /** The offset behind the byte being read. */
  at: number | undefined;

  constructor(methodOf: ((answer: number) => string) | undefined) {
    this.#methodOf = methodOf;
    parser[HTTPParser.kOnMessageBegin] = () => {
      this.#begun = true;
    };
    parser[HTTPParser.kOnHeaders] = (fields: string[], target: string) => {
      this.#fields.push(...fields);
      this.#target += target;
    };
    parser[HTTPParser.kOnHeadersComplete] = (...event: HeadEvent) => this.#onHead(...event);
    parser[HTTPParser.kOnBody] = (data: Buffer) => {
      this.#messages.at(-1)!.body += data.toString("latin1");
    };
    parser[HTTPParser.kOnMessageComplete] = () => this.#onEnd();
  }

  initialize(): void {
    initialize(parser, this.#methodOf === undefined ? "REQUEST" : "RESPONSE");
  }

  reading(refused?: RawReading["refused"]): RawReading {
    return { messages: this.#messages, refused, cut: this.#begun };
  }

  #onHead(
    ...[, minorVersion, fields, method, target, status, reason, upgrade, keepAlive]: HeadEvent
  ): number {
    const isFinal = status !== undefined && status >= 200;
    const isBodyless = isFinal && this.#methodOf?.(this.#answered++) === "HEAD";
    this.#messages.push({
      method: METHOD_NAMES.get(method ?? -1) ?? "",
      target: target ?? this.#target,
      status: status ?? 0,
      reason: reason ?? "",
      minorVersion,
      fields: fields ?? this.#fields,
      upgrade,
      keepAlive: isBodyless ? undefined : keepAlive,
      body: "",
      trailers: [],
      complete: false,
      end: undefined,
    });
    this.#forget();
    return isBodyless ? SKIP_BODY : 0;
  }

  #onEnd(): void {
    const message = this.#messages.at(-1)!;
    message.trailers = this.#fields;
    message.complete = true;
    message.end = this.at;
    if (message.upgrade || message.status === 101) this.upgrades++;
    this.#begun = false;
    this.#forget();
  }

  #forget(): void {
    this.#fields = [];
    this.#target = "";
  }
}
