export {
  BALANCING_ALGORITHMS,
  type Balancer,
  type BalancingAlgorithm,
  type BalancingOptions,
  type Candidate,
} from "./balancer.ts";
export { createBalancer } from "./create-balancer.ts";
export { PeakEwma } from "./latency.ts";
