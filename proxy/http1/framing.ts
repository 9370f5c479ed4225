/**
 * Where a body ends. There is exactly one answer for every message, or the message is refused: two readers that
 * disagree about it are what request smuggling is made of. RFC 9112, section 6.
 */
import { MessageFault } from "./fault.ts";
import type { Fields } from "./fields.ts";

/** A number of bytes, or one of the two below. */
export type Framing = number;
export const CHUNKED: Framing = -1;
export const UNTIL_CLOSE: Framing = -2;

/** @throws MessageFault */
export function requestFraming(fields: Fields, minorVersion: number): Framing {
  if (fields.transferEncoding !== undefined) return chunkedFraming(fields, minorVersion);
  return fields.contentLength === undefined ? 0 : contentLength(fields.contentLength);
}

/**
 * @param method of the request that is answered
 * @throws MessageFault
 */
export function responseFraming(
  fields: Fields,
  minorVersion: number,
  status: number,
  method: string,
): Framing {
  const bodyless = status < 200 || status === 204;
  if (bodyless) {
    if (fields.transferEncoding !== undefined) throw new MessageFault("body_forbidden");
    if (fields.contentLength !== undefined && contentLength(fields.contentLength) !== 0)
      throw new MessageFault("body_forbidden");
    return 0;
  }
  const framing =
    fields.transferEncoding !== undefined
      ? chunkedFraming(fields, minorVersion)
      : fields.contentLength !== undefined
        ? contentLength(fields.contentLength)
        : UNTIL_CLOSE;
  // The fields describe what a GET would have brought; nothing follows them here.
  return method === "HEAD" || status === 304 ? 0 : framing;
}

function chunkedFraming(fields: Fields, minorVersion: number): Framing {
  if (minorVersion === 0) throw new MessageFault("transfer_encoding_in_http10");
  if (fields.contentLength !== undefined) throw new MessageFault("length_and_transfer_encoding");
  const codings = fields.transferEncoding!.toLowerCase();
  if (codings === "chunked") return CHUNKED;
  const known = /^(?:(?:gzip|x-gzip|deflate|compress|x-compress)[ \t]*,[ \t]*)+chunked$/.test(codings);
  throw new MessageFault(known ? "unsupported_transfer_encoding" : "malformed_transfer_encoding");
}

// Up to 15 digits stay exact in a double; a petabyte is enough.
const MAX_DIGITS = 15;

function contentLength(text: string): number {
  const digits = text.length;
  if (digits === 0 || digits > MAX_DIGITS) throw new MessageFault("malformed_content_length");
  let length = 0;
  for (let i = 0; i < digits; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) throw new MessageFault("malformed_content_length");
    length = length * 10 + digit;
  }
  return length;
}
