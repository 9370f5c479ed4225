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
import type { BreakerState, EndpointBreaker } from "../../resilience/index.ts";
import type { EndpointPool } from "./pool.ts";

/** How an endpoint is reached; the same for all of an upstream. */
export interface Reach {
  createBreaker(endpoint: UpstreamEndpoint): EndpointBreaker;
  createPool(endpoint: UpstreamEndpoint): EndpointPool;
  /** Builds the stack of the endpoint, see stack.ts. */
  prepare(endpoint: UpstreamEndpoint): Handler;
}

export class UpstreamEndpoint implements Candidate {
  endpoint: Endpoint;
  readonly key: string;
  readonly latency: PeakEwma = new PeakEwma();
  readonly #reach: Reach;
  /** Requests sent there that have not ended. */
  inFlight = 0;
  #breaker: EndpointBreaker | undefined = undefined;
  #pool: EndpointPool | undefined = undefined;
  #handle: Handler | undefined = undefined;

  constructor(endpoint: Endpoint, reach: Reach) {
    this.endpoint = endpoint;
    this.key = endpointKey(endpoint);
    this.#reach = reach;
  }

  get weight(): number {
    return this.endpoint.weight;
  }

  /** The way to it. */
  handle(exchange: Exchange): Promise<ProxyResponse> {
    this.#handle ??= this.#reach.prepare(this);
    return this.#handle(exchange);
  }

  get breaker(): EndpointBreaker {
    this.#breaker ??= this.#reach.createBreaker(this);
    return this.#breaker;
  }

  get pool(): EndpointPool {
    this.#pool ??= this.#reach.createPool(this);
    return this.#pool;
  }

  /** As `breaker.state`, without making one. */
  get breakerState(): BreakerState {
    return this.#breaker?.state ?? "closed";
  }

  /** Its breaker would let a request through. */
  get admits(): boolean {
    return this.#breaker?.admits ?? true;
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
