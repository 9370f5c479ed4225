/**
 * One upstream at run time: the current endpoints, what has been learned about each, and which may be chosen.
 *
 * Discovery replaces the list of endpoints as a whole; here the old and the new list are reconciled by key, so
 * that latency, breaker and connections of those that stay are kept, and those that go finish what they began.
 */
import {
  type Balancer,
  type BalancingOptions,
  createBalancer,
  HASHING_ALGORITHMS,
  isAsking,
} from "../../balancing/index.ts";
import {
  type Clock,
  type Endpoint,
  type Exchange,
  endpointKey,
  type Handler,
  type Log,
  ProxyError,
  type ProxyResponse,
  type Random,
} from "../../core/index.ts";
import {
  type BreakerOptions,
  type BreakerState,
  ConcurrencyLimit,
  type ConcurrencyOptions,
  type HedgeOptions,
  mayBeRepeated,
  OutlierDetection,
  type OutlierOptions,
  type Prospect,
  type RetryOptions,
  type TimeoutOptions,
} from "../../resilience/index.ts";
import type { UpstreamCounts } from "../../telemetry/index.ts";
import { type CandidateOptions, Candidates, type Part } from "./candidates.ts";
import type { Situation } from "./division.ts";
import { type Reach, UpstreamEndpoint } from "./endpoint.ts";
import { EndpointBreakers } from "./endpoint-breakers.ts";
import { LoadProbes } from "./load-probes.ts";
import { ConnectionPool } from "./pool.ts";
import { type HashKey, RequestHashes } from "./request-hash.ts";
import { rememberBy, type StickyOptions, StickySessions } from "./sticky.ts";
import { isOther, leftInPeace, othersOf, prospectAmong, Trying } from "./trying.ts";

/** Everything that the configuration says about an upstream, defaults filled in. */
export interface UpstreamOptions {
  readonly balancing: BalancingOptions;
  /** What a request is known by, for algorithms that choose by it; the first that it has. */
  readonly hash: readonly HashKey[];
  /** Undefined where callers are not kept with the endpoint that answered them. */
  readonly sticky?: StickyOptions | undefined;
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
}

/** What an upstream needs of the process. */
export interface UpstreamParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Where this sidecar is, as far as it is known at the start. */
  readonly situation?: Situation | undefined;
}

export class Upstream {
  readonly name: string;
  readonly options: UpstreamOptions;
  readonly limit: ConcurrencyLimit;
  readonly breakers: EndpointBreakers;
  readonly trying: Trying;
  /** Where the algorithm goes by what endpoints say of their own load. */
  readonly loadProbes: LoadProbes | undefined;
  /** Sets the cookies with which the caller of an answer comes back to its endpoint; undefined where there are none. */
  readonly remember: ((exchange: Exchange, response: ProxyResponse) => ProxyResponse) | undefined;
  readonly #parts: UpstreamParts;
  readonly #balancer: Balancer;
  readonly #pool: ConnectionPool;
  readonly #reach: Reach;
  readonly #attempts = new Map<string, number>();
  readonly #candidates: Candidates;
  readonly #detection: OutlierDetection | undefined;
  /** By key, and as they were told. */
  readonly #endpoints = new Map<string, UpstreamEndpoint>();
  #list: readonly UpstreamEndpoint[] = [];
  #generation = 0;
  readonly #hashes: RequestHashes | undefined;
  readonly #sticky: StickySessions | undefined;
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
    this.limit = new ConcurrencyLimit(options.limits, parts.random);
    this.trying = new Trying(options.retries, options.hedge);
    this.#parts = parts;
    this.#balancer = createBalancer(options.balancing, parts.random);
    this.loadProbes = isAsking(this.#balancer)
      ? new LoadProbes(name, this.#balancer, parts.clock)
      : undefined;
    this.#candidates = new Candidates(candidateOptions(options), parts.random, parts.situation);
    this.#detection = this.#createDetection();
    this.#hashes = options.hash.length === 0 ? undefined : new RequestHashes(options.hash);
    this.#sticky = options.sticky === undefined ? undefined : this.#createSticky(options.sticky);
    this.remember = rememberBy(this.#hashes, this.#sticky);
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
    this.#sticky?.replace(list);
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

  /**
   * The endpoint for the next attempt: for the first, the one that a cookie of the request names; else not one that its
   * breaker refuses, and not one that was tried already while another is left.
   * @param mayRetry whether a failed attempt may be followed by another
   * @throws ProxyError no_endpoint or breaker_open
   */
  choose(exchange: Exchange, mayRetry: boolean): UpstreamEndpoint {
    if (this.#endpoints.size === 0)
      throw new ProxyError("no_endpoint", `discovery knows no endpoint of ${this.name}`);
    const nowMs = this.#parts.clock.now();
    const isFirst = exchange.attempts === 0;
    const candidates = this.#candidates;
    const kept = isFirst ? this.#sticky?.endpointFor(exchange) : undefined;
    // With nobody but callers that keep their endpoints, one that is on trial would never come back.
    if (kept !== undefined && candidates.longestTrialMs(nowMs) < OVERDUE * this.options.breaker.openForMs)
      return kept;
    const hash = this.#hashes?.of(exchange);
    const part = candidates.draw(nowMs, hash);
    this.loadProbes?.ask(candidates.everybody(nowMs));
    const isLast = isFirst && part.endpoints.length === 0;
    const chosen =
      (isFirst && candidates.hasTrials(nowMs)
        ? this.#onTrial(exchange, mayRetry, isLast, nowMs)
        : undefined) ??
      kept ??
      (isFirst
        ? this.#balancer.pick(part.endpoints, nowMs, hash, part.inFlight)
        : this.#another(exchange, part, nowMs, hash));
    if (chosen !== undefined) return chosen;
    throw new ProxyError("breaker_open", `the breakers of all ${this.#endpoints.size} endpoints are open`);
  }

  /** For a further attempt: one that has not failed this request yet, or at last one that has. */
  #another(
    exchange: Exchange,
    { endpoints, inFlight }: Part,
    nowMs: number,
    hash: number | undefined,
  ): UpstreamEndpoint | undefined {
    // Of very many, hardly any has been tried: to leave those out would cost a walk.
    for (let draws = 0; hash === undefined && endpoints.length > MANY && draws < 3; draws++) {
      const drawn = this.#balancer.pick(endpoints, nowMs, hash, inFlight);
      if (drawn !== undefined && isOther(drawn, exchange, nowMs)) return drawn;
    }
    const everybody = this.#candidates.everybody(nowMs);
    const others = othersOf([endpoints, this.#candidates.well(), everybody], exchange, nowMs);
    return (
      this.#balancer.pick(others, nowMs, hash) ??
      this.#onTrial(exchange, false, true, nowMs) ??
      this.#balancer.pick(leftInPeace(everybody, nowMs), nowMs, hash)
    );
  }

  /** What a further attempt could go to. */
  prospect(exchange: Exchange, nowMs: number): Prospect {
    const candidates = this.#candidates;
    return prospectAmong([...candidates.well(), ...candidates.everybody(nowMs)], exchange, nowMs);
  }

  #onTrial(
    exchange: Exchange,
    mayRetry: boolean,
    isLast: boolean,
    nowMs: number,
  ): UpstreamEndpoint | undefined {
    return this.#candidates.takeProbe(nowMs, {
      // Without retries all requests are alike.
      mayBeRepeated: !mayRetry || mayBeRepeated(exchange),
      isLast,
      isWanted: ({ key }) => !exchange.hasTried(key),
    });
  }

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

  /** Where nobody's health is believed, one of those that are used keeps its callers although something is said of it. */
  #createSticky(options: StickyOptions): StickySessions {
    const { clock } = this.#parts;
    return new StickySessions(
      options,
      (endpoint) => endpoint.isWell || this.#candidates.includes(endpoint, clock.now()),
    );
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

/** How many times as long as a breaker is open a trial waits for a request without a cookie. */
const OVERDUE = 4;

/** So many endpoints are left out one by one where a request has tried them. */
const MANY = 64;

const NONE: ReadonlyMap<string, number> = new Map();

/** A hash keeps its endpoint: it does not follow weights that move for half a minute, so nobody warms up. */
function candidateOptions({ candidates, balancing, breaker }: UpstreamOptions): CandidateOptions {
  const { slowStart } = candidates;
  const windowMs = HASHING_ALGORITHMS.has(balancing.algorithm) ? 0 : slowStart.windowMs;
  return { ...candidates, slowStart: { ...slowStart, windowMs }, patienceMs: breaker.openForMs };
}
