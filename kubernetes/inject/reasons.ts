/**
 * Why a pod gets no sidecar although nothing is wrong with it, and what one should know who gives it one.
 *
 * Where a sidecar would do harm or could do nothing the pod is left as it is, with the reason: a command that is given a whole folder
 * should not stop at a DaemonSet of the node's network. What would work otherwise than it looks is told and done.
 */
import type { Said } from "./annotations.ts";
import { REDIRECT, SIDECAR, VOLUME } from "./container.ts";
import { cut, type Fields, fieldsAt, listAt, numberAt, textAt } from "./fields.ts";
import type { PodPlan } from "./plan.ts";

/** Containers of other meshes, by their names. */
const OTHER_SIDECARS = [
  "istio-proxy",
  "linkerd-proxy",
  "consul-dataplane",
  "envoy-sidecar",
  "daprd",
  "kuma-sidecar",
];

/** Undefined where a sidecar can stand. */
export function skipReason(pod: Fields, said: Said, injected: boolean): string | undefined {
  const spec = fieldsAt(pod, "spec");
  if (said.inject === "disabled") return "disabled by an annotation";
  if (spec["hostNetwork"] === true)
    return "it uses the network of its node, where the ports of a sidecar would be the node's";
  if (isWindows(spec)) return "it is for Windows, and the image is for Linux";
  if (!injected) {
    const taken = [...containersOf(spec), ...listAt(spec, "volumes")]
      .map((entry) => textAt(entry, "name"))
      .find((name) => name === SIDECAR || name === REDIRECT || name === VOLUME);
    if (taken !== undefined) return `it has a container or volume ${taken} that heddle inject has not added`;
  }
  const other = containersOf(spec)
    .map((container) => textAt(container, "name"))
    .find((name) => name !== undefined && OTHER_SIDECARS.includes(name));
  if (other !== undefined) return `it has the sidecar of another mesh, ${other}`;
  if (
    spec["automountServiceAccountToken"] === false &&
    said.discovery === "kubernetes" &&
    said.config === undefined
  )
    return "automountServiceAccountToken is false, and without a token the sidecar cannot read EndpointSlices";
  return undefined;
}

export function warningsFor(pod: Fields, plan: PodPlan, kind: string | undefined): string[] {
  const spec = fieldsAt(pod, "spec");
  const warnings: string[] = [];
  if (!plan.native && (kind === "Job" || kind === "CronJob"))
    warnings.push(
      "a classic sidecar keeps the Job from completing: the app must POST to /drain on the admin port when it is done, or the sidecar be native",
    );
  if (plan.transparent)
    warnings.push(
      `transparent mode needs a namespace that allows NET_ADMIN, and the image ${cut(plan.redirectImage)}`,
    );
  if (!plan.native && listAt(spec, "initContainers").length > 0)
    warnings.push("its init containers run before the classic sidecar, and so without the mesh");
  if (plan.native && !plan.first && listAt(spec, "initContainers").length > 0)
    warnings.push("its init containers run before the sidecar, and so without the mesh");
  const udp = containersOf(spec)
    .flatMap((container) => listAt(container, "ports"))
    .filter((port) => textAt(port, "protocol") === "UDP")
    .map((port) => numberAt(port, "containerPort"));
  if (udp.length > 0) warnings.push(`UDP is not carried: ${cut(udp.join(", "))}`);
  const grace = /^(\d+(?:\.\d+)?)s$/.exec(plan.grace)?.[1];
  if (grace !== undefined && Number(grace) > plan.terminationSeconds)
    warnings.push(
      `a grace of ${cut(plan.grace)} is longer than terminationGracePeriodSeconds, ${plan.terminationSeconds}, after which it is killed`,
    );
  if (spec["automountServiceAccountToken"] === false && plan.configMap !== undefined)
    warnings.push(
      "automountServiceAccountToken is false: the ConfigMap must not name Kubernetes as a source",
    );
  return warnings;
}

function containersOf(spec: Fields): readonly Fields[] {
  return [...listAt(spec, "initContainers"), ...listAt(spec, "containers")];
}

function isWindows(spec: Fields): boolean {
  const selector = fieldsAt(spec, "nodeSelector");
  return (
    textAt(fieldsAt(spec, "os"), "name") === "windows" ||
    selector["kubernetes.io/os"] === "windows" ||
    selector["beta.kubernetes.io/os"] === "windows"
  );
}
