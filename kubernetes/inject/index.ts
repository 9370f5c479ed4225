export { ANNOTATIONS, type AnnotationName, PREFIX } from "./annotations.ts";
export { CONSUL_FOLLOWED } from "./consul-annotations.ts";
export { cut, type Fields, fieldsAt, isFields, textAt } from "./fields.ts";
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
  type PodOutcome,
  uninjectPod,
} from "./pod.ts";
export { injectReview } from "./review.ts";
export { readDefaults, SWITCH, switchOf } from "./said.ts";
export { WORKLOAD_KINDS } from "./workload.ts";
