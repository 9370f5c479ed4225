/**
 * One case after the other, as they follow from a seed, and what they came to.
 */
import { type Connection, connectionOf } from "./connection.ts";
import { Tally } from "./tally.ts";
import { type Outcome, READERS, type Readers, tryCase } from "./try-case.ts";

export interface Campaign {
  readonly seed: number;
  /** The number of the first case. */
  readonly from: number;
  readonly cases: number;
}

export interface BrokenCase extends Outcome {
  readonly caseNumber: number;
  readonly connection: Connection;
  readonly broken: string;
}

interface Observer {
  /** After every case, for a sign of life. */
  onCase?(tally: Tally): void;
  /** Whether to go on. */
  onBroken(broken: BrokenCase): boolean;
}

export function runCampaign(
  { seed, from, cases }: Campaign,
  observer: Observer,
  readers: Readers = READERS,
): Tally {
  const tally = new Tally();
  for (let caseNumber = from; caseNumber < from + cases; caseNumber++) {
    const connection = connectionOf(seed, caseNumber);
    const outcome = tryCase(connection, readers);
    tally.count(connection, outcome);
    const { broken } = outcome;
    if (broken !== undefined && !observer.onBroken({ ...outcome, broken, caseNumber, connection })) break;
    observer.onCase?.(tally);
  }
  return tally;
}
