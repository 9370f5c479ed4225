/**
 * Cookies by which a caller keeps its endpoint: how they are set with an answer.
 *
 * No script has a use for them, so all are HttpOnly. A sidecar speaks plain HTTP and cannot see whether there is TLS before
 * its caller; whoever ends it says so in X-Forwarded-Proto, and that is what Secure goes by unless a setting decides. A caller
 * who lies there loses nobody's cookie but its own. Without SameSite browsers differ in what they take for granted. No Domain: the
 * cookie goes back to the host that set it and to no other. Max-Age and not Expires, which needs two clocks that agree.
 */
import { type Exchange, headerValue, type ProxyResponse } from "../../core/index.ts";

export interface SessionCookie {
  readonly name: string;
  /** For how long the caller keeps it from when it was set, in milliseconds; 0 is until it ends its session. */
  readonly ttlMs: number;
  readonly path: string;
  /** `lax` unless told otherwise. */
  readonly sameSite?: keyof typeof SAME_SITE | undefined;
  /** Undefined is whatever the request says that it came by. */
  readonly secure?: boolean | undefined;
}

const SAME_SITE = { strict: "Strict", lax: "Lax", none: "None" } as const;

/** The answer with one more field. A new one: what came may be shared, and the field is this caller's alone. */
export function withCookie(
  response: ProxyResponse,
  cookie: SessionCookie,
  value: string,
  exchange: Exchange,
): ProxyResponse {
  return { ...response, headers: [...response.headers, "Set-Cookie", fieldValue(cookie, value, exchange)] };
}

function fieldValue(
  { name, ttlMs, path, sameSite = "lax", secure }: SessionCookie,
  value: string,
  to: Exchange,
) {
  // Rounded up: 0 would be an order to forget it at once.
  const lifetime = ttlMs === 0 ? "" : `; Max-Age=${Math.ceil(ttlMs / 1000)}`;
  const guarded = (secure ?? cameByTls(to)) ? "; Secure" : "";
  return `${name}=${value}; Path=${path}${lifetime}; HttpOnly; SameSite=${SAME_SITE[sameSite]}${guarded}`;
}

/** The first of several is what the first of several proxies has seen. */
function cameByTls({ headers }: Exchange): boolean {
  const [first = ""] = headerValue(headers, "x-forwarded-proto")?.split(",", 1) ?? [];
  return first.trim().toLowerCase() === "https";
}
