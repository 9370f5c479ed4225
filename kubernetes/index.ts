export {
  ANNOTATIONS,
  type AnnotationName,
  CONSUL_FOLLOWED,
  type InjectOptions,
  injectPod,
  injectReview,
  type ManifestFault,
  type ManifestResult,
  type ObjectReport,
  type PodOutcome,
  PREFIX,
  processManifests,
  readDefaults,
  uninjectPod,
  WORKLOAD_KINDS,
  type Work,
} from "./inject/index.ts";
export { BACKENDS, type Backend, downScript, RedirectFault, readRules, upScript } from "./redirect/index.ts";
export {
  type AdmissionPolicy,
  answerReview,
  jsonPatch,
  WEBHOOK_METRICS,
  Webhook,
  type WebhookAddresses,
  type WebhookOptions,
} from "./webhook/index.ts";
