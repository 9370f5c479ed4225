/**
 * What the cases came to, so that a reader can judge whether they were worth trying: a fuzzer whose messages are all
 * refused at their first byte agrees with everybody.
 */
import { FAULT_REASONS, type FaultReason } from "../../proxy/http1/index.ts";
import type { Connection } from "./connection.ts";
import { EXCEPTIONS, type ExceptionName } from "./exceptions.ts";
import type { Message, Reading } from "./reading.ts";
import type { Outcome } from "./try-case.ts";

export class Tally {
  cases = 0;
  bytes = 0;
  splits = 0;
  /** Cases in which both have read at least one message to its end. */
  withMessage = 0;
  /** Cases that heddle has read without refusing anything. */
  unrefused = 0;
  messages = 0;
  /** Cases in which heddle broke its promise. */
  broken = 0;
  absoluteTargets = 0;
  refusedByBoth = 0;
  refusedByHeddleAlone = 0;
  readonly exceptions: Record<ExceptionName, number> = zeros(EXCEPTIONS);
  readonly reasons: Record<FaultReason, number> = zeros(FAULT_REASONS);

  count({ text }: Connection, { own, theirs, alike, exception, broken }: Outcome): void {
    this.cases++;
    this.bytes += text.length;
    // Byte by byte, and in two pieces before every byte but the first.
    this.splits += text.length;
    if (broken !== undefined) this.broken++;
    this.messages += alike;
    if (alike > 0) this.withMessage++;
    for (let i = 0; i < alike; i++) if (wasAbsolute(own.messages[i]!, text)) this.absoluteTargets++;
    if (exception !== undefined) this.exceptions[exception]++;
    if (own.ending.how !== "refused") {
      this.unrefused++;
      return;
    }
    this.reasons[own.ending.code as FaultReason]++;
    // Refused by llhttp too, and in the same message.
    const both = theirs.ending.how === "refused" && completed(theirs) <= completed(own);
    if (both) this.refusedByBoth++;
    else this.refusedByHeddleAlone++;
  }
}

function zeros<Name extends string>(names: Readonly<Record<Name, unknown>>): Record<Name, number> {
  return Object.fromEntries(Object.keys(names).map((name) => [name, 0])) as Record<Name, number>;
}

function completed({ messages }: Reading): number {
  return messages.reduce((count, { complete }) => (complete ? count + 1 : count), 0);
}

function wasAbsolute({ start }: Message, text: string): boolean {
  return start["method"] !== undefined && !text.includes(`${start["method"]} ${start["target"]} `);
}

export function report(tally: Tally, seed: number, seconds: number): string {
  const { cases } = tally;
  const share = (count: number) => `${count} (${((100 * count) / cases).toFixed(1)} %)`;
  const rows: [string, string | number][] = [
    ["cases", `${cases} of seed ${seed}, ${(tally.bytes / cases).toFixed(0)} bytes each on average`],
    ["splits tried", tally.splits],
    ["messages accepted by both", tally.messages],
    ["cases with such a message", share(tally.withMessage)],
    ["cases without any refusal", share(tally.unrefused)],
    ["refused by both", share(tally.refusedByBoth)],
    ["refused by heddle alone", share(tally.refusedByHeddleAlone)],
    ["absolute targets rewritten", tally.absoluteTargets],
    ["disagreements", tally.broken],
    ["seconds", `${seconds.toFixed(0)}, ${(cases / seconds).toFixed(0)} cases per second`],
  ];
  for (const [name, { reason }] of Object.entries(EXCEPTIONS))
    rows.push([`exception ${name}`, `${tally.exceptions[name as ExceptionName]}, ${reason}`]);
  const reasons = Object.entries(tally.reasons).sort(([, a], [, b]) => b - a);
  for (const [name, count] of reasons) rows.push([`refused for ${name}`, count]);
  return rows.map(([name, value]) => `${name.padEnd(42)} ${value}\n`).join("");
}
