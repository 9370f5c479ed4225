/**
 * A response's head, from text to facts. An answer that could be read in two ways is refused like a request
 * would be: the connection behind it is shared by many callers.
 */
import type { HeaderPairs } from "../../core/index.ts";
import { MessageFault } from "./fault.ts";
import { hasConnectionOption, readFields } from "./fields.ts";
import { type Framing, responseFraming, UNTIL_CLOSE } from "./framing.ts";
import type { HeadBlock } from "./head-block.ts";
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

const DIGIT_0 = 48;
const DIGIT_9 = 57;
const SPACE = 32;

/**
 * @param method of the request that is answered
 * @throws MessageFault
 */
export function parseResponseHead(block: HeadBlock, limits: MessageLimits, method: string): ParsedResponse {
  const { text, lineEnd } = block;
  if (lineEnd > limits.startLineBytes) throw new MessageFault("head_too_large");
  const minorVersion = responseVersion(text);
  const status = readStatus(block);
  if (status === 101) throw new MessageFault("unexpected_switch");
  const fields = readFields(block);
  const framing = responseFraming(fields, minorVersion, status, method);
  if (fields.contentLength !== undefined && lengthInforms(status, method))
    fields.pairs.push("Content-Length", fields.contentLength);
  return {
    status,
    // It may hold obs-text; control characters are refused with the block.
    reason: lineEnd <= REASON_AT ? "" : text.slice(REASON_AT, lineEnd),
    headers: fields.pairs,
    framing,
    interim: status < 200,
    keepAlive:
      minorVersion === 1 && framing !== UNTIL_CLOSE && !hasConnectionOption(fields.connection, "close"),
    keepAliveTimeoutMs: keepAliveTimeout(fields.keepAlive),
  };
}

const STATUS_AT = "HTTP/1.1 ".length;
const REASON_AT = "HTTP/1.1 200 ".length;

function responseVersion(text: string): number {
  if (text.startsWith("HTTP/1.1 ")) return 1;
  if (text.startsWith("HTTP/1.0 ")) return 0;
  throw new MessageFault("malformed_status_line");
}

/** Three digits, and then a space and the reason, or nothing. */
function readStatus({ bytes, start, lineEnd }: HeadBlock): number {
  const at = start + STATUS_AT;
  const end = lineEnd - STATUS_AT;
  const delimited = end === 3 || (end > 3 && bytes[at + 3] === SPACE);
  if (!delimited) throw new MessageFault("malformed_status_line");
  let status = 0;
  for (let i = at; i < at + 3; i++) {
    const byte = bytes[i]!;
    if (byte < DIGIT_0 || byte > DIGIT_9) throw new MessageFault("malformed_status_line");
    status = status * 10 + byte - DIGIT_0;
  }
  if (status < 100 || status > 599) throw new MessageFault("malformed_status_line");
  return status;
}

/**
 * Whether no body follows and Content-Length says how long it would have been; elsewhere the framing carries it. An
 * interim answer and a 204 never have a length (RFC 9110, 8.6).
 */
function lengthInforms(status: number, method: string): boolean {
  return status === 304 || (method === "HEAD" && status >= 200 && status !== 204);
}

function keepAliveTimeout(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const match = /(?:^|[,;\s])timeout=([0-9]{1,6})/i.exec(value);
  return match === null ? undefined : Number(match[1]) * 1000;
}
