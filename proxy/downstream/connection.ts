/**
 * One connection from a caller: requests in, one at a time, answers out in the same order.
 *
 * Its law: a request that follows while another is being answered waits unread, so pipelining needs no queue and
 * cannot be reordered. Every exchange that is begun is settled here, once: when its last byte has been handed to
 * the socket, when its answer broke, or when the caller went away.
 */
import type { Socket } from "node:net";
import {
  asProxyError,
  Body,
  type BodySource,
  Exchange,
  type OnInterim,
  type Outcome,
  ProxyError,
  type ProxyResponse,
  type Tunnel,
} from "../../core/index.ts";
import { noteRead } from "../bulk-garbage.ts";
import { Expiry } from "../expiry.ts";
import {
  CHUNKED,
  type MessageEvents,
  MessageFault,
  MessageParser,
  type ParsedRequest,
  unreadableRequest,
} from "../http1/index.ts";
import { copyOf } from "../read-buffer.ts";
import { errorResponse } from "../rescue.layer.ts";
import { cut, reset, resetBehind } from "../reset.ts";
import { CallerTunnel } from "./caller-tunnel.ts";
import { plainAddress } from "./client-address.ts";
import type { ConnectionParts, OpenConnection } from "./connection-parts.ts";
import { ResponseWriter, type WriterOwner } from "./response-writer.ts";
import { takeOver } from "./take-over.ts";

/** How long a closing connection listens on, so that the answer is not lost to a reset. */
const LINGER_MS = 1000;

export class DownstreamConnection
  implements BodySource, OpenConnection, MessageEvents<ParsedRequest>, WriterOwner
{
  readonly #parts: ConnectionParts;
  readonly #socket: Socket;
  readonly #expiry: Expiry;
  readonly #parser: MessageParser<ParsedRequest>;
  readonly #writer: ResponseWriter;
  readonly #clientAddress: string;
  #exchange: Exchange | undefined;
  /** Parsed but not handed to the stack yet: the rest of the packet may hold its body. */
  #undispatched = false;
  #requestBody: Body | undefined;
  #requestEnded = true;
  #keepAlive = true;
  /** The caller does not take its answers as fast as it asks; the next request waits until it does. */
  #full = false;
  /** What came after the current request. */
  #held: Buffer | undefined;
  #closing = false;
  /** Once the connection has switched protocols. */
  #tunnel: CallerTunnel | undefined;

  constructor(accepted: Socket, parts: ConnectionParts) {
    const socket = takeOver(accepted, (bytes, length) => this.onRead(bytes, length));
    this.#socket = socket;
    this.#parts = parts;
    this.#clientAddress = plainAddress(socket.remoteAddress);
    this.#expiry = new Expiry(parts.clock, () => this.#expired());
    // It is its own listener to both: a closure for each event is half a kilobyte for every caller who says nothing.
    this.#parser = new MessageParser<ParsedRequest>(parts.parseHead, parts.options.limits, this);
    this.#writer = new ResponseWriter(socket, this);
    // A caller that ends its side has gone. HTTP knows no half-closed caller, and the work that is done for one that
    // hung up is the work that an upstream in trouble can spare; nginx and Envoy hold it so, too.
    socket.on("end", () => this.#onCallerEnded());
    socket.on("drain", () => this.#onRoom());
    socket.on("error", () => this.#onGone());
    socket.on("close", () => this.#onGone());
    parts.clock.now();
    this.#expireIn(parts.options.headMs);
  }

  get unread(): boolean {
    return this.#socket.writableLength > 0;
  }

  leaveTunnel(): void {
    this.#tunnel?.leave();
  }

  closeIfIdle(): void {
    if (this.#exchange !== undefined || !this.#parser.idle || this.#closing) return;
    if (this.unread) this.#close();
    else this.#socket.destroy();
  }

  /** In the middle of an answer with a reset: a plain end might look like its end, and leaves what is unread in the kernel. */
  destroy(reason: ProxyError): void {
    const { writing } = this.#writer;
    this.#giveUp(reason);
    cut(this.#socket, !writing && !this.#closing);
  }

  // --- what the socket says

  onRead(bytes: Buffer, length: number): void {
    noteRead(length);
    this.#parts.clock.now();
    if (this.#closing) return;
    if (this.#tunnel !== undefined) {
      this.#tunnel.onRead(bytes, length);
      return;
    }
    if (this.#full || (this.#exchange !== undefined && this.#requestEnded)) {
      this.#hold(bytes, 0, length);
      return;
    }
    if (this.#exchange === undefined && this.#parser.idle) this.#expireIn(this.#parts.options.headMs);
    else if (this.#exchange !== undefined) this.#expireIn(this.#parts.options.bodyMs);
    this.#read(bytes, length);
  }

  #read(bytes: Buffer, length: number): void {
    let read = 0;
    try {
      read = this.#parser.execute(bytes, 0, length);
    } catch (thrown) {
      if (!(thrown instanceof MessageFault)) throw thrown;
      this.#refuse(thrown);
      return;
    }
    if (read < length) this.#hold(bytes, read, length);
    this.#dispatch();
  }

  /** Bytes of a next request: they wait, and no more are read, so a caller cannot make heddle hold them. */
  #hold(bytes: Buffer, start: number, end: number): void {
    const more = copyOf(bytes, start, end);
    this.#held = this.#held === undefined ? more : Buffer.concat([this.#held, more]);
    this.#socket.pause();
  }

  #onCallerEnded(): void {
    if (this.#closing) return; // It may have to tell something yet, and then closes by itself.
    if (this.#tunnel === undefined) this.#socket.destroy();
    else if (this.#tunnel.onCallerEnded()) this.onWritten(true);
  }

  #onGone(): void {
    this.#giveUp(new ProxyError("client_closed", "the caller closed the connection"));
    this.#parts.onClosed(this);
    // Last: what is given up may still have asked for time.
    this.#expiry.stop();
  }

  #expired(): void {
    if (this.#closing) {
      cut(this.#socket, false);
    } else if (this.#exchange === undefined) {
      if (this.#parser.idle) this.#socket.destroy();
      else this.#answerFault(new ProxyError("request_timeout", "the request's head did not arrive in time"));
    } else if (!this.#requestEnded && !this.#writer.writing) {
      const late = new ProxyError("request_timeout", "the request's body did not arrive in time");
      this.#keepAlive = false;
      this.#requestBody?.fail(late);
      this.#exchange.abort(late);
    } else if (this.#writer.writing) {
      this.destroy(new ProxyError("client_closed", "the caller did not read its answer in time"));
    }
  }

  #expireIn(ms: number): void {
    this.#expiry.moveTo(this.#parts.clock.recentMs + ms);
  }

  // --- what the parser finds

  onHead(head: ParsedRequest): void {
    const length = head.framing === CHUNKED ? undefined : head.framing;
    this.#requestEnded = false;
    this.#keepAlive = head.keepAlive;
    this.#requestBody = head.framing === 0 ? undefined : new Body(this, length);
    if (head.framing !== 0) this.#expireIn(this.#parts.options.bodyMs);
    this.#begin(head, undefined);
  }

  onData(bytes: Buffer, start: number, end: number): void {
    this.#requestBody!.push(copyOf(bytes, start, end));
  }

  onEnd(trailers: readonly string[]): void {
    this.#requestEnded = true;
    this.#expiry.suspend();
    this.#requestBody?.end(trailers);
  }

  #refuse(fault: MessageFault): void {
    const error = new ProxyError(fault.requestCode, fault.message, { detail: fault.reason });
    if (this.#exchange === undefined) {
      this.#answerFault(error);
      return;
    }
    this.#keepAlive = false;
    if (this.#undispatched) {
      // Nobody has seen the request yet, and nobody will.
      this.#exchange.fault = error;
      this.#dispatch();
      return;
    }
    // The head was fine, the body is not: the endpoint must not take it for whole.
    if (this.#writer.writing) {
      this.destroy(error);
      return;
    }
    this.#requestBody?.fail(error);
    this.#exchange.abort(error);
  }

  /** A request that cannot be understood passes the stack, too, so that it is seen; then the connection ends. */
  #answerFault(error: ProxyError): void {
    this.#requestEnded = true;
    this.#keepAlive = false;
    this.#requestBody = undefined;
    this.#begin(unreadableRequest(), error);
    this.#dispatch();
  }

  // --- the exchange

  #begin(head: ParsedRequest, fault: ProxyError | undefined): void {
    const parts = this.#parts;
    const exchange = new Exchange(
      parts.direction,
      parts.requestId(head.headers),
      head,
      this.#requestBody,
      this.#clientAddress,
      parts.boundUpstream,
      fault,
      parts.clock.recentMs,
    );
    if (parts.pinnedTo !== undefined) exchange.pinnedTo = parts.pinnedTo;
    if (head.minorVersion === 1) exchange.onInterim = this.#tellInterim;
    this.#exchange = exchange;
    this.#undispatched = true;
    parts.onBegun(exchange);
  }

  #dispatch(): void {
    const exchange = this.#exchange;
    if (exchange === undefined || !this.#undispatched) return;
    this.#undispatched = false;
    exchange.state = "running";
    this.#parts.handle(exchange).then(
      (response) => this.#answer(exchange, response),
      (thrown) => {
        // Only a layer outside the rescue can get here.
        const error = asProxyError(thrown);
        this.#parts.log.error({ requestId: exchange.requestId, err: thrown }, error.message);
        this.#answer(exchange, errorResponse(exchange, error));
      },
    );
  }

  readonly #tellInterim: OnInterim = (exchange, status, reason, headers) => {
    if (this.#exchange !== exchange || this.#closing) return;
    // 100 is only for those who still wait for it.
    if (status === 100 && this.#requestEnded) return;
    this.#writer.tellInterim(exchange, status, reason, headers);
  };

  #answer(exchange: Exchange, response: ProxyResponse): void {
    if (this.#exchange !== exchange) {
      response.body.cancel(exchange.aborted ?? new ProxyError("client_closed", "the caller has gone"));
      return;
    }
    const keepAlive = this.#keepAlive && this.#requestEnded && !this.#parts.draining();
    if (!response.body.complete)
      exchange.suspend("transfer", this.#parts.clock.now(), (reason) => this.#writer.abandon(reason));
    this.#writer.start(exchange, response, keepAlive);
    if (response.tunnel !== undefined && this.#exchange === exchange) this.#switch(response.tunnel);
  }

  /** From here on the connection carries another protocol; what has been held back is its beginning. */
  #switch(tunnel: Tunnel): void {
    this.#expiry.suspend();
    this.#tunnel = new CallerTunnel(this.#socket, this, tunnel, this.#held);
    this.#requestBody = this.#tunnel.fromCaller;
    this.#held = undefined;
    this.#socket.resume();
    if (this.#parts.draining()) tunnel.leave();
  }

  onBlocked(blocked: boolean): void {
    if (blocked) this.#expireIn(this.#parts.options.bodyMs);
    else this.#expiry.suspend();
  }

  onWritten(closeAfter: boolean): void {
    // A tunnel has two ends.
    if (this.#tunnel?.onAnswered() === false) return;
    const exchange = this.#exchange!;
    if (exchange.status >= 500 && exchange.cause === "") exchange.cause = "upstream_status";
    this.#settle(exchange.cause === "" ? "success" : "failure");
    if (closeAfter) {
      this.#close();
    } else if (this.#socket.writableNeedDrain) {
      this.#full = true;
      this.#expireIn(this.#parts.options.bodyMs);
    } else {
      this.#next();
    }
  }

  #onRoom(): void {
    this.#parts.clock.now();
    this.#writer.drained();
    if (!this.#full) return;
    this.#full = false;
    this.#next();
  }

  /** @param untold a plain end would look like the end of the answer */
  onBroken(cause: Error, untold: boolean): void {
    const exchange = this.#exchange!;
    exchange.blame(cause instanceof ProxyError ? cause : new ProxyError("internal_error", cause.message));
    this.#settle("failure");
    // A fault that is injected is a reset, and nothing before it.
    if (exchange.cause === "fault_injected") reset(this.#socket);
    else this.#close(untold);
  }

  /** The caller has gone, or is given up: everything that was going on for it ends. */
  #giveUp(reason: ProxyError): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    exchange.blame(reason);
    if (exchange.status === 0) exchange.status = reason.kind.status;
    // The answer first: a broken upload breaks it, too, and would settle the exchange from inside.
    this.#writer.abandon(reason);
    this.#requestBody?.fail(reason);
    exchange.abort(reason);
    this.#settle("ignored");
  }

  #settle(outcome: Outcome): void {
    const exchange = this.#exchange!;
    this.#exchange = undefined;
    this.#undispatched = false;
    exchange.settle(outcome, this.#parts.clock.now());
    this.#parts.onSettled(exchange);
  }

  /** The connection is ready for another request, which may have arrived already. */
  #next(): void {
    this.#requestBody = undefined;
    this.#expireIn(this.#parts.options.keepAliveMs);
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    this.#socket.resume();
    this.#expireIn(this.#parts.options.headMs);
    this.#read(held, held.length);
  }

  /** Ends our side behind what was written and waits a little for the caller's, reading and forgetting what still comes. */
  #close(byReset = false): void {
    this.#closing = true;
    this.#held = undefined;
    // A slow caller has its time to take what was written; the little is for what comes after.
    this.#expireIn(this.#parts.options.bodyMs);
    if (byReset) {
      resetBehind(this.#socket, this.#parts.clock);
    } else {
      this.#socket.once("finish", () => this.#expiry.moveTo(this.#parts.clock.now() + LINGER_MS));
      this.#socket.end();
    }
    this.#socket.resume();
  }

  // --- as the source of the request's body

  pause(): void {
    this.#socket.pause();
    // The caller is ready; it is the endpoint that does not take more.
    this.#expiry.suspend();
  }

  resume(): void {
    this.#socket.resume();
    if (!this.#requestEnded && !this.#socket.destroyed) this.#expireIn(this.#parts.options.bodyMs);
  }

  cancel(): void {
    // Nobody wants the rest of the request; the connection closes after the answer.
    this.#keepAlive = false;
  }
}
