/**
 * What a request is known by where equal requests are to meet the same endpoint: one number from what the configuration
 * names, in its order, the first that the request has.
 *
 * Not from all of them together, as Envoy does: with a cookie and an address, a caller who gets a cookie would be moved
 * by it. The first that is there is what a person would say: by the cookie, and without one by the address.
 */
import { hash32 } from "../../balancing/index.ts";
import { type Exchange, headerValue, pathOf, queryParameter } from "../../core/index.ts";

/** One thing to know a request by. */
export type HashKey =
  /** The value of a header field, its name in lower case. */
  | { readonly of: "header"; readonly name: string }
  | { readonly of: "cookie"; readonly name: string }
  /** A parameter of the query, decoded. */
  | { readonly of: "query"; readonly name: string }
  /** The path without the query. */
  | { readonly of: "path" }
  /** The caller's address without its port. */
  | { readonly of: "source" };

/** 32 bits without sign; undefined when the request has none of them. */
export function requestHash(keys: readonly HashKey[], exchange: Exchange): number | undefined {
  for (const key of keys) {
    const value = known(key, exchange);
    if (value !== undefined && value !== "") return hash32(value);
  }
  return undefined;
}

function known(key: HashKey, { headers, target, clientAddress }: Exchange): string | undefined {
  switch (key.of) {
    case "header":
      return headerValue(headers, key.name);
    case "cookie":
      return cookie(headers, key.name);
    case "query":
      return queryParameter(target, key.name);
    case "path":
      return pathOf(target);
    case "source":
      return clientAddress;
  }
}

/** A cookie may stand in any of several Cookie fields; the first one of that name counts (RFC 6265, 5.4: the longest path). */
function cookie(headers: readonly string[], name: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i]!.length !== 6 || headers[i]!.toLowerCase() !== "cookie") continue;
    for (const pair of headers[i + 1]!.split(";")) {
      const equals = pair.indexOf("=");
      if (equals > 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim();
    }
  }
  return undefined;
}
