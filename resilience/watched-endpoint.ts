/**
 * What outlier detection counts of one endpoint, and how it stands.
 *
 * Whoever sends requests keeps this object beside the endpoint instead of asking by key: it is told of every request, and
 * a look-up for each would cost more than the counting. Nothing is allocated here while the endpoint is in, and nothing is
 * compared but the runs of failures: whatever needs the other endpoints waits for the sweep.
 */
import { LatencyHistogram } from "./latency-histogram.ts";
import type { OutlierOptions } from "./outlier-options.ts";
import type { Finding, OutlierRule, Sample } from "./outlier-rules.ts";
import { mayProbe, type Standing } from "./outlier-standing.ts";
import { UNHEARD_TRIALS } from "./unheard-trials.ts";

/**
 * How a request ended, as far as it speaks for or against the endpoint. A gateway failure is one behind the endpoint or
 * on the way to it: 502, 503, 504, no connection, no answer in time. "ignored" says nothing, as when the caller hung up.
 */
export type Ending = "success" | "failure" | "gatewayFailure" | "ignored";

/** Whom an endpoint reports to. */
export interface Referee {
  readonly options: OutlierOptions;
  /** The first request of a window has ended. */
  onFirst(): void;
  /** So many failures in a row as eject, or once more as many. */
  onRun(endpoint: WatchedEndpoint, finding: Finding, nowMs: number): void;
  onProbe(endpoint: WatchedEndpoint, ending: Ending, latencyMs: number, nowMs: number): void;
}

export class WatchedEndpoint {
  readonly key: string;
  readonly #referee: Referee;
  #standing: Standing;
  #requests = 0;
  #failures = 0;
  #failuresInARow = 0;
  #gatewayFailuresInARow = 0;
  /** Of a probe that has begun to answer, and well: after how long it did, in milliseconds. */
  #probeAnsweredMs: number | undefined = undefined;
  /** Probes that were answered well, and not heard out by their callers. */
  #probesUnheard = 0;
  /** Made with the first answer, where anybody asks for it: of thousands of endpoints a sidecar talks to a few. */
  #latency: LatencyHistogram | undefined = undefined;

  constructor(key: string, referee: Referee, nowMs: number) {
    this.key = key;
    this.#referee = referee;
    this.#standing = { is: "in", sinceMs: nowMs, times: 0 };
  }

  get standing(): Standing {
    return this.#standing;
  }

  get isIn(): boolean {
    return this.#standing.is === "in";
  }

  /** Whether a probe would be let through now. */
  mayProbe(nowMs: number): boolean {
    const { intervalMs } = this.#referee.options;
    return this.#standing.is === "probing" && mayProbe(this.#standing, nowMs, intervalMs);
  }

  /**
   * Takes the one place that there is for a probe. It is given back by `observe`, with whatever ending.
   * @returns whether a request may go there: also where it needs no place any more
   */
  takeProbe(nowMs: number): boolean {
    if (this.#standing.is !== "probing" || !this.mayProbe(nowMs)) return false;
    const answeredMs = this.#probeAnsweredMs;
    this.#probeAnsweredMs = undefined;
    // A stream may last for days, and a trial must not: one that has gone on for an interval was good.
    if (answeredMs !== undefined) this.#referee.onProbe(this, "success", answeredMs, nowMs);
    const { standing } = this;
    if (standing.is === "probing") this.#standing = { ...standing, askedAtMs: nowMs };
    return standing.is !== "ejected";
  }

  /** The head of a good answer has come, and its body goes on. @param latencyMs until the head */
  answers(latencyMs: number, startedAtMs: number): void {
    const { is, sinceMs } = this.#standing;
    if (is === "probing" && startedAtMs >= sinceMs) this.#probeAnsweredMs = latencyMs;
  }

  /**
   * A request has ended.
   * @param latencyMs until the head of the answer
   * @param startedAtMs what began before the endpoint came to stand as it does, says nothing about it now
   */
  observe(ending: Ending, latencyMs: number, startedAtMs: number, nowMs: number): void {
    const standing = this.#standing;
    if (startedAtMs < standing.sinceMs || standing.is === "ejected") return;
    const answeredMs = this.#probeAnsweredMs;
    this.#probeAnsweredMs = undefined;
    if (standing.is === "probing") {
      const isUnheard = ending === "ignored" && answeredMs !== undefined;
      if (isUnheard && ++this.#probesUnheard % UNHEARD_TRIALS === 0)
        this.#referee.onProbe(this, "success", answeredMs, nowMs);
      else this.#referee.onProbe(this, ending, latencyMs, nowMs);
    } else if (ending !== "ignored") this.#count(ending, latencyMs, nowMs);
  }

  #count(ending: Exclude<Ending, "ignored">, latencyMs: number, nowMs: number): void {
    if (this.#requests++ === 0) this.#referee.onFirst();
    if (ending === "success") {
      this.#failuresInARow = 0;
      this.#gatewayFailuresInARow = 0;
      if (this.#referee.options.latencyFactor > 0) {
        this.#latency ??= new LatencyHistogram();
        this.#latency.record(latencyMs);
      }
      return;
    }
    this.#failures++;
    this.#failuresInARow++;
    this.#gatewayFailuresInARow = ending === "gatewayFailure" ? this.#gatewayFailuresInARow + 1 : 0;
    const { consecutiveFailures, consecutiveGatewayFailures } = this.#referee.options;
    if (isFull(this.#failuresInARow, consecutiveFailures))
      this.#report("consecutiveFailures", this.#failuresInARow, consecutiveFailures, nowMs);
    else if (ending === "gatewayFailure" && isFull(this.#gatewayFailuresInARow, consecutiveGatewayFailures))
      this.#report(
        "consecutiveGatewayFailures",
        this.#gatewayFailuresInARow,
        consecutiveGatewayFailures,
        nowMs,
      );
  }

  #report(rule: OutlierRule, value: number, limit: number, nowMs: number): void {
    this.#referee.onRun(this, { key: this.key, rule, value, limit }, nowMs);
  }

  /** For the referee: from now on it stands so, and what was counted before is over. */
  stand(standing: Standing): void {
    if (standing.is !== this.#standing.is) this.#probesUnheard = 0;
    this.#standing = standing;
    this.clear();
    this.#failuresInARow = 0;
    this.#gatewayFailuresInARow = 0;
  }

  /** What it did in the window. */
  sample(): Sample {
    return {
      key: this.key,
      requests: this.#requests,
      failures: this.#failures,
      answers: this.#latency?.total ?? 0,
      medianMs: this.#latency?.medianMs() ?? 0,
    };
  }

  /** A new window begins. */
  clear(): void {
    this.#requests = 0;
    this.#failures = 0;
    this.#latency?.clear();
  }
}

/** A run that could not be acted upon comes up again when it has become as long once more. */
function isFull(inARow: number, limit: number): boolean {
  return limit > 0 && inARow % limit === 0;
}
