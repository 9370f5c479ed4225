/**
 * Where a worker thread of the single executable begins.
 */
import "../../proxy/workers/worker.ts";
import { WORKER_ASSET } from "../../proxy/workers/program.ts";
import { readTraces } from "./traces.ts";

readTraces(WORKER_ASSET);
