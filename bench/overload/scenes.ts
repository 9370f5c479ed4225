/**
 * Scene one: an app that is asked for three times what it can do, behind each contender in turn.
 *
 * A turn is one stream of requests: a warm-up and a quiet stretch at half of what the app can do, the overload, and quiet again.
 * So the quiet figures are those of the same process, and what the overload leaves behind is seen.
 */
import { Ends } from "../ends.ts";
import { examineMachine } from "../load/machine.ts";
import { Processes } from "../load/processes.ts";
import { STREAMS, sfc32 } from "../simulate/random.ts";
import { callThrough, saturatedRate } from "./callers.ts";
import { CONTENDERS, type Contender, HOST, startApp, WORK } from "./contenders.ts";
import { type Course, type Figures, figuresOf } from "./figures.ts";

/** Offered, as parts of what the app can do. */
const QUIET = 0.5;
export const OVERLOAD = 3;
const SHARES = { critical: 0.2, default: 0.6, sheddable: 0.2 } as const;
/** How long a caller waits for its whole answer, twice as long as it may wait in a queue. */
export const PATIENCE_MS = 2000;

const WARM_UP_S = 5;
const QUIET_S = 10;
const RECOVERY_S = 10;
const SATURATED = { inFlight: 4 * WORK.workers, warmUpSeconds: 2, seconds: 15 };

export interface Row {
  readonly contender: Contender;
  /** One for each round. */
  readonly rounds: readonly Figures[];
}

export interface Results {
  /** What the app does in a second when it is asked without a pause, for each round. */
  readonly capacities: readonly number[];
  readonly rows: readonly Row[];
}

export interface Plan {
  readonly rounds: number;
  /** How long each overload lasts. */
  readonly seconds: number;
  say(line: string): void;
}

interface Turn {
  readonly capacity: number;
  readonly round: number;
  readonly seconds: number;
}

export async function appIsFull({ rounds, seconds, say }: Plan): Promise<Results> {
  const machine = examineMachine([]);
  const capacities: number[] = [];
  const figures = CONTENDERS.map((): Figures[] => []);
  for (let round = 1; round <= rounds; round++) {
    const capacity = await capacityOfApp();
    capacities.push(capacity);
    say(`round ${round} of ${rounds}: the app answers ${capacity.toFixed(0)}/s`);
    for (const [i, contender] of CONTENDERS.entries()) {
      const found = await turn(contender, machine.proxyCore, { capacity, round, seconds });
      figures[i]!.push(found);
      say(`${contender.label}: ${JSON.stringify(found)}`);
    }
  }
  return { capacities, rows: CONTENDERS.map((contender, i) => ({ contender, rounds: figures[i]! })) };
}

/** What the app does in a second when it is asked without a pause. */
async function capacityOfApp(): Promise<number> {
  await using ends = new Ends();
  return await saturatedRate(await startApp(ends), SATURATED.inFlight, SATURATED);
}

async function turn(
  contender: Contender,
  core: number,
  { capacity, round, seconds }: Turn,
): Promise<Figures> {
  await using processes = new Processes();
  await using ends = new Ends();
  const ground = { teardown: (end: () => unknown) => ends.teardown(end), processes, core };
  const port = await contender.start(ground, await startApp(ends));
  const overloadFromS = WARM_UP_S + QUIET_S;
  const course: Course = {
    quietFromS: WARM_UP_S,
    overloadFromS,
    overloadUntilS: overloadFromS + seconds,
  };
  const outcomes = await callThrough(
    { port, host: HOST, patienceMs: PATIENCE_MS, shares: SHARES },
    [
      { perSecond: QUIET * capacity, seconds: overloadFromS },
      { perSecond: OVERLOAD * capacity, seconds },
      { perSecond: QUIET * capacity, seconds: RECOVERY_S },
    ],
    // The round is the seed: each has arrivals of its own, the same for all contenders.
    sfc32(round, STREAMS.arrivals),
    sfc32(round, STREAMS.clients),
  );
  return figuresOf(outcomes, course, capacity);
}
