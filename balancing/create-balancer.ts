/**
 * From the name in the configuration to the algorithm. A new algorithm is one file and one line here.
 */
import type { Random } from "../core/index.ts";
import type { Balancer, BalancingAlgorithm } from "./balancer.ts";
import { leastRequestBalancer } from "./least-request.ts";
import { peakEwmaBalancer } from "./peak-ewma.ts";
import { randomBalancer } from "./random.ts";
import { roundRobinBalancer } from "./round-robin.ts";

const ALGORITHMS: Readonly<Record<BalancingAlgorithm, (random: Random) => Balancer>> = {
  roundRobin: roundRobinBalancer,
  leastRequest: leastRequestBalancer,
  peakEwma: peakEwmaBalancer,
  random: randomBalancer,
};

export function createBalancer(algorithm: BalancingAlgorithm, random: Random): Balancer {
  return ALGORITHMS[algorithm](random);
}
