/**
 * Where a worker's program comes from: the module beside this one, or in the single executable, where there are no files,
 * a text that it holds under the name WORKER_ASSET (build/binary.ts).
 */
import { Worker } from "node:worker_threads";
import type { WorkerSettings } from "./messages.ts";

/** The asset of the single executable that is worker.ts with all that it imports. */
export const WORKER_ASSET = "worker.js";

export function startThread(workerData: WorkerSettings): Worker {
  const { isSea, getAsset } = process.getBuiltinModule("node:sea");
  if (isSea()) return new Worker(getAsset(WORKER_ASSET, "utf8"), { eval: true, workerData });
  return new Worker(new URL("./worker.ts", import.meta.url), { workerData });
}
