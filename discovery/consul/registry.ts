/**
 * The Consul agent as this sidecar sees it: one watch for each distinct question, however many ask it.
 *
 * Each watch holds a connection, and an agent accepts 200 from one address by default: several sidecars on a machine
 * would meet that bound together. So a question that is asked twice is asked once, and ends with its last follower.
 */
import type { Clock, Log, Random } from "../../core/index.ts";
import { QuestionLimit } from "../question-limit.ts";
import { ConsulClient } from "./client.ts";
import type { ConsulOptions } from "./options.ts";
import { type ConsulQuery, type Follower, Watch } from "./watch.ts";

/** How many questions that do not block are asked at once: an agent answers them within milliseconds. */
const FIRST_QUESTIONS = 6;

export interface RegistryParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

interface Shared {
  readonly watch: Watch<unknown>;
  readonly followers: Set<Follower<unknown>>;
  /** What a follower that joins late is told first. */
  last: { readonly value: unknown } | undefined;
}

export class ConsulRegistry {
  readonly client: ConsulClient;
  readonly #limit = new QuestionLimit(FIRST_QUESTIONS);
  readonly #parts: RegistryParts;
  readonly #shared = new Map<string, Shared>();
  #asked = 0;
  #failed = 0;

  constructor(options: ConsulOptions, parts: RegistryParts) {
    this.client = new ConsulClient(options, parts.clock);
    this.#parts = parts;
  }

  /** Watches that are open, and what they have asked since the start. */
  get counts(): { readonly watches: number; readonly answered: number; readonly failed: number } {
    return { watches: this.#shared.size, answered: this.#asked, failed: this.#failed };
  }

  /** @returns what ends it */
  follow<T>(query: ConsulQuery<T>, follower: Follower<T>): () => void {
    const { name, path, params, query: asked, body, blocks, reading } = query;
    const key = JSON.stringify([name, path, params, asked, body, blocks, reading]);
    let shared = this.#shared.get(key);
    if (shared === undefined) {
      shared = this.#share(query as ConsulQuery<unknown>);
      this.#shared.set(key, shared);
      shared.watch.start();
    }
    const { followers, last, watch } = shared;
    followers.add(follower as Follower<unknown>);
    if (last !== undefined) follower.value(last.value as T);
    return () => {
      if (!followers.delete(follower as Follower<unknown>) || followers.size > 0) return;
      watch.stop();
      this.#shared.delete(key);
    };
  }

  close(): void {
    for (const { watch } of this.#shared.values()) watch.stop();
    this.#shared.clear();
    this.client.close();
  }

  #share(query: ConsulQuery<unknown>): Shared {
    const followers = new Set<Follower<unknown>>();
    const shared: Shared = {
      followers,
      last: undefined,
      watch: new Watch<unknown>(
        query,
        { client: this.client, limit: this.#limit, ...this.#parts },
        {
          value: (value) => {
            this.#asked++;
            shared.last = { value };
            for (const follower of [...followers]) if (followers.has(follower)) follower.value(value);
          },
          silent: (why) => {
            this.#failed++;
            for (const follower of [...followers]) if (followers.has(follower)) follower.silent(why);
          },
        },
      ),
    };
    return shared;
  }
}
