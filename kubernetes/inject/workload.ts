/**
 * Where pods stand in Kubernetes' objects.
 */
import { type Fields, fieldsAt, isFields, textAt } from "./fields.ts";

type Path = readonly (string | number)[];

/** From an object to the pod in it, by its kind. */
const POD_PATHS: Readonly<Record<string, Path>> = {
  Pod: [],
  Deployment: ["spec", "template"],
  StatefulSet: ["spec", "template"],
  DaemonSet: ["spec", "template"],
  ReplicaSet: ["spec", "template"],
  ReplicationController: ["spec", "template"],
  Job: ["spec", "template"],
  CronJob: ["spec", "jobTemplate", "spec", "template"],
};

/** The groups that have these kinds; another group may use the same word for something else. */
const GROUPS = /^(?:v1|(?:apps|batch|extensions)\/\w+)$/;

export const WORKLOAD_KINDS: readonly string[] = Object.keys(POD_PATHS);

export interface Resource {
  readonly kind: string;
  /** With its namespace if it says one; a word for one without a name. */
  readonly name: string;
  /** The name of the workload; undefined for a pod. */
  readonly workload: string | undefined;
  readonly path: Path;
  /** Where its pod stands in the document; undefined for what has none. */
  readonly podPath: Path | undefined;
}

/** All objects in a document, those of lists in lists as well. What is no object of Kubernetes gives nothing. */
export function resourcesIn(value: unknown, path: Path = []): Resource[] {
  if (!isFields(value)) return [];
  const kind = textAt(value, "kind");
  const version = textAt(value, "apiVersion");
  if (kind === undefined) return [];
  const { items } = value;
  if (kind.endsWith("List") && Array.isArray(items))
    return items.flatMap((item, i) => resourcesIn(item, [...path, "items", i]));
  const metadata = fieldsAt(value, "metadata");
  const name = textAt(metadata, "name");
  const own = name ?? textAt(metadata, "generateName");
  const namespace = textAt(metadata, "namespace");
  const within = GROUPS.test(version ?? "") && Object.hasOwn(POD_PATHS, kind) ? POD_PATHS[kind]! : undefined;
  return [
    {
      kind,
      name: own === undefined ? "without a name" : namespace === undefined ? own : `${namespace}/${own}`,
      workload: kind === "Pod" ? undefined : name,
      path,
      podPath: within === undefined ? undefined : [...path, ...within],
    },
  ];
}

export function valueAt(value: unknown, path: Path): unknown {
  let inner = value;
  for (const step of path) {
    if (typeof inner !== "object" || inner === null || !Object.hasOwn(inner, step)) return undefined;
    inner = (inner as Readonly<Record<string | number, unknown>>)[step];
  }
  return inner;
}

/** A copy with another value at this path. */
export function withValueAt(value: unknown, [step, ...rest]: Path, given: unknown): unknown {
  if (step === undefined) return given;
  if (Array.isArray(value)) return value.with(Number(step), withValueAt(value[Number(step)], rest, given));
  const fields = value as Fields;
  return { ...fields, [step]: withValueAt(fields[step], rest, given) };
}
