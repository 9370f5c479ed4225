/**
 * One upstream at run time: the current endpoints, what has been learned about each, and what all of them share. Which of them an
 * attempt goes to is choice.ts's to say.
 *
 * Discovery replaces the list of endpoints as a whole; here the old and the new list are reconciled by key, so
 * that latency, breaker and connections of those that stay are kept, and those that go finish what they began.
 */
import { HASHING_ALGORITHMS } from "../../balancing/index.ts";
import {
  type Clock,
  type Endpoint,
  endpointKey,
  type Handler,
  type Log,
  type Random,
} from "../../core/index.ts";
import {
  type BreakerOptions,
  type BreakerState,
  ConcurrencyLimit,
  type ConcurrencyOptions,
  type HedgeOptions,
  OutlierDetection,
  type OutlierOptions,
  type RetryOptions,
  type RetrySwitch,
  type TimeoutOptions,
} from "../../resilience/index.ts";
import type { UpstreamCounts } from "../../telemetry/index.ts";
import { type CandidateOptions, Candidates } from "./candidates.ts";
import { type ChoiceOptions, EndpointChoice } from "./choice.ts";
import type { Situation } from "./division.ts";
import { type Reach, UpstreamEndpoint } from "./endpoint.ts";
import { EndpointBreakers } from "./endpoint-breakers.ts";
import { ConnectionPool } from "./pool.ts";
import { Trying } from "./trying.ts";

/** Everything that the configuration says about an upstream, defaults filled in. */
export interface UpstreamOptions extends ChoiceOptions {
  /** Who is chosen from at all, and for which part of the requests. */
  readonly candidates: Omit<CandidateOptions, "patienceMs">;
  /** Undefined where outliers are not looked for. */
  readonly outliers?: OutlierOptions | undefined;
  readonly timeouts: TimeoutOptions;
  readonly retries: RetryOptions;
  /** Undefined where no request is sent twice at a time. */
  readonly hedge?: HedgeOptions | undefined;
  readonly breaker: BreakerOptions;
  readonly limits: ConcurrencyOptions & { readonly connections: number };
  /** How long an unused connection to an endpoint is kept. */
  readonly keepAliveMs: number;
  /** Protocols that a request may switch to, in lower case, such as `websocket`. */
  readonly upgrades: readonly string[];
  /** `tcp` carries connections as they are, and no requests; `http` unless told otherwise. */
  readonly protocol?: Protocol | undefined;
}

/** What an upstream speaks, as far as heddle reads it. */
export type Protocol = "http" | "tcp";

/** What an upstream needs of the process. */
export interface UpstreamParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Undefined where nothing turns off what sends a request again. */
  readonly retrySwitch?: RetrySwitch | undefined;
  /** Where this sidecar is, as far as it is known at the start. */
  readonly situation?: Situation | undefined;
}

export class Upstream {
  readonly name: string;
  readonly options: UpstreamOptions;
  readonly limit: ConcurrencyLimit;
  readonly breakers: EndpointBreakers;
  readonly trying: Trying;
  readonly choice: EndpointChoice;
  readonly #parts: UpstreamParts;
  readonly #pool: ConnectionPool;
  readonly #reach: Reach;
  readonly #attempts = new Map<string, number>();
  readonly #candidates: Candidates;
  readonly #detection: OutlierDetection | undefined;
  /** By key, and as they were told. */
  readonly #endpoints = new Map<string, UpstreamEndpoint>();
  #list: readonly UpstreamEndpoint[] = [];
  #generation = 0;
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
    this.limit = new ConcurrencyLimit(concurrencyOf(options), parts.random);
    this.trying = new Trying(options.retries, options.hedge);
    this.#parts = parts;
    this.#candidates = new Candidates(candidateOptions(options), parts.random, parts.situation);
    this.choice = new EndpointChoice(options, {
      ...parts,
      upstream: name,
      candidates: this.#candidates,
      endpointAt: (key) => this.#endpoints.get(key),
      openForMs: options.breaker.openForMs,
    });
    this.#detection = this.#createDetection();
    this.breakers = new EndpointBreakers(options.breaker, {
      ...parts,
      upstream: name,
      need: (key) => void this.#endpoints.get(key)?.breaker,
      onChange: (key, isClosed) =>
        isClosed ? this.#candidates.recovered(key, parts.clock.now()) : this.#candidates.changed(),
    });
    this.#reach = {
      createBreaker: ({ key }) => this.breakers.create(key),
      // One that has left is still told how its last requests end.
      watch: (endpoint) =>
        this.#endpoints.get(endpoint.key) === endpoint ? this.#detection?.watch(endpoint.key) : undefined,
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
      switch: parts.retrySwitch,
    });
  }

  get endpoints(): readonly UpstreamEndpoint[] {
    return this.#list;
  }

  /** Replaces the endpoints; what is known about those that stay is kept. */
  update(endpoints: readonly Endpoint[]): void {
    const { list, came, left } = this.#reconciled(endpoints);
    this.#list = list;
    for (const endpoint of left) {
      this.#endpoints.delete(endpoint.key);
      this.breakers.remove(endpoint.key);
      endpoint.retire();
    }
    const cameKeys = came.map(({ key }) => key);
    const leftKeys = left.map(({ key }) => key);
    this.breakers.came(cameKeys);
    this.#candidates.replace(list, cameKeys, leftKeys, this.#parts.clock.now());
    this.#detection?.change(cameKeys, leftKeys);
    this.choice.replace(list);
  }

  /**
   * A list is told as a whole whenever one of thousands changes, mostly in the same order: then each is found where it was
   * before, and only those that are not are looked up by their keys, which have to be made for it.
   */
  #reconciled(endpoints: readonly Endpoint[]) {
    const before = this.#list;
    const list: UpstreamEndpoint[] = [];
    const came: UpstreamEndpoint[] = [];
    const generation = ++this.#generation;
    let place = 0;
    for (const endpoint of endpoints) {
      // One that has left leaves the next in its place.
      if (!before[place]?.isAt(endpoint) && before[place + 1]?.isAt(endpoint)) place++;
      let one = before[place]?.isAt(endpoint) ? before[place++] : this.#endpoints.get(endpointKey(endpoint));
      if (one === undefined) {
        one = new UpstreamEndpoint(endpoint, this.#reach);
        this.#endpoints.set(one.key, one);
        came.push(one);
      }
      one.endpoint = endpoint;
      // Named twice, it is one endpoint.
      if (one.generation === generation) continue;
      one.generation = generation;
      list.push(one);
    }
    const left = before.filter((one) => one.generation !== generation);
    return { list, came, left };
  }

  /** How much of its weight an endpoint gets as it is new, in (0, 1]. */
  warmth(key: string): number {
    return this.#candidates.warmth(key, this.#parts.clock.now());
  }

  /** Where this sidecar is, or who does the same, has changed. */
  situate(situation: Situation): void {
    this.#candidates.situate(situation);
  }

  /** @param outcome as the label of the metric has it: `success`, how an answer was bad, or the code of an error */
  countAttempt(outcome: string): void {
    if (outcome === "success") this.#succeeded++;
    else this.#attempts.set(outcome, (this.#attempts.get(outcome) ?? 0) + 1);
  }

  counts(): UpstreamCounts {
    const breakers: Record<BreakerState, number> = { closed: 0, open: 0, halfOpen: 0 };
    let available = 0;
    for (const { breakerState, isIn } of this.#list) {
      breakers[breakerState]++;
      if (breakerState !== "open" && isIn) available++;
    }
    const outliers = this.#detection?.counts();
    return {
      upstream: this.name,
      attempts: this.#succeeded === 0 ? this.#attempts : this.#attempts.set("success", this.#succeeded),
      retriesRefused: this.trying.retriesRefused,
      hedges: this.trying.hedges,
      breakerOpened: this.breakers.opened,
      ejections: outliers?.ejections ?? NONE,
      outliersSpared: outliers?.spared ?? 0,
      connectionsOpened: this.#pool.openedTotal,
      resent: this.#pool.resent,
      breakers,
      endpoints: {
        available,
        refused: breakers.open,
        ejected: this.#endpoints.size - available - breakers.open,
      },
      connections: this.#pool.counts(),
      limit: this.limit.limit,
      held: this.limit.held,
      pending: this.limit.waiting + this.#pool.waiting,
    };
  }

  /** No more requests come. Unused connections are closed; who is under way finishes, and is tried again where it may be. */
  retire(): void {
    for (const endpoint of this.#list) endpoint.closeUnused();
  }

  /** Nobody is under way. */
  get atRest(): boolean {
    return this.limit.held === 0 && this.limit.waiting === 0;
  }

  /** Closes unused connections and timers; attempts under way finish. */
  stop(): void {
    this.update([]);
    this.#detection?.stop();
    this.breakers.stop();
  }

  #createDetection(): OutlierDetection | undefined {
    const { outliers } = this.options;
    if (outliers === undefined) return undefined;
    const { clock, random, log } = this.#parts;
    return new OutlierDetection(outliers, {
      clock,
      random,
      log,
      upstream: this.name,
      isAvailable: (key) => this.#endpoints.get(key)?.breakerState !== "open",
      keys: () => this.#endpoints.keys(),
      groupOf: (key) => {
        const endpoint = this.#endpoints.get(key);
        return endpoint === undefined ? 0 : this.#candidates.groupOf(endpoint);
      },
      onChange: (key, { is }) => {
        if (is === "in") this.#candidates.recovered(key, clock.now());
        else this.#candidates.changed();
      },
    });
  }
}

const NONE: ReadonlyMap<string, number> = new Map();

/** Of TCP each exchange is a connection: what the connections are bounded by bounds those, and the others queue for a turn. */
function concurrencyOf({ limits, protocol }: UpstreamOptions): ConcurrencyOptions {
  if (protocol !== "tcp") return limits;
  return { ...limits, requests: Math.min(limits.requests, limits.connections) };
}

/** A hash keeps its endpoint: it does not follow weights that move for half a minute, so nobody warms up. */
function candidateOptions({ candidates, balancing, breaker }: UpstreamOptions): CandidateOptions {
  const { slowStart } = candidates;
  const windowMs = HASHING_ALGORITHMS.has(balancing.algorithm) ? 0 : slowStart.windowMs;
  return { ...candidates, slowStart: { ...slowStart, windowMs }, patienceMs: breaker.openForMs };
}
