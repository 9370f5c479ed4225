/**
 * The course of the bench: start everything, prove it, warm it, then let the contenders take turns.
 *
 * Turns (A B C, A B C) and not blocks (A A, B B): a machine is slower in one minute than in the next, and
 * neighbours in time are comparable.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Contender } from "./contender.ts";
import { type Entrant, startAll } from "./entrants.ts";
import type { Machine } from "./machine.ts";
import type { Options } from "./options.ts";
import { Processes } from "./processes.ts";
import { proveCorrect } from "./proof.ts";
import { processTree, usageOf } from "./usage.ts";
import { type Load, load } from "./wrk.ts";

/** One turn of one contender. */
export interface Measurement extends Load {
  readonly cpuMicrosecondsPerRequest: number;
  /** 1 means that the proxy's core did nothing else. */
  readonly coreUse: number;
  readonly residentBytes: number;
}

export interface Result {
  readonly id: string;
  readonly name: string;
  /** One for each round, in order. */
  readonly measurements: readonly Measurement[];
  /** Why these are no measurements of a working proxy, in words. */
  readonly failure: string | undefined;
}

export interface Course {
  readonly options: Options;
  readonly machine: Machine;
  readonly signal: AbortSignal;
  say(line: string): void;
}

export async function runRounds(chosen: readonly Contender[], course: Course): Promise<readonly Result[]> {
  const { machine, signal, say } = course;
  const { rounds, seconds, connections } = course.options;
  await using processes = new Processes();
  const entrants = await startAll(chosen, { processes, machine, connections, signal });
  for (const { contender, setting } of entrants) await proveCorrect(contender.name, setting.port, signal);
  say(`all proved correct; warming up, then rounds of ${seconds} s for each contender`);
  const warmUp = { ...course, options: { ...course.options, seconds: Math.max(seconds, WARM_UP_SECONDS) } };
  for (const entrant of entrants) await measure(entrant, warmUp);

  const measurements = entrants.map((): Measurement[] => []);
  for (let round = 1; round <= rounds; round += 1) {
    for (const [i, entrant] of entrants.entries()) {
      const measurement = await measure(entrant, course);
      measurements[i]?.push(measurement);
      const micros = measurement.cpuMicrosecondsPerRequest.toFixed(1);
      say(`round ${round} of ${rounds}, ${entrant.contender.name}: ${micros} µs CPU per request`);
    }
  }
  const results: Result[] = [];
  for (const [i, entrant] of entrants.entries()) {
    results.push(await conclude(entrant, measurements[i] ?? [], signal));
  }
  return results;
}

/** Node compiles its hot code during the first seconds of load, on the core that is measured. */
const WARM_UP_SECONDS = 3;

/** Load must not have broken anything: no answer was wrong, no breaker is left open, no endpoint is lost. */
async function conclude(
  { contender: { id, name }, setting }: Entrant,
  measurements: readonly Measurement[],
  signal: AbortSignal,
): Promise<Result> {
  const errors = measurements.reduce((sum, measurement) => sum + measurement.errors, 0);
  if (errors > 0) return { id, name, measurements, failure: `wrk counted ${errors} errors` };
  try {
    await proveCorrect(name, setting.port, signal);
    return { id, name, measurements, failure: undefined };
  } catch (error) {
    signal.throwIfAborted();
    const why = error instanceof Error ? error.message : String(error);
    return { id, name, measurements, failure: `after the load, ${why}` };
  }
}

async function measure({ contender, setting, running }: Entrant, course: Course): Promise<Measurement> {
  const { seconds, connections } = course.options;
  const { loadCore, ticksPerSecond } = course.machine;
  await sleep(SETTLE_MS, undefined, { signal: course.signal });
  running.assertAlive();
  const measuredProcesses = () =>
    processTree(running.processId).slice(contender.measured === "workers" ? 1 : 0);
  const before = usageOf(measuredProcesses());
  const url = `http://127.0.0.1:${setting.port}/`;
  const turn = await load({ url, seconds, connections, core: loadCore, signal: course.signal });
  running.assertAlive();
  const after = usageOf(measuredProcesses());
  // What a process has used is forgotten when it ends, and a new one would count from zero.
  if (String(after.processIds) !== String(before.processIds)) {
    throw new Error(`${contender.name} changed its processes during its turn, so it cannot be measured`);
  }
  if (turn.requests === 0) throw new Error(`${contender.name} answered no request in ${seconds} s`);
  const cpuSeconds = (after.cpuTicks - before.cpuTicks) / ticksPerSecond;
  return {
    ...turn,
    cpuMicrosecondsPerRequest: (cpuSeconds * 1e6) / turn.requests,
    coreUse: cpuSeconds / turn.seconds,
    residentBytes: after.residentBytes,
  };
}

/** Lets the connections of the turn before be closed on their own proxy's account. */
const SETTLE_MS = 200;
