/**
 * One listening port: connections in, exchanges to a stack, and a list of everything that is open, so that it can be
 * shown and drained.
 */
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import {
  type Clock,
  type Direction,
  type Exchange,
  type Handler,
  headerValue,
  type Log,
  ProxyError,
} from "../../core/index.ts";
import { parseRequestHead } from "../http1/index.ts";
import type { TcpTally } from "../tcp-tally.ts";
import { DownstreamConnection } from "./connection.ts";
import type { ConnectionParts, OpenConnection } from "./connection-parts.ts";
import type { ListenAddress, ListenerOptions } from "./listener-options.ts";
import { LiveList } from "./live-list.ts";
import { TcpConnection } from "./tcp-connection.ts";

/** It is said again that there are too many when there have been fewer than this share of them in between. */
const FULL_AGAIN = 0.9;

export interface ListenerSettings {
  readonly direction: Direction;
  /** The upstream that this port stands for, whatever the Host. */
  readonly boundUpstream?: string;
  readonly options: ListenerOptions;
  readonly clock: Clock;
  readonly log: Log;
  readonly newRequestId: () => string;
  readonly handle: Handler;
  /** `tcp` carries connections as they are. */
  readonly protocol?: "http" | "tcp" | undefined;
  /** Where bytes of TCP connections are counted. */
  readonly tcpTally: TcpTally;
  /** Makes what carries a connection, or refuses it, in place of what is usual for the protocol. */
  readonly accept?: ((socket: Socket, parts: ConnectionParts) => OpenConnection | undefined) | undefined;
}

export class Listener {
  readonly direction: Direction;
  readonly exchanges: LiveList<Exchange> = new LiveList();
  readonly #connections = new Set<OpenConnection>();
  readonly #server: Server;
  readonly #listen: ListenAddress;
  readonly #log: Log;
  readonly #clock: Clock;
  /** May be replaced while requests are under way; they finish on the stack on which they began. */
  handle: Handler;
  /** Requests that have come so far. */
  begun = 0;
  /** Connections that were hung up on, as there were too many. */
  hungUp = 0;
  #full = false;
  #draining = false;
  readonly #watching = new Set<() => void>();

  constructor(settings: ListenerSettings) {
    this.direction = settings.direction;
    this.handle = settings.handle;
    this.#listen = settings.options.listen;
    this.#log = settings.log;
    this.#clock = settings.clock;
    const parts: ConnectionParts = {
      direction: settings.direction,
      boundUpstream: settings.boundUpstream,
      protocol: settings.protocol,
      options: settings.options,
      clock: settings.clock,
      log: settings.log,
      handle: (exchange) => this.handle(exchange),
      parseHead: (block) => parseRequestHead(block, settings.options.limits),
      requestId: (headers) => usableRequestId(headers) ?? settings.newRequestId(),
      draining: () => this.#draining,
      tcpCounts: (direction, upstream) => settings.tcpTally.of(direction, upstream),
      onBegun: (exchange) => {
        this.begun++;
        this.exchanges.add(exchange);
        this.#tell();
      },
      onSettled: (exchange) => {
        this.exchanges.remove(exchange);
        this.#tell();
      },
      onClosed: (connection) => {
        this.#connections.delete(connection);
        if (this.#connections.size < parts.options.maxConnections * FULL_AGAIN) this.#full = false;
        this.#tell();
      },
    };
    const Connection = settings.protocol === "tcp" ? TcpConnection : DownstreamConnection;
    const accept = settings.accept ?? ((socket, of) => new Connection(socket, of));
    // Half-open only in so far as we decide when to end our side: after the answer.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) => {
      if (this.#connections.size < parts.options.maxConnections) {
        const connection = accept(socket, parts);
        if (connection !== undefined) this.#connections.add(connection);
      } else this.#hangUp(socket);
    });
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Some caller has not taken all of its answer. */
  get unread(): boolean {
    return [...this.#connections].some((connection) => connection.unread);
  }

  /**
   * Listens, and returns where.
   * @param shared a port that other threads listen on, too; without it, the one of the options, alone
   * @throws Error with the system's code, such as EADDRINUSE
   */
  async start(shared?: ListenAddress): Promise<ListenAddress> {
    const { host, port } = shared ?? this.#listen;
    this.#server.listen({ host, port, backlog: 4096, reusePort: shared !== undefined });
    await once(this.#server, "listening");
    // Until here an error is the caller's to hear; from here on nobody awaits it.
    this.#server.on("error", (error) => this.#log.error({ err: error }, "the listener failed"));
    return this.address;
  }

  get address(): ListenAddress {
    const bound = this.#server.address();
    if (bound === null || typeof bound === "string") throw new Error("the listener does not listen");
    return { host: bound.address, port: bound.port };
  }

  /** Answers say `connection: close` from now on, and callers in tunnels are asked to leave. */
  beginDrain(spreadMs: number): void {
    this.#draining = true;
    this.leaveTunnels(spreadMs);
  }

  /**
   * Asks callers in tunnels to go elsewhere: not all at once, as they come back elsewhere at once.
   * @param spreadMs over which time
   */
  leaveTunnels(spreadMs: number): void {
    let left = 0;
    const stepMs = spreadMs / Math.max(1, this.#connections.size);
    for (const connection of this.#connections)
      this.#clock.schedule(stepMs * left++, () => connection.leaveTunnel());
  }

  /** Takes no new connections. */
  stopAccepting(): void {
    this.#server.close();
  }

  closeIdle(): void {
    for (const connection of this.#connections) connection.closeIfIdle();
  }

  /** Resolves when `condition` holds, asked again whenever a request has begun, or a request or connection has ended. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#watching.add(resolve);
      await promise;
      this.#watching.delete(resolve);
    }
  }

  /** Ends everything at once. */
  destroy(): void {
    this.#server.close();
    const reason = new ProxyError("shutting_down", "heddle ended before the answer was complete");
    for (const connection of this.#connections) connection.destroy(reason);
  }

  /** With a reset: a plain end could be taken for an answer without a head, and would keep the port busy on this side. */
  #hangUp(socket: Socket): void {
    socket.on("error", () => {});
    socket.resetAndDestroy();
    this.hungUp++;
    if (this.#full) return;
    this.#full = true;
    const facts = { direction: this.direction, maxConnections: this.#connections.size };
    this.#log.warn(facts, "too many connections; further callers are hung up on");
  }

  #tell(): void {
    for (const wake of this.#watching) wake();
  }
}

const USABLE_ID = /^[\x21-\x7e]{1,128}$/;

function usableRequestId(headers: readonly string[]): string | undefined {
  const sent = headerValue(headers, "x-request-id");
  return sent !== undefined && USABLE_ID.test(sent) ? sent : undefined;
}
