/**
 * What the bench is asked to do, from its command line.
 */
import type { Values } from "../command.ts";
import { chosen, optionsOf, wholeNumber, writesPage } from "../options.ts";

export interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly connections: number;
  /** Ids of the chosen contenders, in the order of the table in contenders.ts. */
  readonly only: readonly string[];
  readonly json: boolean;
  readonly writesPage: boolean;
}

export const OPTIONS = optionsOf("rounds", "seconds", "connections", "only", "json", "no-write", "write");

const DEFAULTS = { rounds: 5, seconds: 5, connections: 32 };

export function readOptions(values: Values<typeof OPTIONS>, contenderIds: readonly string[]): Options {
  const rounds = wholeNumber(values, "rounds", DEFAULTS.rounds, { most: 100 });
  const seconds = wholeNumber(values, "seconds", DEFAULTS.seconds, { most: 600 });
  const connections = wholeNumber(values, "connections", DEFAULTS.connections, { most: 1000 });
  const only = chosen(values, contenderIds);
  const isFullRun =
    only.length === contenderIds.length &&
    rounds >= DEFAULTS.rounds &&
    seconds >= DEFAULTS.seconds &&
    connections === DEFAULTS.connections;
  const json = values.json === true;
  return { rounds, seconds, connections, only, json, writesPage: writesPage(values, isFullRun) };
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
