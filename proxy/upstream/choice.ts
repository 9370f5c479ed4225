/**
 * The endpoint for an attempt: whom the caller itself has named, whom a cookie names, who is on trial, who the algorithm takes of those that may be chosen, and
 * for a further attempt somebody whom this request has not met yet.
 *
 * The order matters and stands here alone. Who may be chosen at all is worked out when something changes (candidates.ts); what is
 * left for each request is a draw.
 */
import { type Balancer, type BalancingOptions, createBalancer, isAsking } from "../../balancing/index.ts";
import { type Clock, type Exchange, ProxyError, type ProxyResponse, type Random } from "../../core/index.ts";
import { mayBeRepeated, type Prospect } from "../../resilience/index.ts";
import type { Candidates, Part } from "./candidates.ts";
import type { UpstreamEndpoint } from "./endpoint.ts";
import { LoadProbes } from "./load-probes.ts";
import { type HashKey, RequestHashes } from "./request-hash.ts";
import { rememberBy, type StickyOptions, StickySessions } from "./sticky.ts";

/** What an upstream's configuration says about whom a request goes to. */
export interface ChoiceOptions {
  readonly balancing: BalancingOptions;
  /** What a request is known by, for algorithms that choose by it; the first that it has. */
  readonly hash: readonly HashKey[];
  /** Undefined where callers are not kept with the endpoint that answered them. */
  readonly sticky?: StickyOptions | undefined;
}

/** What a choice is made from. */
interface ChoiceParts {
  /** Its name, for errors. */
  readonly upstream: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly candidates: Candidates;
  /** Whether it may be chosen or not; undefined when it has left. */
  readonly endpointAt: (key: string) => UpstreamEndpoint | undefined;
  /** How long a breaker stays open, in milliseconds. */
  readonly openForMs: number;
}

/** How many times as long as a breaker is open a trial waits for a request without a cookie. */
const OVERDUE = 4;

/** So many endpoints are left out one by one where a request has tried them. */
const MANY = 64;

export class EndpointChoice {
  /** Where the algorithm goes by what endpoints say of their own load. */
  readonly loadProbes: LoadProbes | undefined;
  /** Sets the cookies with which the caller of an answer comes back to its endpoint; undefined where there are none. */
  readonly remember: ((exchange: Exchange, response: ProxyResponse) => ProxyResponse) | undefined;
  readonly #upstream: string;
  readonly #clock: Clock;
  readonly #candidates: Candidates;
  readonly #endpointAt: (key: string) => UpstreamEndpoint | undefined;
  readonly #balancer: Balancer;
  readonly #hashes: RequestHashes | undefined;
  readonly #sticky: StickySessions | undefined;
  readonly #overdueMs: number;

  constructor({ balancing, hash, sticky }: ChoiceOptions, parts: ChoiceParts) {
    const { upstream, clock, random, candidates, endpointAt, openForMs } = parts;
    this.#upstream = upstream;
    this.#clock = clock;
    this.#candidates = candidates;
    this.#endpointAt = endpointAt;
    const balancer = createBalancer(balancing, random);
    this.#balancer = balancer;
    candidates.onReplaced = (list) => balancer.forget?.(list);
    this.loadProbes = isAsking(this.#balancer) ? new LoadProbes(upstream, this.#balancer, clock) : undefined;
    this.#hashes = hash.length === 0 ? undefined : new RequestHashes(hash);
    this.#sticky = sticky === undefined ? undefined : createSessions(sticky, parts);
    this.remember = rememberBy(this.#hashes, this.#sticky);
    this.#overdueMs = OVERDUE * openForMs;
  }

  /** The endpoints are now these; the candidates have been told. */
  replace(endpoints: readonly UpstreamEndpoint[]): void {
    this.#sticky?.replace(endpoints);
  }

  /**
   * The endpoint for the next attempt: the one that the caller has named by its address, whatever is known of it; for the first,
   * the one that a cookie of the request names; else not one that its breaker refuses, and not one that was tried already while
   * another is left.
   * @param mayRetry whether a failed attempt may be followed by another
   * @throws ProxyError no_endpoint or breaker_open
   */
  endpointFor(exchange: Exchange, mayRetry: boolean): UpstreamEndpoint {
    if (exchange.pinnedTo !== "") return this.#pinned(exchange.pinnedTo);
    const candidates = this.#candidates;
    if (candidates.count === 0)
      throw new ProxyError("no_endpoint", `discovery knows no endpoint of ${this.#upstream}`);
    const nowMs = this.#clock.now();
    const isFirst = exchange.attempts === 0;
    const kept = isFirst ? this.#sticky?.endpointFor(exchange) : undefined;
    // With nobody but callers that keep their endpoints, one that is on trial would never come back.
    if (kept !== undefined && candidates.longestTrialMs(nowMs) < this.#overdueMs) return kept;
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
    throw new ProxyError("breaker_open", `the breakers of all ${candidates.count} endpoints are open`);
  }

  #pinned(key: string): UpstreamEndpoint {
    const endpoint = this.#endpointAt(key);
    if (endpoint !== undefined) return endpoint;
    throw new ProxyError("no_endpoint", `discovery does not name ${key} for ${this.#upstream} any more`);
  }

  /**
   * For a further attempt: one that has not failed this request yet, at last an outlier, or else one that has. Who has asked to be left
   * alone is, unless this is no second time and everybody else has been tried.
   */
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
    const candidates = this.#candidates;
    const everybody = candidates.everybody(nowMs);
    const parts = [endpoints, candidates.well(), everybody];
    const others = othersOf(parts, exchange, nowMs);
    return (
      this.#balancer.pick(others, nowMs, hash) ??
      this.#onTrial(exchange, false, true, nowMs) ??
      // Worse than the others, but not for this request: its breaker is closed, so most are answered there.
      this.#balancer.pick(othersOf([candidates.outliers()], exchange, nowMs), nowMs, hash) ??
      (exchange.requeued ? this.#balancer.pick(untriedOf(parts, exchange), nowMs, hash) : undefined) ??
      this.#balancer.pick(leftInPeace(everybody, nowMs), nowMs, hash)
    );
  }

  /** What a further attempt could go to. */
  prospect(exchange: Exchange, nowMs: number): Prospect {
    const { pinnedTo } = exchange;
    // Who means one endpoint has no other, and waits if that one has asked to be left alone.
    if (pinnedTo !== "")
      return {
        another: false,
        untried: false,
        waitMs: this.#endpointAt(pinnedTo)?.latency.heldOffForMs(nowMs) ?? 0,
      };
    const candidates = this.#candidates;
    return prospectAmong([...candidates.well(), ...candidates.everybody(nowMs)], exchange, nowMs);
  }

  /** One on trial, if this request is to be what it is tried with. */
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
}

/** Where nobody's health is believed, one of those that are used keeps its callers although something is said of it. */
function createSessions(options: StickyOptions, { candidates, clock }: ChoiceParts): StickySessions {
  return new StickySessions(
    options,
    (endpoint) => endpoint.isWell || candidates.includes(endpoint, clock.now()),
  );
}

/**
 * Those that a further attempt should go to: not tried and not to be left alone, of the request's own part of the
 * traffic, or else of any, in reserve or used.
 * @param parts from the request's own to everybody
 */
function othersOf(
  parts: readonly (readonly UpstreamEndpoint[])[],
  exchange: Exchange,
  nowMs: number,
): readonly UpstreamEndpoint[] {
  for (const part of parts) {
    const others = part.filter((endpoint) => isOther(endpoint, exchange, nowMs));
    if (others.length > 0) return others;
  }
  return [];
}

/** Of the first part that has any, those that were not tried. */
function untriedOf(
  parts: readonly (readonly UpstreamEndpoint[])[],
  exchange: Exchange,
): readonly UpstreamEndpoint[] {
  for (const part of parts) {
    const untried = part.filter(({ key }) => !exchange.hasTried(key));
    if (untried.length > 0) return untried;
  }
  return [];
}

/** Whether this request has not been there yet, and it has not asked to be left alone. */
function isOther({ key, latency }: UpstreamEndpoint, exchange: Exchange, nowMs: number): boolean {
  return !exchange.hasTried(key) && !latency.isHeldOff(nowMs);
}

/** @param endpoints all that a further attempt may go to */
function prospectAmong(endpoints: readonly UpstreamEndpoint[], exchange: Exchange, nowMs: number): Prospect {
  let waitMs = Number.POSITIVE_INFINITY;
  let another = false;
  let untried = false;
  for (const endpoint of endpoints) {
    waitMs = Math.min(waitMs, endpoint.latency.heldOffForMs(nowMs));
    another ||= isOther(endpoint, exchange, nowMs);
    untried ||= !exchange.hasTried(endpoint.key);
  }
  return { another, untried, waitMs: endpoints.length === 0 ? 0 : waitMs };
}

/** Those that have not asked to be left alone; all of them where all have. */
function leftInPeace(endpoints: readonly UpstreamEndpoint[], nowMs: number): readonly UpstreamEndpoint[] {
  const others = endpoints.filter(({ latency }) => !latency.isHeldOff(nowMs));
  return others.length === 0 ? endpoints : others;
}
