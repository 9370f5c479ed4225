/**
 * Writes one answer to a caller at the caller's pace.
 *
 * An answer that is complete when its head is written leaves in one write. One that is still arriving is piped,
 * and paused while the caller's socket is full. One that breaks half-way closes the connection, since that is
 * the only way to tell the caller that it is not whole.
 */
import type { Socket } from "node:net";
import type { BodySink, Exchange, ProxyResponse } from "../../core/index.ts";
import { type AnswerFraming, answerFraming, answerHead, interimHead } from "../forwarded.ts";
import { chunkPieces, joinHead, lastChunk } from "../http1/index.ts";
import { writeThisTurn } from "../turn.ts";

/** What the connection is told. */
export interface WriterOwner {
  /** The last byte has been handed to the socket. */
  onWritten(closeAfter: boolean): void;
  /** The answer broke after its head was written; `untold` when closing the connection would not tell the caller. */
  onBroken(cause: Error, untold: boolean): void;
  /** The caller does not read: `true` while the socket is full. */
  onBlocked(blocked: boolean): void;
}

const JOIN_LIMIT_BYTES = 64 * 1024;

export class ResponseWriter implements BodySink {
  readonly #socket: Socket;
  readonly #owner: WriterOwner;
  #exchange: Exchange | undefined;
  #response: ProxyResponse | undefined;
  #framing: AnswerFraming = "none";
  #keepAlive = false;

  constructor(socket: Socket, owner: WriterOwner) {
    this.#socket = socket;
    this.#owner = owner;
  }

  /** An answer's head has been written and its body is not complete. */
  get writing(): boolean {
    return this.#response !== undefined;
  }

  /** An interim answer, as long as the answer itself has not begun; 100 only for those who asked for it, and once. */
  tellInterim(exchange: Exchange, status: number, reason: string, headers: readonly string[]): void {
    if (this.writing) return;
    if (status === 100) {
      if (!exchange.expectsContinue || exchange.continued) return;
      exchange.continued = true;
    }
    this.#socket.write(interimHead(status, reason, headers), "latin1");
  }

  start(exchange: Exchange, response: ProxyResponse, keepAlive: boolean): void {
    const framing = answerFraming(exchange, response);
    const { body } = response;
    this.#framing = framing;
    this.#keepAlive = keepAlive && framing !== "close" && framing !== "tunnel";
    const head = answerHead(response, framing, this.#keepAlive);
    exchange.status = response.status;
    if (framing === "none") {
      // Broken before it began: there is nothing to say, not even a head.
      if (body.failed) {
        body.pipe(this);
        return;
      }
      // Nothing follows; a body that a layer put there anyway is not sent.
      if (!body.complete) body.cancel(new Error("this answer has no body"));
      writeThisTurn(this.#socket, head);
      this.#owner.onWritten(!this.#keepAlive);
    } else if (framing === "length" && body.complete && body.pushedBytes <= JOIN_LIMIT_BYTES) {
      exchange.responseBytes = body.pushedBytes;
      writeThisTurn(this.#socket, body.pushedBytes === 0 ? head : joinHead(head, body.takeAll()));
      this.#owner.onWritten(!this.#keepAlive);
    } else {
      this.#exchange = exchange;
      this.#response = response;
      this.#socket.cork();
      this.#socket.write(head, "latin1");
      body.pipe(this);
      this.#socket.uncork();
    }
  }

  /** The socket has room again. */
  drained(): void {
    if (this.#response === undefined) return;
    this.#owner.onBlocked(false);
    this.#response.body.resume();
  }

  /** The caller has gone. */
  abandon(reason: Error): void {
    const response = this.#response;
    this.#response = undefined;
    response?.body.cancel(reason);
  }

  write(chunk: Uint8Array): boolean {
    this.#exchange!.responseBytes += chunk.length;
    const socket = this.#socket;
    if (this.#framing === "chunked") {
      // In one system call.
      socket.cork();
      for (const part of chunkPieces(chunk)) socket.write(part);
      socket.uncork();
    } else {
      socket.write(chunk);
    }
    if (!socket.writableNeedDrain) return true;
    this.#owner.onBlocked(true);
    return false;
  }

  end(trailers: readonly string[]): void {
    this.#response = undefined;
    if (this.#framing === "chunked") this.#socket.write(lastChunk(trailers), "latin1");
    this.#owner.onWritten(!this.#keepAlive);
  }

  fail(cause: Error): void {
    this.#response = undefined;
    this.#owner.onBroken(cause, this.#framing === "close" || this.#framing === "tunnel");
  }
}
