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
  called,
  ERROR_KINDS,
  type ErrorCode,
  Exchange,
  type Outcome,
  ProxyError,
  type ProxyResponse,
  type RequestHead,
} from "../../core/index.ts";
import { CarriedSide, type SideOwner } from "../carried-side.ts";
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

export class TcpConnection implements OpenConnection, SideOwner {
  readonly #parts: ConnectionParts;
  readonly #socket: Socket;
  readonly #exchange: Exchange;
  readonly #side: CarriedSide;
  #counts: TcpCounts | undefined;
  #connectedTo = false;
  #callerClosed = false;
  #endpointClosed = false;
  #over = false;

  constructor(accepted: Socket, parts: ConnectionParts) {
    const socket = takeOver(accepted, (bytes, length) => this.onRead(bytes, length));
    this.#parts = parts;
    this.#socket = socket;
    this.#side = new CarriedSide(parts.clock, this);
    this.#side.use(socket);
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
    socket.on("error", () =>
      this.#onCallerGone(new ProxyError("client_closed", "the caller broke the connection")),
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
    this.#side.onRead(bytes, length);
  }

  onHeard(bytes: number): void {
    this.#exchange.callerBytes += bytes;
    if (this.#counts !== undefined) this.#counts.fromCaller += bytes;
  }

  onTold(bytes: number): void {
    this.#exchange.responseBytes += bytes;
    this.#counts!.fromEndpoint += bytes;
  }

  #onClosed(): void {
    this.#callerClosed = true;
    // With both of its ends behind it, it has closed by itself.
    if (!this.#socket.readableEnded || !this.#socket.writableFinished)
      this.#onCallerGone(new ProxyError("client_closed", "the caller closed the connection"));
    if (this.#over) this.#parts.onClosed(this);
    else this.#finish();
  }

  /** What it has said last is still brought to the endpoint, if there is one. */
  #onCallerGone(reason: ProxyError): void {
    if (this.#over) return;
    if (this.#connectedTo) {
      this.#exchange.blame(reason);
      this.#side.lost(reason);
    } else {
      this.#giveUp(reason);
    }
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
    this.#connectedTo = true;
    void tunnel.closed.then((isOrderly) => {
      this.#endpointClosed = true;
      if (!isOrderly) this.#side.leftAlone();
      this.#finish();
    });
    tunnel.connect(this.#side.says);
    this.#side.hear(body);
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

  /** Both sides have closed, and what they have said has come as far as it could. */
  #finish(): void {
    if (this.#over || !this.#callerClosed || !this.#endpointClosed) return;
    this.#over = true;
    this.#settle();
    this.#parts.onClosed(this);
  }

  /** Both sides end now. Whoever hears of it must not take what it has got for all. */
  #giveUp(reason: ProxyError): void {
    if (this.#over) return;
    this.#over = true;
    const exchange = this.#exchange;
    exchange.blame(reason);
    if (exchange.status === 0) exchange.status = reason.kind.status;
    reset(this.#socket);
    this.#side.lost(reason);
    exchange.abort(reason);
    this.#settle();
    if (this.#callerClosed) this.#parts.onClosed(this);
  }

  #settle(): void {
    this.#exchange.settle(this.#outcome(), this.#parts.clock.now());
    this.#parts.onSettled(this.#exchange);
  }

  #outcome(): Outcome {
    const cause = this.#exchange.cause as ErrorCode | "";
    if (cause === "") return "success";
    return ERROR_KINDS[cause].origin === "upstream" ? "failure" : "ignored";
  }
}
