/**
 * The simulator itself, before anything is proven by it: queues without a choice, whose mean time is a formula.
 *
 * Each row is there for a part: workers and line, the second moment of a service, the shared processor, and turns.
 */
import { erlangMean, pollaczekKhinchineMean, sharingMean, turnsMean } from "../closed-forms.ts";
import { normal, twoMode } from "../distributions.ts";
import { runOpenFarm } from "../open-farm.ts";
import { type Findings, fixed, nearByChance } from "../rows.ts";

/** One answer of a hundred takes two hundred times as long. */
const PAUSES = twoMode(5, 1000, 0.01);
const JOBS = 1_000_000;

export function queues(seed: number): Findings {
  const alone = { seed, balancing: { algorithm: "random" }, servers: 1, jobs: JOBS } as const;
  const erlang = runOpenFarm({ ...alone, load: 0.9, workers: 10 });
  const paused = runOpenFarm({ ...alone, load: 0.5, service: PAUSES });
  const steady = normal(167, 5);
  const even = runOpenFarm({ ...alone, load: 0.8, service: steady });
  const shared = runOpenFarm({ ...alone, load: 0.7, service: PAUSES, workers: "sharing" });
  const turns = runOpenFarm({ ...alone, balancing: { algorithm: "roundRobin" }, servers: 20, load: 0.9 });
  const { meanMs, squareMs2 } = PAUSES;
  return {
    rows: [
      nearByChance("M/M/10 at load 0.9, mean time (Erlang C)", erlangMean(0.9, 10), erlang.meanMs),
      nearByChance(
        "M/G/1 at load 0.5, 1 % of services 1 s, the others 5 ms, mean ms (Pollaczek, Khinchine)",
        pollaczekKhinchineMean(0.5, meanMs, squareMs2),
        paused.meanMs,
        fixed(1),
      ),
      nearByChance(
        "M/G/1 at load 0.8, services 167 ± 5 ms, mean ms (the same)",
        pollaczekKhinchineMean(0.8, steady.meanMs, steady.squareMs2),
        even.meanMs,
        fixed(1),
      ),
      nearByChance(
        "shared processor at load 0.7, 1 % of services 1 s, mean ms: as if all took the mean (Kleinrock)",
        sharingMean(0.7, meanMs),
        shared.meanMs,
        fixed(1),
      ),
      nearByChance(
        "`roundRobin` over 20 servers at load 0.9, mean time (E20/M/1)",
        turnsMean(0.9, 20),
        turns.meanMs,
      ),
    ],
    plots: [],
  };
}
