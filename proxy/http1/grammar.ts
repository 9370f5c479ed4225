/**
 * The alphabet of RFC 9110 and 9112: which characters may stand where. Tables and expressions, no state.
 */
import { type FaultReason, MessageFault } from "./fault.ts";

/** tchar of RFC 9110, 5.6.2. */
const TOKEN = new Uint8Array(256);
for (const character of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
  TOKEN[character.charCodeAt(0)] = 1;
}

/** Whether text[start, end) is a token: not empty, and of token characters only. */
export function isToken(text: string, start: number, end: number): boolean {
  if (start >= end) return false;
  for (let i = start; i < end; i++) {
    if (TOKEN[text.charCodeAt(i)] !== 1) return false;
  }
  return true;
}

// Control characters but HTAB, CR and LF; a CR without its LF; a LF without its CR.
const FORBIDDEN = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n/;

/** Throws unless every line of the block ends in CRLF and no control character stands in it. */
export function assertCleanBlock(text: string): void {
  const found = FORBIDDEN.exec(text);
  if (found !== null) throw new MessageFault(forbiddenReason(found[0]));
}

function forbiddenReason(character: string): FaultReason {
  if (character === "\r") return "bare_carriage_return";
  return character === "\n" ? "bare_line_feed" : "control_character";
}

// uri-host [ ":" port ] of RFC 9110, 7.2, without percent-encoding and without userinfo.
const AUTHORITY = /^(?:[A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?$/;

export function isAuthority(text: string): boolean {
  return AUTHORITY.test(text);
}

// Visible ASCII without '#': a fragment is never sent, and anything else is seen differently by different readers.
const TARGET = /^[\x21\x22\x24-\x7e]+$/;

export function isTargetText(text: string): boolean {
  return TARGET.test(text);
}
