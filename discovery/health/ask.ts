/**
 * What the three kinds of question have in common: how one is begun and ended, the connection it is asked on, and the words
 * for what went wrong.
 *
 * A question is not a promise. It must be possible to end it at any moment, and to hear then what it has learned so far,
 * so that an answer whose body never ends counts by its head; a promise can only be waited for.
 */
import { connect, type Socket } from "node:net";
import { type Endpoint, endpointKey } from "../../core/index.ts";
import type { ProbeResult } from "./probe.ts";

export type Asked = Pick<Endpoint, "address" | "port">;

/** How it went; the first word counts. */
export type Tell = (result: ProbeResult) => void;

/**
 * Begins to ask. The function that it returns ends the question and leaves no socket behind; it returns what is known by
 * then, undefined for nothing. It is called in any case, also after `tell`, and may be called twice.
 */
export type Ask = (endpoint: Asked, tell: Tell) => () => ProbeResult | undefined;

/** What the endpoint's own log will say who asked. */
export const USER_AGENT = "heddle-health";

/** A fresh connection: that one is still open which was made long ago says nothing about who could connect now. */
export function dial({ address, port }: Asked): Socket {
  const socket = connect({ host: address, port, noDelay: true });
  // Who uses the socket listens as well. This one is for what comes after they have gone.
  return socket.on("error", () => {});
}

/** The Host of a question that names none. */
export const hostOf: (endpoint: Asked) => string = endpointKey;

/** Longest note, since some of it is said by the endpoint or by a library. */
const NOTE_CHARACTERS = 120;

export function failed(why: unknown): ProbeResult {
  return { passing: false, note: wordsFor(why).slice(0, NOTE_CHARACTERS) };
}

/** The system's code where there is one (`ECONNREFUSED`), since operators know those by heart; else what was said. */
function wordsFor(why: unknown): string {
  if (!(why instanceof Error)) return String(why);
  // An HTTP/2 stream only says that its session has failed.
  if (why.cause instanceof Error) return wordsFor(why.cause);
  const { code } = why as NodeJS.ErrnoException;
  return code !== undefined && /^E(?!RR_)[A-Z0-9_]+$/.test(code) ? code : why.message || why.name;
}
