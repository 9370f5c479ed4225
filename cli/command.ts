/**
 * What a command is: how it is called, and the function that it comes down to.
 */
export interface Command {
  /** The arguments as the help shows them. */
  readonly usage: string;
  readonly about: string;
  /** As node:util's parseArgs wants them. */
  readonly options: Readonly<
    Record<
      string,
      { readonly type: "string" | "boolean"; readonly short?: string; readonly default?: string }
    >
  >;
  /** How many words may follow. */
  readonly words: readonly [least: number, most: number];
  /** Whether another command may follow behind `--`. */
  readonly takesCommand?: boolean;
  /** Returns the exit code: 0 fine, 1 the input is at fault, 2 wrong usage. */
  readonly act: (arguments_: Arguments) => Promise<number>;
}

export interface Arguments {
  readonly options: Readonly<Record<string, string | boolean | undefined>>;
  readonly words: readonly string[];
  /** What stands behind `--`, untouched; undefined where there is none. */
  readonly command?: readonly string[] | undefined;
}

/** A wrong call that only the command itself can see, such as a number out of range. */
export class UsageError extends Error {
  readonly code = "ERR_PARSE_ARGS_HEDDLE";
}
