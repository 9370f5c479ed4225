/**
 * What a connection speaks, by its first bytes. Text with the form of an HTTP/1 request line is HTTP, and nothing else is: a method
 * alone would not do, as other protocols have words in capitals, too, but none of them names a path behind it.
 */

/** `undecided` is the beginning of what may become a request line. */
export type Spoken = "http" | "tls" | "other" | "undecided";

const TLS_HANDSHAKE = 0x16;
/** The longest method that is registered has 17 letters. */
const MOST_METHOD = 32;
/** What a target begins with: a path, every resource, or an address, as to a proxy; that of CONNECT is a host and its port. */
const TARGETS = ["/", "*", "http://", "https://"];
const MOST_TARGET = "https://".length;
const HOST = /^[\w[]/;
const MOST_HEARD = MOST_METHOD + 1 + MOST_TARGET;
/** Of HTTP/2, which heddle does not carry. */
const PREFACE = "PRI *";

export function spokenBy(bytes: Uint8Array): Spoken {
  if (bytes.length === 0) return "undecided";
  if (bytes[0] === TLS_HANDSHAKE) return "tls";
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, MOST_HEARD)).toString(
    "latin1",
  );
  const [, method = "", target] = /^([A-Z][A-Z-]*)(?: (.*))?$/s.exec(text) ?? [];
  if (method === "" || method.length > MOST_METHOD) return "other";
  if (text.length === method.length || target === "") return "undecided";
  if (target === undefined || text.startsWith(PREFACE)) return "other";
  if (method === "CONNECT") return HOST.test(target) ? "http" : "other";
  const begun = target.slice(0, MOST_TARGET).toLowerCase();
  if (TARGETS.some((target) => begun.startsWith(target))) return "http";
  return TARGETS.some((target) => target.startsWith(begun)) ? "undecided" : "other";
}
