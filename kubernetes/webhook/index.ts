export { type AdmissionPolicy, answerReview } from "./admission.ts";
export { type CertificateOrder, provideClusterCertificate } from "./certificate-job.ts";
export { WEBHOOK_METRICS } from "./counts.ts";
export { jsonPatch } from "./json-patch.ts";
export { Webhook, type WebhookAddresses, type WebhookOptions } from "./webhook.ts";
