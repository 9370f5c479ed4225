/**
 * Follows one question to Consul: asks, blocks until the answer may have changed, asks again.
 *
 * The client's own watch is not used: it keeps its index across errors, so that after a restart of the agent it hangs for
 * a whole wait; it has no rate limit and no jitter; and it reports every move of the index as a change. Here an error
 * or an index that runs backwards means asking again from 0, and what was read is passed on as it is: content, not
 * the index, decides further up what is a change.
 *
 * Whether an endpoint blocks at all is told by the headers of its answer and not by the version of the agent: where there
 * is neither an index nor a hash, it is polled.
 */
import type { Clock, Log, Random } from "../../core/index.ts";
import { backoffMs } from "../../resilience/index.ts";
import type { QuestionLimit } from "../question-limit.ts";
import { sleep } from "../sleep.ts";
import { TokenBucket } from "../token-bucket.ts";
import { CALL_MS, type ConsulAnswer, type ConsulClient } from "./client.ts";

/** What is asked, and what is made of the answer. */
export interface ConsulQuery<T> {
  /** For the log, such as `consul:orders`. */
  readonly name: string;
  readonly path: string;
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  /** A body makes it a POST. */
  readonly body?: object;
  /** How a change is waited for: by X-Consul-Index, by the hash of the content (agent endpoints), or not at all. */
  readonly blocks: "index" | "hash" | "never";
  /** What a 404 means; undefined makes it an error. */
  readonly absent?: T;
  /** What tells this reading from others of the same answer. */
  readonly reading?: string;
  /** @returns undefined when the body is not what it should be, as when something else answers in Consul's place */
  readonly read: (body: unknown) => T | undefined;
}

/** Who listens to a watch. */
export interface Follower<T> {
  value(value: T): void;
  /** Said with every failed attempt. */
  silent(why: string): void;
}

export interface WatchParts {
  /** Shared by all watches: how many questions that do not block are asked at once. */
  readonly limit?: QuestionLimit;
  readonly client: Pick<ConsulClient, "get" | "post" | "options">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const BACKOFF = { baseMs: 200, maxMs: 2_000 };
/** Enough for a roll-out in which each change wakes the watch; a bound on what never blocks. */
const BURST = 10;
const QUERIES_PER_SECOND = 8;
/** How often an endpoint is asked that does not block. */
const POLL_MS = 10_000;

/** How long a query that blocks for `waitMs` may take: the agent adds a sixteenth at most, and the way takes a little. */
export const waitLimitMs = (waitMs: number) => (waitMs * 17) / 16 + 3_000;

/** Where the last answer has left us. */
interface Position {
  readonly index: number;
  readonly hash: string;
}

const NOWHERE: Position = { index: 0, hash: "" };

export class Watch<T> {
  readonly #query: ConsulQuery<T>;
  readonly #parts: WatchParts;
  readonly #follower: Follower<T>;
  readonly #stopped = new AbortController();

  constructor(query: ConsulQuery<T>, parts: WatchParts, follower: Follower<T>) {
    this.#query = query;
    this.#parts = parts;
    this.#follower = follower;
  }

  start(): void {
    void this.#follow(this.#stopped.signal);
  }

  /** Hangs up: a question that blocks does not hold a connection of the agent. */
  stop(): void {
    this.#stopped.abort();
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { client, clock, random, log } = this.#parts;
    const bucket = new TokenBucket(BURST, QUERIES_PER_SECOND, clock.now());
    let position = NOWHERE;
    let failures = 0;
    while (!signal.aborted) {
      const restMs = bucket.take(clock.now());
      if (restMs > 0) await sleep(clock, restMs, signal);
      try {
        const heard = await this.#hear(position, signal);
        if (signal.aborted) return;
        if (failures > 0) log.info({ source: this.#query.name, failures }, "the registry answers again");
        failures = 0;
        position = heard.position;
        this.#follower.value(heard.value);
        if (position === NOWHERE || client.options.pollMs !== undefined)
          await sleep(clock, (client.options.pollMs ?? POLL_MS) * (0.75 + random.next() / 2), signal);
      } catch (thrown) {
        if (signal.aborted) return;
        // An index says nothing to an agent that may have lost its memory meanwhile.
        position = NOWHERE;
        failures++;
        const why = (thrown as Error).message;
        if (failures === 1) log.warn({ source: this.#query.name, why }, "the registry does not answer");
        this.#follower.silent(why);
        await sleep(clock, 50 + backoffMs(BACKOFF, failures, random), signal);
      }
    }
  }

  /**
   * Apart from the loop, so that the answer is gone when it has been read: a loop that waits keeps what its last turn had
   * in hand, and an answer is twenty times what is kept of it.
   */
  async #hear(
    before: Position,
    signal: AbortSignal,
  ): Promise<{ readonly value: T; readonly position: Position }> {
    const blocks = before.index > 0 || before.hash !== "";
    const answer = blocks
      ? await this.#ask(before, signal)
      : await this.#inTurn(() => this.#ask(before, signal), signal);
    return { value: this.#read(answer), position: this.#next(before, answer) };
  }

  /** Of fifty services that are followed at once, not all are answered at once: each answer is read as a whole. */
  async #inTurn(ask: () => Promise<ConsulAnswer>, signal: AbortSignal): Promise<ConsulAnswer> {
    const { limit } = this.#parts;
    const answer = limit === undefined ? await ask() : await limit.run(signal, ask);
    if (answer === undefined) throw new Error("no longer wanted");
    return answer;
  }

  #ask({ index, hash }: Position, signal: AbortSignal): Promise<ConsulAnswer> {
    const { client } = this.#parts;
    const { path, params = {}, query = {}, body, absent } = this.#query;
    const { waitMs, pollMs } = client.options;
    const wait = `${Math.round(waitMs)}ms`;
    const blocking: Record<string, string> =
      pollMs !== undefined
        ? {}
        : index > 0
          ? { index: String(index), wait }
          : hash !== ""
            ? { hash, wait }
            : {};
    const call = {
      path,
      params,
      query: { ...query, ...blocking },
      accept: absent === undefined ? [] : [404],
      signal,
      timeoutMs: "wait" in blocking ? waitLimitMs(waitMs) : CALL_MS,
    };
    return body === undefined ? client.get(call) : client.post({ ...call, body });
  }

  #read({ status, body }: ConsulAnswer): T {
    if (status === 404) return this.#query.absent!;
    const value = this.#query.read(body);
    if (value === undefined) throw new Error("the answer is not what was asked for");
    return value;
  }

  /** The same object when nothing can be waited for. */
  #next(before: Position, { headers }: ConsulAnswer): Position {
    if (this.#query.blocks === "never") return NOWHERE;
    if (this.#query.blocks === "hash") {
      const hash = headers["x-consul-contenthash"];
      return typeof hash === "string" && hash !== "" ? { index: 0, hash } : NOWHERE;
    }
    const index = Number(headers["x-consul-index"]);
    if (!Number.isSafeInteger(index) || index < 1) return NOWHERE;
    // Backwards: asked again from the beginning, at once.
    return index < before.index ? { index: 0, hash: "" } : { index, hash: "" };
  }
}
