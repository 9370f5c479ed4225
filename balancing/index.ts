export type { Balancer, BalancingAlgorithm, BalancingOptions, Candidate } from "./balancer.ts";
export { createBalancer } from "./create-balancer.ts";
export { PeakEwma } from "./latency.ts";
