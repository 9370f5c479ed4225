/**
 * Sessions by cookie: an answer names the endpoint that gave it, and the caller's next request goes there, whatever the
 * algorithm, as long as discovery has it and nothing is against it.
 *
 * The name is a hash and not a table: every sidecar and every thread makes the same one for the same endpoint, before and after
 * a restart, and nothing has to be shared or kept. It is 64 bits of SHA-256 over the address, with a secret before it where there
 * is one. Without a secret nobody reads an address from it, but who tries all addresses finds it. Not hash32, whose
 * state of 32 bits would give a secret away, too.
 *
 * An answer that is the endpoint's failure begins no session: the caller would come back to who has just failed it. A
 * request that brings its cookie is nobody's trial as long as others may come: an endpoint that comes back from a breaker or
 * an ejection is tried by those who have none, and by one with a cookie, who keeps it, when none of them has come for long.
 * The cookie goes on to the endpoint as it came: to cut it out would be to write the caller's fields anew for each request,
 * and it says nothing that the endpoint does not know.
 */
import { type Exchange, findCookie, type ProxyResponse } from "../../core/index.ts";
import { isEndpointFailure } from "../../resilience/index.ts";
import type { UpstreamEndpoint } from "./endpoint.ts";
import type { RequestHashes } from "./request-hash.ts";
import { type SessionCookie, withCookie } from "./session-cookie.ts";

export interface StickyOptions extends SessionCookie {
  /** Goes into every name; the same in all sidecars that are to agree. */
  readonly sharedSecret?: string | undefined;
}

/** Hexadecimal digits: 64 bits. */
const TOKEN_LENGTH = 16;

export class StickySessions {
  readonly #options: StickyOptions;
  readonly #mayServe: (endpoint: UpstreamEndpoint) => boolean;
  /** By the endpoint's key. */
  #tokens: ReadonlyMap<string, string> = new Map();
  #endpoints: readonly UpstreamEndpoint[] = [];
  /** Made when it is first asked after a change: of lists that replace each other quickly, most never are. */
  #byToken: ReadonlyMap<string, UpstreamEndpoint> | undefined;

  /** @param mayServe whether nothing is against it now */
  constructor(options: StickyOptions, mayServe: (endpoint: UpstreamEndpoint) => boolean) {
    this.#options = options;
    this.#mayServe = mayServe;
  }

  /** The endpoints are now these. */
  replace(endpoints: readonly UpstreamEndpoint[]): void {
    this.#endpoints = endpoints;
    this.#byToken = undefined;
  }

  /** The first endpoint that a cookie of the request names and that may serve it. */
  endpointFor({ headers }: Exchange): UpstreamEndpoint | undefined {
    return findCookie(headers, this.#options.name, this.#named);
  }

  /** The answer, with a cookie if the request has none that leads to the endpoint which gave it. */
  remember(exchange: Exchange, response: ProxyResponse): ProxyResponse {
    if (isEndpointFailure(response.status)) return response;
    const { endpoint: answered } = exchange;
    const kept = this.endpointFor(exchange);
    // It has answered, or was passed over for once: it has not failed the request.
    if (kept !== undefined && (kept.key === answered || !exchange.hasTried(kept.key))) return response;
    const token = this.#tokens.get(answered) ?? tokenOf(answered, this.#options.sharedSecret);
    return withCookie(response, this.#options, token, exchange);
  }

  readonly #named = (token: string): UpstreamEndpoint | undefined => {
    if (token.length !== TOKEN_LENGTH) return undefined;
    this.#byToken ??= this.#index();
    const endpoint = this.#byToken.get(token);
    return endpoint !== undefined && this.#mayServe(endpoint) ? endpoint : undefined;
  };

  #index(): ReadonlyMap<string, UpstreamEndpoint> {
    const known = this.#tokens;
    const tokens = new Map<string, string>();
    const byToken = new Map<string, UpstreamEndpoint>();
    for (const endpoint of this.#endpoints) {
      const token = known.get(endpoint.key) ?? tokenOf(endpoint.key, this.#options.sharedSecret);
      tokens.set(endpoint.key, token);
      byToken.set(token, endpoint);
    }
    this.#tokens = tokens;
    return byToken;
  }
}

/**
 * What sets the cookies of an answer; undefined where there are none to set. The name of the endpoint is set last: of two
 * cookies of one name, the caller keeps the second.
 */
export function rememberBy(
  hashes: RequestHashes | undefined,
  sticky: StickySessions | undefined,
): ((exchange: Exchange, response: ProxyResponse) => ProxyResponse) | undefined {
  if (sticky === undefined)
    return hashes?.setsCookies === true
      ? (exchange, response) => hashes.remember(exchange, response)
      : undefined;
  return (exchange, response) => sticky.remember(exchange, hashes?.remember(exchange, response) ?? response);
}

function tokenOf(key: string, secret = ""): string {
  return process
    .getBuiltinModule("node:crypto")
    .hash("sha256", `${secret}\n${key}`, "hex")
    .slice(0, TOKEN_LENGTH);
}
