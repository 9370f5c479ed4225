/**
 * An AdmissionReview's pod, for the webhook: the same function, with what the review knows beside the pod.
 *
 * A pod that comes here has been made from a template, mostly by a controller, and its own name says little. So the name of its workload is
 * led back to from its owner: a sidecar that the webhook adds must register the same service as one that the command adds.
 */
import { type Fields, fieldsAt, isFields, listAt, textAt, withoutEnd } from "./fields.ts";
import { type InjectOptions, injectPod, type PodOrigin, type PodOutcome } from "./pod.ts";
import { statusOf } from "./status.ts";

/**
 * @param review an AdmissionReview as the API server sends it
 * @returns what becomes of the pod in it; skipped when it is about something else
 */
export function injectReview(review: unknown, options: InjectOptions): PodOutcome {
  const request = fieldsAt(review, "request");
  const pod = request["object"];
  const kind = fieldsAt(request, "kind");
  if (
    textAt(kind, "kind") !== "Pod" ||
    (textAt(kind, "group") ?? "") !== "" ||
    (textAt(request, "subResource") ?? "") !== "" ||
    textAt(request, "operation") !== "CREATE" ||
    !isFields(pod)
  )
    return { outcome: "skipped", reason: "it is not about a new pod", warnings: [] };
  // The command may have injected it with other options; it would be no help to do it again with ours.
  const read = statusOf(pod);
  if ("status" in read && read.status !== undefined) return { outcome: "already", pod, warnings: [] };
  return injectPod(pod, options, originOf(pod));
}

function originOf(pod: Fields): PodOrigin {
  const metadata = fieldsAt(pod, "metadata");
  const owner = listAt(metadata, "ownerReferences").find((reference) => reference["controller"] === true);
  const kind = textAt(owner, "kind");
  const name = textAt(owner, "name");
  if (kind === undefined || name === undefined) return { kind: "Pod" };
  if (kind === "ReplicaSet") {
    const hash = textAt(fieldsAt(metadata, "labels"), "pod-template-hash");
    return { kind, workload: hash === undefined ? name : withoutEnd(name, `-${hash}`) };
  }
  // A CronJob names its Jobs by itself and the minute since 1970.
  return { kind, workload: kind === "Job" ? name.replace(/(?<=.)-\d{8}$/, "") : name };
}
