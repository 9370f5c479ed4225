/**
 * From the command line to a command: which one, with which options, and what the exit code says.
 */
import { parseArgs } from "node:util";
import { COMMANDS } from "./commands.ts";
import { version } from "./own-program.ts";

const WRONG_USAGE = 2;

/** @returns the exit code: 0 fine, 1 the input is at fault, 2 wrong usage */
export async function main(argv: readonly string[]): Promise<number> {
  const [name, ...words] = argv;
  const end = words.indexOf("--");
  const rest = end < 0 ? words : words.slice(0, end);
  const behind = end < 0 ? undefined : words.slice(end + 1);
  if (name === undefined) return misused("expected a command");
  if (name === "help" || name === "--help" || name === "-h") return print(help());
  if (name === "version" || name === "--version" || name === "-v") return print(`heddle ${version()}\n`);
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) return misused(`unknown command ${JSON.stringify(name)}`);
  if (rest.includes("--help") || rest.includes("-h"))
    return print(`heddle ${command.usage}\n\n  ${command.about}\n`);
  try {
    const { values, positionals } = parseArgs({
      args: [...rest],
      options: { ...command.options },
      allowPositionals: true,
      strict: true,
    });
    const [least, most] = command.words;
    if (positionals.length < least || positionals.length > most)
      return misused(`expected heddle ${command.usage}`);
    if (behind !== undefined && (command.takesCommand !== true || behind.length === 0))
      return misused(`expected heddle ${command.usage}`);
    return await command.act({ options: values, words: positionals, command: behind });
  } catch (thrown) {
    if (!isUsageError(thrown)) throw thrown;
    return misused(`${thrown.message}\nexpected heddle ${command.usage}`);
  }
}

function isUsageError(thrown: unknown): thrown is Error {
  const code = thrown instanceof Error ? (thrown as NodeJS.ErrnoException).code : undefined;
  return code?.startsWith("ERR_PARSE_ARGS") === true;
}

function misused(message: string): number {
  process.stderr.write(`heddle: ${message}\n\n${help()}`);
  return WRONG_USAGE;
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

function help(): string {
  const usages = Object.values(COMMANDS).map(({ usage, about }) => [`heddle ${usage}`, about] as const);
  const width = Math.max(...usages.map(([usage]) => usage.length));
  return `${usages.map(([usage, about]) => `  ${usage.padEnd(width)}  ${about}`).join("\n")}\n`;
}
