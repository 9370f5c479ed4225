/**
 * Follows the instances of one service in Consul with blocking queries, and keeps what it knows when Consul does
 * not answer.
 *
 * The client's own watch is not used: it keeps its index across errors, so that after a restart of the agent
 * it hangs for a whole wait; it has no rate limit and no jitter; and it reports every move of the index as
 * a change. Here an error or an index that runs backwards means asking again from 0, content decides what is a
 * change, and changes that come together are gathered.
 *
 * An empty list is not believed at once when there was something before. It is what a registry says that has
 * just lost its memory, and that is far more common than a service whose last instance is taken away. It must last,
 * and a registry that goes away meanwhile has confirmed nothing.
 */
import {
  type Clock,
  type Endpoint,
  endpointKey,
  type Log,
  type Random,
  type Timer,
} from "../../core/index.ts";
import { backoffMs } from "../../resilience/index.ts";
import { sleep } from "../sleep.ts";
import type { Source } from "../source.ts";
import { TokenBucket } from "../token-bucket.ts";
import type { ConsulAgent } from "./agent.ts";
import { readHealthEntries } from "./health-entries.ts";

export interface WatchParts {
  readonly agent: Pick<ConsulAgent, "health">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Changes within this time are applied as one. */
const GATHER_MS = 75;
/** How long an empty answer must last before it replaces a list that was not empty. */
const EMPTY_BELIEVED_AFTER_MS = 60_000;
const BACKOFF = { baseMs: 200, maxMs: 5_000 };
const BURST = 5;
const QUERIES_PER_SECOND = 2;

export class ConsulSource implements Source {
  readonly name: string;
  readonly #service: string;
  readonly #parts: WatchParts;
  readonly #stopped = new AbortController();
  #onEndpoints: (endpoints: readonly Endpoint[]) => void = () => {};
  #current: readonly Endpoint[] = [];
  #started = false;
  /** The list that waits to be applied. */
  #next: readonly Endpoint[] | undefined;
  #gathering: Timer | undefined;
  /** While an empty list is not believed: when it will be. */
  #doubt: Timer | undefined;

  constructor(service: string, parts: WatchParts) {
    this.name = `consul:${service}`;
    this.#service = service;
    this.#parts = parts;
  }

  start(onEndpoints: (endpoints: readonly Endpoint[]) => void): void {
    this.#onEndpoints = onEndpoints;
    void this.#follow(this.#stopped.signal);
  }

  stop(): void {
    this.#stopped.abort();
    this.#gathering?.cancel();
    this.#endDoubt();
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { agent, clock, random, log } = this.#parts;
    const bucket = new TokenBucket(BURST, QUERIES_PER_SECOND, clock.now());
    let index = 0;
    let failures = 0;
    while (!signal.aborted) {
      const restMs = bucket.take(clock.now());
      if (restMs > 0) await sleep(clock, restMs, signal);
      try {
        const answer = await agent.health(this.#service, index, signal);
        const reading = readHealthEntries(answer.body, this.#service);
        if (reading === undefined) throw new Error("the answer is not a list of instances");
        if (signal.aborted) return;
        if (failures > 0) log.info({ source: this.name, failures }, "the registry answers again");
        failures = 0;
        index = answer.index < index ? 0 : answer.index;
        if (reading.unusable > 0)
          log.warn({ source: this.name, unusable: reading.unusable }, "instances without a usable address");
        this.#offer(reading.endpoints);
      } catch (thrown) {
        if (signal.aborted) return;
        // An index says nothing to an agent that may have lost its memory meanwhile.
        index = 0;
        this.#endDoubt();
        failures++;
        const kept = this.#current.length;
        if (failures === 1)
          log.warn(
            { source: this.name, kept, err: thrown },
            "the registry does not answer; endpoints are kept",
          );
        await sleep(clock, 50 + backoffMs(BACKOFF, failures, random), signal);
      }
    }
  }

  #offer(endpoints: readonly Endpoint[]): void {
    const { clock, log } = this.#parts;
    if (endpoints.length === 0 && this.#current.length > 0) {
      this.#next = undefined;
      if (this.#doubt !== undefined) return;
      const kept = this.#current.length;
      log.warn({ source: this.name, kept }, "the registry lists nothing; endpoints are kept");
      this.#doubt = clock.schedule(EMPTY_BELIEVED_AFTER_MS, () => {
        this.#doubt = undefined;
        this.#apply([]);
      });
      return;
    }
    this.#endDoubt();
    if (!this.#started) {
      this.#apply(endpoints);
      return;
    }
    this.#next = endpoints;
    this.#gathering ??= clock.schedule(GATHER_MS, () => {
      this.#gathering = undefined;
      if (this.#next !== undefined) this.#apply(this.#next);
    });
  }

  #endDoubt(): void {
    this.#doubt?.cancel();
    this.#doubt = undefined;
  }

  #apply(endpoints: readonly Endpoint[]): void {
    this.#next = undefined;
    if (this.#started && JSON.stringify(endpoints) === JSON.stringify(this.#current)) return;
    const before = new Set(this.#current.map(endpointKey));
    const after = new Set(endpoints.map(endpointKey));
    this.#started = true;
    this.#current = endpoints;
    this.#parts.log.info(
      { source: this.name, added: [...after.difference(before)], removed: [...before.difference(after)] },
      "endpoints changed",
    );
    this.#onEndpoints(endpoints);
  }
}
