export {
  proxyDefaultsQuery,
  serviceDefaultsQuery,
} from "./consul/central-config.ts";
export {
  type Chain,
  type ChainDestination,
  type ChainHeaders,
  type ChainMatch,
  type ChainRoute,
  type ChainTarget,
  chainQuery,
  type HeaderEdits,
  type TargetInstances,
  type ValueMatch,
} from "./consul/chain.ts";
export { type ChainBalancing, NO_BALANCING } from "./consul/chain-balancing.ts";
export {
  type ConsulOptions,
  isConsulAddress,
  isConsulToken,
  withEnvironment,
} from "./consul/options.ts";
export { endMaintenance, Registration, setMaintenance } from "./consul/registration.ts";
export { ConsulRegistry } from "./consul/registry.ts";
export { serviceRegistration } from "./consul/service-registration.ts";
export {
  proxiesFor,
  type SidecarDefinition,
  type SidecarUpstream,
  sidecarQuery,
  type UpstreamTuning,
} from "./consul/sidecar-definition.ts";
export { NO_LIMIT_MS } from "./consul/values.ts";
export { type LabelledEndpoint, SourceFactory, type SourceOptions } from "./create-source.ts";
export { createProbe } from "./health/create-probe.ts";
export { type ClusterAccess, type ConfiguredAccess, clusterAccess } from "./kubernetes/cluster-access.ts";
export { MERGES, type Merge } from "./merge.ts";
export { LastGood } from "./outage/last-good.ts";
export { formatPath, printed } from "./printed.ts";
export { QuestionLimit } from "./question-limit.ts";
export type { Instance, Source } from "./source.ts";
export { inSubset, type Subset, subsetText } from "./subset.ts";
export { Supply, type SupplyView, supplied } from "./supply.ts";
