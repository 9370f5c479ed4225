export { type ApertureSlice, aperture, type PeerPlace, placeAmong, placeOfId } from "./aperture.ts";
export {
  type AskingBalancer,
  BALANCING_ALGORITHMS,
  type Balancer,
  type BalancingAlgorithm,
  type BalancingOptions,
  type Candidate,
  HASHING_ALGORITHMS,
  isAsking,
} from "./balancer.ts";
export { createBalancer } from "./create-balancer.ts";
export { hash32, mix32 } from "./hash.ts";
export { PeakEwma } from "./latency.ts";
export { OwnLoad, type ReplicaLoad } from "./own-load.ts";

export {
  DEFAULT_PRIORITY,
  levelsNeeded,
  type PriorityLevel,
  type PriorityOptions,
  priorityShares,
} from "./priority.ts";
export { DEFAULT_SLOW_START, SlowStart, type SlowStartOptions, slowStartFactor } from "./slow-start.ts";
export { DEFAULT_ZONES, type ZoneCapacity, type ZoneOptions, zoneShares } from "./zones.ts";
