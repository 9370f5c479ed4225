/**
 * The two scenes: one replica of six is slow, and one replica of six is busy with what others have sent it.
 *
 * The rates are such that no process takes more than a small part of a core. Nearer to saturation every contender's tail would be the
 * queue for the CPU, and the choice of a replica would be lost in it.
 */
import type { Teardown } from "../../test/support/apps.ts";
import { Samples } from "../simulate/measures.ts";
import { STREAMS, sfc32 } from "../simulate/random.ts";
import { callAtRate, keepInFlight, type Rate, type Sample } from "./callers.ts";
import { type Contender, type CpuSeconds, type Ground, prepare } from "./ground.ts";
import { type Figures, figuresOf } from "./turns.ts";

/** Every algorithm that does not go by a hash: a hash asks who the caller is, and not how the replicas are. */
const ALGORITHMS = ["roundRobin", "random", "leastRequest", "peakEwma", "prequal"] as const;

const SLOW = { usualMs: 5, slowMs: 100, perSecond: 400 } as const;
const BUSY = { usualMs: 5, atOnce: 2, inFlight: 20, perSecond: 200 } as const;

const REPLICAS = 6;
/** The one that is slow or busy. */
const WORSE = 0;
/** Before the first round: Node compiles its hot code. */
const FIRST_TURN: Pick<Rate, "seconds" | "warmUpSeconds"> = { seconds: 1, warmUpSeconds: 2 };
/** At the beginning of each turn: connections of the last one have been closed meanwhile. */
const WARM_UP_SECONDS = 1;

/** What came of a scene. */
export interface Results {
  readonly rows: readonly Row[];
  /** The greatest use of a core by each process in any turn: 1 is all of it. */
  readonly coreUse: CpuSeconds;
  /** For each turn, within how many milliseconds of when they were due 99 in 100 of its requests were sent. */
  readonly lateMs: readonly number[];
}

export interface Row {
  readonly label: string;
  /** One for each round. */
  readonly rounds: readonly Figures[];
}

/** How long it shall take, and whom to tell how far it is. */
export interface Course {
  readonly rounds: number;
  /** The part of each turn that counts. */
  readonly seconds: number;
  say(line: string): void;
}

export async function oneIsSlow(t: Teardown, course: Course): Promise<Results> {
  const contenders: Contender[] = [
    ...ALGORITHMS.map((algorithm) => contender(algorithm, "app")),
    { ...contender("prequal", "sidecar"), name: "asking", label: "`prequal`, replicas with sidecars" },
  ];
  const usualMs = Array.from({ length: REPLICAS }, (_, i) => (i === WORSE ? SLOW.slowMs : SLOW.usualMs));
  const ground = await prepare(t, { usualMs, atOnce: null }, contenders);
  return takeTurns(ground, contenders, SLOW.perSecond, course);
}

export async function oneIsBusy(t: Teardown, course: Course): Promise<Results> {
  const contenders = ALGORITHMS.map((algorithm) => contender(algorithm, "sidecar"));
  const usualMs = Array.from({ length: REPLICAS }, () => BUSY.usualMs);
  const ground = await prepare(t, { usualMs, atOnce: BUSY.atOnce }, contenders);
  const end = keepInFlight(ground.replicas[WORSE]!.sidecar, BUSY.inFlight);
  const results = await takeTurns(ground, contenders, BUSY.perSecond, course);
  await end();
  return results;
}

/** Names are lower-case, those of algorithms not. */
function contender(algorithm: string, to: Contender["to"]): Contender {
  return { name: algorithm.toLowerCase(), label: `\`${algorithm}\``, algorithm, to };
}

/** All contenders in each round, after one turn each that does not count. */
async function takeTurns(
  ground: Ground,
  contenders: readonly Contender[],
  perSecond: number,
  { rounds, seconds, say }: Course,
): Promise<Results> {
  const figures = contenders.map((): Figures[] => []);
  const most = { heddle: 0, replicas: 0, callers: 0 };
  const lateMs: number[] = [];
  const turn = ({ name }: Contender, round: number, spans: typeof FIRST_TURN): Promise<Sample[]> =>
    // The round is the seed: each has arrivals of its own, the same for all contenders.
    callAtRate(
      ground.sidecar.addresses.outbound.port,
      name,
      { perSecond, ...spans },
      sfc32(round, STREAMS.arrivals),
    );
  for (const contender of contenders) await turn(contender, 0, FIRST_TURN);
  for (let round = 1; round <= rounds; round++) {
    for (const [i, contender] of contenders.entries()) {
      const before = { cpu: ground.cpuSeconds(), atMs: performance.now() };
      const samples = await turn(contender, round, { seconds, warmUpSeconds: WARM_UP_SECONDS });
      const passedSeconds = (performance.now() - before.atMs) / 1000;
      for (const [process, cpu] of Object.entries(ground.cpuSeconds()) as [keyof CpuSeconds, number][])
        most[process] = Math.max(most[process], (cpu - before.cpu[process]) / passedSeconds);
      lateMs.push(lateness(samples));
      const found = figuresOf(samples, WORSE);
      figures[i]!.push(found);
      say(
        `round ${round} of ${rounds}, ${contender.label}: p99 ${found.p99Ms.toFixed(1)} ms, sent ${lateMs.at(-1)!.toFixed(1)} ms late`,
      );
    }
  }
  const rows = contenders.map(({ label }, i) => ({ label, rounds: figures[i]! }));
  return { rows, coreUse: most, lateMs };
}

function lateness(samples: readonly Sample[]): number {
  const late = new Samples();
  for (const { lateMs } of samples) late.add(lateMs);
  return late.percentile(0.99);
}
