/**
 * What a thread of threads.ts does: one experiment, and then it ends. What the experiment throws ends it, too, and
 * reaches threads.ts as the thread's error.
 */
import { parentPort, workerData } from "node:worker_threads";
import { EXPERIMENTS } from "./experiments.ts";
import type { Findings } from "./rows.ts";

/** What it is told. */
export interface Assignment {
  readonly name: string;
  readonly seed: number;
}

/** What it answers; `cpuMs` is without the loading of modules. */
export interface Ending {
  readonly findings: Findings;
  readonly cpuMs: number;
}

const { name, seed } = workerData as Assignment;
const experiment = EXPERIMENTS[name];
if (experiment === undefined) throw new Error("no such experiment");
const began = process.threadCpuUsage();
const findings = experiment(seed);
const { user, system } = process.threadCpuUsage(began);
parentPort!.postMessage({ findings, cpuMs: (user + system) / 1000 } satisfies Ending);
