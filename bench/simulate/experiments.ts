/**
 * All experiments, in the order of the table. A new one is one file and one line here.
 */
import { beyondRoundRobin } from "./experiments/beyond-round-robin.ts";
import { fanOut } from "./experiments/fan-out.ts";
import { fastFailures } from "./experiments/fast-failures.ts";
import { hashing } from "./experiments/hashing.ts";
import { ownView } from "./experiments/own-view.ts";
import { queues } from "./experiments/queues.ts";
import { supermarket } from "./experiments/supermarket.ts";
import { weights } from "./experiments/weights.ts";
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
};
