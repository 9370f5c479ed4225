/**
 * What a connection speaks, by its first bytes. Text with the form of an HTTP/1 request line is HTTP, and nothing else is: a method
 * alone would not do, as other protocols have words in capitals, too, but none of them names a path behind it.
 */

/** `undecided` is the beginning of what may become a request line. */
export type Spoken = "http" | "tls" | "other" | "undecided";

const TLS_HANDSHAKE = 0x16;
/** The longest method that is registered has 17 letters. */
const MOST_METHOD = 32;
/** Of HTTP/2, which heddle does not carry. */
const PREFACE = "PRI *";

export function spokenBy(bytes: Uint8Array): Spoken {
  if (bytes.length === 0) return "undecided";
  if (bytes[0] === TLS_HANDSHAKE) return "tls";
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, MOST_METHOD + 2)).toString(
    "latin1",
  );
  const [, method = "", rest] = /^([A-Z][A-Z-]*)(?: (.?))?/s.exec(text) ?? [];
  if (method === "" || method.length > MOST_METHOD) return "other";
  if (text.length === method.length || rest === "") return "undecided";
  if (rest === undefined || text.startsWith(PREFACE)) return "other";
  // A path, every resource, or an address: `http://…`, as to a proxy; of CONNECT the host.
  return /[/*h]/i.test(rest) || method === "CONNECT" ? "http" : "other";
}
