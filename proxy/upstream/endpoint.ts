/**
 * One endpoint with what has been learned about it.
 *
 * What it takes to reach it (breaker, pool, the stack of its layers) is made when it is first chosen: a mesh has
 * thousands of endpoints, and most sidecars talk to few of them.
 */
import { type Candidate, PeakEwma } from "../../balancing/index.ts";
import {
  type Endpoint,
  type Exchange,
  endpointKey,
  type Handler,
  type ProxyResponse,
} from "../../core/index.ts";
import type { Breaker, BreakerState, Standing, WatchedEndpoint } from "../../resilience/index.ts";
import type { EndpointPool } from "./pool.ts";

/** How an endpoint is reached; the same for all of an upstream. */
export interface Reach {
  createBreaker(endpoint: UpstreamEndpoint): Breaker;
  createPool(endpoint: UpstreamEndpoint): EndpointPool;
  /** Undefined where outliers are not looked for. */
  watch(endpoint: UpstreamEndpoint): WatchedEndpoint | undefined;
  /** Builds the stack of the endpoint, see stack.ts. */
  prepare(endpoint: UpstreamEndpoint): Handler;
}

/** What is in flight at several endpoints together. */
export interface InFlightSum {
  inFlight: number;
}

export class UpstreamEndpoint implements Candidate {
  endpoint: Endpoint;
  readonly key: string;
  readonly latency: PeakEwma = new PeakEwma();
  readonly #reach: Reach;
  /** Requests sent there that have not ended. */
  inFlight = 0;
  /** Of those that it is chosen among: to add them up for each request would cost a walk through thousands. */
  #sum: InFlightSum | undefined = undefined;
  /** Which of its upstream's lists named it last. */
  generation = 0;
  /** Its share of traffic now: less than discovery says while it warms up, or where it is partly this sidecar's. */
  weight: number;
  #watched: WatchedEndpoint | undefined = undefined;
  #breaker: Breaker | undefined = undefined;
  #pool: EndpointPool | undefined = undefined;
  #handle: Handler | undefined = undefined;

  constructor(endpoint: Endpoint, reach: Reach) {
    this.endpoint = endpoint;
    this.key = endpointKey(endpoint);
    this.weight = endpoint.weight;
    this.#reach = reach;
  }

  /** Whether it is the one at this address. */
  isAt({ address, port }: Endpoint): boolean {
    return this.endpoint.port === port && this.endpoint.address === address;
  }

  /** A request is sent there. */
  begin(): void {
    this.inFlight++;
    if (this.#sum !== undefined) this.#sum.inFlight++;
  }

  /** A request that was sent there has ended. */
  end(): void {
    this.inFlight--;
    if (this.#sum !== undefined) this.#sum.inFlight--;
  }

  /** From now on it is chosen among others, with whom it adds up. */
  belongTo(sum: InFlightSum): void {
    this.#sum = sum;
    sum.inFlight += this.inFlight;
  }

  /** The way to it. */
  handle(exchange: Exchange): Promise<ProxyResponse> {
    this.#handle ??= this.#reach.prepare(this);
    return this.#handle(exchange);
  }

  get breaker(): Breaker {
    this.#breaker ??= this.#reach.createBreaker(this);
    return this.#breaker;
  }

  get pool(): EndpointPool {
    this.#pool ??= this.#reach.createPool(this);
    return this.#pool;
  }

  /** Its breaker if there is one, without making one. */
  get ownBreaker(): Breaker | undefined {
    return this.#breaker;
  }

  /** As `breaker.state`, without making one. */
  get breakerState(): BreakerState {
    return this.#breaker?.state ?? "closed";
  }

  /** Its breaker would let a request through. */
  get admits(): boolean {
    return this.#breaker?.admits ?? true;
  }

  /** What outlier detection counts of it; undefined where there is none. */
  get watched(): WatchedEndpoint | undefined {
    this.#watched ??= this.#reach.watch(this);
    return this.#watched;
  }

  /** How it stands with outlier detection, without asking to be watched; undefined when nothing is known. */
  get standing(): Standing | undefined {
    return this.#watched?.standing;
  }

  /** No outlier: it has not been ejected, or has shown that it is well. */
  get isIn(): boolean {
    return this.#watched?.isIn ?? true;
  }

  /** Nobody has anything against it. */
  get isWell(): boolean {
    return this.breakerState === "closed" && this.isIn && this.endpoint.unwell !== true;
  }

  /** It gets nothing but a request now and then, by which it shows whether it is well again. */
  get isOnTrial(): boolean {
    if (this.endpoint.unwell === true || this.breakerState === "open") return false;
    return this.isIn ? this.breakerState === "halfOpen" : this.#watched?.standing.is === "probing";
  }

  /** Takes the place that there is for one request of its trial, if it is free. */
  takeProbe(nowMs: number): boolean {
    if (!this.admits) return false;
    // One that is ejected is only tried where nobody else is left: then its breaker's place is enough.
    return this.#watched?.standing.is !== "probing" || this.#watched!.takeProbe(nowMs);
  }

  /** Since when it is on trial. */
  get onTrialSinceMs(): number {
    return Math.max(this.#breaker?.openUntilMs ?? 0, this.isIn ? 0 : this.#watched!.standing.sinceMs);
  }

  /** Its connections are closed when they are unused. */
  closeUnused(): void {
    this.#pool?.close();
  }

  /** It is no longer wanted: what is under way finishes. */
  retire(): void {
    this.#breaker?.stop();
    this.closeUnused();
  }
}
