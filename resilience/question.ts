/**
 * What makes two requests the same question, so that the answer to one may be shown to whoever asks the other.
 *
 * A place is what may be changed or be gone: host and path with query. A form is how it is shown: to which method, and by the fields in
 * which answers differ. It errs on the side of another question, or of none at all: that of a caller who shows who he is by a field that
 * is not in `vary`. Not only Authorization and Cookie, as RFC 9111 has it: behind a gateway callers are told apart by other fields,
 * whose answers say nothing of that in their Vary.
 */
import { type Exchange, headerValue, isName } from "../core/index.ts";

export interface Question {
  readonly place: string;
  /** The place and how it is shown. */
  readonly key: string;
}

/** Who a caller is, or what he may do; and what makes another request of it. An answer is then nobody's but his. */
const CALLERS_OWN = [
  "authorization",
  "proxy-authorization",
  "cookie",
  "api-key",
  "x-api-key",
  "x-access-token",
  "x-amz-security-token",
  "x-auth-token",
  "x-auth-request-user",
  "x-forwarded-client-cert",
  "x-forwarded-email",
  "x-forwarded-user",
  "x-remote-user",
  "x-user",
  "x-user-id",
  "x-http-method-override",
] as const;

/** By which apps make addresses in their answers; whoever sends one must not choose the links of others. */
const WHERE_IT_WAS_ASKED = [
  "x-forwarded-host",
  "x-forwarded-port",
  "x-forwarded-prefix",
  "x-forwarded-proto",
  "x-original-url",
  "x-rewrite-url",
] as const;

/** Methods that change nothing (RFC 9110, 9.2.1). */
const SAFE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE"]);

export function changesNothing(method: string): boolean {
  return SAFE.has(method);
}

/** What a request is about. */
export function placeOf({ authority, target }: Exchange): string {
  // A line feed is in neither.
  return `${authority.toLowerCase()}\n${target}`;
}

/** @returns undefined for a request whose answer is nobody's but its caller's @param vary in lower case */
export function questionOf(exchange: Exchange, vary: readonly string[]): Question | undefined {
  const { method, headers, body, upgrade } = exchange;
  if (method !== "GET" && method !== "HEAD") return undefined;
  // With a body, what is asked is in the body.
  if (body !== undefined || upgrade !== "" || headerValue(headers, "range") !== undefined) return undefined;
  for (const name of CALLERS_OWN)
    if (headerValue(headers, name) !== undefined && !vary.includes(name)) return undefined;
  const place = placeOf(exchange);
  let key = `${place}\n${method}`;
  for (const name of WHERE_IT_WAS_ASKED) key += `\n${valuesOf(headers, name)}`;
  for (const name of vary) key += `\n${valuesOf(headers, name)}`;
  return { place, key };
}

/** A field that is there and empty is not one that is not there, and two fields are not one with both values. */
function valuesOf(headers: readonly string[], name: string): string {
  let values = "";
  for (let i = 0; i < headers.length; i += 2) if (isName(headers[i]!, name)) values += `\r${headers[i + 1]!}`;
  return values;
}
