/**
 * One request and what has been learned about it, seen as the coroutine that it is: new, running, or suspended
 * on exactly one thing.
 *
 * Because it waits for one thing at a time, a single slot is enough to cancel it (no AbortSignal is made unless
 * someone asks), the admin port can say what each request waits for, and time in the proxy is simply the time
 * in which the coroutine was running. Its law: it is settled exactly once, by the connection that accepted it,
 * when the answer has been handed over to the last byte or can no longer be.
 */
import type { Body } from "./body.ts";
import type { ErrorCode, ProxyError } from "./errors.ts";
import type { HeaderPairs } from "./headers.ts";
import type { Outcome } from "./outcome.ts";
import type { RoutePolicy } from "./route-policy.ts";

export type Direction = "inbound" | "outbound";

/** What a coroutine can be suspended on. */
export type Wait = "queue" | "connection" | "response" | "backoff" | "transfer" | "layer" | "discovery";

export type ExchangeState = "new" | "running" | "suspended" | "settled";

/** The request's head as it was parsed, with framing and hop-by-hop fields already understood. */
export interface RequestHead {
  readonly method: string;
  /** Origin form (`/path?query`) or `*`. */
  readonly target: string;
  /** `host[:port]` as sent; empty when an HTTP/1.0 request names none. */
  readonly authority: string;
  /** 1 for HTTP/1.1, 0 for HTTP/1.0. */
  readonly minorVersion: number;
  readonly headers: HeaderPairs;
  readonly expectsContinue: boolean;
  /** The protocol that the caller would like to switch to, in lower case, such as `websocket`; empty for none. */
  readonly upgrade: string;
}

/** Milliseconds spent suspended, by what was waited for. */
export class Waits implements Record<Wait, number> {
  queue = 0;
  connection = 0;
  response = 0;
  backoff = 0;
  transfer = 0;
  layer = 0;
  discovery = 0;
}

/** Called with the exchange when it is settled. */
export type Settler = (exchange: Exchange, outcome: Outcome) => void;

/** The settlers as a stack of links. Not an array: one that is made anew per request ends up in V8's old generation. */
class SettlerLink {
  readonly settler: Settler;
  readonly next: SettlerLink | undefined;

  constructor(settler: Settler, next: SettlerLink | undefined) {
    this.settler = settler;
    this.next = next;
  }
}

const NOTHING_TRIED: readonly string[] = [];

/** Receives an interim (1xx) response for the caller. */
export type OnInterim = (
  exchange: Exchange,
  status: number,
  reason: string,
  headers: readonly string[],
) => void;

export class Exchange {
  readonly direction: Direction;
  readonly requestId: string;
  readonly method: string;
  target: string;
  readonly authority: string;
  readonly minorVersion: number;
  /** A layer may change them; they are written out as they stand. */
  readonly headers: HeaderPairs;
  readonly body: Body | undefined;
  readonly expectsContinue: boolean;
  readonly upgrade: string;
  readonly clientAddress: string;
  /** Why the request is refused before any layer looks at it: it is malformed. */
  fault: ProxyError | undefined;
  readonly arrivedAtMs: number;
  onInterim: OnInterim | undefined = undefined;
  /** The caller has been told to go on with its body (100 Continue). */
  continued = false;

  /** A TCP connection whose bytes nobody reads here, and no request: its head says nothing. */
  opaque = false;
  /** The one endpoint that it may go to, `address:port`, as its caller has named it; empty for any. */
  pinnedTo = "";

  /** The upstream that the listener itself stands for (`localPort`), before routing. */
  readonly boundUpstream: string | undefined;
  route = "";
  /** What the route asks for in place of what is usual for its upstream. */
  policy: RoutePolicy | undefined = undefined;
  upstream = "";
  /** The endpoint of the last attempt, `address:port`. */
  endpoint = "";
  /** Endpoints tried before the last attempt, which `endpoint` names. */
  triedBefore: readonly string[] = NOTHING_TRIED;
  /** Times the request has been sent, or tried to be sent, to an endpoint. */
  attempts = 0;
  /** Of those, how many were sent beside another that had not been answered. */
  hedges = 0;
  /** Its next attempt is no second time: nothing of the last one was sent. */
  requeued = false;
  /** Nothing that has been sent of it may be sent again, however it was lost. */
  sendOnce = false;
  /** Why it was not sent again although the attempt failed. */
  retryRefused = "";
  /** The kinds of the faults that were injected for testing; empty for none. */
  injected = "";
  /** A registry asks whether the app is well, and nobody refuses it; see proxy/health-question.layer.ts. */
  asksForHealth = false;
  /** What answered in place of the upstream: `static` or `stale`; empty for nothing. */
  fallback = "";
  /** When the whole request must be answered, on the clock of `arrivedAtMs`. */
  deadlineMs = Number.POSITIVE_INFINITY;
  /** When its caller will not wait any longer, as far as is known; `deadlineMs` is never later. */
  callersDeadlineMs = Number.POSITIVE_INFINITY;
  /** Until when it may wait for its turn while its body is still arriving, and `deadlineMs` is therefore open. */
  waitDeadlineMs = Number.POSITIVE_INFINITY;

  status = 0;
  /** The error code if the proxy answered for itself or the answer broke; empty for a plain success. */
  cause = "";
  detail = "";
  causeMessage = "";
  /** Codes of errors with which it would have been refused by what is in shadow mode, joined by commas. */
  shadow = "";
  responseBytes = 0;
  /** What the caller of a TCP connection has sent; that of a request is its body's. */
  callerBytes = 0;

  /** Its place among the requests in flight; see proxy/downstream/live-list.ts. */
  listPlace = -1;
  state: ExchangeState = "new";
  suspendedOn: Wait | "" = "";
  suspendedAtMs = 0;
  readonly waitedMs: Waits = new Waits();
  settledAtMs = 0;

  #cancelWait: ((reason: ProxyError) => void) | undefined = undefined;
  #aborted: ProxyError | undefined = undefined;
  #controller: AbortController | undefined = undefined;
  #settlers: SettlerLink | undefined = undefined;
  /** Whose twin it is. */
  #original: Exchange | undefined = undefined;

  constructor(
    direction: Direction,
    requestId: string,
    head: RequestHead,
    body: Body | undefined,
    clientAddress: string,
    boundUpstream: string | undefined,
    fault: ProxyError | undefined,
    nowMs: number,
  ) {
    this.direction = direction;
    this.requestId = requestId;
    this.method = head.method;
    this.target = head.target;
    this.authority = head.authority;
    this.minorVersion = head.minorVersion;
    this.headers = head.headers;
    this.expectsContinue = head.expectsContinue;
    this.upgrade = head.upgrade;
    this.body = body;
    this.clientAddress = clientAddress;
    this.boundUpstream = boundUpstream;
    this.fault = fault;
    this.arrivedAtMs = nowMs;
  }

  /**
   * The coroutine stops until `resume`. `cancel` is called instead, once, if the exchange is aborted while it
   * waits; it must end the wait by failing it with the reason it is given.
   */
  suspend(on: Wait, nowMs: number, cancel: (reason: ProxyError) => void): void {
    if (this.#aborted !== undefined) {
      cancel(this.#aborted);
      return;
    }
    this.state = "suspended";
    this.suspendedOn = on;
    this.suspendedAtMs = nowMs;
    this.#cancelWait = cancel;
  }

  resume(nowMs: number): void {
    if (this.state !== "suspended") return;
    this.waitedMs[this.suspendedOn as Wait] += nowMs - this.suspendedAtMs;
    this.state = "running";
    this.suspendedOn = "";
    this.#cancelWait = undefined;
  }

  /** The answer is no longer wanted, or can no longer be given. Ends whatever the coroutine waits for. */
  abort(reason: ProxyError): void {
    if (this.#aborted !== undefined || this.state === "settled") return;
    this.#aborted = reason;
    this.#controller?.abort(reason);
    this.cancelWait(reason);
  }

  /** Ends what the coroutine waits for and nothing else: the exchange goes on with what it does about that. */
  cancelWait(reason: ProxyError): void {
    const cancel = this.#cancelWait;
    this.#cancelWait = undefined;
    cancel?.(reason);
  }

  /**
   * The same request once more, for an attempt beside the one under way: an exchange waits for one thing, so what is
   * sent twice at a time is two. It is in no list and in no log; interim answers to it reach nobody.
   */
  twin(body: Body | undefined): Exchange {
    const { direction, requestId, clientAddress, boundUpstream, arrivedAtMs } = this;
    const twin = new Exchange(
      direction,
      requestId,
      this,
      body,
      clientAddress,
      boundUpstream,
      undefined,
      arrivedAtMs,
    );
    twin.pinnedTo = this.pinnedTo;
    twin.route = this.route;
    twin.policy = this.policy;
    twin.upstream = this.upstream;
    twin.endpoint = this.endpoint;
    twin.triedBefore = this.triedBefore;
    twin.attempts = this.attempts;
    twin.sendOnce = this.sendOnce;
    twin.injected = this.injected;
    twin.deadlineMs = this.deadlineMs;
    twin.callersDeadlineMs = this.callersDeadlineMs;
    twin.waitDeadlineMs = this.waitDeadlineMs;
    twin.state = "running";
    twin.#original = this;
    return twin;
  }

  get aborted(): ProxyError | undefined {
    return this.#aborted;
  }

  /** From its arrival to its settling. */
  get durationMs(): number {
    return this.settledAtMs - this.arrivedAtMs;
  }

  /** For layers that call something that takes one. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted !== undefined) this.#controller.abort(this.#aborted);
    }
    return this.#controller.signal;
  }

  /**
   * Calls back once when the exchange is settled; at once when it is already. What was taken for the request
   * is given back here.
   */
  onSettled(settler: Settler): void {
    if (this.state === "settled") settler(this, "ignored");
    else this.#settlers = new SettlerLink(settler, this.#settlers);
  }

  settle(outcome: Outcome, nowMs: number): void {
    if (this.state === "settled") return;
    this.resume(nowMs);
    this.state = "settled";
    this.settledAtMs = nowMs;
    this.#tellSettlers(outcome);
  }

  /** Last come, first told: what was taken inside is given back before what was taken around it. */
  #tellSettlers(outcome: Outcome): void {
    for (let link = this.#settlers; link !== undefined; link = link.next) {
      try {
        link.settler(this, outcome);
      } catch (thrown) {
        // A fault of one is the process's to see; it keeps neither the others nor the connection from going on.
        queueMicrotask(() => {
          throw thrown;
        });
      }
    }
    this.#settlers = undefined;
  }

  /** Notes that the request is about to be sent to this endpoint. */
  beginAttempt(endpoint: string): void {
    if (this.attempts > 0) this.triedBefore = [...this.triedBefore, this.endpoint];
    this.attempts++;
    this.endpoint = endpoint;
  }

  /** Whether the request has been sent, or tried to be sent, to this endpoint. */
  hasTried(endpoint: string): boolean {
    return this.attempts > 0 && (this.endpoint === endpoint || this.triedBefore.includes(endpoint));
  }

  /**
   * Notes that something in shadow mode, which decides and does not act, would have refused the request with this error. Noted
   * once, however often it is decided: what is counted is requests. Of a twin it is noted with the request itself.
   */
  wouldRefuse(code: ErrorCode): void {
    if (this.#original !== undefined) this.#original.wouldRefuse(code);
    else if (this.shadow === "") this.shadow = code;
    else if (!this.shadow.split(",").includes(code)) this.shadow += `,${code}`;
  }

  /** Notes why the exchange did not simply succeed, for the log and the metrics. The first reason stays. */
  blame(error: ProxyError): void {
    if (this.cause !== "") return;
    this.cause = error.code;
    this.detail = error.detail ?? "";
    this.causeMessage = error.message;
  }
}
