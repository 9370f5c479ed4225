/**
 * From the name in the configuration to the algorithm. A new algorithm is one file, its name in balancer.ts, and one line here.
 */
import type { Random } from "../core/index.ts";
import type { Balancer, BalancingAlgorithm, BalancingOptions } from "./balancer.ts";
import { leastRequestBalancer } from "./least-request.ts";
import { maglevBalancer } from "./maglev.ts";
import { peakEwmaBalancer } from "./peak-ewma.ts";
import { Prequal } from "./prequal.ts";
import { DEFAULT_PREQUAL } from "./prequal-options.ts";
import { randomBalancer } from "./random.ts";
import { ringHashBalancer } from "./ring-hash.ts";
import { roundRobinBalancer } from "./round-robin.ts";

const ALGORITHMS: Readonly<
  Record<BalancingAlgorithm, (random: Random, options: BalancingOptions) => Balancer>
> = {
  roundRobin: roundRobinBalancer,
  leastRequest: leastRequestBalancer,
  peakEwma: peakEwmaBalancer,
  random: randomBalancer,
  ringHash: ringHashBalancer,
  maglev: maglevBalancer,
  // Peers that say nothing of their load are chosen by what is seen of them.
  prequal: (random, { prequal }) =>
    new Prequal({ ...DEFAULT_PREQUAL, ...prequal }, random, peakEwmaBalancer(random)),
};

export function createBalancer(options: BalancingOptions, random: Random): Balancer {
  return ALGORITHMS[options.algorithm](random, options);
}
