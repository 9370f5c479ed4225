/**
 * An AdmissionReview's pod, for the webhook: the same function, with what the review knows beside the pod.
 */
import { fieldsAt, isFields, textAt } from "./fields.ts";
import { type InjectOptions, injectPod, type PodOutcome, uninjectPod } from "./pod.ts";

/**
 * @param review an AdmissionReview as the API server sends it
 * @returns what becomes of the pod in it; skipped when it is about something else
 */
export function injectReview(review: unknown, options: InjectOptions): PodOutcome {
  const request = fieldsAt(review, "request");
  const pod = request["object"];
  if (
    textAt(fieldsAt(request, "kind"), "kind") !== "Pod" ||
    textAt(request, "operation") !== "CREATE" ||
    !isFields(pod)
  )
    return { outcome: "skipped", reason: "it is not about a new pod", warnings: [] };
  // The command may have injected it with other options; it would be no help to do it again with ours.
  if (uninjectPod(pod).outcome === "uninjected") return { outcome: "already", pod, warnings: [] };
  return injectPod(pod, options, { kind: "Pod" });
}
