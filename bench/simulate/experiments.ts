/**
 * All experiments, in the order of the table. A new one is one file and one line here.
 */
import { adaptiveLimit } from "./experiments/adaptive-limit.ts";
import { beyondRoundRobin } from "./experiments/beyond-round-robin.ts";
import { boundedLoad } from "./experiments/bounded-load.ts";
import { fanOut } from "./experiments/fan-out.ts";
import { fastFailures } from "./experiments/fast-failures.ts";
import { hashing } from "./experiments/hashing.ts";
import { hedging } from "./experiments/hedging.ts";
import { outliers } from "./experiments/outliers.ts";
import { ownView } from "./experiments/own-view.ts";
import { prequalExperiment } from "./experiments/prequal.ts";
import { priorities } from "./experiments/priorities.ts";
import { queues } from "./experiments/queues.ts";
import { retryStorm } from "./experiments/retry-storm.ts";
import { slowStart } from "./experiments/slow-start.ts";
import { supermarket } from "./experiments/supermarket.ts";
import { weights } from "./experiments/weights.ts";
import { zones } from "./experiments/zones.ts";
import type { Experiment } from "./rows.ts";

export const EXPERIMENTS: Readonly<Record<string, Experiment>> = {
  queues,
  supermarket,
  "own-view": ownView,
  "beyond-round-robin": beyondRoundRobin,
  "fast-failures": fastFailures,
  weights,
  "fan-out": fanOut,
  hashing,
  "bounded-load": boundedLoad,
  "slow-start": slowStart,
  zones,
  priorities,
  outliers,
  prequal: prequalExperiment,
  "adaptive-limit": adaptiveLimit,
  "retry-storm": retryStorm,
  hedging,
};

/** The names of those that take seconds of CPU, in the order of how many. */
export const LONGEST_FIRST: readonly string[] = [
  "supermarket",
  "prequal",
  "own-view",
  "slow-start",
  "outliers",
  "adaptive-limit",
];
