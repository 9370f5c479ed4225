/**
 * Writes one request to an endpoint at the endpoint's pace: the counterpart of downstream/response-writer.ts.
 *
 * A request that is complete leaves in one write. One whose body is still arriving is piped, and its caller is
 * paused while the endpoint does not take more. What has been piped may be asked for again: if the attempt fails,
 * the body is only let go of, and the retries decide whether it can be rewound.
 */
import type { Socket } from "node:net";
import type { Body, BodySink, Exchange } from "../../core/index.ts";
import { requestHead } from "../forwarded.ts";
import { chunkPieces, joinHead, lastChunk } from "../http1/index.ts";
import { writeThisTurn, writingTurn } from "../turn.ts";

/** What the connection is told. */
export interface RequestWriterOwner {
  /** The last byte has been handed to the socket. */
  onSent(): void;
  /** The request's body broke before its end. */
  onBroken(cause: Error): void;
  /** The endpoint does not take more: `true` while the socket is full, or while the endpoint is yet to ask for the body. */
  onBlocked(blocked: boolean): void;
}

/** Up to here head and body are copied into one piece, so that they leave in one write. */
const JOIN_LIMIT_BYTES = 16 * 1024;

export class RequestWriter implements BodySink {
  readonly #socket: Socket;
  readonly #upstreamName: string;
  readonly #owner: RequestWriterOwner;
  #body: Body | undefined;
  #chunked = false;
  /** Its caller sends no body before the endpoint has said 100 Continue. */
  #awaitsLeave = false;
  /** In which turn the head was written. */
  #headTurn = -1;

  constructor(socket: Socket, upstreamName: string, owner: RequestWriterOwner) {
    this.#socket = socket;
    this.#upstreamName = upstreamName;
    this.#owner = owner;
  }

  /** Nothing of the last request has left yet: its writes wait for the end of the turn. */
  get unsent(): boolean {
    return this.#headTurn === writingTurn();
  }

  /** A head has been sent, and its body is not complete. */
  get writing(): boolean {
    return this.#body !== undefined;
  }

  /** @param nowMs on the clock of the exchange's deadline */
  start(exchange: Exchange, nowMs: number): void {
    const head = requestHead(exchange, this.#upstreamName, nowMs);
    const { body } = exchange;
    this.#headTurn = writingTurn();
    if (body === undefined) {
      writeThisTurn(this.#socket, head);
      this.#owner.onSent();
    } else if (body.complete && body.length !== undefined && body.length <= JOIN_LIMIT_BYTES) {
      writeThisTurn(this.#socket, joinHead(head, body.takeAll()));
      this.#owner.onSent();
    } else {
      this.#body = body;
      this.#chunked = body.length === undefined;
      this.#awaitsLeave = exchange.expectsContinue && !exchange.continued && body.pushedBytes === 0;
      writeThisTurn(this.#socket, head);
      if (this.#awaitsLeave) this.#owner.onBlocked(true);
      body.pipe(this);
    }
  }

  /** The endpoint has asked for the body, or its caller has not waited for that: it is the caller's turn. */
  goAhead(): void {
    if (!this.#awaitsLeave) return;
    this.#awaitsLeave = false;
    this.#owner.onBlocked(false);
  }

  /** The socket has room again. */
  drained(): void {
    if (this.#body === undefined) return;
    this.#owner.onBlocked(false);
    this.#body?.resume();
  }

  /** Nothing more is sent; what has not been consumed of the body waits for whoever sends it next. */
  abandon(): void {
    this.#awaitsLeave = false;
    this.#body?.unpipe();
    this.#body = undefined;
  }

  /**
   * At the end of the turn, after everything that lies there has been read: a piece for an endpoint that has answered
   * early and hung up would be refused by the kernel, and the answer be lost with the connection.
   */
  write(chunk: Uint8Array): boolean {
    this.goAhead();
    if (this.#chunked) for (const part of chunkPieces(chunk)) writeThisTurn(this.#socket, part);
    else writeThisTurn(this.#socket, chunk);
    if (!this.#socket.writableNeedDrain) return true;
    this.#owner.onBlocked(true);
    return false;
  }

  end(trailers: readonly string[]): void {
    this.#awaitsLeave = false;
    this.#body = undefined;
    if (this.#chunked) writeThisTurn(this.#socket, lastChunk(trailers));
    this.#owner.onSent();
  }

  fail(cause: Error): void {
    this.#body = undefined;
    this.#owner.onBroken(cause);
  }
}
