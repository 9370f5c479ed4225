/**
 * One upstream at run time: the current endpoints, what has been learned about each, and which may be chosen.
 *
 * Discovery replaces the list of endpoints as a whole; here the old and the new list are reconciled by key, so
 * that latency, breaker and connections of those that stay are kept, and those that go finish what they began.
 */
import { type Balancer, type BalancingOptions, createBalancer } from "../../balancing/index.ts";
import {
  type Clock,
  type Endpoint,
  type Exchange,
  endpointKey,
  type Handler,
  type Log,
  ProxyError,
  type Random,
} from "../../core/index.ts";
import {
  type BreakerOptions,
  BreakerRotation,
  type BreakerState,
  ConcurrencyLimit,
  type ConcurrencyOptions,
  EndpointBreaker,
  RetryBudget,
  type RetryOptions,
  type RetryRefusal,
  type TimeoutOptions,
} from "../../resilience/index.ts";
import type { UpstreamCounts } from "../../telemetry/index.ts";
import { type Reach, UpstreamEndpoint } from "./endpoint.ts";
import { ConnectionPool } from "./pool.ts";
import { type HashKey, requestHash } from "./request-hash.ts";

/** Everything that the configuration says about an upstream, defaults filled in. */
export interface UpstreamOptions {
  readonly balancing: BalancingOptions;
  /** What a request is known by, for algorithms that choose by it; the first that it has. */
  readonly hash: readonly HashKey[];
  readonly timeouts: TimeoutOptions;
  readonly retries: RetryOptions;
  readonly breaker: BreakerOptions;
  readonly limits: ConcurrencyOptions & { readonly connections: number };
  /** How long an unused connection to an endpoint is kept. */
  readonly keepAliveMs: number;
  /** Protocols that a request may switch to, in lower case, such as `websocket`. */
  readonly upgrades: readonly string[];
}

/** What an upstream needs of the process. */
export interface UpstreamParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export class Upstream {
  readonly name: string;
  readonly options: UpstreamOptions;
  readonly limit: ConcurrencyLimit;
  readonly budget: RetryBudget;
  readonly #parts: UpstreamParts;
  readonly #balancer: Balancer;
  readonly #pool: ConnectionPool;
  readonly #rotation: BreakerRotation;
  readonly #reach: Reach;
  readonly #attempts = new Map<string, number>();
  readonly #retriesRefused = new Map<string, number>();
  #endpoints: readonly UpstreamEndpoint[] = [];
  /** Breakers that are not closed: while there is none, nothing has to be filtered. */
  #notClosed = 0;
  #halfOpen = 0;
  /** Kept until a breaker changes or the endpoints do: of thousands, one that is open must not cost every request a walk. */
  #notOpen: readonly UpstreamEndpoint[] | undefined;
  #breakerOpened = 0;
  /** Counted apart from the map: a hash for every request is more than the count is worth. */
  #succeeded = 0;

  /** @param prepare builds the stack of one endpoint, see stack.ts */
  constructor(
    name: string,
    options: UpstreamOptions,
    parts: UpstreamParts,
    prepare: (upstream: Upstream, endpoint: UpstreamEndpoint) => Handler,
  ) {
    this.name = name;
    this.options = options;
    this.limit = new ConcurrencyLimit(options.limits);
    this.budget = new RetryBudget(options.retries.budget);
    this.#parts = parts;
    this.#balancer = createBalancer(options.balancing, parts.random);
    this.#rotation = new BreakerRotation(parts.clock, options.breaker.windowMs);
    this.#reach = {
      createBreaker: ({ key }) => this.#createBreaker(key),
      createPool: ({ endpoint }) => this.#pool.forEndpoint(endpoint),
      prepare: (endpoint) => prepare(this, endpoint),
    };
    this.#pool = new ConnectionPool(name, parts.clock, {
      connections: options.limits.connections,
      pending: options.limits.pending,
      timeouts: {
        connectMs: options.timeouts.connectMs,
        attemptMs: options.timeouts.attemptMs,
        idleMs: options.timeouts.idleMs,
        keepAliveMs: options.keepAliveMs,
        tunnelIdleMs: options.timeouts.tunnelIdleMs,
      },
    });
  }

  get endpoints(): readonly UpstreamEndpoint[] {
    return this.#endpoints;
  }

  /** Replaces the endpoints; what is known about those that stay is kept. */
  update(endpoints: readonly Endpoint[]): void {
    const known = new Map(this.#endpoints.map((endpoint) => [endpoint.key, endpoint]));
    const next = new Map<string, UpstreamEndpoint>();
    for (const endpoint of endpoints) {
      const key = endpointKey(endpoint);
      const kept = next.get(key) ?? known.get(key);
      if (kept !== undefined) kept.endpoint = endpoint;
      next.set(key, kept ?? new UpstreamEndpoint(endpoint, this.#reach));
    }
    this.#endpoints = [...next.values()];
    this.#notOpen = undefined;
    for (const [key, endpoint] of known) if (!next.has(key)) this.#retire(endpoint);
  }

  /**
   * The endpoint for the next attempt: not one that its breaker refuses, and not one that was tried already
   * while another is left.
   * @throws ProxyError no_endpoint or breaker_open
   */
  choose(exchange: Exchange): UpstreamEndpoint {
    let candidates = this.#endpoints;
    if (candidates.length === 0)
      throw new ProxyError("no_endpoint", `discovery knows no endpoint of ${this.name}`);
    if (this.#notClosed > 0) candidates = this.#admitting();
    if (exchange.attempts > 0) {
      const untried = candidates.filter((endpoint) => !exchange.hasTried(endpoint.key));
      if (untried.length > 0) candidates = untried;
    }
    const { hash } = this.options;
    const chosen = this.#balancer.pick(
      candidates,
      this.#parts.clock.now(),
      hash.length === 0 ? undefined : requestHash(hash, exchange),
    );
    if (chosen === undefined)
      throw new ProxyError(
        "breaker_open",
        `the breakers of all ${this.#endpoints.length} endpoints are open`,
      );
    return chosen;
  }

  /** Those whose breakers are not open, and of those that are half open the ones that take a probe now. */
  #admitting(): readonly UpstreamEndpoint[] {
    this.#notOpen ??= this.#endpoints.filter(({ breakerState }) => breakerState !== "open");
    return this.#halfOpen === 0 ? this.#notOpen : this.#notOpen.filter(({ admits }) => admits);
  }

  countAttempt(outcome: string): void {
    if (outcome === "success") this.#succeeded++;
    else this.#attempts.set(outcome, (this.#attempts.get(outcome) ?? 0) + 1);
  }

  countRetryRefused(reason: RetryRefusal): void {
    this.#retriesRefused.set(reason, (this.#retriesRefused.get(reason) ?? 0) + 1);
  }

  counts(): UpstreamCounts {
    const breakers: Record<BreakerState, number> = { closed: 0, open: 0, halfOpen: 0 };
    for (const endpoint of this.#endpoints) breakers[endpoint.breakerState]++;
    return {
      upstream: this.name,
      attempts: this.#succeeded === 0 ? this.#attempts : this.#attempts.set("success", this.#succeeded),
      retriesRefused: this.#retriesRefused,
      breakerOpened: this.#breakerOpened,
      connectionsOpened: this.#pool.openedTotal,
      resent: this.#pool.resent,
      breakers,
      endpoints: { available: this.#endpoints.length - breakers.open, refused: breakers.open },
      connections: this.#pool.counts(),
      pending: this.limit.waiting + this.#pool.waiting,
    };
  }

  /** No more requests come. Unused connections are closed; who is under way finishes, and is tried again where it may be. */
  retire(): void {
    for (const endpoint of this.#endpoints) endpoint.closeUnused();
  }

  /** Nobody is under way. */
  get atRest(): boolean {
    return this.limit.held === 0 && this.limit.waiting === 0;
  }

  /** Closes unused connections and timers; attempts under way finish. */
  stop(): void {
    this.update([]);
    this.#rotation.stop();
  }

  #createBreaker(key: string): EndpointBreaker {
    const { clock, log } = this.#parts;
    let last: BreakerState = "closed";
    return new EndpointBreaker(this.options.breaker, clock, this.#rotation, (state) => {
      if (last === "closed" && state !== "closed") this.#notClosed++;
      if (last !== "closed" && state === "closed") this.#notClosed--;
      if (last === "halfOpen") this.#halfOpen--;
      if (state === "halfOpen") this.#halfOpen++;
      this.#notOpen = undefined;
      if (state === "open") this.#breakerOpened++;
      last = state;
      const facts = { upstream: this.name, endpoint: key, breaker: state };
      if (state === "open") log.warn(facts, "breaker opened");
      else log.info(facts, state === "closed" ? "breaker closed" : "breaker lets a probe through");
    });
  }

  #retire(endpoint: UpstreamEndpoint): void {
    if (endpoint.breakerState !== "closed") this.#notClosed--;
    if (endpoint.breakerState === "halfOpen") this.#halfOpen--;
    endpoint.retire();
  }
}
