/**
 * A request's head, from text to facts.
 *
 * The target is brought into origin form here, and the authority comes from one place: absolute form and Host
 * must agree, so that nobody behind heddle can see another host than heddle routed by.
 */
import type { RequestHead } from "../../core/index.ts";
import { MessageFault } from "./fault.ts";
import { type Fields, hasConnectionOption, readFields } from "./fields.ts";
import { type Framing, requestFraming } from "./framing.ts";
import { assertCleanBlock, isAuthority, isTargetText, isToken } from "./grammar.ts";
import type { MessageLimits } from "./limits.ts";

export interface ParsedRequest extends RequestHead {
  readonly framing: Framing;
  /** The caller is willing to send another request on this connection. */
  readonly keepAlive: boolean;
}

/**
 * @param text the head up to and including the CRLF of its last line, one character per byte
 * @throws MessageFault
 */
export function parseRequestHead(text: string, limits: MessageLimits): ParsedRequest {
  assertCleanBlock(text);
  const lineEnd = text.indexOf("\r\n");
  if (lineEnd > limits.startLineBytes) throw new MessageFault("start_line_too_long");
  const methodEnd = text.indexOf(" ");
  const targetEnd = text.indexOf(" ", methodEnd + 1);
  if (methodEnd <= 0 || methodEnd > lineEnd || targetEnd === -1 || targetEnd > lineEnd)
    throw new MessageFault("malformed_request_line");
  if (!isToken(text, 0, methodEnd)) throw new MessageFault("malformed_method");
  const minorVersion = requestVersion(text.slice(targetEnd + 1, lineEnd));
  const method = text.slice(0, methodEnd);
  if (method === "CONNECT") throw new MessageFault("connect_method");
  const rawTarget = text.slice(methodEnd + 1, targetEnd);
  if (!isTargetText(rawTarget)) throw new MessageFault("malformed_target");

  const fields = readFields(text, lineEnd + 2, limits.fieldCount);
  const host = checkedHost(fields, minorVersion);
  const absolute = rawTarget.charCodeAt(0) === 47 ? undefined : absoluteTarget(rawTarget, method);
  if (absolute !== undefined && host !== "" && absolute.authority !== undefined) {
    if (absolute.authority.toLowerCase() !== host.toLowerCase()) throw new MessageFault("conflicting_host");
  }
  const framing = requestFraming(fields, minorVersion);
  if (fields.acceptsTrailers) fields.pairs.push("TE", "trailers");
  return {
    method,
    target: absolute === undefined ? rawTarget : absolute.target,
    authority: absolute?.authority ?? host,
    minorVersion,
    headers: fields.pairs,
    framing,
    keepAlive: minorVersion === 1 && !hasConnectionOption(fields.connection, "close"),
    // RFC 9110, 10.1.1: ignored from HTTP/1.0, and where no body follows.
    expectsContinue: checkedExpectation(fields) && minorVersion === 1 && framing !== 0,
  };
}

function requestVersion(version: string): number {
  if (version === "HTTP/1.1") return 1;
  if (version === "HTTP/1.0") return 0;
  throw new MessageFault(/^HTTP\/[0-9]\.[0-9]$/.test(version) ? "unsupported_version" : "malformed_version");
}

function checkedHost(fields: Fields, minorVersion: number): string {
  if (fields.host === undefined) {
    if (minorVersion === 1) throw new MessageFault("missing_host");
    return "";
  }
  if (!isAuthority(fields.host)) throw new MessageFault("malformed_host");
  return fields.host;
}

function checkedExpectation(fields: Fields): boolean {
  if (fields.expect === undefined) return false;
  if (fields.expect.toLowerCase() !== "100-continue") throw new MessageFault("unknown_expectation");
  return true;
}

const ABSOLUTE = /^http:\/\/([^/?]+)(\/[^?]*)?(\?.*)?$/i;

/** Absolute form (RFC 9112, 3.2.2), or `*` for OPTIONS. */
function absoluteTarget(raw: string, method: string): { target: string; authority: string | undefined } {
  if (raw === "*" && method === "OPTIONS") return { target: "*", authority: undefined };
  const match = ABSOLUTE.exec(raw);
  if (match === null || !isAuthority(match[1]!)) throw new MessageFault("malformed_target");
  const pathAndQuery = `${match[2] ?? ""}${match[3] ?? ""}`;
  const emptyPath = match[2] === undefined;
  // RFC 9112, 3.2.4: OPTIONS of an authority without a path is asked of the server itself.
  if (emptyPath && match[3] === undefined && method === "OPTIONS")
    return { target: "*", authority: match[1] };
  return { target: emptyPath ? `/${pathAndQuery}` : pathAndQuery, authority: match[1] };
}

/** What stands in for the head of a request that could not be read, so that it can be seen and refused like any other. */
export function unreadableRequest(): ParsedRequest {
  return {
    method: "-",
    target: "-",
    authority: "",
    minorVersion: 1,
    headers: [],
    framing: 0,
    keepAlive: false,
    expectsContinue: false,
  };
}
