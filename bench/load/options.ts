/**
 * What the bench is asked to do, from its command line.
 *
 * The page in docs/ is only rewritten by a run that is at least as long as the default one and has every
 * contender: a quick look while working on one proxy must not replace figures that others rely on.
 */
import { parseArgs } from "node:util";

export interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly connections: number;
  /** Ids of the chosen contenders, in the order of the table in contenders.ts. */
  readonly only: readonly string[];
  readonly json: boolean;
  readonly writesPage: boolean;
  readonly help: boolean;
}

/** The arguments are at fault: the message is shown and the exit code is 2. */
export class UsageError extends Error {}

const DEFAULTS = { rounds: 5, seconds: 5, connections: 32 };

export function readOptions(commandLine: readonly string[], contenderIds: readonly string[]): Options {
  const values = parse(commandLine);
  const rounds = wholeNumber("rounds", values.rounds, DEFAULTS.rounds, 100);
  const seconds = wholeNumber("seconds", values.seconds, DEFAULTS.seconds, 600);
  const connections = wholeNumber("connections", values.connections, DEFAULTS.connections, 1000);
  const only = chosen(values.only, contenderIds);
  if (values.write && values["no-write"]) throw new UsageError("--write and --no-write exclude each other");

  const isFullRun =
    only.length === contenderIds.length &&
    rounds >= DEFAULTS.rounds &&
    seconds >= DEFAULTS.seconds &&
    connections === DEFAULTS.connections;
  const writesPage = values.write === true || (isFullRun && !values["no-write"]);
  return {
    rounds,
    seconds,
    connections,
    only,
    json: values.json === true,
    writesPage,
    help: values.help === true,
  };
}

export function usage(contenderIds: readonly string[]): string {
  return `usage: npm run bench -- [options]

Measures the CPU time per request of heddle and its peers, side by side, on two cores of this machine.

  --rounds N        turns for each contender (default ${DEFAULTS.rounds})
  --seconds N       length of a turn (default ${DEFAULTS.seconds})
  --connections N   keep-alive connections of the load generator (default ${DEFAULTS.connections})
  --only A,B        some contenders: ${contenderIds.join(", ")}
  --json            figures on stdout, everything else on stderr
  --no-write        leave docs/benchmarks.md as it is
  --write           write docs/benchmarks.md even after a shorter or partial run
  --help            this text
`;
}

function parse(commandLine: readonly string[]) {
  try {
    return parseArgs({
      args: [...commandLine],
      options: {
        rounds: { type: "string" },
        seconds: { type: "string" },
        connections: { type: "string" },
        only: { type: "string" },
        json: { type: "boolean" },
        "no-write": { type: "boolean" },
        write: { type: "boolean" },
        help: { type: "boolean" },
      },
    }).values;
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

function wholeNumber(name: string, text: string | undefined, whenAbsent: number, largest: number): number {
  if (text === undefined) return whenAbsent;
  const value = /^\d+$/.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= largest) return value;
  throw new UsageError(`--${name}: expected a whole number from 1 to ${largest}, got "${text}"`);
}

function chosen(text: string | undefined, contenderIds: readonly string[]): readonly string[] {
  if (text === undefined) return contenderIds;
  const wanted = text.split(",").map((id) => id.trim());
  for (const id of wanted) {
    if (contenderIds.includes(id)) continue;
    throw new UsageError(`--only: expected some of ${contenderIds.join(", ")}, got "${id}"`);
  }
  return contenderIds.filter((id) => wanted.includes(id));
}
