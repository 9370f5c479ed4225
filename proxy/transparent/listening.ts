/**
 * A connection of which it is not known yet what it speaks: its first bytes are read, up to the head of a request if it is one, and
 * handed on with the socket to what carries it.
 *
 * The wait is bounded, because where the server speaks first there would be none: who says nothing in time is carried as it is.
 */
import type { Socket } from "node:net";
import type { Clock, ProxyError, Timer } from "../../core/index.ts";
import { type ConnectionParts, type OpenConnection, takeOver } from "../downstream/index.ts";
import { MessageParser, type ParsedRequest } from "../http1/index.ts";
import { reset } from "../reset.ts";
import { type Spoken, spokenBy } from "./first-bytes.ts";
import { Gathered } from "./gathered.ts";

/** A connection that can be given what was read before it was made. */
export interface Carrier extends OpenConnection {
  onRead(bytes: Buffer, length: number): void;
}

/**
 * @param head undefined where there is none, or none that could be read
 * @returns undefined when the connection has been refused
 */
export type OnHeard = (
  socket: Socket,
  as: Spoken | "silent",
  head: ParsedRequest | undefined,
  parts: ConnectionParts,
) => Carrier | undefined;

export class Listening implements OpenConnection {
  readonly #parts: ConnectionParts;
  readonly #clock: Clock;
  readonly #onHeard: OnHeard;
  readonly #socket: Socket;
  readonly #read = new Gathered();
  #timer: Timer;
  readonly #mayBeSilent: boolean;
  #isHttp = false;
  #carrier: Carrier | undefined;
  #over = false;

  /** @param silenceMs how long it may say nothing until its server is taken for who speaks first; undefined where that cannot be */
  constructor(
    accepted: Socket,
    parts: ConnectionParts,
    clock: Clock,
    silenceMs: number | undefined,
    onHeard: OnHeard,
  ) {
    this.#parts = parts;
    this.#clock = clock;
    this.#onHeard = onHeard;
    this.#socket = takeOver(accepted, (bytes, length) => this.#onRead(bytes, length));
    this.#socket.on("end", () => this.#decide());
    this.#socket.on("error", () => {});
    this.#socket.on("close", () => this.#onClosed());
    this.#mayBeSilent = silenceMs !== undefined;
    this.#timer = clock.schedule(silenceMs ?? parts.options.headMs, () => this.#decide());
  }

  get unread(): boolean {
    return this.#carrier?.unread === true;
  }

  leaveTunnel(): void {
    this.#carrier?.leaveTunnel();
  }

  closeIfIdle(): void {
    if (this.#carrier === undefined) this.#socket.destroy();
    else this.#carrier.closeIfIdle();
  }

  destroy(reason: ProxyError): void {
    if (this.#carrier === undefined) reset(this.#socket);
    else this.#carrier.destroy(reason);
  }

  #onRead(bytes: Buffer, length: number): void {
    const read = this.#read;
    read.add(bytes, length);
    const spoken = this.#isHttp ? "http" : spokenBy(read.bytes);
    if (spoken === "undecided") return;
    const { limits, headMs } = this.#parts.options;
    const isWhole = spoken !== "http" || read.endsHead() || read.length > limits.headBytes;
    if (isWhole) {
      this.#decide();
    } else if (!this.#isHttp) {
      // It has begun to speak, and a head has its own time.
      this.#isHttp = true;
      this.#timer.cancel();
      this.#timer = this.#clock.schedule(headMs, () => this.#decide());
    }
  }

  #decide(): void {
    if (this.#over) return;
    const read = this.#read.bytes;
    if (read.length === 0 && !this.#mayBeSilent) {
      // As any connection on which no request comes.
      this.#socket.destroy();
      return;
    }
    this.#over = true;
    this.#timer.cancel();
    const spoken = spokenBy(read);
    const as = read.length === 0 ? "silent" : spoken === "undecided" ? "other" : spoken;
    for (const event of ["end", "error", "close"]) this.#socket.removeAllListeners(event);
    const parts = { ...this.#parts, onClosed: () => this.#parts.onClosed(this) };
    const carrier = this.#onHeard(this.#socket, as, as === "http" ? this.#head(read) : undefined, parts);
    this.#carrier = carrier;
    if (carrier === undefined) this.#parts.onClosed(this);
    else if (read.length > 0) carrier.onRead(read, read.length);
  }

  #head(read: Buffer): ParsedRequest | undefined {
    let head: ParsedRequest | undefined;
    const { parseHead, options } = this.#parts;
    const parser = new MessageParser<ParsedRequest>(parseHead, options.limits, {
      onHead: (found) => {
        head ??= found;
      },
      onData() {},
      onEnd() {},
    });
    try {
      parser.execute(read, 0, read.length);
    } catch {
      // Whoever carries it, if it is carried as HTTP at all, finds the fault again and says so.
    }
    return head;
  }

  #onClosed(): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer.cancel();
    this.#parts.onClosed(this);
  }
}
