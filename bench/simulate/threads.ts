/**
 * Experiments side by side, each in a thread of its own, as many at a time as there are cores.
 *
 * Not processes: findings come back as they are, and a thread that fails says with what. Not one thread for many
 * experiments: what one leaves on the heap slows the next. The longest begin first, so that at the end no core
 * waits for one that began late. What comes out does not depend on any of this: chance is of the seed alone.
 */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { LONGEST_FIRST } from "./experiments.ts";
import type { Findings } from "./rows.ts";
import type { Assignment, Ending } from "./thread.ts";

export interface ThreadsOptions {
  /** How many may run at a time; one for each core unless told otherwise. */
  readonly threads?: number;
  /** Told at the end of each, whichever it is; `cpuMs` is what the experiment took of its thread. */
  readonly onEnd?: (name: string, cpuMs: number) => void;
}

/**
 * @returns what each experiment found, in the order of the names
 * @throws Error that begins with the name of the experiment that failed; the others are given up
 */
export async function runInThreads(
  names: readonly string[],
  seed: number,
  { threads = availableParallelism(), onEnd }: ThreadsOptions = {},
): Promise<ReadonlyMap<string, Findings>> {
  const waiting = longestFirst(names);
  const running = new Set<Worker>();
  const found = new Map<string, Findings>();
  const runNext = async (): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const { findings, cpuMs } = await run({ name, seed }, running);
      found.set(name, findings);
      onEnd?.(name, cpuMs);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.max(1, threads) }, runNext));
  } finally {
    waiting.length = 0;
    await Promise.all([...running].map((worker) => worker.terminate()));
  }
  return new Map(names.map((name) => [name, found.get(name)!]));
}

/** Those that are known to be long, and then the others as they come. */
function longestFirst(names: readonly string[]): string[] {
  const long = LONGEST_FIRST.filter((name) => names.includes(name));
  return [...long, ...names.filter((name) => !long.includes(name))];
}

function run(assignment: Assignment, running: Set<Worker>): Promise<Ending> {
  const worker = new Worker(new URL("./thread.ts", import.meta.url), { workerData: assignment });
  running.add(worker);
  return new Promise<Ending>((resolve, reject) => {
    const fail = (why: string, cause?: unknown) => reject(new Error(`${assignment.name}: ${why}`, { cause }));
    worker.once("message", resolve);
    worker.once("error", (error: unknown) =>
      fail(error instanceof Error ? error.message : String(error), error),
    );
    // After the message this changes nothing.
    worker.once("exit", () => fail("ended without findings"));
  }).finally(() => running.delete(worker));
}
