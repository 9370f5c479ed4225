/**
 * One connection from a caller whose bytes are carried as they are. It is one exchange, from when it is accepted: who waited for
 * the first bytes would wait for ever where the server speaks first.
 *
 * Its law: what one side has said reaches the other to the last byte, and then its end; a side that breaks, or is given up, is a
 * reset on the other. An end alone is nobody's leaving, as it is in HTTP: the caller may be waiting for the rest.
 */
import type { Socket } from "node:net";
import {
  asProxyError,
  Body,
  type BodySink,
  type BodySource,
  called,
  type ErrorCode,
  Exchange,
  type Outcome,
  ProxyError,
  type ProxyResponse,
  type RequestHead,
} from "../../core/index.ts";
import { noteRead } from "../bulk-garbage.ts";
import { copyOf } from "../read-buffer.ts";
import { reset } from "../reset.ts";
import type { TcpCounts } from "../tcp-tally.ts";
import { plainAddress } from "./client-address.ts";
import type { ConnectionParts, OpenConnection } from "./connection-parts.ts";
import { takeOver } from "./take-over.ts";

/** There is no request; in the log it has this method. */
const HEAD: RequestHead = {
  method: "TCP",
  target: "",
  authority: "",
  minorVersion: 1,
  headers: [],
  expectsContinue: false,
  upgrade: "",
};

const NO_HEADERS: readonly string[] = [];

export class TcpConnection implements OpenConnection, BodySource, BodySink {
  readonly #parts: ConnectionParts;
  readonly #socket: Socket;
  readonly #exchange: Exchange;
  readonly #fromCaller: Body;
  #fromEndpoint: Body | undefined;
  #counts: TcpCounts | undefined;
  #callerClosed = false;
  #endpointClosed = false;
  #over = false;

  constructor(accepted: Socket, parts: ConnectionParts) {
    const socket = takeOver(accepted, (bytes, length) => this.onRead(bytes, length));
    this.#parts = parts;
    this.#socket = socket;
    this.#fromCaller = new Body(this, undefined);
    const exchange = new Exchange(
      parts.direction,
      parts.requestId(NO_HEADERS),
      parts.destination === undefined ? HEAD : { ...HEAD, authority: parts.destination },
      undefined,
      plainAddress(socket.remoteAddress),
      parts.boundUpstream,
      undefined,
      parts.clock.now(),
    );
    exchange.opaque = true;
    exchange.pinnedTo = parts.pinnedTo ?? "";
    exchange.state = "running";
    this.#exchange = exchange;
    socket.on("end", () => this.#fromCaller.end());
    socket.on("drain", () => this.#fromEndpoint?.resume());
    socket.on("error", () =>
      this.#giveUp(new ProxyError("client_closed", "the caller broke the connection")),
    );
    socket.on("close", () => this.#onClosed());
    parts.onBegun(exchange);
    called(parts.handle, exchange).then(
      (response) => this.#connected(response),
      (thrown) => this.#refuse(thrown),
    );
  }

  get unread(): boolean {
    return this.#socket.writableLength > 0;
  }

  /** There are no words for it in every protocol: who stays to the end of the grace is cut off. */
  leaveTunnel(): void {}

  /** One that carries nothing now may be in the middle of something, for all that is known here. */
  closeIfIdle(): void {}

  destroy(reason: ProxyError): void {
    this.#giveUp(reason);
  }

  // --- what the socket says

  onRead(bytes: Buffer, length: number): void {
    noteRead(length);
    this.#exchange.callerBytes += length;
    if (this.#counts !== undefined) this.#counts.fromCaller += length;
    this.#fromCaller.push(copyOf(bytes, 0, length));
  }

  #onClosed(): void {
    this.#callerClosed = true;
    // With both of its ends behind it, it has closed by itself.
    if (this.#socket.readableEnded && this.#socket.writableFinished) this.#finish();
    else this.#giveUp(new ProxyError("client_closed", "the caller closed the connection"));
    this.#parts.onClosed(this);
  }

  // --- the exchange

  #connected({ status, body, tunnel }: ProxyResponse): void {
    const exchange = this.#exchange;
    if (this.#over || tunnel?.closed === undefined) {
      body.cancel(exchange.aborted ?? new ProxyError("client_closed", "the caller has gone"));
      if (!this.#over) this.#refuse(this.#answered());
      return;
    }
    exchange.status = status;
    exchange.suspend("transfer", this.#parts.clock.now(), (reason) => this.#giveUp(reason));
    this.#counts = this.#parts.tcpCounts(exchange.direction, exchange.upstream);
    // What came before it was known who it is for.
    this.#counts.fromCaller += exchange.callerBytes;
    this.#fromEndpoint = body;
    void tunnel.closed.then(() => {
      this.#endpointClosed = true;
      this.#finish();
    });
    tunnel.connect(this.#fromCaller);
    body.pipe(this);
  }

  /** A layer has answered as if it was a request, with a fault for testing or by mistake. There is nobody who would understand it. */
  #answered(): ProxyError {
    const { cause, causeMessage } = this.#exchange;
    return cause === ""
      ? new ProxyError("internal_error", "a layer has answered a connection as if it was a request")
      : new ProxyError(cause as ErrorCode, causeMessage);
  }

  #refuse(thrown: unknown): void {
    if (this.#over) return;
    const error = asProxyError(thrown);
    const { requestId } = this.#exchange;
    if (error.code === "internal_error")
      this.#parts.log.error({ requestId, err: error.cause ?? error }, error.message);
    this.#giveUp(error);
  }

  #finish(): void {
    if (this.#over || !this.#callerClosed || !this.#endpointClosed) return;
    this.#over = true;
    this.#settle("success");
  }

  /** Both ways end now. Whoever hears of it must not take what it has got for all. */
  #giveUp(reason: ProxyError): void {
    if (this.#over) return;
    this.#over = true;
    const exchange = this.#exchange;
    exchange.blame(reason);
    if (exchange.status === 0) exchange.status = reason.kind.status;
    reset(this.#socket);
    this.#fromEndpoint?.cancel(reason);
    this.#fromCaller.fail(reason);
    exchange.abort(reason);
    this.#settle(reason.kind.origin === "upstream" ? "failure" : "ignored");
  }

  #settle(outcome: Outcome): void {
    this.#exchange.settle(outcome, this.#parts.clock.now());
    this.#parts.onSettled(this.#exchange);
  }

  // --- as the source of what the endpoint gets

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  cancel(reason: Error): void {
    this.#giveUp(asProxyError(reason));
  }

  // --- as the sink of what the endpoint says

  write(chunk: Uint8Array): boolean {
    this.#exchange.responseBytes += chunk.length;
    this.#counts!.fromEndpoint += chunk.length;
    this.#socket.write(chunk);
    return !this.#socket.writableNeedDrain;
  }

  end(): void {
    this.#socket.end();
  }

  fail(cause: Error): void {
    this.#giveUp(asProxyError(cause));
  }
}
