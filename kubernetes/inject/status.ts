/**
 * What was done to a pod, kept in one of its annotations, and undoing it.
 *
 * Only what cannot be seen from the pod is kept: which lists and mappings were not there before, and what the probes were. What was added
 * is known by its name.
 */
import { REPLACED, STATUS } from "./annotations.ts";
import { REDIRECT, SIDECAR, VOLUME } from "./container.ts";
import { copyOf, type Fields, fieldsAt, isFields, textAt, withFields } from "./fields.ts";

/** Who shows up in `kubectl logs` when nobody is named. */
export const DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container";

export interface Status {
  readonly form: "native" | "classic";
  /** What was not there, or was there and empty, by its path, with what stood there; a text for nothing at all. */
  readonly was?: Readonly<Record<string, unknown>>;
  /** The annotation for kubectl was added. */
  readonly defaultContainer?: true;
  /** The probes before they were rewritten, by `containers/NAME/readinessProbe`. */
  readonly probes?: Readonly<Record<string, unknown>>;
}

export const ABSENT = "absent";

export type StatusRead =
  | { readonly status: Status }
  /** Nobody has injected this pod. */
  | { readonly status: undefined }
  | { readonly got: unknown };

export function statusOf(pod: Fields): StatusRead {
  const text = fieldsAt(fieldsAt(pod, "metadata"), "annotations")[STATUS];
  if (text === undefined) return { status: undefined };
  try {
    const value: unknown = typeof text === "string" ? JSON.parse(text) : undefined;
    if (
      isFields(value) &&
      (value["form"] === "native" || value["form"] === "classic") &&
      [value["was"], value["probes"]].every((part) => part === undefined || isFields(part))
    )
      return { status: value as unknown as Status };
  } catch {
    // Somebody has written into it.
  }
  return { got: text };
}

/** The pod as it was before it was injected with this status. */
export function withoutSidecar(pod: Fields, status: Status): Fields {
  const annotations = Object.fromEntries(
    Object.entries(fieldsAt(fieldsAt(pod, "metadata"), "annotations")).filter(
      ([key]) =>
        key !== STATUS && key !== REPLACED && !(status.defaultContainer && key === DEFAULT_CONTAINER),
    ),
  );
  const was = status.was ?? {};
  let spec = restored(fieldsAt(pod, "spec"), "spec", was, {
    initContainers: without(pod, "initContainers", [REDIRECT, SIDECAR]),
    containers: without(pod, "containers", [SIDECAR]),
    volumes: without(pod, "volumes", [VOLUME]),
  });
  spec = withOldProbes(spec, status.probes ?? {});
  const metadata = restored(fieldsAt(pod, "metadata"), "metadata", was, { annotations });
  return restored({ ...pod, spec }, "", was, { metadata });
}

/** Each part as it is given; one that has become empty as it was. */
function restored(
  holder: Fields,
  path: string,
  was: Readonly<Record<string, unknown>>,
  parts: Fields,
): Fields {
  const changes: Record<string, unknown> = {};
  for (const [key, part] of Object.entries(parts)) {
    if (!Object.hasOwn(holder, key)) continue;
    const place = path === "" ? key : `${path}/${key}`;
    const isEmpty = typeof part === "object" && part !== null && Object.keys(part).length === 0;
    changes[key] = isEmpty && Object.hasOwn(was, place) ? copyOf(was[place]) : part;
    if (changes[key] === ABSENT) changes[key] = undefined;
  }
  return withFields(holder, changes);
}

function without(pod: Fields, key: string, names: readonly string[]): unknown {
  const list = fieldsAt(pod, "spec")[key];
  if (!Array.isArray(list)) return list;
  return list.filter((entry: unknown) => !names.includes(textAt(entry, "name") ?? ""));
}

function withOldProbes(spec: Fields, probes: Readonly<Record<string, unknown>>): Fields {
  /** Of each list, by the names of its containers: one pass over them, however many probes there are. */
  const lists = new Map<string, Map<string, Record<string, unknown>>>();
  for (const [place, probe] of Object.entries(probes)) {
    const [list = "", name = "", kind = ""] = place.split("/");
    const containers = lists.get(list) ?? new Map<string, Record<string, unknown>>();
    containers.set(name, { ...containers.get(name), [kind]: probe });
    lists.set(list, containers);
  }
  let result = spec;
  for (const [list, olds] of lists) {
    const containers = result[list];
    if (!Array.isArray(containers)) continue;
    const restoredOne = (container: unknown) => {
      const old = olds.get(textAt(container, "name") ?? "");
      if (!isFields(container) || old === undefined) return container;
      const there = Object.entries(old).filter(([kind]) => Object.hasOwn(container, kind));
      return { ...container, ...copyOf(Object.fromEntries(there)) };
    };
    result = withFields(result, { [list]: containers.map(restoredOne) });
  }
  return result;
}
