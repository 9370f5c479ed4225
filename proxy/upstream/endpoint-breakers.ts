/**
 * The breakers of one upstream's endpoints: what they have in common, what is said of them, and what an operator has decided.
 *
 * What an operator has decided belongs to the address, not to the breaker: an endpoint that discovery loses and finds
 * again a moment later is still the one that he meant.
 */
import type { Clock, Log, Random, Timer } from "../../core/index.ts";
import {
  Breaker,
  type BreakerChange,
  type BreakerOptions,
  BreakerRotation,
  type BreakerState,
  FailureRules,
  type Forced,
} from "../../resilience/index.ts";

export interface EndpointBreakersParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly upstream: string;
  /** Sees to it that an endpoint has its breaker, which else is made when it is first called. */
  readonly need: (key: string) => void;
  /** What requests meet at an endpoint has changed. */
  readonly onChange: (key: string, isClosed: boolean) => void;
}

export class EndpointBreakers {
  readonly rules: FailureRules;
  readonly #options: BreakerOptions;
  readonly #parts: EndpointBreakersParts;
  readonly #rotation: BreakerRotation;
  readonly #breakers = new Map<string, Breaker>();
  /** Until when an operator's decision holds, also of addresses that discovery does not name now. */
  readonly #forced = new Map<string, Forced & { readonly over: Timer }>();
  #opened = 0;

  constructor(options: BreakerOptions, parts: EndpointBreakersParts) {
    this.#options = options;
    this.#parts = parts;
    this.#rotation = new BreakerRotation(parts.clock, options.windowMs);
    this.rules = new FailureRules(options.failures);
  }

  /** How often any of them has opened. */
  get opened(): number {
    return this.#opened;
  }

  /** These endpoints are new, or back: what an operator has decided of one holds before its first request. */
  came(keys: readonly string[]): void {
    if (this.#forced.size > 0) for (const key of keys) if (this.#forced.has(key)) this.#parts.need(key);
  }

  create(key: string): Breaker {
    const { clock, random } = this.#parts;
    const rotation = this.#rotation;
    const breaker = new Breaker(this.#options, { clock, random, rotation }, this.#onChange(key));
    this.#breakers.set(key, breaker);
    const forced = this.#forced.get(key);
    if (forced !== undefined) breaker.force(forced.state, forced.untilMs - clock.now());
    return breaker;
  }

  /** The endpoint has left, and its breaker with it. */
  remove(key: string): void {
    this.#breakers.delete(key);
  }

  /**
   * Decides for some time what requests meet there.
   * @param state undefined gives the decision back
   */
  force(key: string, state: Forced["state"] | undefined, forMs: number): void {
    const { clock } = this.#parts;
    this.#forced.get(key)?.over.cancel();
    this.#forced.delete(key);
    if (state !== undefined) {
      const over = clock.schedule(forMs, () => this.#forced.delete(key));
      this.#forced.set(key, { state, untilMs: clock.now() + forMs, over });
    }
    const breaker = this.#breakers.get(key);
    if (breaker !== undefined) breaker.force(state, forMs);
    else if (state !== undefined) this.#parts.need(key);
  }

  /** Takes over what an operator has decided of the endpoints of another upstream, whose place this one takes. */
  inherit(from: EndpointBreakers): void {
    const nowMs = this.#parts.clock.now();
    for (const [key, { state, untilMs }] of from.#forced) this.force(key, state, untilMs - nowMs);
  }

  stop(): void {
    for (const { over } of this.#forced.values()) over.cancel();
    for (const breaker of this.#breakers.values()) breaker.stop();
    this.#rotation.stop();
  }

  #onChange(key: string): BreakerChange {
    const { log, upstream, onChange } = this.#parts;
    let met: BreakerState = "closed";
    return (state, by) => {
      const breaker = this.#breakers.get(key);
      if (by === "judged" && state === "open") this.#opened++;
      sayBreaker(log, { upstream, endpoint: key }, breaker, state, by, this.#options.mode === "shadow");
      // Behind what an operator has decided, or in shadow, nothing has changed for requests.
      const before = met;
      met = breaker?.state ?? state;
      if (met !== before) onChange(key, met === "closed");
    };
  }
}

/** One line of the log for a change of a breaker. @param facts which one it is */
export function sayBreaker(
  log: Log,
  facts: Readonly<Record<string, string>>,
  breaker: Breaker | undefined,
  state: string,
  by: Parameters<BreakerChange>[1],
  isShadow: boolean,
): void {
  const all = { ...facts, breaker: state, ...(isShadow ? { mode: "shadow" } : {}) };
  if (by === "forced") log.warn(all, `breaker forced ${state}`);
  else if (by === "released") log.warn(all, "breaker decides for itself again");
  else if (state === "open") {
    const { why, failures, times } = breaker?.opening ?? {};
    log.warn({ ...all, why, failures, times }, "breaker opened");
  } else log.info(all, state === "closed" ? "breaker closed" : "breaker lets a probe through");
}
