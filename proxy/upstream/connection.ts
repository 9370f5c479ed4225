/**
 * One connection to one endpoint: a request out, its answer in, and then either back to the pool or closed.
 *
 * Its law: it serves one exchange at a time, it goes back to the pool only when both messages have ended exactly
 * where their framing said, and any byte that nobody asked for ends it. It ends every exchange it serves: with a
 * response, or with an error that says whether the request may be sent again.
 */
import { connect, type Socket } from "node:net";
import {
  Body,
  type BodySource,
  type Clock,
  type Endpoint,
  type Exchange,
  endpointKey,
  ProxyError,
  type ProxyResponse,
} from "../../core/index.ts";
import { noteRead } from "../bulk-garbage.ts";
import { Expiry } from "../expiry.ts";
import {
  DEFAULT_LIMITS,
  MessageFault,
  MessageParser,
  type ParsedResponse,
  parseResponseHead,
  UNTIL_CLOSE,
} from "../http1/index.ts";
import { ownConnections } from "../own-connections.ts";
import { copyOf, READ_BUFFER } from "../read-buffer.ts";
import { type ConnectionState, endpointError, lateError, lostError } from "./attempt-errors.ts";
import { KeepAlive } from "./keep-alive.ts";
import { RequestWriter } from "./request-writer.ts";

export interface ConnectionTimeouts {
  readonly connectMs: number;
  readonly attemptMs: number;
  readonly idleMs: number;
  /** How long an unused connection is kept, unless the endpoint promises less. */
  readonly keepAliveMs: number;
}

/** What the pool is told by its connections. */
export interface ConnectionOwner {
  /**
   * A connection that had served before was lost before it gave a byte of its answer: the endpoint has closed it while
   * the request was on its way. Resolves with the answer to a second sending; undefined when there must not be one.
   * @param unsent nothing of the request has left
   */
  onStale(exchange: Exchange, unsent: boolean): Promise<ProxyResponse> | undefined;
  /**
   * Another attempt of the request was faster. Whether this one is heard out all the same: its endpoint is judged by whether it
   * answers in time, and one that never does would be hidden by being overtaken.
   */
  hearOut(connection: UpstreamConnection): boolean;
  /** Both messages have ended well; the connection can serve another. */
  onFree(connection: UpstreamConnection): void;
  onClosed(connection: UpstreamConnection): void;
}

export class UpstreamConnection implements BodySource {
  readonly endpoint: Endpoint;
  readonly key: string;
  readonly #owner: ConnectionOwner;
  readonly #clock: Clock;
  readonly #timeouts: ConnectionTimeouts;
  readonly #socket: Socket;
  readonly #expiry: Expiry;
  readonly #parser: MessageParser<ParsedResponse>;
  readonly #writer: RequestWriter;
  readonly #abort = (reason: ProxyError) => {
    if (reason.code !== "hedge_lost" || !this.#isHeardOut(reason)) this.#fail(reason);
  };
  #state: ConnectionState = "connecting";
  #connected: ((failure: ProxyError | undefined) => void) | undefined;
  #exchange: Exchange | undefined;
  #resolve: ((response: ProxyResponse | Promise<ProxyResponse>) => void) | undefined;
  #reject: ((reason: ProxyError) => void) | undefined;
  #responseBody: Body | undefined;
  #responseEnded = false;
  #reusable = true;
  #paused = false;
  readonly #keepAlive: KeepAlive;
  #served = 0;
  /** The answer whose head has come in what is being read: handed on when all of that has been found in order. */
  #answer: ProxyResponse | undefined;

  constructor(
    endpoint: Endpoint,
    upstreamName: string,
    owner: ConnectionOwner,
    clock: Clock,
    timeouts: ConnectionTimeouts,
  ) {
    this.endpoint = endpoint;
    this.key = endpointKey(endpoint);
    this.#owner = owner;
    this.#clock = clock;
    this.#timeouts = timeouts;
    this.#keepAlive = new KeepAlive(timeouts.keepAliveMs);
    this.#expiry = new Expiry(clock, () => this.#expired());
    this.#parser = new MessageParser<ParsedResponse>(
      (text) => parseResponseHead(text, DEFAULT_LIMITS, this.#exchange!.method),
      DEFAULT_LIMITS,
      {
        onHead: (head) => this.#onHead(head),
        onData: (bytes, start, end) => this.#onData(bytes, start, end),
        onEnd: (trailers) => this.#onEnd(trailers),
      },
    );
    this.#socket = connect({
      host: endpoint.address,
      port: endpoint.port,
      noDelay: true,
      onread: { buffer: READ_BUFFER, callback: (length) => this.#onRead(length) },
    });
    ownConnections.note(this.#socket, endpoint);
    this.#writer = new RequestWriter(this.#socket, upstreamName, {
      onSent: () => this.#onRequestSent(),
      onBroken: (cause) => this.#onRequestBroken(cause),
      onBlocked: (blocked) => this.#onRequestBlocked(blocked),
    });
    this.#socket.on("connect", () => this.#onConnect());
    this.#socket.on("end", () => this.#onPeerEnded());
    this.#socket.on("drain", () => {
      clock.now();
      this.#writer.drained();
    });
    this.#socket.on("error", (error) => this.#fail(this.#lost(error)));
    this.#socket.on("close", () => this.#fail(this.#lost(undefined)));
    this.#expiry.moveTo(clock.now() + timeouts.connectMs);
  }

  /** Calls back once, when the connection stands or when it could not be made. */
  whenConnected(callback: (failure: ProxyError | undefined) => void): void {
    this.#connected = callback;
  }

  get connecting(): boolean {
    return this.#state === "connecting";
  }

  get usable(): boolean {
    return this.#state === "idle";
  }

  /** The endpoint may be about to close it. */
  get doubtful(): boolean {
    return this.#keepAlive.doubtful(this.#clock.recentMs);
  }

  /** Sends the request. Rejects with a ProxyError; the response's body may fail later. */
  send(exchange: Exchange): Promise<ProxyResponse> {
    this.#exchange = exchange;
    this.#state = "sending";
    this.#responseEnded = false;
    this.#reusable = true;
    this.#paused = false;
    this.#responseBody = undefined;
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      exchange.suspend("response", this.#clock.recentMs, this.#abort);
      if (this.#state !== "sending") return;
      // Until the request has been sent its caller sets the pace, within its own limits: that of its body, and what it has said.
      this.#expiry.moveTo(exchange.deadlineMs);
      this.#writer.start(exchange, this.#clock.recentMs);
    });
  }

  /** Closes it whatever it does; an exchange it serves fails with `reason`. */
  destroy(reason: ProxyError): void {
    this.#fail(reason);
  }

  /**
   * The exchange goes on without this attempt, and the attempt without the exchange: it ends as it would have ended, by the same
   * time limit, and nobody but those who judge the endpoint hears of it.
   */
  #isHeardOut(reason: ProxyError): boolean {
    // What has not been sent whole would still need the body, which is the exchange's.
    if (this.#state !== "sending" || this.#writer.writing || !this.#owner.hearOut(this)) return false;
    const exchange = this.#exchange!;
    exchange.resume(this.#clock.now());
    this.#exchange = exchange.twin(undefined);
    // Also says that it is not to be sent again.
    this.#exchange.abort(reason);
    return true;
  }

  /** The request's body broke: what has been sent of it must not be taken for whole. */
  #onRequestBroken(cause: Error): void {
    this.#fail(cause instanceof ProxyError ? cause : new ProxyError("client_closed", cause.message));
  }

  #onRequestSent(): void {
    if (this.#state === "sending") this.#awaitEndpoint();
    this.#finishIfEnded();
  }

  /** While the endpoint does not take more it is the endpoint that we wait for, and not the caller. */
  #onRequestBlocked(blocked: boolean): void {
    if (this.#state !== "sending") return;
    if (blocked) this.#awaitEndpoint();
    else this.#expiry.moveTo(this.#exchange!.deadlineMs);
  }

  #awaitEndpoint(): void {
    const { policy, deadlineMs } = this.#exchange!;
    const latestMs = this.#clock.recentMs + (policy?.attemptMs ?? this.#timeouts.attemptMs);
    this.#expiry.moveTo(Math.min(latestMs, deadlineMs));
  }

  // --- as the source of the response's body

  pause(): void {
    this.#paused = true;
    this.#socket.pause();
    // A slow caller is not the endpoint's fault; the caller's own connection has its limit.
    this.#expiry.suspend();
  }

  resume(): void {
    this.#paused = false;
    this.#socket.resume();
    if (this.#state === "answering") this.#expiry.moveTo(this.#clock.now() + this.#timeouts.idleMs);
  }

  cancel(reason: Error): void {
    this.#fail(reason instanceof ProxyError ? reason : new ProxyError("client_closed", reason.message));
  }

  // --- what the parser finds

  #onHead(head: ParsedResponse): void {
    const exchange = this.#exchange!;
    if (head.interim) {
      exchange.onInterim?.(exchange, head.status, head.reason, head.headers);
      if (head.status === 100) this.#writer.goAhead();
      return;
    }
    this.#state = "answering";
    // An endpoint that did not ask for the body may take it for the next request, or may not read it at all.
    this.#reusable = head.keepAlive && (!exchange.expectsContinue || exchange.continued);
    if (head.keepAliveTimeoutMs !== undefined) this.#keepAlive.learn(head.keepAliveTimeoutMs);
    this.#responseBody = new Body(this, head.framing < 0 ? undefined : head.framing);
    this.#expiry.moveTo(this.#clock.recentMs + this.#timeouts.idleMs);
    const { status, reason, headers } = head;
    const untilClose = head.framing === UNTIL_CLOSE;
    this.#answer = { status, reason, headers, body: this.#responseBody, untilClose };
  }

  #handOn(answer: ProxyResponse): void {
    this.#answer = undefined;
    this.#exchange!.resume(this.#clock.recentMs);
    const resolve = this.#resolve!;
    this.#resolve = undefined;
    this.#reject = undefined;
    resolve(answer);
  }

  #onData(bytes: Buffer, start: number, end: number): void {
    this.#expiry.moveTo(this.#clock.recentMs + this.#timeouts.idleMs);
    this.#responseBody!.push(copyOf(bytes, start, end));
  }

  #onEnd(trailers: readonly string[]): void {
    this.#responseEnded = true;
    this.#responseBody!.end(trailers);
  }

  // --- what the socket says

  #onConnect(): void {
    if (this.#state !== "connecting") return;
    this.#state = "idle";
    this.#expiry.suspend();
    this.#tellConnected(undefined);
  }

  /** Returning false pauses the reading. */
  #onRead(length: number): boolean {
    noteRead(length);
    this.#clock.now();
    this.#onBytes(length);
    return !this.#paused;
  }

  #onBytes(length: number): void {
    if (this.#state === "idle") {
      this.#fail(endpointError(this.key, "upstream_reset", "the endpoint sent bytes that nobody asked for"));
      return;
    }
    if (this.#state !== "sending" && this.#state !== "answering") return;
    if (this.#state === "sending" && this.#writer.unsent) {
      this.#fail(endpointError(this.key, "upstream_reset", "the endpoint answered before it was asked"));
      return;
    }
    try {
      const read = this.#parser.execute(READ_BUFFER, 0, length);
      // More than was asked for; or, behind a buffer that is just full, nobody knows.
      if (read < length || length === READ_BUFFER.length) this.#reusable = false;
    } catch (thrown) {
      if (!(thrown instanceof MessageFault)) throw thrown;
      const message = `the answer of ${this.key} is malformed: ${thrown.message}`;
      this.#fail(endpointError(this.key, "bad_response", message, thrown.reason));
      return;
    }
    if (this.#answer !== undefined) this.#handOn(this.#answer);
    this.#finishIfEnded();
  }

  #onPeerEnded(): void {
    if (this.#state === "answering" && this.#parser.finish()) {
      this.#reusable = false;
      this.#finishIfEnded();
    } else {
      this.#fail(this.#lost(undefined));
    }
  }

  #expired(): void {
    if (this.#state === "closed") return;
    this.#fail(lateError(this.key, this.#state, this.#exchange, this.#clock.now()));
  }

  // --- endings

  #finishIfEnded(): void {
    if (!this.#responseEnded || this.#state !== "answering") return;
    if (this.#writer.writing || !this.#reusable) {
      // Answered before the request was complete, or not to be used again: nothing more is sent on it.
      this.#writer.abandon();
      this.#exchange = undefined;
      this.#close();
      return;
    }
    // A pooled connection is old; what it still pointed at would be kept with it.
    this.#exchange = undefined;
    this.#responseBody = undefined;
    this.#state = "idle";
    this.#served++;
    this.#expiry.moveTo(this.#keepAlive.begin(this.#clock.recentMs));
    this.#owner.onFree(this);
  }

  #fail(reason: ProxyError): void {
    const before = this.#state;
    if (before === "closed") return;
    const exchange = this.#exchange;
    const { unsent } = this.#writer;
    this.#exchange = undefined;
    this.#close();
    if (before === "connecting") {
      this.#tellConnected(reason);
    } else if (exchange !== undefined) {
      this.#writer.abandon();
      if (this.#reject === undefined) {
        this.#responseBody!.fail(reason);
      } else {
        exchange.resume(this.#clock.now());
        const stale =
          before === "sending" && this.#served > 0 && this.#parser.idle && reason.code === "upstream_reset";
        const again = stale ? this.#owner.onStale(exchange, unsent) : undefined;
        if (again === undefined) this.#reject(reason);
        else this.#resolve!(again);
        this.#resolve = undefined;
        this.#reject = undefined;
      }
    }
  }

  #close(): void {
    this.#state = "closed";
    this.#expiry.stop();
    this.#socket.destroy();
    this.#owner.onClosed(this);
  }

  #tellConnected(failure: ProxyError | undefined): void {
    const connected = this.#connected;
    this.#connected = undefined;
    connected?.(failure);
  }

  #lost(cause: Error | undefined): ProxyError {
    return lostError(this.key, this.#state, cause);
  }
}
