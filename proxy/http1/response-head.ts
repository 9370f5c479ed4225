/**
 * A response's head, from text to facts. An answer that could be read in two ways is refused like a request
 * would be: the connection behind it is shared by many callers.
 */
import type { HeaderPairs } from "../../core/index.ts";
import { MessageFault } from "./fault.ts";
import { hasConnectionOption, readFields } from "./fields.ts";
import { type Framing, responseFraming, UNTIL_CLOSE } from "./framing.ts";
import { assertCleanBlock } from "./grammar.ts";
import type { MessageLimits } from "./limits.ts";

export interface ParsedResponse {
  readonly status: number;
  readonly reason: string;
  readonly headers: HeaderPairs;
  readonly framing: Framing;
  readonly interim: boolean;
  /** The endpoint will take another request on this connection. */
  readonly keepAlive: boolean;
  /** What `Keep-Alive: timeout=N` promises, in milliseconds. */
  readonly keepAliveTimeoutMs: number | undefined;
}

// The reason phrase may hold obs-text; control characters are refused with the block.
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5][0-9][0-9])(?: (.*))?$/;

/**
 * @param text the head up to and including the CRLF of its last line
 * @param method of the request that is answered
 * @throws MessageFault
 */
export function parseResponseHead(text: string, limits: MessageLimits, method: string): ParsedResponse {
  assertCleanBlock(text);
  const lineEnd = text.indexOf("\r\n");
  if (lineEnd > limits.startLineBytes) throw new MessageFault("head_too_large");
  const line = STATUS_LINE.exec(text.slice(0, lineEnd));
  if (line === null) throw new MessageFault("malformed_status_line");
  const minorVersion = line[1] === "1" ? 1 : 0;
  const status = Number(line[2]);
  if (status === 101) throw new MessageFault("unexpected_switch");
  const fields = readFields(text, lineEnd + 2, limits.fieldCount);
  const framing = responseFraming(fields, minorVersion, status, method);
  // Where no body follows, Content-Length is information for the caller; elsewhere the framing carries it.
  if (fields.contentLength !== undefined && (method === "HEAD" || status === 304))
    fields.pairs.push("Content-Length", fields.contentLength);
  return {
    status,
    reason: line[3] ?? "",
    headers: fields.pairs,
    framing,
    interim: status < 200,
    keepAlive:
      minorVersion === 1 && framing !== UNTIL_CLOSE && !hasConnectionOption(fields.connection, "close"),
    keepAliveTimeoutMs: keepAliveTimeout(fields.keepAlive),
  };
}

function keepAliveTimeout(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const match = /(?:^|[,;\s])timeout=([0-9]{1,6})/i.exec(value);
  return match === null ? undefined : Number(match[1]) * 1000;
}
