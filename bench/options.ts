/**
 * The options that several benches have, and what is said where one of them is wrong.
 *
 * A page in docs/ is only rewritten by a run that is at least as long as the default one and has every contender: a quick look
 * while working on one thing must not replace figures that others rely on.
 */
import { UsageError } from "./command.ts";

const TEXT = { type: "string" } as const;
const FLAG = { type: "boolean" } as const;

const OPTIONS = {
  rounds: TEXT,
  seconds: TEXT,
  minutes: TEXT,
  connections: TEXT,
  seed: TEXT,
  only: TEXT,
  json: FLAG,
  write: FLAG,
  "no-write": FLAG,
} as const;

type Name = keyof typeof OPTIONS;

/** Those that a bench has, as node:util's parseArgs wants them. */
export function optionsOf<const Names extends readonly Name[]>(
  ...names: Names
): Pick<typeof OPTIONS, Names[number]> {
  const entries = names.map((name) => [name, OPTIONS[name]] as const);
  return Object.fromEntries(entries) as Pick<typeof OPTIONS, Names[number]>;
}

interface Bounds {
  readonly least?: number;
  readonly most?: number;
}

type Given = Readonly<Record<string, string | boolean | undefined>>;

export function wholeNumber(
  values: Given,
  name: string,
  whenAbsent: number,
  { least = 1, most = Number.MAX_SAFE_INTEGER }: Bounds = {},
): number {
  const text = values[name];
  if (text === undefined) return whenAbsent;
  const value = /^-?\d+$/.test(String(text)) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new UsageError(`--${name}: expected a whole number${bounds(least, most)}, got "${text}"`);
}

export function aboveZero(values: Given, name: string, whenAbsent: number): number {
  const text = values[name];
  if (text === undefined) return whenAbsent;
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new UsageError(`--${name}: expected a number above 0, got "${text}"`);
}

/** `--only A,B`: some of these, in their own order; all of them when it is absent. */
export function chosen({ only }: { readonly only?: string }, names: readonly string[]): readonly string[] {
  if (only === undefined) return names;
  const wanted = only.split(",").map((name) => name.trim());
  for (const name of wanted) {
    if (names.includes(name)) continue;
    throw new UsageError(`--only: expected some of ${names.join(", ")}, got "${name}"`);
  }
  return names.filter((name) => wanted.includes(name));
}

/** @param isFull whether the run is one that others may rely on */
export function writesPage(
  { write, "no-write": noWrite }: { readonly write?: boolean; readonly "no-write"?: boolean },
  isFull: boolean,
): boolean {
  if (write === true && noWrite === true) throw new UsageError("--write and --no-write exclude each other");
  return write === true || (isFull && noWrite !== true);
}

function bounds(least: number, most: number): string {
  if (least <= Number.MIN_SAFE_INTEGER) return "";
  return most === Number.MAX_SAFE_INTEGER ? ` of at least ${least}` : ` from ${least} to ${most}`;
}
