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
import { isAuthority, TARGET_BYTES, TOKEN_BYTES } from "./grammar.ts";
import type { HeadBlock } from "./head-block.ts";
import type { MessageLimits } from "./limits.ts";

export interface ParsedRequest extends RequestHead {
  readonly framing: Framing;
  /** The caller is willing to send another request on this connection. */
  readonly keepAlive: boolean;
}

const SPACE = 32;
const SLASH = 47;

/**
 * @throws MessageFault
 */
export function parseRequestHead(block: HeadBlock, limits: MessageLimits): ParsedRequest {
  const { text, bytes, start, lineEnd } = block;
  if (lineEnd > limits.startLineBytes) throw new MessageFault("start_line_too_long");
  let methodEnd = 0;
  while (TOKEN_BYTES[bytes[start + methodEnd]!] === 1) methodEnd++;
  let targetEnd = methodEnd + 1;
  while (TARGET_BYTES[bytes[start + targetEnd]!] === 1) targetEnd++;
  if (methodEnd === 0 || bytes[start + methodEnd] !== SPACE || bytes[start + targetEnd] !== SPACE)
    refuseRequestLine(text.slice(0, lineEnd));
  const minorVersion = requestVersion(text, targetEnd + 1, lineEnd);
  const method = text.slice(0, methodEnd);
  if (method === "CONNECT") throw new MessageFault("connect_method");
  const rawTarget = text.slice(methodEnd + 1, targetEnd);
  if (rawTarget === "") throw new MessageFault("malformed_target");

  const fields = readFields(block);
  const host = checkedHost(fields, minorVersion);
  const absolute = rawTarget.charCodeAt(0) === SLASH ? undefined : absoluteTarget(rawTarget, method);
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
    upgrade:
      fields.upgrade === undefined || minorVersion === 0 || framing !== 0 || method !== "GET"
        ? ""
        : wantedUpgrade(fields.upgrade, fields.connection),
  };
}

const PROTOCOL = /^[!#$%&'*+.^_`|~0-9a-z-]+(?:\/[!#$%&'*+.^_`|~0-9a-z-]+)?$/;

/**
 * The one protocol that is asked for by both fields, as RFC 9110, 7.8 wants it; empty otherwise, for an upgrade may
 * always be ignored. A choice of several is not made for the endpoint.
 */
function wantedUpgrade(upgrade: string, connection: string | undefined): string {
  const protocol = upgrade.toLowerCase();
  return PROTOCOL.test(protocol) && hasConnectionOption(connection, "upgrade") ? protocol : "";
}

/** Says what is wrong with a line that is not three parts of the right characters, divided by single spaces. */
function refuseRequestLine(line: string): never {
  const methodEnd = line.indexOf(" ");
  const targetEnd = line.indexOf(" ", methodEnd + 1);
  if (methodEnd <= 0 || targetEnd === -1) throw new MessageFault("malformed_request_line");
  const method = line.slice(0, methodEnd);
  const token = [...Buffer.from(method, "latin1")].every((byte) => TOKEN_BYTES[byte] === 1);
  if (!token) throw new MessageFault("malformed_method");
  requestVersion(line, targetEnd + 1, line.length);
  throw new MessageFault(method === "CONNECT" ? "connect_method" : "malformed_target");
}

function requestVersion(text: string, start: number, end: number): number {
  if (end - start === 8) {
    if (text.startsWith("HTTP/1.1", start)) return 1;
    if (text.startsWith("HTTP/1.0", start)) return 0;
  }
  const known = /^HTTP\/[0-9]\.[0-9]$/.test(text.slice(start, end));
  throw new MessageFault(known ? "unsupported_version" : "malformed_version");
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
    upgrade: "",
  };
}
