/**
 * What only a long case can show: a limit that is not the listener's to set. They are few, since a case that is read at
 * every split costs the square of its length.
 */
import type { Dice } from "./chance.ts";

/** The limits of docs/http1.md. */
const CHUNK_LINE_BYTES = 256;
const INTERIMS = 32;

const CHUNKED = {
  requests: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
  responses: "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n",
};

/** What stands before the rest of a connection: some are just within the limit and some just above. */
export function longBeginning(kind: keyof typeof CHUNKED, dice: Dice): string {
  if (kind === "responses" && dice.chance(0.6))
    return `HTTP/1.1 10${dice.one([0, 2, 3])}\r\n\r\n`.repeat(INTERIMS + dice.below(3));
  return `${CHUNKED[kind]}1;${"a".repeat(CHUNK_LINE_BYTES - 6 + dice.below(8))}\r\na\r\n0\r\n\r\n`;
}
