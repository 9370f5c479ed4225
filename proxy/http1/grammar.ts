/**
 * The alphabet of RFC 9110 and 9112: which bytes may stand where. Tables and expressions, no state.
 */
import { type FaultReason, MessageFault } from "./fault.ts";

/** tchar of RFC 9110, 5.6.2. */
export const TOKEN_BYTES: Uint8Array = new Uint8Array(256);
for (const character of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
  TOKEN_BYTES[character.charCodeAt(0)] = 1;
}

/** What may stand within a line: HTAB, SP, VCHAR and obs-text of RFC 9110, 5.5. No other control character. */
export const TEXT_BYTES: Uint8Array = new Uint8Array(256).fill(1, 32);
TEXT_BYTES[9] = 1;
TEXT_BYTES[127] = 0;

/** Visible ASCII without '#': a fragment is never sent, and anything else is seen differently by different readers. */
export const TARGET_BYTES: Uint8Array = new Uint8Array(256).fill(1, 33, 127);
TARGET_BYTES[35] = 0;

/** HTAB or SP. */
export function isBlank(byte: number): boolean {
  return byte === 32 || byte === 9;
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

/** Most callers ask the same few hosts again and again. */
let lastAuthority = "";

export function isAuthority(text: string): boolean {
  if (text === lastAuthority && text !== "") return true;
  if (!AUTHORITY.test(text)) return false;
  lastAuthority = text;
  return true;
}
