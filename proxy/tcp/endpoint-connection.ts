/**
 * One attempt to connect with an endpoint for a caller whose bytes are carried as they are, and the connection that comes
 * of it.
 *
 * What is answered is a body, as with every exchange: so a connection is counted, paced and given back like a request. The answer is
 * there when the connection is, and not with its first byte: in many protocols it is the client who speaks first, in others
 * (MySQL, SMTP) the server. Each direction ends for itself. What breaks is passed on as a reset: a plain end would say that all
 * has been said.
 */
import { connect, type Socket } from "node:net";
import {
  Body,
  type BodySink,
  type BodySource,
  type Clock,
  type Endpoint,
  type Exchange,
  endpointKey,
  ProxyError,
  type ProxyResponse,
} from "../../core/index.ts";
import { deadlineExceeded } from "../../resilience/index.ts";
import { noteRead } from "../bulk-garbage.ts";
import { Expiry } from "../expiry.ts";
import { ownConnections } from "../own-connections.ts";
import { copyOf, READ_BUFFER } from "../read-buffer.ts";
import { reset } from "../reset.ts";

export interface TcpParts {
  readonly endpoint: Endpoint;
  readonly clock: Clock;
  readonly connectMs: number;
  /** How long the connection may carry nothing, either way. */
  readonly idleMs: number;
  /** Called once, when the connection has closed, whether or not it was ever made. */
  readonly onClosed: () => void;
}

/** What a connection is answered with: in HTTP it would be that of CONNECT (RFC 9110, 9.3.6). */
const CONNECTED = 200;
/** Peers that are gone without a word are found out by the kernel. */
const KEEP_ALIVE_MS = 60_000;

/**
 * Resolves when the endpoint has taken the connection.
 * @throws ProxyError connect_failed, connect_timeout, deadline_exceeded, or the reason of an abort
 */
export function openTcp(parts: TcpParts, exchange: Exchange): Promise<ProxyResponse> {
  return new Promise((resolve, reject) => {
    new EndpointConnection(parts, exchange, resolve, reject).start();
  });
}

class EndpointConnection implements BodySource, BodySink {
  readonly #parts: TcpParts;
  readonly #exchange: Exchange;
  readonly #resolve: (response: ProxyResponse) => void;
  readonly #reject: (reason: ProxyError) => void;
  readonly #key: string;
  readonly #expiry: Expiry;
  readonly #closed = Promise.withResolvers<void>();
  readonly #fromEndpoint: Body;
  #fromCaller: Body | undefined;
  #socket: Socket | undefined;
  #state: "connecting" | "open" | "over" = "connecting";

  constructor(
    parts: TcpParts,
    exchange: Exchange,
    resolve: (response: ProxyResponse) => void,
    reject: (reason: ProxyError) => void,
  ) {
    this.#parts = parts;
    this.#exchange = exchange;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#key = endpointKey(parts.endpoint);
    this.#expiry = new Expiry(parts.clock, () => this.#expired());
    this.#fromEndpoint = new Body(this, undefined);
  }

  start(): void {
    const { endpoint, clock, connectMs, onClosed } = this.#parts;
    const exchange = this.#exchange;
    exchange.suspend("connection", clock.now(), (reason) => this.#fail(reason));
    if (this.#state === "over") {
      onClosed();
      return;
    }
    const socket = connect({
      host: endpoint.address,
      port: endpoint.port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      allowHalfOpen: true,
      onread: { buffer: READ_BUFFER, callback: (length) => this.#onRead(length) },
    });
    this.#socket = socket;
    ownConnections.note(socket, endpoint);
    socket.on("connect", () => this.#onConnect());
    socket.on("end", () => this.#fromEndpoint.end());
    socket.on("drain", () => {
      this.#touch();
      this.#fromCaller?.resume();
    });
    socket.on("error", (cause) => this.#fail(this.#lost(cause)));
    socket.on("close", () => {
      // Where both sides have ended there is nothing left that could fail.
      this.#fail(this.#lost(undefined));
      onClosed();
      this.#closed.resolve();
    });
    this.#expiry.moveTo(Math.min(clock.recentMs + connectMs, exchange.deadlineMs));
  }

  // --- what the socket says

  #onConnect(): void {
    if (this.#state !== "connecting") return;
    const { clock } = this.#parts;
    const exchange = this.#exchange;
    this.#state = "open";
    exchange.resume(clock.now());
    // To the end of the exchange and not of the socket: a caller may still have to take what came last.
    exchange.onSettled(() => this.#expiry.stop());
    this.#touch();
    this.#resolve({
      status: CONNECTED,
      reason: "",
      headers: [],
      body: this.#fromEndpoint,
      tunnel: {
        protocol: "tcp",
        connect: (fromCaller) => {
          this.#fromCaller = fromCaller;
          fromCaller.pipe(this);
        },
        // There are no words for it in every protocol.
        leave: () => {},
        closed: this.#closed.promise,
      },
    });
  }

  #onRead(length: number): boolean {
    noteRead(length);
    this.#touch();
    this.#fromEndpoint.push(copyOf(READ_BUFFER, 0, length));
    return true;
  }

  #touch(): void {
    const { clock, idleMs } = this.#parts;
    this.#expiry.moveTo(clock.now() + idleMs);
  }

  #expired(): void {
    const { clock, connectMs, idleMs } = this.#parts;
    if (this.#state !== "connecting")
      this.#exchange.abort(new ProxyError("idle_timeout", `nothing was carried for ${idleMs} ms`));
    else if (clock.now() >= this.#exchange.deadlineMs)
      this.#fail(
        deadlineExceeded(this.#exchange, `no connection to ${this.#key} before the deadline`, this.#key),
      );
    else
      this.#fail(
        new ProxyError("connect_timeout", `no connection to ${this.#key} within ${connectMs} ms`, {
          endpoint: this.#key,
        }),
      );
  }

  /** It breaks, or is not wanted any more: whatever has not been said on either side is not said. */
  #fail(reason: ProxyError): void {
    const before = this.#state;
    if (before === "over") return;
    this.#state = "over";
    if (this.#socket !== undefined) reset(this.#socket);
    if (before === "connecting") {
      this.#expiry.stop();
      this.#exchange.resume(this.#parts.clock.now());
      this.#reject(reason);
      return;
    }
    // What the endpoint has said before goes to the caller first.
    this.#fromEndpoint.fail(reason);
    this.#fromCaller?.cancel(reason);
  }

  #lost(cause: Error | undefined): ProxyError {
    const why = cause === undefined ? "" : `: ${cause.message}`;
    const context = { endpoint: this.#key, ...(cause === undefined ? {} : { cause }) };
    return this.#state === "connecting"
      ? new ProxyError("connect_failed", `no connection to ${this.#key}${why}`, context)
      : new ProxyError("upstream_reset", `${this.#key} broke the connection${why}`, context);
  }

  // --- as the source of what the caller gets

  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  cancel(reason: Error): void {
    this.#fail(reason instanceof ProxyError ? reason : new ProxyError("client_closed", reason.message));
  }

  // --- as the sink of what the caller sends

  write(chunk: Uint8Array): boolean {
    this.#touch();
    const socket = this.#socket!;
    socket.write(chunk);
    return !socket.writableNeedDrain;
  }

  end(): void {
    this.#socket!.end();
  }

  fail(cause: Error): void {
    this.cancel(cause);
  }
}
