/**
 * How long an answer asks to be left alone, from its Retry-After (RFC 9110, 10.2.3): seconds, or a date.
 *
 * A date is compared with the Date of the same answer and not with this machine's clock, which may be minutes apart
 * from the sender's. A date without one says nothing that could be used.
 */
import { headerValue } from "./headers.ts";

const SECONDS = /^\d{1,9}$/;

/** In milliseconds, 0 for now; undefined when there is no such field or it cannot be read. */
export function retryAfterMs(headers: readonly string[]): number | undefined {
  const value = headerValue(headers, "retry-after")?.trim();
  if (value === undefined) return undefined;
  if (SECONDS.test(value)) return Number(value) * 1000;
  const waitMs = Date.parse(value) - Date.parse(headerValue(headers, "date") ?? "");
  return Number.isNaN(waitMs) ? undefined : Math.max(0, waitMs);
}
