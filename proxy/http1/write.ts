/**
 * The codec's writing half: heads as one string, chunks as one buffer. The body's framing is decided here from
 * what is known about it, never copied from the message that came in.
 */
import { isName } from "../../core/index.ts";

const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  404: "Not Found",
  408: "Request Timeout",
  414: "URI Too Long",
  417: "Expectation Failed",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

/** The reason phrase for a status that heddle answers itself. */
export function reasonPhrase(status: number): string {
  return REASONS[status] ?? "";
}

/** Field lines for flat pairs. Framing fields that a layer put there by mistake are left out. */
export function fieldLines(headers: readonly string[], keepContentLength: boolean): string {
  let lines = "";
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    if (isFramingField(name, keepContentLength)) continue;
    lines += `${name}: ${headers[i + 1]!}\r\n`;
  }
  return lines;
}

function isFramingField(name: string, keepContentLength: boolean): boolean {
  switch (name.length) {
    case 10:
      return isName(name, "connection");
    case 14:
      return !keepContentLength && isName(name, "content-length");
    case 17:
      return isName(name, "transfer-encoding");
    default:
      return false;
  }
}

const CRLF = Buffer.from("\r\n");

/** Up to here a message is one string: Node hands a short Latin-1 string to the kernel without allocating a buffer. */
const STRING_LIMIT_BYTES = 4096;

/** Head and body as one piece, so that both leave in one write; to be written as Latin-1 if it is a string. */
export function joinHead(head: string, pieces: readonly Uint8Array[]): string | Buffer {
  let bytes = head.length;
  for (const piece of pieces) bytes += piece.length;
  if (bytes <= STRING_LIMIT_BYTES) {
    let joined = head;
    for (const piece of pieces) joined += asBuffer(piece).toString("latin1");
    return joined;
  }
  const joined = Buffer.allocUnsafe(bytes);
  let position = joined.write(head, 0, "latin1");
  for (const piece of pieces) {
    joined.set(piece, position);
    position += piece.length;
  }
  return joined;
}

function asBuffer(piece: Uint8Array): Buffer {
  return Buffer.isBuffer(piece) ? piece : Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
}

/** One chunk of the chunked coding: size line, data, CRLF. Nothing for no data: a chunk of size 0 is the last one. */
export function chunkPieces(data: Uint8Array): readonly Uint8Array[] {
  if (data.length === 0) return [];
  return [Buffer.from(`${data.length.toString(16)}\r\n`, "latin1"), data, CRLF];
}

/** The last chunk with its trailers. */
export function lastChunk(trailers: readonly string[]): string {
  return trailers.length === 0 ? "0\r\n\r\n" : `0\r\n${fieldLines(trailers, false)}\r\n`;
}
