/**
 * A pod in, a pod with a sidecar out. The command for manifests and the admission webhook both come down to this function.
 *
 * It knows no text and no cluster: plain values in, plain values out, and what was given is not changed. A pod that has a sidecar of
 * ours already is first made what it was, so that injecting twice is injecting once, and injecting with other annotations is
 * injecting anew.
 */
import { isDeepStrictEqual } from "node:util";
import { REPLACED, type Said, STATUS } from "./annotations.ts";
import { configurationFault, configurationText, lengthFault } from "./configuration.ts";
import { configVolume, redirectContainer, sidecarContainer } from "./container.ts";
import {
  copyOf,
  type Fields,
  fieldsAt,
  isFields,
  listAt,
  textAt,
  told,
  withFieldBefore,
  withFields,
} from "./fields.ts";
import { type PodPlan, planPod } from "./plan.ts";
import { rewriteProbes } from "./probes.ts";
import { skipReason, warningsFor } from "./reasons.ts";
import { type InjectFault, labelFaults, readAnnotations, switchOf } from "./said.ts";
import { ABSENT, DEFAULT_CONTAINER, type Status, statusOf, withoutSidecar } from "./status.ts";

export interface InjectOptions {
  /** What holds where the pod's annotations say nothing. */
  readonly defaults: Said;
  /** The sidecar's image where nothing else says one. */
  readonly image: string;
}

/** What is known of a pod beside itself. */
export interface PodOrigin {
  /** The name of the workload whose template it is. */
  readonly workload?: string | undefined;
  /** The workload's kind, such as `Job`. */
  readonly kind?: string | undefined;
  /** Where it stands in its document, for faults. */
  readonly path?: readonly (string | number)[];
}

export type PodOutcome =
  | { readonly outcome: "injected" | "already"; readonly pod: Fields; readonly warnings: readonly string[] }
  | { readonly outcome: "skipped"; readonly reason: string; readonly warnings: readonly string[] }
  | { readonly outcome: "faulty"; readonly faults: readonly InjectFault[] };

/** @param pod a pod, or the template of one: `metadata` and `spec` */
export function injectPod(pod: unknown, options: InjectOptions, origin: PodOrigin = {}): PodOutcome {
  const path = origin.path ?? [];
  const faulty = (at: readonly (string | number)[], message: string): PodOutcome => ({
    outcome: "faulty",
    faults: [{ path: [...path, ...at], message }],
  });
  if (!isFields(pod)) return faulty([], `expected a mapping, got ${told(pod)}`);
  const asked = switchOf(pod);
  if (asked === "disabled")
    return { outcome: "skipped", reason: "disabled by an annotation or a label", warnings: [] };
  const strange = strangePart(pod);
  if (strange !== undefined) return faulty(strange.at, strange.message);
  const read = statusOf(pod);
  if ("got" in read)
    return faulty(
      ["metadata", "annotations", STATUS],
      `expected what heddle inject has written, got ${told(read.got)}`,
    );
  const plain = copyOf(read.status === undefined ? pod : withoutSidecar(pod, read.status));
  const annotations = fieldsAt(plain, "metadata")["annotations"];
  const { said, faults, warnings } = readAnnotations(
    annotations,
    [...path, "metadata", "annotations"],
    options.defaults,
  );
  const wrongs = [...labelFaults(plain, path), ...faults];
  if (wrongs.length > 0) return { outcome: "faulty", faults: wrongs };
  // Consul's annotation of the same meaning counts where the pod says nothing itself.
  const reason = skipReason(
    plain,
    asked === undefined ? said : { ...said, inject: asked },
    read.status !== undefined,
  );
  if (reason !== undefined) return { outcome: "skipped", reason, warnings };
  const planned = planPod(plain, said, { workload: origin.workload, image: options.image }, path);
  if ("faults" in planned) return { outcome: "faulty", faults: planned.faults };
  const { plan } = planned;
  if (plan.service === undefined && plan.upstreams.length === 0 && plan.configMap === undefined)
    return {
      outcome: "skipped",
      reason:
        "there is nothing to do: it declares no port, and no annotation says heddle.dev/port, upstreams or config",
      warnings,
    };
  const injected = withSidecar(plain, plan);
  const wrong =
    lengthFault(injected.configuration) ??
    (plan.configMap === undefined ? configurationFault(injected.configuration) : undefined);
  if (wrong !== undefined) return faulty(["metadata", "annotations"], wrong);
  const already = isDeepStrictEqual(injected.pod, withoutReplaced(pod));
  return {
    outcome: already ? "already" : "injected",
    pod: already ? pod : injected.pod,
    warnings: [...warnings, ...warningsFor(plain, plan, origin.kind), ...injected.warnings],
  };
}

/** The texts of a manifest that are kept say nothing of the pod. */
function withoutReplaced(pod: Fields): Fields {
  const metadata = fieldsAt(pod, "metadata");
  const annotations = fieldsAt(metadata, "annotations");
  if (!Object.hasOwn(annotations, REPLACED)) return pod;
  return {
    ...pod,
    metadata: { ...metadata, annotations: withFields(annotations, { [REPLACED]: undefined }) },
  };
}

export type Uninjected =
  | { readonly outcome: "uninjected"; readonly pod: Fields }
  | { readonly outcome: "skipped"; readonly reason: string }
  | { readonly outcome: "faulty"; readonly faults: readonly InjectFault[] };

/** The opposite of injecting. */
export function uninjectPod(pod: unknown, path: readonly (string | number)[] = []): Uninjected {
  const read = isFields(pod) ? statusOf(pod) : { status: undefined };
  if ("got" in read) {
    const message = `expected what heddle inject has written, got ${told(read.got)}`;
    return {
      outcome: "faulty",
      faults: [{ path: [...path, "metadata", "annotations", STATUS], message }],
    };
  }
  if (read.status === undefined || !isFields(pod))
    return { outcome: "skipped", reason: "it is not injected" };
  return { outcome: "uninjected", pod: copyOf(withoutSidecar(pod, read.status)) };
}

/** A part that is not what Kubernetes asks for, where nothing could be added without guessing. */
function strangePart(pod: Fields): { readonly at: readonly string[]; readonly message: string } | undefined {
  if (!isFields(pod["spec"]))
    return { at: ["spec"], message: `expected a mapping, got ${told(pod["spec"])}` };
  const { metadata, spec } = pod;
  if (metadata !== undefined && metadata !== null && !isFields(metadata))
    return { at: ["metadata"], message: `expected a mapping, got ${told(metadata)}` };
  const annotations = fieldsAt(pod, "metadata")["annotations"];
  if (annotations !== undefined && annotations !== null && !isFields(annotations))
    return {
      at: ["metadata", "annotations"],
      message: `expected a mapping of texts, got ${told(annotations)}`,
    };
  for (const key of ["containers", "initContainers", "volumes"]) {
    const list = spec[key];
    const missing = list === undefined || list === null;
    if (missing && key !== "containers") continue;
    if (!Array.isArray(list) || (key === "containers" && list.length === 0))
      return { at: ["spec", key], message: `expected a list of ${key}, got ${told(list)}` };
  }
  return undefined;
}

function withSidecar(
  pod: Fields,
  plan: PodPlan,
): { readonly pod: Fields; readonly configuration: string; readonly warnings: readonly string[] } {
  const original = fieldsAt(pod, "spec");
  const rewritten = plan.rewriteProbes
    ? rewriteProbes(original, plan.ports.health)
    : { spec: original, probes: [], originals: {}, warnings: [] };
  const configuration = configurationText(plan, rewritten.probes);
  const sidecar = sidecarContainer(plan, configuration);
  const was: Record<string, unknown> = {};
  const note = (holder: Fields, key: string, place: string) => {
    const value = holder[key];
    if (!Object.hasOwn(holder, key)) was[place] = ABSENT;
    else if (!isFields(value) && !Array.isArray(value)) was[place] = value;
  };
  let { spec } = rewritten;
  const volume = configVolume(plan);
  if (volume !== undefined) {
    note(original, "volumes", "spec/volumes");
    spec = withFields(spec, { volumes: [...listOf(spec, "volumes"), volume] });
  }
  const added = [...(plan.transparent ? [redirectContainer(plan)] : []), ...(plan.native ? [sidecar] : [])];
  if (added.length > 0) {
    note(original, "initContainers", "spec/initContainers");
    const others = listOf(spec, "initContainers");
    const first = plan.first && plan.native;
    const all = first ? [...added, ...others] : [...others, ...added];
    spec = withFieldBefore(spec, "initContainers", all, "containers");
  }
  if (!plan.native) spec = { ...spec, containers: [sidecar, ...listOf(spec, "containers")] };
  const metadata = fieldsAt(pod, "metadata");
  const annotations = fieldsAt(metadata, "annotations");
  note(pod, "metadata", "metadata");
  note(metadata, "annotations", "metadata/annotations");
  const app = textAt(listAt(original, "containers")[0], "name");
  const marks = !plan.native && app !== undefined && !Object.hasOwn(annotations, DEFAULT_CONTAINER);
  const status: Status = {
    form: plan.native ? "native" : "classic",
    ...(Object.keys(was).length === 0 ? {} : { was }),
    ...(marks ? { defaultContainer: true } : {}),
    ...(Object.keys(rewritten.originals).length === 0 ? {} : { probes: rewritten.originals }),
  };
  const marked = {
    ...annotations,
    ...(marks ? { [DEFAULT_CONTAINER]: app } : {}),
    [STATUS]: JSON.stringify(status),
  };
  const result = withFieldBefore({ ...pod, spec }, "metadata", { ...metadata, annotations: marked }, "spec");
  return { pod: result, configuration, warnings: rewritten.warnings };
}

function listOf(spec: Fields, key: string): readonly unknown[] {
  const list = spec[key];
  return Array.isArray(list) ? list : [];
}
