/**
 * One case: read by heddle whole, byte by byte and in two pieces at every offset, and by llhttp.
 */
import type { Connection } from "./connection.ts";
import { judge } from "./disagreement.ts";
import type { ExceptionName } from "./exceptions.ts";
import { inWords, type RawReading as RawOwn, readByHeddle, sameRawReading } from "./heddle-reader.ts";
import { type RawReading as RawTheirs, readByLlhttp } from "./llhttp.ts";
import type { Reading, Split } from "./reading.ts";
import { inTermsOfHeddle } from "./terms.ts";

/** Who reads; the tests put wrong ones here, to see that they are found out. */
export interface Readers {
  own(connection: Connection, bytes: Buffer, split: Split): RawOwn;
  theirs(connection: Connection, bytes: Buffer, split: "whole" | "bytes"): RawTheirs;
}

export const READERS: Readers = {
  own: readByHeddle,
  theirs: (connection, bytes, split) => readByLlhttp(bytes, split, methodOf(connection)),
};

export interface Outcome {
  readonly own: Reading;
  readonly theirs: Reading;
  /** Messages that both have read to their end, alike. */
  readonly alike: number;
  readonly exception: ExceptionName | undefined;
  /** How heddle broke its promise, if it did. */
  readonly broken: string | undefined;
}

export function tryCase(connection: Connection, readers: Readers): Outcome {
  const bytes = Buffer.from(connection.text, "latin1");
  const raw = readers.own(connection, bytes, "whole");
  const rawTheirs = readers.theirs(connection, bytes, "bytes");
  const own = inWords(raw);
  const theirs = inTermsOfHeddle(rawTheirs, methodOf(connection));
  const { alike, exception, disagreement } = judge(own, theirs, connection.text);
  const broken = disagreement ?? dependence(connection, bytes, { raw, rawTheirs, readers });
  return { own, theirs, alike, exception, broken };
}

function methodOf({ kind, methods }: Connection): ((answer: number) => string) | undefined {
  // There is at least one method.
  return kind === "requests" ? undefined : (answer) => methods[Math.min(answer, methods.length - 1)]!;
}

interface WholeReadings {
  readonly raw: RawOwn;
  readonly rawTheirs: RawTheirs;
  readonly readers: Readers;
}

/** Whether anything depends on where the bytes were split. */
function dependence(
  connection: Connection,
  bytes: Buffer,
  { raw, rawTheirs, readers }: WholeReadings,
): string | undefined {
  if (facts(readers.theirs(connection, bytes, "whole")) !== facts(rawTheirs))
    return "llhttp depends on the split";
  for (let offset = 0; offset < bytes.length; offset++) {
    // At 0 there is nothing to divide; its turn is that of the single bytes.
    const split = offset === 0 ? "bytes" : offset;
    const again = readers.own(connection, bytes, split);
    if (!sameRawReading(raw, again))
      return `heddle depends on the split (${split}): ${JSON.stringify(inWords(again))}`;
  }
  return undefined;
}

/** All but the offsets, which are known only when the bytes came one by one, and the words of a refusal. */
function facts({ messages, refused, cut }: RawTheirs): string {
  return JSON.stringify([messages.map((message) => ({ ...message, end: 0 })), refused === undefined, cut]);
}
