/**
 * Refuses what comes faster than it may, with 429 and a word on when to come again.
 *
 * Fields as in draft-ietf-httpapi-ratelimit-headers (`RateLimit-Policy: "name";q=100;w=1`, `RateLimit: "name";r=0;t=3`) beside
 * `Retry-After`, which every client knows. Not the older trio of X-RateLimit fields: their reset is a time of day to one
 * client and a number of seconds to the next.
 *
 * Limits in earnest are asked first, and a request that one of them refuses costs nothing with the others. Those in shadow mode are asked
 * about what passes: what they count is what they would refuse besides.
 */
import {
  type Clock,
  type Exchange,
  type Handler,
  isName,
  type Layer,
  ProxyError,
  type ProxyResponse,
  type Random,
  type RateLimitOptions,
} from "../core/index.ts";
import { RateBuckets, rateCounts } from "./rate-buckets.ts";
import { RateLimit } from "./rate-limit.ts";

export interface RateLimitParts {
  readonly clock: Clock;
  readonly random: Random;
  /** What makes the clock of this thread one that is the same in all threads, in milliseconds. */
  readonly threadOffsetMs?: number | undefined;
}

/** One limit at work. */
class Limiter {
  readonly options: RateLimitOptions;
  readonly #limit: RateLimit;
  readonly #buckets: RateBuckets;
  readonly #policy: string;

  constructor(options: RateLimitOptions, random: Random) {
    const { name, requests, perMs, counts } = options;
    this.options = options;
    this.#limit = new RateLimit(options);
    const maxKeys = keysOf(options);
    this.#buckets = new RateBuckets(this.#limit, maxKeys, counts ?? rateCounts(maxKeys, random));
    // The window is in whole seconds; of another one nothing is said.
    const window = perMs % 1000 === 0 ? `;w=${perMs / 1000}` : "";
    this.#policy = `"${name}";q=${requests}${window}`;
  }

  take(exchange: Exchange, nowMs: number): boolean {
    return this.#buckets.take(this.#key(exchange), nowMs);
  }

  giveBack(exchange: Exchange): void {
    this.#buckets.giveBack(this.#key(exchange));
  }

  /** Until the next one is let through, for the request that was the last to be refused; in milliseconds. */
  waitMs(nowMs: number): number {
    return this.#limit.waitMs(this.#buckets.fullAtMs, nowMs);
  }

  /** For the request that was the last to be refused. */
  refusal(nowMs: number): ProxyError {
    const { name, requests, perMs } = this.options;
    const seconds = Math.max(1, Math.ceil(this.waitMs(nowMs) / 1000));
    return new ProxyError("rate_limited", `more than ${requests} requests came in ${perMs} ms`, {
      detail: name,
      headers: [
        "Retry-After",
        String(seconds),
        "RateLimit-Policy",
        this.#policy,
        "RateLimit",
        `"${name}";r=0;t=${seconds}`,
      ],
    });
  }

  /** What is left after the request that was the last to be let through. */
  standing(nowMs: number): readonly string[] {
    const { fullAtMs } = this.#buckets;
    const left = this.#limit.left(fullAtMs, nowMs);
    const seconds = Math.ceil(this.#limit.untilFullMs(fullAtMs, nowMs) / 1000);
    const rest = `"${this.options.name}";r=${left};t=${seconds}`;
    return ["RateLimit-Policy", this.#policy, "RateLimit", rest];
  }

  /** Those who say nothing of themselves have one bucket together. */
  #key(exchange: Exchange): string {
    const { by } = this.options;
    if (by.of === "all") return "";
    if (by.of === "address") return networkOf(exchange.clientAddress);
    return soleValue(exchange.headers, by.header) ?? "";
  }
}

/** How many keys a limit has. */
export function keysOf({ by, maxKeys }: Pick<RateLimitOptions, "by" | "maxKeys">): number {
  return by.of === "all" ? 1 : maxKeys;
}

export function rateLimit(parts: RateLimitParts, options: readonly RateLimitOptions[]): Layer {
  const { clock, random, threadOffsetMs = 0 } = parts;
  const limiters = options.map((each) => new Limiter(each, random));
  const enforced = limiters.filter((limiter) => limiter.options.mode === "enforce");
  const shadowed = limiters.filter((limiter) => limiter.options.mode === "shadow");
  const telling = enforced.filter((limiter) => limiter.options.fields === "all");

  /**
   * The one that refuses, of several the one that does so for longest: whoever comes again when he was told to is let through
   * by all. What the others have counted is given back.
   */
  function refusing(exchange: Exchange, nowMs: number): Limiter | undefined {
    let first = 0;
    while (first < enforced.length && enforced[first]!.take(exchange, nowMs)) first++;
    if (first === enforced.length) return undefined;
    for (let i = 0; i < first; i++) enforced[i]!.giveBack(exchange);
    let longest = enforced[first]!;
    for (let i = first + 1; i < enforced.length; i++) {
      const limiter = enforced[i]!;
      if (limiter.take(exchange, nowMs)) limiter.giveBack(exchange);
      else if (limiter.waitMs(nowMs) > longest.waitMs(nowMs)) longest = limiter;
    }
    return longest;
  }

  return {
    name: "rate-limit",
    wrap(next: Handler): Handler {
      return (exchange) => {
        const nowMs = clock.recentMs + threadOffsetMs;
        const refuses = refusing(exchange, nowMs);
        if (refuses !== undefined) return Promise.reject(refuses.refusal(nowMs));
        for (const limiter of shadowed)
          if (!limiter.take(exchange, nowMs)) exchange.wouldRefuse("rate_limited");
        if (telling.length === 0) return next(exchange);
        // Now, as it is this request's standing, and others come before its answer.
        const fields = telling.flatMap((limiter) => limiter.standing(nowMs));
        return next(exchange).then((response: ProxyResponse) => {
          response.headers.push(...fields);
          return response;
        });
      };
    },
  };
}

/** Undefined also for a field that is there twice: with a name of his beside it, a caller would have another one for each request. */
function soleValue(headers: readonly string[], lowerCaseName: string): string | undefined {
  let sole: string | undefined;
  for (let i = 0; i < headers.length; i += 2) {
    if (!isName(headers[i]!, lowerCaseName)) continue;
    if (sole !== undefined) return undefined;
    sole = headers[i + 1]!;
  }
  return sole;
}

/** An IPv6 address to its network of 64 bits: who has one has all of its addresses. IPv4 as it is. */
export function networkOf(address: string): string {
  if (!address.includes(":")) return address;
  const [before, after] = address.split("::") as [string, string?];
  const groups = before === "" ? [] : before.split(":");
  if (after !== undefined) {
    const behind = after === "" ? 0 : after.split(":").length;
    while (groups.length + behind < 8) groups.push("0");
    groups.push(...(after === "" ? [] : after.split(":")));
  }
  return `${groups.slice(0, 4).join(":")}::`;
}
