/**
 * One attempt to connect with an endpoint for a caller whose bytes are carried as they are, and the connection that comes
 * of it.
 *
 * What is answered is a body, as with every exchange: so a connection is counted, paced and given back like a request. The answer is
 * there when the connection is, and not with its first byte: in many protocols it is the client who speaks first, in others
 * (MySQL, SMTP) the server. Each direction ends for itself. What breaks is passed on as a reset: a plain end would say that all
 * has been said.
 *
 * Not one with the attempt at an upgrade, which it resembles (proxy/upgrade/tunnel.ts): there http-proxy holds the socket, and what the
 * endpoint answers need not be a tunnel. What they have in common is how an exchange waits, and that is core's.
 */
import { connect, type Socket } from "node:net";
import {
  type Clock,
  type Endpoint,
  type Exchange,
  endpointKey,
  ProxyError,
  type ProxyResponse,
} from "../../core/index.ts";
import { deadlineExceeded } from "../../resilience/index.ts";
import { CarriedSide, type SideOwner } from "../carried-side.ts";
import { Expiry } from "../expiry.ts";
import { ownConnections } from "../own-connections.ts";
import { READ_BUFFER } from "../read-buffer.ts";
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
  const attempt = new EndpointConnection(parts, exchange);
  attempt.start();
  return attempt.answer;
}

class EndpointConnection implements SideOwner {
  readonly #parts: TcpParts;
  readonly #exchange: Exchange;
  readonly #answer = Promise.withResolvers<ProxyResponse>();
  readonly #key: string;
  readonly #expiry: Expiry;
  readonly #side: CarriedSide;
  readonly #closed = Promise.withResolvers<boolean>();
  #socket: Socket | undefined;
  #state: "connecting" | "open" | "over" = "connecting";

  constructor(parts: TcpParts, exchange: Exchange) {
    this.#parts = parts;
    this.#exchange = exchange;
    this.#key = endpointKey(parts.endpoint);
    this.#expiry = new Expiry(parts.clock, () => this.#expired());
    this.#side = new CarriedSide(parts.clock, this);
  }

  get answer(): Promise<ProxyResponse> {
    return this.#answer.promise;
  }

  start(): void {
    const { endpoint, clock, connectMs, onClosed } = this.#parts;
    const exchange = this.#exchange;
    exchange.suspend("connection", clock.now(), (reason) => this.#giveUp(reason));
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
      onread: {
        buffer: READ_BUFFER,
        callback: (length) => {
          this.#side.onRead(READ_BUFFER, length);
          return true;
        },
      },
    });
    this.#socket = socket;
    this.#side.use(socket);
    ownConnections.note(socket, endpoint);
    socket.on("connect", () => this.#onConnect());
    socket.on("error", (cause) => this.#lose(cause));
    socket.on("close", () => {
      const isOrderly = socket.readableEnded && socket.writableFinished;
      if (!isOrderly) this.#lose(undefined);
      this.#state = "over";
      onClosed();
      this.#closed.resolve(isOrderly);
    });
    this.#expiry.moveTo(Math.min(clock.recentMs + connectMs, exchange.deadlineMs));
  }

  // --- what is carried

  onHeard(): void {
    this.#touch();
  }

  onTold(): void {
    this.#touch();
  }

  #onConnect(): void {
    if (this.#state !== "connecting") return;
    const { clock } = this.#parts;
    const exchange = this.#exchange;
    this.#state = "open";
    exchange.resume(clock.now());
    this.#touch();
    this.#answer.resolve({
      status: CONNECTED,
      reason: "",
      headers: [],
      body: this.#side.says,
      tunnel: {
        protocol: "tcp",
        connect: (fromCaller) => this.#side.hear(fromCaller),
        // There are no words for it in every protocol.
        leave: () => {},
        closed: this.#closed.promise,
      },
    });
    // Not before the exchange is: one side may still have to take what the other has said last.
    exchange.onSettled(() => {
      this.#expiry.stop();
      this.#giveUp(new ProxyError("client_closed", "the connection is over"));
    });
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
      this.#giveUp(
        deadlineExceeded(this.#exchange, `no connection to ${this.#key} before the deadline`, this.#key),
      );
    else
      this.#giveUp(
        new ProxyError("connect_timeout", `no connection to ${this.#key} within ${connectMs} ms`, {
          endpoint: this.#key,
        }),
      );
  }

  /** The endpoint breaks it, or does not take it. What it has said before goes to the caller first. */
  #lose(cause: Error | undefined): void {
    if (this.#state === "open") {
      const broken = this.#lost("upstream_reset", `${this.#key} broke the connection`, cause);
      this.#exchange.blame(broken);
      this.#side.lost(broken);
    } else {
      this.#giveUp(this.#lost("connect_failed", `no connection to ${this.#key}`, cause));
    }
  }

  /** It is not wanted any more: whatever has not been said on it is not said. */
  #giveUp(reason: ProxyError): void {
    const before = this.#state;
    if (before === "over") return;
    this.#state = "over";
    if (this.#socket !== undefined) reset(this.#socket);
    if (before === "connecting") {
      this.#expiry.stop();
      this.#exchange.resume(this.#parts.clock.now());
      this.#answer.reject(reason);
    } else {
      this.#side.lost(reason);
    }
  }

  #lost(code: "connect_failed" | "upstream_reset", message: string, cause: Error | undefined): ProxyError {
    return cause === undefined
      ? new ProxyError(code, message, { endpoint: this.#key })
      : new ProxyError(code, `${message}: ${cause.message}`, { endpoint: this.#key, cause });
  }
}
