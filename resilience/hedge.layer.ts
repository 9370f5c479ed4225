/**
 * A second attempt beside one that is slow: the first good answer is taken, and whoever is slower is given up.
 *
 * The first attempt is the exchange's own, as if there were no hedges. A further one is a twin of the exchange, made
 * when its time comes: an exchange waits for one thing at a time, and which one is what can be cancelled. A slow attempt
 * is given up by ending its wait (`hedge_lost`). The twin is in no list: for the caller, the log and the metrics there is
 * one request, which has had so many attempts.
 *
 * To be overtaken says nothing against an endpoint: somebody is always second. To never answer does, and would not be seen
 * if every attempt ended when it was overtaken. So some of those that are given up are heard out further in
 * (proxy/upstream/connection.ts): their promises are settled when the endpoint has answered or its time is up, and by then only
 * breaker, load and outlier detection listen. The others close their connections, and say nothing.
 *
 * A bad answer wins against nobody: while another attempt is under way it is held, and goes out, or to the retries, when
 * that one has failed as well. Inside the retries, so that these see one attempt with one ending.
 */
import {
  asProxyError,
  type Clock,
  called,
  type Exchange,
  type Handler,
  type HedgeAfter,
  type Layer,
  ProxyError,
  type ProxyResponse,
  type Timer,
} from "../core/index.ts";
import { isEndpointFailure } from "./breaker-failures.ts";
import {
  type HedgeBudget,
  type HedgeOptions,
  type HedgeOutcome,
  type HedgeRefusal,
  mayBeHedged,
} from "./hedge.ts";
import type { RecentLatency } from "./recent-latency.ts";
import type { RetrySwitch } from "./retry.ts";

export interface HedgeParts {
  readonly clock: Clock;
  readonly budget: HedgeBudget;
  readonly latency: RecentLatency;
  /** Undefined where nothing turns hedges off. */
  readonly switch?: RetrySwitch | undefined;
  /** A request's body up to this size is kept, so that it can be sent again. */
  readonly replayBytes: number;
  /** Whether there is an endpoint that the request has not been sent to. */
  readonly hasOther: (exchange: Exchange, nowMs: number) => boolean;
  /** Called for every hedge, sent or not. */
  readonly onHedge: (outcome: HedgeOutcome | HedgeRefusal) => void;
}

export function hedge(parts: HedgeParts, options: HedgeOptions): Layer {
  return {
    name: "hedge",
    wrap(next: Handler): Handler {
      return (exchange) => {
        const routed = exchange.policy?.hedge;
        if (!(routed?.enabled ?? options.enabled) || !mayBeHedged(exchange)) return next(exchange);
        const { clock, budget, latency } = parts;
        const nowMs = clock.recentMs;
        budget.deposit(nowMs);
        // Also where it is too soon for a percentile: those that are known are these.
        const afterMs = timeOf(routed?.after ?? options.after, latency, nowMs);
        if (exchange.body !== undefined) exchange.body.remember(parts.replayBytes);
        return new Race(parts, next, exchange, afterMs, routed?.attempts ?? options.attempts).run();
      };
    },
  };
}

function timeOf(after: HedgeAfter, latency: RecentLatency, nowMs: number): number | undefined {
  return "ms" in after ? after.ms : latency.percentileMs(after.share, nowMs);
}

/** One request, its first attempt and those beside it. */
class Race {
  readonly #parts: HedgeParts;
  readonly #next: Handler;
  readonly #exchange: Exchange;
  readonly #afterMs: number | undefined;
  readonly #most: number;
  readonly #twins = new Set<Exchange>();
  readonly #end = Promise.withResolvers<ProxyResponse>();
  #over = false;
  #timer: Timer | undefined;
  #startedAtMs = 0;
  #sent = 0;
  /** Lets go of the bad ending of the first attempt, which waits for the others; undefined while it is under way. */
  #held: { readonly release: () => void; readonly drop: () => void } | undefined;

  constructor(
    parts: HedgeParts,
    next: Handler,
    exchange: Exchange,
    afterMs: number | undefined,
    most: number,
  ) {
    this.#parts = parts;
    this.#next = next;
    this.#exchange = exchange;
    this.#afterMs = afterMs;
    this.#most = most;
  }

  run(): Promise<ProxyResponse> {
    this.#startedAtMs = this.#parts.clock.recentMs;
    called(this.#next, this.#exchange).then(
      (response) => this.#answered(response),
      (thrown) => this.#failed(asProxyError(thrown)),
    );
    this.#wait();
    return this.#end.promise;
  }

  #wait(): void {
    if (this.#afterMs === undefined || this.#sent >= this.#most) return;
    this.#timer = this.#parts.clock.schedule(this.#afterMs, () => this.#send());
  }

  /** The time has come for an attempt beside those under way. */
  #send(): void {
    const exchange = this.#exchange;
    if (this.#over || exchange.aborted !== undefined) return;
    const nowMs = this.#parts.clock.now();
    // The deadline ends all of them in a moment: whoever is sent now would be for nothing.
    if (nowMs >= exchange.deadlineMs) return;
    const body = exchange.body?.duplicate();
    const refusal = this.#refusal(body !== undefined || exchange.body === undefined, nowMs);
    if (refusal !== undefined) {
      this.#parts.onHedge(refusal);
      return;
    }
    const twin = exchange.twin(body);
    this.#twins.add(twin);
    this.#sent++;
    exchange.attempts++;
    exchange.hedges++;
    const answer = called(this.#next, twin);
    // Where it is sent is known by now, and is nobody else's any more.
    if (twin.endpoint !== exchange.endpoint) exchange.triedBefore = [...exchange.triedBefore, twin.endpoint];
    exchange.onSettled((_, outcome) => {
      // What is noted when the twin's answer breaks, which may be the one that the caller got.
      exchange.retryRefused ||= twin.retryRefused;
      // A caller that goes away settles it before the first attempt has told of that; what is settled can be ended no more.
      if (this.#twins.has(twin)) twin.abort(exchange.aborted ?? lost());
      twin.settle(outcome, this.#parts.clock.recentMs);
    });
    answer.then(
      (response) => this.#twinAnswered(twin, response),
      () => this.#twinFailed(twin),
    );
    this.#wait();
  }

  #refusal(hasBody: boolean, nowMs: number): HedgeRefusal | undefined {
    const { switch: turned, hasOther, budget } = this.#parts;
    if (turned?.enabled === false) return "switched_off";
    if (!hasBody) return "body";
    if (!hasOther(this.#exchange, nowMs)) return "no_other";
    return budget.withdraw(nowMs) ? undefined : "budget";
  }

  #answered(response: ProxyResponse): void {
    if (this.#over) {
      response.body.cancel(lost());
      return;
    }
    const release = () => this.#end.resolve(response);
    if (isBad(response.status)) {
      this.#bad(release, () => response.body.cancel(lost()));
    } else {
      this.#learn();
      this.#finish(release);
    }
  }

  #failed(failure: ProxyError): void {
    if (this.#over) return;
    const release = () => this.#end.reject(failure);
    // The caller's going away, and the end of the time, end all attempts.
    if (this.#exchange.aborted !== undefined || failure.code === "deadline_exceeded") this.#finish(release);
    else this.#bad(release, () => {});
  }

  /** The first attempt has ended badly: it waits for those beside it, if there are any. */
  #bad(release: () => void, drop: () => void): void {
    this.#timer?.cancel();
    if (this.#twins.size === 0) {
      this.#finish(release);
      return;
    }
    this.#held = { release, drop };
    this.#exchange.suspend("response", this.#parts.clock.now(), (reason) => {
      drop();
      this.#finish(() => this.#end.reject(reason));
    });
  }

  #twinAnswered(twin: Exchange, response: ProxyResponse): void {
    if (this.#over) {
      response.body.cancel(lost());
      return;
    }
    if (isBad(response.status)) {
      response.body.cancel(lost());
      this.#twinFailed(twin);
      return;
    }
    this.#twins.delete(twin);
    this.#parts.onHedge("won");
    const exchange = this.#exchange;
    const { endpoint } = exchange;
    exchange.triedBefore = exchange.triedBefore.map((tried) => (tried === twin.endpoint ? endpoint : tried));
    exchange.endpoint = twin.endpoint;
    const held = this.#held;
    this.#finish(() => this.#end.resolve(response));
    if (held === undefined) {
      this.#learn();
      exchange.cancelWait(lost());
    } else {
      held.drop();
    }
  }

  #twinFailed(twin: Exchange): void {
    if (this.#over || !this.#twins.delete(twin)) return;
    this.#parts.onHedge("failed");
    if (this.#twins.size === 0 && this.#held !== undefined) this.#finish(this.#held.release);
  }

  /** What the first attempt took, or had taken when it was given up. */
  #learn(): void {
    const nowMs = this.#parts.clock.recentMs;
    this.#parts.latency.record(nowMs - this.#startedAtMs, nowMs);
  }

  /** @param release settles the promise; the rest is given up */
  #finish(release: () => void): void {
    this.#over = true;
    this.#timer?.cancel();
    if (this.#held !== undefined) this.#exchange.resume(this.#parts.clock.recentMs);
    this.#held = undefined;
    for (const twin of this.#twins) {
      this.#parts.onHedge("lost");
      twin.abort(this.#exchange.aborted ?? lost());
      twin.settle("ignored", this.#parts.clock.recentMs);
    }
    this.#twins.clear();
    release();
  }
}

/** 429 and 408 speak of the moment and of the connection, not of the request: the other attempt may fare better. */
function isBad(status: number): boolean {
  return isEndpointFailure(status) || status === 429 || status === 408;
}

function lost(): ProxyError {
  return new ProxyError("hedge_lost", "another attempt of the same request was faster");
}
