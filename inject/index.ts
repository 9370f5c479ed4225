export { ANNOTATIONS, type AnnotationName, PREFIX, type Said } from "./annotations.ts";
export { CONSUL_FOLLOWED } from "./consul-annotations.ts";
export {
  type ManifestFault,
  type ManifestResult,
  type ObjectReport,
  processManifests,
  type Work,
} from "./manifests.ts";
export {
  type InjectOptions,
  injectPod,
  type PodOrigin,
  type PodOutcome,
  type Uninjected,
  uninjectPod,
} from "./pod.ts";
export { injectReview } from "./review.ts";
export { type InjectFault, readDefaults } from "./said.ts";
export { WORKLOAD_KINDS } from "./workload.ts";
