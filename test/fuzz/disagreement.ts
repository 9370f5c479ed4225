/**
 * Whether heddle kept its promise, which has a direction: it may refuse more than llhttp, and close a connection sooner.
 * What it accepts llhttp accepts too, and reads alike to the last byte.
 */
import { type ExceptionName, exceptionFor } from "./exceptions.ts";
import type { Message, Reading } from "./reading.ts";

export interface Verdict {
  /** Messages that both have read to their end, alike. */
  readonly alike: number;
  readonly disagreement: string | undefined;
  /** Where they differ on purpose; what follows is not compared, as llhttp reads no further. */
  readonly exception: ExceptionName | undefined;
}

/** @param text the bytes of the connection, one character each */
export function judge(own: Reading, theirs: Reading, text: string): Verdict {
  for (const [index, message] of own.messages.entries()) {
    const found = differenceIn(message, theirs.messages[index], own, theirs);
    if (found === undefined) continue;
    const exception = exceptionFor(found, { own, theirs, index, text });
    return { alike: index, disagreement: exception === undefined ? found : undefined, exception };
  }
  const complete = own.messages.at(-1)?.complete === false ? own.messages.length - 1 : own.messages.length;
  return { alike: complete, disagreement: differenceBehind(own, theirs), exception: undefined };
}

function differenceIn(
  own: Message,
  their: Message | undefined,
  { ending }: Reading,
  theirs: Reading,
): string | undefined {
  if (their === undefined)
    return theirs.ending.how === "refused" ? "llhttp refuses what heddle accepts" : "llhttp waits for more";
  for (const key in own.start) if (own.start[key] !== their.start[key]) return `another ${key}`;
  if (own.interim !== their.interim) return "another kind of answer";
  if (JSON.stringify(own.headers) !== JSON.stringify(their.headers)) return "other headers";
  // Handed on and then cut off: no byte may have been taken for data that llhttp takes for something else.
  if (!own.complete && ending.how === "refused")
    return their.body.startsWith(own.body) ? undefined : "another beginning of a body that is refused";
  if (own.body !== their.body) return "another body";
  if (own.complete !== their.complete)
    return theirs.ending.how === "refused" ? "llhttp refuses a body that heddle accepts" : "another end";
  if (JSON.stringify(own.trailers) !== JSON.stringify(their.trailers)) return "other trailers";
  if (own.upgrade && !their.upgrade) return "heddle would switch where llhttp would not";
  if (own.interim) return undefined;
  if (own.end !== their.end) return "another offset at the end";
  return own.complete && own.keepAlive === true && their.keepAlive === false
    ? "llhttp closes what heddle keeps"
    : undefined;
}

function differenceBehind({ messages, ending }: Reading, theirs: Reading): string | undefined {
  if (ending.how === "broken") return `the codec broke its law: ${ending.code}`;
  if (ending.how === "refused" || ending.how === "stopped") return undefined;
  if (theirs.messages.length > messages.length) return "llhttp reads a message where heddle waits";
  if (ending.how === "cut") return undefined;
  if (theirs.ending.how === "refused") return "llhttp refuses what heddle skips";
  return theirs.ending.how === "cut" ? "llhttp has begun a message where heddle has not" : undefined;
}
