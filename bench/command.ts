/**
 * What every bench does as a command: its options are read, what it started is ended, and an error becomes words and an exit code.
 *
 * Here and not in each `run.ts`, so that `--help`, a misspelt option and a machine that lacks a program mean the same everywhere. Wrong
 * usage is an error of its own: to take every TypeError for it would blame the caller for a fault of the bench. Exit codes: 0 measured,
 * 1 something failed or a rule does not hold, 2 wrong usage, 130 interrupted.
 */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { type ParseArgsConfig, parseArgs } from "node:util";
import { Ends } from "./ends.ts";

type Options = NonNullable<ParseArgsConfig["options"]>;
export type Values<Asked extends Options> = ReturnType<typeof parseArgs<{ options: Asked }>>["values"];

/** More than it takes to end a process by SIGTERM. */
const IN_ORDER_MS = 3000;

/** The arguments are at fault: the message and the usage are shown, and the exit code is 2. */
export class UsageError extends Error {}

/** The machine lacks something. A stack would tell nobody more than the message does. */
export class UnfitMachine extends Error {}

/** What a bench may use while it measures. */
export interface Course {
  /** Whatever is told to it is ended when the bench has ended, however it has. */
  readonly ends: Ends;
  /** Aborted by Ctrl-C; who looks at it may end in order, and has a moment for that. */
  readonly signal: AbortSignal;
}

/** @param measure returns the exit code, if it is not 0 */
export async function command<const Asked extends Options>(
  name: string,
  { usage, options }: { readonly usage: string; readonly options: Asked },
  // biome-ignore lint/suspicious/noConfusingVoidType: a bench that promises nothing returns nothing
  measure: (values: Values<Asked>, course: Course) => Promise<number | void>,
): Promise<never> {
  const interruption = interruptible();
  const { signal } = interruption;
  try {
    await using ends = new Ends();
    const values = read(options);
    if (values === undefined) process.stdout.write(usage);
    else process.exitCode = (await Promise.race([measure(values, { ends, signal }), interruption.over])) ?? 0;
  } catch (error) {
    process.exitCode = error instanceof UsageError ? 2 : 1;
    if (!signal.aborted) say(`${name}: ${wordsOf(error)}`);
    if (error instanceof UsageError) process.stderr.write(usage);
  }
  if (signal.aborted) {
    say("interrupted; everything that was started has been ended");
    process.exitCode = 130;
  }
  // A connection that something still holds must not keep a bench that has ended.
  process.exit();
}

export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Nothing where the usage is asked for. */
function read<const Asked extends Options>(options: Asked): Values<Asked> | undefined {
  try {
    if (parseArgs({ options: { help: { type: "boolean" } }, strict: false }).values.help) return undefined;
    return parseArgs({ options }).values;
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isExpected = error instanceof UsageError || error instanceof UnfitMachine;
  return isExpected ? error.message : (error.stack ?? error.message);
}

/** Without it Ctrl-C would end the bench alone, and leave running what leads a process group of its own. */
function interruptible(): { readonly signal: AbortSignal; readonly over: Promise<never> } {
  const interruption = new AbortController();
  const { signal } = interruption;
  for (const each of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    // Stays in place for a second Ctrl-C, which must not cut the cleaning up short.
    process.on(each, () => interruption.abort());
  }
  const over = once(signal, "abort").then(async () => {
    await sleep(IN_ORDER_MS);
    throw new Error("interrupted");
  });
  over.catch(() => {});
  return { signal, over };
}
