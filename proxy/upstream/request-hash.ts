/**
 * What a request is known by where equal requests are to meet the same endpoint: one number from what the configuration
 * names, in its order, the first that the request has.
 *
 * Not from all of them together, as Envoy does: with a cookie and an address, a caller who gets a cookie would be moved
 * by it. The first that is there is what a person would say: by the cookie, and without one by the address.
 *
 * A cookie that is to be set is always there: a request without it is given a value, is hashed by that in all its attempts,
 * and its answer sets it. The value is no name of an endpoint and nobody can guess it, so that none can choose whose endpoint to share.
 */
import { hash32 } from "../../balancing/index.ts";
import {
  type Exchange,
  findCookie,
  headerValue,
  type ProxyResponse,
  pathOf,
  queryParameter,
} from "../../core/index.ts";
import { newSecret } from "../system.ts";
import { type SessionCookie, withCookie } from "./session-cookie.ts";

/** One thing to know a request by. */
export type HashKey =
  /** The value of a header field, its name in lower case. */
  | { readonly of: "header"; readonly name: string }
  | CookieKey
  /** A parameter of the query, decoded. */
  | { readonly of: "query"; readonly name: string }
  /** The path without the query. */
  | { readonly of: "path" }
  /** The caller's address without its port. */
  | { readonly of: "source" };

interface CookieKey {
  readonly of: "cookie";
  readonly name: string;
  /** How it is set where a request has none; undefined where it is only read. */
  readonly sets?: Pick<SessionCookie, "ttlMs" | "path"> | undefined;
}

interface Begun {
  readonly cookie: SessionCookie;
  readonly value: string;
}

export class RequestHashes {
  readonly #keys: readonly HashKey[];
  /** What requests have been given that had no cookie. Beside the exchange, as next to none of all are hashed like this. */
  readonly #begun = new WeakMap<Exchange, Begun>();

  constructor(keys: readonly HashKey[]) {
    this.#keys = keys;
  }

  /** Whether an answer may have to set a cookie. */
  get setsCookies(): boolean {
    return this.#keys.some((key) => key.of === "cookie" && key.sets !== undefined);
  }

  /** 32 bits without sign; undefined when the request has nothing that it could be known by. */
  of(exchange: Exchange): number | undefined {
    for (const key of this.#keys) {
      const value = this.#known(key, exchange);
      if (value !== undefined && value !== "") return hash32(value);
    }
    return undefined;
  }

  /** The answer, with the cookie by which its request has been hashed if that had none. */
  remember(exchange: Exchange, response: ProxyResponse): ProxyResponse {
    const begun = this.#begun.get(exchange);
    return begun === undefined ? response : withCookie(response, begun.cookie, begun.value, exchange);
  }

  #known(key: HashKey, exchange: Exchange): string | undefined {
    const { headers, target, clientAddress } = exchange;
    switch (key.of) {
      case "header":
        return headerValue(headers, key.name);
      case "cookie":
        return findCookie(headers, key.name, notEmpty) ?? this.#begin(key, exchange);
      case "query":
        return queryParameter(target, key.name);
      case "path":
        return pathOf(target);
      case "source":
        return clientAddress;
    }
  }

  /** The same value for all attempts of a request. */
  #begin({ name, sets }: CookieKey, exchange: Exchange): string | undefined {
    if (sets === undefined) return undefined;
    const before = this.#begun.get(exchange);
    if (before !== undefined) return before.value;
    const value = newSecret();
    this.#begun.set(exchange, { cookie: { name, ...sets }, value });
    return value;
  }
}

function notEmpty(value: string): string | undefined {
  return value === "" ? undefined : value;
}
