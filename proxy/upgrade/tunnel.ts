/**
 * One attempt to switch protocols at an endpoint, through http-proxy, and the tunnel that comes of it.
 *
 * http-proxy asks the endpoint and carries the bytes both ways; everything around it is the pipeline's: the endpoint
 * has been chosen, the heads are written by the same rules as any other, an endpoint that refuses is answered like any
 * other, and the tunnel is the body of an answer, so that it is counted, timed and given back like one. This is the
 * only file that knows http-proxy, and it closes its traps: a caller's reset while the endpoint has not answered yet (which
 * would end the process), paths that are rewritten, fields that are reversed and joined, framing of refusals.
 *
 * Upgrades are rare: the module is loaded with the first one.
 */
import type { ClientRequest, IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import "./util-extend.ts";
import httpProxy from "http-proxy";
import {
  asProxyError,
  Body,
  type BodySource,
  type Clock,
  type Endpoint,
  type Exchange,
  endpointKey,
  ProxyError,
  type ProxyResponse,
} from "../../core/index.ts";
import { deadlineExceeded } from "../../resilience/index.ts";
import { Expiry } from "../expiry.ts";
import { requestHead } from "../forwarded.ts";
import { MessageFault, type ParsedResponse } from "../http1/index.ts";
import { ownConnections } from "../own-connections.ts";
import { readAnswerHead } from "./answer-head.ts";
import { Bridge } from "./bridge.ts";
import { WebSocketGoodbye } from "./websocket-goodbye.ts";

const { Agent } = process.getBuiltinModule("node:http");

export interface TunnelParts {
  readonly endpoint: Endpoint;
  readonly upstreamName: string;
  readonly clock: Clock;
  readonly connectMs: number;
  readonly attemptMs: number;
  /** Between two pieces of an answer that does not switch. */
  readonly idleMs: number;
  /** How long a tunnel may carry nothing, either way. */
  readonly tunnelIdleMs: number;
  /** The connection to the endpoint has closed. */
  readonly onClosed: () => void;
}

/** What is handed through http-proxy as the caller's request. */
interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Called with the request to the endpoint before it is sent. */
  readonly begin: (request: ClientRequest) => void;
}

interface TunnelProxy {
  readonly wsPasses: ((...args: never) => unknown)[];
  on(event: "proxyReqWs", listener: (request: ClientRequest, asked: Asked) => void): void;
  ws(asked: Asked, caller: Bridge, options: object, onFailed: (cause: Error) => void): void;
}

const proxy = httpProxy.createProxyServer() as unknown as TunnelProxy;
// What may be switched to has been decided before; the check in there knows only WebSocket, and hangs up on all others.
proxy.wsPasses.splice(0, proxy.wsPasses.length, ...proxy.wsPasses.filter(({ name }) => name === "stream"));
proxy.on("proxyReqWs", (request, asked) => asked.begin(request));
// Half-open, so that either side may end while the other still speaks.
const agent = new Agent({ keepAlive: false, allowHalfOpen: true } as object);

const SWITCHED = 101;

/**
 * Asks the endpoint for the exchange's upgrade. Resolves with 101 and a tunnel, or with whatever else the endpoint answers.
 * @throws ProxyError connect_failed, connect_timeout, upstream_reset, bad_response, attempt_timeout, deadline_exceeded, or
 * the reason of an abort
 */
export function openTunnel(parts: TunnelParts, exchange: Exchange): Promise<ProxyResponse> {
  const attempt = new TunnelAttempt(parts, exchange);
  attempt.start();
  return attempt.answer;
}

class TunnelAttempt {
  readonly #parts: TunnelParts;
  readonly #exchange: Exchange;
  readonly #answer = Promise.withResolvers<ProxyResponse>();
  readonly #key: string;
  readonly #expiry: Expiry;
  readonly #bridge: Bridge;
  readonly #source: BodySource;
  readonly #onError = (cause: Error) => this.#break(this.#lost(cause));
  #body: Body;
  readonly #goodbye: WebSocketGoodbye | undefined;
  #state: "connecting" | "asked" | "answered" | "tunnel" | "closed" = "connecting";
  #broken: ProxyError | undefined;
  #request: ClientRequest | undefined;
  #socket: Socket | undefined;
  #plain: IncomingMessage | undefined;
  #paused = false;
  #released = false;

  constructor(parts: TunnelParts, exchange: Exchange) {
    this.#parts = parts;
    this.#exchange = exchange;
    this.#key = endpointKey(parts.endpoint);
    this.#expiry = new Expiry(parts.clock, () => this.#expired());
    this.#goodbye = exchange.upgrade === "websocket" ? new WebSocketGoodbye() : undefined;
    this.#bridge = new Bridge({
      onBytes: (bytes) => this.#toCaller(this.#goodbye === undefined ? bytes : this.#goodbye.pass(bytes)),
      onEnd: () => this.#ended(),
    });
    this.#source = {
      pause: () => {
        this.#paused = true;
        this.#plain?.pause();
        // A slow caller is not the endpoint's fault; the caller's own connection has its limit.
        if (this.#state === "answered") this.#expiry.suspend();
      },
      resume: () => {
        this.#paused = false;
        this.#plain?.resume();
        this.#bridge.release();
        if (this.#state === "answered") this.#expireIn(this.#parts.idleMs);
      },
      cancel: (reason) =>
        this.#fail(reason instanceof ProxyError ? reason : new ProxyError("client_closed", reason.message)),
    };
    this.#body = new Body(this.#source, undefined);
  }

  get answer(): Promise<ProxyResponse> {
    return this.#answer.promise;
  }

  start(): void {
    const { endpoint, clock, connectMs } = this.#parts;
    const exchange = this.#exchange;
    exchange.suspend("response", clock.now(), (reason) => this.#fail(reason));
    if (this.#state === "closed") return;
    this.#expireIn(connectMs);
    const target = { protocol: "http:", host: endpoint.address, port: endpoint.port };
    const asked: Asked = {
      method: exchange.method,
      url: exchange.target,
      headers: {},
      begin: (request) => this.#begin(request),
    };
    try {
      proxy.ws(asked, this.#bridge, { target, agent, toProxy: true }, this.#onError);
    } catch (thrown) {
      // A head that Node does not write; the connection for it has been begun all the same.
      this.#fail(asProxyError(thrown));
    }
    // http-proxy's own listener would write a refusal to the bridge, without its framing.
    this.#request?.removeAllListeners("response").on("response", (answer) => this.#answered(answer));
  }

  #begin(request: ClientRequest): void {
    const exchange = this.#exchange;
    this.#request = request;
    // http-proxy's own comes only when nothing has been thrown in here.
    request.on("error", this.#onError);
    // As it came: http-proxy would merge the slashes.
    request.path = exchange.target;
    const { clock, upstreamName } = this.#parts;
    const lines = requestHead(exchange, upstreamName, clock.now()).split("\r\n").slice(1, -2);
    const fields = new Map<string, [name: string, values: string[]]>();
    for (const line of lines) {
      const colon = line.indexOf(":");
      const name = line.slice(0, colon);
      const field = fields.get(name.toLowerCase()) ?? [name, []];
      field[1].push(line.slice(colon + 2));
      fields.set(name.toLowerCase(), field);
    }
    for (const [name, values] of fields.values())
      request.setHeader(name, values.length === 1 ? values[0]! : values);
    // They speak of a body, and there is none; Node would throw over the second.
    for (const name of ["TE", "Trailer"]) request.removeHeader(name);
    request.setHeader("Connection", "Upgrade");
    request.setHeader("Upgrade", exchange.upgrade);
    // Before http-proxy's own listeners: what is settled here is only carried there.
    request.on("socket", (socket) => {
      ownConnections.note(socket, this.#parts.endpoint);
      socket.once("connect", () => this.#connected());
      socket.once("close", () => this.#socketClosed());
    });
    request.on("upgrade", (answer, socket) => this.#switched(answer, socket));
  }

  #connected(): void {
    if (this.#state !== "connecting") return;
    this.#state = "asked";
    this.#expireIn(this.#exchange.policy?.attemptMs ?? this.#parts.attemptMs);
  }

  /** The endpoint does not switch: an answer like any other, but that its connection is not used again. */
  #answered(answer: IncomingMessage): void {
    const head = this.#readHead(answer, answer.statusCode ?? 0);
    if (head === undefined || this.#state === "closed") {
      answer.destroy();
      return;
    }
    this.#state = "answered";
    this.#plain = answer;
    this.#body = new Body(this.#source, head.framing < 0 ? undefined : head.framing);
    this.#expireIn(this.#parts.idleMs);
    answer.on("data", (bytes: Buffer) => {
      this.#expireIn(this.#parts.idleMs);
      this.#body.push(bytes);
    });
    answer.on("end", () => {
      this.#body.end();
      this.#close();
    });
    answer.on("error", (cause) => this.#fail(this.#lost(cause)));
    answer.on("aborted", () => this.#fail(this.#lost(new Error("closed the connection"))));
    this.#give({ ...head, body: this.#body });
  }

  #switched(answer: IncomingMessage, socket: Socket): void {
    this.#socket = socket;
    const protocol = answer.headers.upgrade ?? "";
    if (this.#state === "closed") {
      socket.destroy();
      return;
    }
    if (protocol.toLowerCase() !== this.#exchange.upgrade) {
      const message = `${this.#key} switched to ${JSON.stringify(protocol)}, which nobody asked for`;
      this.#fail(this.#error("bad_response", message, "unexpected_switch"));
      return;
    }
    // Of a 101 only the fields are wanted; what they say about a body is not heard.
    const head = this.#readHead(answer, 200);
    if (head === undefined) return;
    this.#state = "tunnel";
    this.#touch();
    this.#give({
      status: SWITCHED,
      reason: answer.statusMessage ?? "",
      headers: head.headers,
      body: this.#body,
      tunnel: {
        protocol,
        connect: (fromCaller) =>
          this.#bridge.connect(
            fromCaller,
            (cause) => this.#fail(cause instanceof ProxyError ? cause : this.#lost(cause)),
            () => this.#touch(),
          ),
        leave: () => {
          if (this.#goodbye !== undefined) this.#toCaller(this.#goodbye.leave());
        },
      },
    });
  }

  /** The endpoint breaks it. What it has said in a tunnel may still be on its way over the bridge. */
  #break(reason: ProxyError): void {
    if (this.#state !== "tunnel" || this.#bridge.writableFinished) {
      this.#fail(reason);
      return;
    }
    this.#broken ??= reason;
    this.#bridge.end();
  }

  /** The endpoint has ended its side, or has broken, and the caller has been given all that came before. */
  #ended(): void {
    if (this.#state !== "tunnel") return;
    if (this.#broken !== undefined) {
      this.#fail(this.#broken);
      return;
    }
    this.#body.end();
    if (this.#socket!.destroyed) this.#close();
  }

  #socketClosed(): void {
    this.#release();
    if (this.#state !== "tunnel") return;
    if (this.#body.complete) this.#close();
    // What the endpoint has ended may still be on its way over the bridge.
    else if (!this.#bridge.writableEnded) this.#break(this.#lost(new Error("closed the connection")));
  }

  #release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#parts.onClosed();
  }

  #readHead(answer: IncomingMessage, status: number): ParsedResponse | undefined {
    try {
      return readAnswerHead(answer, status, this.#exchange.method);
    } catch (thrown) {
      if (!(thrown instanceof MessageFault)) throw thrown;
      const message = `the answer of ${this.#key} is malformed: ${thrown.message}`;
      this.#fail(this.#error("bad_response", message, thrown.reason));
      return undefined;
    }
  }

  #give(response: ProxyResponse): void {
    this.#exchange.resume(this.#parts.clock.now());
    this.#answer.resolve(response);
  }

  #toCaller(bytes: Uint8Array): boolean {
    this.#touch();
    if (bytes.length > 0) this.#body.push(bytes);
    return !this.#paused;
  }

  #touch(): void {
    if (this.#state === "tunnel") this.#expiry.moveTo(this.#parts.clock.now() + this.#parts.tunnelIdleMs);
  }

  #expireIn(ms: number): void {
    const latestMs = this.#parts.clock.now() + ms;
    const deadlineMs = this.#state === "answered" ? Number.POSITIVE_INFINITY : this.#exchange.deadlineMs;
    this.#expiry.moveTo(Math.min(latestMs, deadlineMs));
  }

  #expired(): void {
    if (this.#broken !== undefined) {
      // Who does not take the rest must not take what it has for all.
      this.#fail(this.#broken);
    } else if (this.#state === "tunnel") {
      this.#exchange.detail ||= "tunnel_idle";
      // First: a caller that is not heard any more is not waited for when its answer has ended.
      this.#close();
      this.#body.end();
    } else if (this.#state === "answered") {
      this.#fail(this.#error("response_timeout", `${this.#key} stopped in the middle of its answer`));
    } else if (this.#parts.clock.now() >= this.#exchange.deadlineMs) {
      this.#fail(
        deadlineExceeded(this.#exchange, `no answer from ${this.#key} before the deadline`, this.#key),
      );
    } else if (this.#state === "connecting") {
      this.#fail(this.#error("connect_timeout", `no connection to ${this.#key} in time`));
    } else {
      this.#fail(this.#error("attempt_timeout", `${this.#key} did not begin to answer in time`));
    }
  }

  #fail(reason: ProxyError): void {
    const before = this.#state;
    if (before === "closed") return;
    this.#close();
    if (before === "connecting" || before === "asked") {
      this.#exchange.resume(this.#parts.clock.now());
      this.#answer.reject(reason);
    } else {
      // An answer that has ended cannot fail any more, but what the caller went on to say is lost.
      if (this.#body.complete) this.#exchange.blame(reason);
      this.#body.fail(reason);
    }
  }

  #close(): void {
    this.#state = "closed";
    this.#expiry.stop();
    this.#request?.destroy();
    this.#socket?.destroy();
    this.#bridge.destroy();
    // Without a socket nothing will close.
    if (this.#request?.socket == null) this.#release();
  }

  #lost(cause: Error): ProxyError {
    if (this.#state === "connecting")
      return this.#error(
        "connect_failed",
        `no connection to ${this.#key}: ${cause.message}`,
        undefined,
        cause,
      );
    if ((cause as NodeJS.ErrnoException).code?.startsWith("HPE_"))
      return this.#error("bad_response", `the answer of ${this.#key} is malformed: ${cause.message}`);
    return this.#error("upstream_reset", `${this.#key} was lost: ${cause.message}`, undefined, cause);
  }

  #error(
    code: ConstructorParameters<typeof ProxyError>[0],
    message: string,
    detail?: string,
    cause?: Error,
  ): ProxyError {
    return new ProxyError(code, message, {
      endpoint: this.#key,
      ...(detail === undefined ? {} : { detail }),
      ...(cause === undefined ? {} : { cause }),
    });
  }
}
