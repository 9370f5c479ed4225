/**
 * Cookies as they stand in header fields: which names and paths can be written, and how a value is found (RFC 6265).
 *
 * Fields are not made into a table of cookies: one is looked for, and a request may carry dozens. A pair that is no pair is passed
 * over, and a name may come more than once, in an order that nobody can rely on (5.4): which value is meant, the caller of
 * this decides.
 */
import { isName } from "./headers.ts";

/** A token (4.1.1): any other text would be another cookie, or another field. */
export const COOKIE_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** What begins otherwise is ignored by browsers (5.2.4), and at a semicolon the next attribute begins. */
export const COOKIE_PATH = /^\/[\x21-\x3a\x3c-\x7e]*$/;

/** What `accept` makes of the first value of a cookie of that name of which it makes anything. */
export function findCookie<T>(
  headers: readonly string[],
  name: string,
  accept: (value: string) => T | undefined,
): T | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    if (!isName(headers[i]!, "cookie")) continue;
    for (const pair of headers[i + 1]!.split(";")) {
      const equals = pair.indexOf("=");
      if (equals <= 0 || pair.slice(0, equals).trim() !== name) continue;
      const accepted = accept(pair.slice(equals + 1).trim());
      if (accepted !== undefined) return accepted;
    }
  }
  return undefined;
}
