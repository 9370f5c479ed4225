/**
 * From an AdmissionReview to its answer: admitted as it is, admitted with a patch, or refused with the reason.
 *
 * Which namespaces take part is not decided here: a pod says nothing of the labels of its namespace, and the API server, which knows them,
 * sends only what the webhook's configuration selects. So every pod that comes is meant, unless it says otherwise.
 *
 * A pod whose annotations are wrong is refused unless the operator wants otherwise. A warning would reach whoever creates the pod, and that is mostly a
 * controller, which drops it; the app would run without its mesh and nobody would know why. A refusal is an event of the
 * ReplicaSet, and a rollout stops while the old pods serve. A failure of our own is the opposite case: the owner of the pod can do nothing about it, so
 * the pod is admitted.
 */
import {
  cut,
  type Fields,
  fieldsAt,
  type InjectOptions,
  injectReview,
  isFields,
  type PodOutcome,
  SWITCH,
  switchOf,
  textAt,
} from "../inject/index.ts";
import { jsonPatch } from "./json-patch.ts";

export interface AdmissionPolicy {
  readonly inject: InjectOptions;
  /** `all` that are sent and do not decline, or those that have `heddle.dev/inject: enabled` themselves. */
  readonly pods: "all" | "asked";
  /** What becomes of a pod that is at fault, such as one with a misspelt annotation. */
  readonly onFault: "deny" | "allow";
  /** What becomes of a pod when we fail ourselves. */
  readonly onFailure: "deny" | "allow";
}

/** What came of a review; each is counted. */
export const VERDICTS = ["injected", "already", "skipped", "faulty", "failed"] as const;

export interface Verdict {
  readonly outcome: (typeof VERDICTS)[number];
  readonly allowed: boolean;
  readonly uid: string;
  readonly namespace: string;
  /** The name, or the beginning of one that the API server has yet to make. */
  readonly pod: string;
  /** Why there is no sidecar. */
  readonly reason?: string;
  /** What our failure was, for the log alone: callers have no use for a stack. */
  readonly err?: unknown;
}

export type Answered =
  | { readonly answer: Fields; readonly verdict: Verdict }
  /** It is no AdmissionReview: what was expected. */
  | { readonly malformed: string };

const VERSIONS = ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"];
/** In characters; the API server may cut longer ones. */
const LONGEST_WARNING = 256;
/** Of a name; who sends a longer one has no right to a longer log. */
const LONGEST_NAME = 253;
/** A pod may have a thousand containers with the same fault. */
const MOST_FAULTS = 50;
/** A Status of Kubernetes for something that is well-formed and cannot be. */
const INVALID = { code: 422, reason: "Invalid" };
const INTERNAL = { code: 500, reason: "InternalError" };

export function answerReview(review: unknown, policy: AdmissionPolicy): Answered {
  const version = textAt(review, "apiVersion");
  if (textAt(review, "kind") !== "AdmissionReview" || version === undefined || !VERSIONS.includes(version))
    return { malformed: `expected an AdmissionReview of ${VERSIONS.join(" or ")}` };
  const request = fieldsAt(review, "request");
  const uid = textAt(request, "uid");
  if (uid === undefined || uid === "") return { malformed: "expected a request with a uid" };
  const metadata = fieldsAt(request["object"], "metadata");
  const about = {
    uid,
    // Both are often not in the pod yet: the API server fills them in behind its webhooks.
    namespace: cut(textAt(request, "namespace") ?? textAt(metadata, "namespace") ?? "", LONGEST_NAME),
    pod: cut(
      textAt(metadata, "name") ?? textAt(request, "name") ?? textAt(metadata, "generateName") ?? "",
      LONGEST_NAME,
    ),
  };
  let outcome: PodOutcome;
  let response: Fields;
  try {
    outcome = outcomeOf(review, policy);
    response = responseTo(request["object"], outcome, policy);
  } catch (err) {
    const allowed = policy.onFailure === "allow";
    const message = `heddle failed and added no sidecar; its log has the reason with the uid ${uid}`;
    response = allowed ? { allowed, warnings: [message] } : { allowed, status: { ...INTERNAL, message } };
    return answered(version, response, { ...about, outcome: "failed", allowed, err });
  }
  const reason =
    outcome.outcome === "skipped"
      ? outcome.reason
      : outcome.outcome === "faulty"
        ? faultTexts(outcome).join("; ")
        : undefined;
  return answered(version, response, {
    ...about,
    outcome: outcome.outcome,
    allowed: response["allowed"] === true,
    ...(reason === undefined ? {} : { reason }),
  });
}

function answered(version: string, response: Fields, verdict: Verdict): Answered {
  return {
    answer: { apiVersion: version, kind: "AdmissionReview", response: { uid: verdict.uid, ...response } },
    verdict,
  };
}

function outcomeOf(review: unknown, policy: AdmissionPolicy): PodOutcome {
  const skipped = (reason: string): PodOutcome => ({ outcome: "skipped", reason, warnings: [] });
  if (policy.pods === "asked" && switchOf(fieldsAt(fieldsAt(review, "request"), "object")) === undefined)
    return skipped(`it does not have the annotation or label ${SWITCH}: enabled`);
  return injectReview(review, policy.inject);
}

function responseTo(pod: unknown, outcome: PodOutcome, policy: AdmissionPolicy): Fields {
  if (outcome.outcome === "faulty") {
    const texts = faultTexts(outcome);
    if (policy.onFault === "allow")
      return { allowed: true, warnings: texts.map((text) => warning(`no sidecar was added: ${text}`)) };
    const advice = `or say ${SWITCH}: disabled to do without a sidecar`;
    return {
      allowed: false,
      status: {
        ...INVALID,
        message: `heddle cannot add a sidecar to this pod: ${texts.join("; ")} (correct it, ${advice})`,
      },
    };
  }
  const warnings =
    outcome.warnings.length === 0 ? {} : { warnings: outcome.warnings.map((text) => warning(text)) };
  if (outcome.outcome !== "injected" || !isFields(pod)) return { allowed: true, ...warnings };
  const patch = Buffer.from(JSON.stringify(jsonPatch(pod, outcome.pod))).toString("base64");
  return { allowed: true, patchType: "JSONPatch", patch, ...warnings };
}

function faultTexts({ faults }: Extract<PodOutcome, { outcome: "faulty" }>): string[] {
  const texts = faults.slice(0, MOST_FAULTS).map(({ path, message }) => {
    const place = path.map((step) => cut(String(step))).join(".");
    return place === "" ? message : `${place}: ${message}`;
  });
  const more = faults.length - texts.length;
  return more === 0 ? texts : [...texts, `and ${more} more`];
}

function warning(text: string): string {
  const whole = `heddle: ${text}`;
  return whole.length <= LONGEST_WARNING ? whole : `${whole.slice(0, LONGEST_WARNING - 1)}…`;
}
