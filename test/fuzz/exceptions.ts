/**
 * Where heddle takes what llhttp refuses or reads otherwise, on purpose. Each says exactly when: in which part of which
 * message, and what llhttp makes of it; any other difference in the same connection is a disagreement.
 */
import { METHODS } from "node:http";
import type { Reading } from "./reading.ts";

interface Situation {
  readonly own: Reading;
  readonly theirs: Reading;
  /** Of the message that was read differently. */
  readonly index: number;
  readonly text: string;
}

interface Exception {
  readonly reason: string;
  /** The differences it can make; a field or a target that is read otherwise is none of them. */
  readonly covers: readonly string[];
  applies(situation: Situation): boolean;
}

const REFUSED_HEAD = "llhttp refuses what heddle accepts";
const BODY = ["another body", "another beginning of a body that is refused"];
const CLOSE_IN_TRAILERS =
  /\r\n0+(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*proxy-connection:[^\r\n]*close[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n$/i;
const REFUSED_BODY = "llhttp refuses a body that heddle accepts";

export const EXCEPTIONS = {
  unknown_method: {
    reason: "a method is any token (RFC 9110, 9.1); llhttp knows those of a list",
    covers: [REFUSED_HEAD, "llhttp waits for more"],
    applies({ own, theirs, index, text }) {
      const method = String(own.messages[index]!.start["method"]);
      const start = startOf(own, index, text);
      const methodEnd = start + method.length;
      const { code, at } = refusalOf(theirs);
      const isThere = theirs.messages.length === index && text.startsWith(`${method} `, start);
      if (METHODS.includes(method) || !isThere) return false;
      // The preface of HTTP/2, of which it expects the rest.
      if (method === "PRI") return theirs.ending.how === "cut" || code.endsWith("HTTP/2 Connection Preface");
      if (code.startsWith("HPE_INVALID_METHOD")) return at >= start && at <= methodEnd;
      // It knows those of RTSP, in RTSP.
      return code.endsWith("Invalid method for HTTP/x.x request") && at < text.indexOf("\r\n", start);
    },
  },
  chunk_extension: {
    reason: "chunk extensions are dropped unread up to their CRLF; llhttp judges their grammar",
    covers: [...BODY, REFUSED_BODY],
    applies({ own, theirs, index, text }) {
      const { code, at } = refusalOf(theirs);
      const their = theirs.messages[index];
      return (
        code.includes("chunk extension") &&
        theirs.messages.length === index + 1 &&
        own.messages[index]!.body.startsWith(their!.body) &&
        /^[0-9a-f]+;[^\r\n]*$/i.test(text.slice(lineAt(text, at), at))
      );
    },
  },
  interim_ends_connection: {
    reason:
      "an interim answer is never the last one (RFC 9110, 15.2); llhttp closes as its Connection or version says",
    covers: [REFUSED_HEAD],
    applies({ own, theirs, index }) {
      const [before, theirBefore] = [own.messages[index - 1], theirs.messages[index - 1]];
      return (
        refusalOf(theirs).code.startsWith("HPE_CLOSED_CONNECTION") &&
        theirs.messages.length === index &&
        before?.interim === true &&
        theirBefore?.keepAlive === false
      );
    },
  },
  proxy_connection: {
    reason:
      "Proxy-Connection means nothing (RFC 9112, C.2.2) and goes no further; llhttp reads it as Connection",
    covers: ["llhttp closes what heddle keeps", REFUSED_HEAD],
    applies({ own, theirs, index, text }) {
      const their = theirs.messages[index];
      const isClosed = their === undefined && refusalOf(theirs).code.startsWith("HPE_CLOSED_CONNECTION");
      // Of an answer to HEAD llhttp does not tell that it was the last one before something follows.
      const last = their?.keepAlive === false && their.complete ? index : isClosed ? index - 1 : -1;
      if (last < 0) return false;
      const head = headOf(own, last, text);
      // It reads trailers so too, which are told from a body by where the message ends.
      const rest = text.slice(startOf(own, last, text) + head.length, own.messages[last]!.end);
      return /\r\nproxy-connection:[^\r\n]*close/i.test(head) || CLOSE_IN_TRAILERS.test(rest);
    },
  },
  tab_behind_chunked: {
    reason:
      "white space behind a value is SP or HTAB (RFC 9110, 5.6.3); chunked and HTAB is another coding to llhttp",
    covers: [...BODY, REFUSED_BODY, "another end"],
    applies({ own, theirs, index, text }) {
      const head = headOf(own, index, text);
      if (!/\r\ntransfer-encoding:[ \t]*chunked *\t[ \t]*\r\n/i.test(head)) return false;
      // A request of unknown length is refused behind its head; an answer ends with the connection.
      if (refusalOf(theirs).code.startsWith("HPE_INVALID_TRANSFER_ENCODING"))
        return theirs.messages.length === index + 1 && theirs.messages[index]!.body === "";
      const their = theirs.messages[index];
      const headEnd = startOf(own, index, text) + head.length + 2;
      // It sees no body either before it would switch to another protocol.
      if (their?.upgrade === true) return their.complete && their.body === "" && their.end === headEnd;
      return their?.keepAlive === false && their.body === text.slice(headEnd);
    },
  },
} as const satisfies Record<string, Exception>;

export type ExceptionName = keyof typeof EXCEPTIONS;

export function exceptionFor(difference: string, situation: Situation): ExceptionName | undefined {
  const names = Object.keys(EXCEPTIONS) as ExceptionName[];
  return names.find((name) => {
    const { covers, applies }: Exception = EXCEPTIONS[name];
    return covers.includes(difference) && applies(situation);
  });
}

function refusalOf({ ending }: Reading): { readonly code: string; readonly at: number } {
  return ending.how === "refused" ? { code: ending.code, at: ending.at ?? -1 } : { code: "", at: -1 };
}

/** Where a message begins, behind the one empty line that may stand before it. */
function startOf({ messages }: Reading, index: number, text: string): number {
  let start = 0;
  for (let i = 0; ; i++) {
    if (text.startsWith("\r\n", start)) start += 2;
    if (i === index) return start;
    // An interim answer has an end too, but heddle does not say it.
    start = messages[i]!.end ?? text.indexOf("\r\n\r\n", start) + 4;
  }
}

/** Without its empty line. */
function headOf(own: Reading, index: number, text: string): string {
  const start = startOf(own, index, text);
  return text.slice(start, text.indexOf("\r\n\r\n", start) + 2);
}

function lineAt(text: string, at: number): number {
  const before = text.lastIndexOf("\r\n", at - 1);
  return before === -1 ? 0 : before + 2;
}
