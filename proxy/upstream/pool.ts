/**
 * The connections to one upstream: kept, reused, and never more than allowed over all of its endpoints.
 *
 * The last one used is used first, so that a quiet upstream needs few and the others time out. When the limit is
 * reached and another endpoint has an unused connection, that one makes room; else the request queues, in the
 * order of arrival and bounded, and takes over whatever comes free.
 */
import {
  type Clock,
  type Endpoint,
  type Exchange,
  ProxyError,
  type ProxyResponse,
} from "../../core/index.ts";
import { mayBeRepeated, type RetrySwitch, waitFor } from "../../resilience/index.ts";
import { openTcp } from "../tcp/index.ts";
import { type ConnectionOwner, type ConnectionTimeouts, UpstreamConnection } from "./connection.ts";

export interface PoolOptions {
  /** Connections at the most, over all endpoints of the upstream. */
  readonly connections: number;
  /** Requests that may wait for one. */
  readonly pending: number;
  readonly timeouts: ConnectionTimeouts & { readonly tunnelIdleMs: number };
  /** Undefined where nothing turns off what sends a request again. */
  readonly switch?: RetrySwitch | undefined;
}

interface Waiter {
  readonly pool: EndpointPool;
  readonly begin: (connection: UpstreamConnection) => void;
}

/**
 * Of the attempts at one endpoint that another one has overtaken, so many at a time are heard out. As many in a row as open a breaker
 * by default; more would keep connections and the endpoint's work for nothing.
 */
const MOST_HEARD_OUT = 5;
const MAKING_ROOM = "closed to make room for another endpoint";

/** The limit and the queue that the endpoints of one upstream share. */
export class ConnectionPool {
  readonly name: string;
  readonly clock: Clock;
  readonly options: PoolOptions;
  readonly #endpoints = new Set<EndpointPool>();
  readonly #waiters = new Set<Waiter>();
  /** On which an endpoint is asked something that no request waits for: they give way to any that needs a connection. */
  readonly beside = new Map<Exchange, UpstreamConnection>();
  open = 0;
  openedTotal = 0;
  /** Requests that were sent again, as the endpoint had closed the connection under them. */
  resent = 0;

  constructor(name: string, clock: Clock, options: PoolOptions) {
    this.name = name;
    this.clock = clock;
    this.options = options;
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  /** Connections by what they are doing. */
  counts(): Record<"connecting" | "busy" | "idle", number> {
    let connecting = 0;
    let idle = 0;
    for (const pool of this.#endpoints) {
      connecting += pool.connecting;
      idle += pool.idle;
    }
    return { connecting, busy: this.open - connecting - idle, idle };
  }

  forEndpoint(endpoint: Endpoint): EndpointPool {
    const pool = new EndpointPool(this, endpoint);
    this.#endpoints.add(pool);
    return pool;
  }

  forget(pool: EndpointPool): void {
    this.#endpoints.delete(pool);
  }

  /** Whether one more may be opened, if need be by closing an unused one elsewhere. */
  makeRoom(): boolean {
    if (this.open < this.options.connections) return true;
    for (const pool of this.#endpoints) {
      if (pool.closeOldestIdle()) return true;
    }
    for (const pool of this.#endpoints) {
      if (pool.closeHeardOut()) return true;
    }
    for (const asking of this.beside.values()) {
      asking.destroy(new ProxyError("overflow", MAKING_ROOM));
      return true;
    }
    return false;
  }

  tryQueue(waiter: Waiter): boolean {
    if (this.#waiters.size >= this.options.pending) return false;
    this.#waiters.add(waiter);
    return true;
  }

  leave(waiter: Waiter): void {
    this.#waiters.delete(waiter);
  }

  /** A connection has come free: the first in the queue gets it, or gets its place. True when it was taken. */
  handOver(connection: UpstreamConnection, pool: EndpointPool): boolean {
    for (const waiter of this.#waiters) {
      if (waiter.pool === pool) {
        this.#waiters.delete(waiter);
        waiter.begin(connection);
      } else {
        connection.destroy(new ProxyError("upstream_reset", MAKING_ROOM));
      }
      return true;
    }
    return false;
  }

  /** A place has come free: the first in the queue opens a connection of its own. */
  fillPlace(): void {
    for (const waiter of this.#waiters) {
      if (this.open >= this.options.connections) return;
      this.#waiters.delete(waiter);
      waiter.begin(waiter.pool.open());
      return;
    }
  }
}

/** The connections to one endpoint. */
export class EndpointPool implements ConnectionOwner {
  readonly #shared: ConnectionPool;
  readonly #endpoint: Endpoint;
  readonly #all = new Set<UpstreamConnection>();
  readonly #idle: UpstreamConnection[] = [];
  /** Nobody waits for them any more, so they give way to any request that needs a connection. Undefined until there is one. */
  #heardOut: Set<UpstreamConnection> | undefined = undefined;
  #closing = false;

  constructor(shared: ConnectionPool, endpoint: Endpoint) {
    this.#shared = shared;
    this.#endpoint = endpoint;
  }

  get idle(): number {
    return this.#idle.length;
  }

  get connecting(): number {
    let count = 0;
    for (const connection of this.#all) if (connection.connecting) count++;
    return count;
  }

  /**
   * An unused connection, if there is one; it is the caller's now. A request that must not be sent twice gets none that
   * the endpoint may be about to close: whether such a request was heard could not be told.
   */
  takeIdle(exchange: Exchange): UpstreamConnection | undefined {
    const latest = this.#idle.at(-1);
    if (latest === undefined || (latest.doubtful && !this.#maySendAgain(exchange))) return undefined;
    return this.#idle.pop();
  }

  /**
   * A new connection, or one that comes free meanwhile.
   * @throws ProxyError connect_failed, connect_timeout, overflow, deadline_exceeded, or the reason of an abort
   */
  connect(exchange: Exchange): Promise<UpstreamConnection> {
    const shared = this.#shared;
    let judged: Promise<never> | undefined;
    return waitFor<UpstreamConnection>(exchange, shared.clock, "connection", (done, fail) => {
      let own: UpstreamConnection | undefined;
      const begin = (connection: UpstreamConnection) => {
        own = connection;
        if (connection.usable) {
          done(connection);
          return;
        }
        connection.whenConnected((failure) => {
          if (failure === undefined) done(connection);
          else fail(failure);
        });
      };
      const waiter: Waiter = { pool: this, begin };
      // A health question gets one more than there may be: few at a time ask it.
      if (shared.makeRoom() || exchange.asksForHealth) begin(this.open());
      else if (!shared.tryQueue(waiter))
        fail(new ProxyError("overflow", "all connections are busy and the queue for them is full"));
      return (reason) => {
        shared.leave(waiter);
        if (reason.code === "hedge_lost" && own?.connecting && this.hearOut(own))
          judged = untilJudged(own, reason);
        else own?.destroy(new ProxyError("client_closed", "no longer wanted"));
      };
    }).catch((thrown: ProxyError) => judged ?? Promise.reject(thrown));
  }

  /**
   * Sends what no request waits for, where there is room: it neither makes any nor queues.
   * @throws ProxyError overflow when there is none, or as `connect` and a connection's `send` do
   */
  async beside(exchange: Exchange): Promise<ProxyResponse> {
    const shared = this.#shared;
    const unused = this.takeIdle(exchange);
    if (unused === undefined && (shared.open >= shared.options.connections || shared.waiting > 0))
      throw new ProxyError("overflow", "there is no room beside the requests");
    const connection = unused ?? this.open();
    shared.beside.set(exchange, connection);
    try {
      if (unused === undefined) await this.#connected(connection, exchange);
      return await connection.send(exchange);
    } finally {
      shared.beside.delete(exchange);
    }
  }

  #connected(connection: UpstreamConnection, exchange: Exchange): Promise<void> {
    return waitFor<void>(exchange, this.#shared.clock, "connection", (done, fail) => {
      connection.whenConnected((failure) => (failure === undefined ? done() : fail(failure)));
      return () => connection.destroy(new ProxyError("client_closed", "no longer wanted"));
    });
  }

  open(): UpstreamConnection {
    const shared = this.#shared;
    const connection = new UpstreamConnection(
      this.#endpoint,
      shared.name,
      this,
      shared.clock,
      shared.options.timeouts,
    );
    this.#all.add(connection);
    shared.open++;
    shared.openedTotal++;
    return connection;
  }

  /**
   * Opens a tunnel, which counts as a connection until it closes, but is never one that another request could use.
   * @throws ProxyError overflow, or as openTunnel does
   */
  async tunnel(exchange: Exchange): Promise<ProxyResponse> {
    const { openTunnel } = await import("../upgrade/index.ts");
    const shared = this.#shared;
    if (!shared.makeRoom())
      throw new ProxyError("overflow", "all connections are busy; an upgrade does not queue for one");
    shared.open++;
    shared.openedTotal++;
    const onClosed = () => {
      shared.open--;
      shared.fillPlace();
    };
    const { name: upstreamName, clock, options } = shared;
    return openTunnel(
      { endpoint: this.#endpoint, upstreamName, clock, ...options.timeouts, onClosed },
      exchange,
    );
  }

  /**
   * Opens a connection for one that is carried as it is. It is not asked for a place: its upstream lets no more of them in
   * than there may be connections.
   * @throws ProxyError as openTcp does
   */
  tcp(exchange: Exchange): Promise<ProxyResponse> {
    const shared = this.#shared;
    shared.open++;
    shared.openedTotal++;
    const { connectMs, tunnelIdleMs } = shared.options.timeouts;
    const onClosed = () => {
      shared.open--;
      shared.fillPlace();
    };
    return openTcp(
      { endpoint: this.#endpoint, clock: shared.clock, connectMs, idleMs: tunnelIdleMs, onClosed },
      exchange,
    );
  }

  /** Sent once more, on a connection of its own; this is no retry, as the endpoint has hung up on an idle connection. */
  onStale(exchange: Exchange, unsent: boolean): Promise<ProxyResponse> | undefined {
    const { body } = exchange;
    if (this.#shared.beside.has(exchange)) return undefined;
    if (!unsent && !this.#maySendAgain(exchange)) return undefined;
    if (exchange.aborted !== undefined || (body !== undefined && !body.rewindable)) return undefined;
    // Others wait for the place that has come free; whether it is worth another try is for the retries to say.
    if (this.#shared.waiting > 0) return undefined;
    body?.rewind();
    this.#shared.resent++;
    return this.connect(exchange).then((connection) => connection.send(exchange));
  }

  /** Whether it may be sent once more when it had been sent: it may have been processed, whatever has become of the connection. */
  #maySendAgain(exchange: Exchange): boolean {
    return !exchange.sendOnce && this.#shared.options.switch?.enabled !== false && mayBeRepeated(exchange);
  }

  hearOut(connection: UpstreamConnection): boolean {
    if (this.#closing || this.#shared.waiting > 0) return false;
    this.#heardOut ??= new Set();
    if (this.#heardOut.size >= MOST_HEARD_OUT) return false;
    this.#heardOut.add(connection);
    return true;
  }

  onFree(connection: UpstreamConnection): void {
    this.#heardOut?.delete(connection);
    if (this.#closing) connection.destroy(new ProxyError("upstream_reset", "the endpoint has gone"));
    else if (!this.#shared.handOver(connection, this)) this.#idle.push(connection);
  }

  onClosed(connection: UpstreamConnection): void {
    if (!this.#all.delete(connection)) return;
    this.#heardOut?.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at !== -1) this.#idle.splice(at, 1);
    this.#shared.open--;
    if (this.#closing && this.#all.size === 0) this.#shared.forget(this);
    this.#shared.fillPlace();
  }

  /** True when there was one. */
  closeOldestIdle(): boolean {
    const oldest = this.#idle[0];
    oldest?.destroy(new ProxyError("upstream_reset", MAKING_ROOM));
    return oldest !== undefined;
  }

  /** True when there was one. */
  closeHeardOut(): boolean {
    for (const connection of this.#heardOut ?? []) {
      connection.destroy(new ProxyError("hedge_lost", MAKING_ROOM));
      return true;
    }
    return false;
  }

  /** The endpoint is no longer wanted: unused connections are closed now, busy ones when they have answered. */
  close(): void {
    this.#closing = true;
    for (const connection of [...this.#idle])
      connection.destroy(new ProxyError("upstream_reset", "the endpoint has gone"));
    while (this.closeHeardOut());
    if (this.#all.size === 0) this.#shared.forget(this);
  }
}

/** Rejects as soon as it is known whether the connection can be made; it is not needed any more. @param lost where it can */
function untilJudged(connection: UpstreamConnection, lost: ProxyError): Promise<never> {
  return new Promise((_, reject) => {
    connection.whenConnected((failure) => {
      if (failure === undefined) connection.destroy(lost);
      reject(failure ?? lost);
    });
  });
}
