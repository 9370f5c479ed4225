/**
 * Whether an object is one that Kubernetes would take: by the schema of its API, and without a field that the API does not have.
 *
 * The schema alone lets unknown fields pass, as the API server does unless it is asked to be strict, so a misspelt field of a container
 * would be dropped silently. The declarations beside the schema name all fields there are.
 */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { MutatingWebhookConfiguration } from "kubernetes-models/admissionregistration.k8s.io/v1";
import { DaemonSet, Deployment, ReplicaSet, StatefulSet } from "kubernetes-models/apps/v1";
import { CronJob, Job } from "kubernetes-models/batch/v1";
import { PodDisruptionBudget } from "kubernetes-models/policy/v1";
import {
  ClusterRole,
  ClusterRoleBinding,
  Role,
  RoleBinding,
} from "kubernetes-models/rbac.authorization.k8s.io/v1";
import { Namespace, Pod, ReplicationController, Service, ServiceAccount } from "kubernetes-models/v1";

interface Validated {
  validate(): void;
}

/** Each with the folder of its declaration. */
const MODELS: Readonly<Record<string, readonly [new (data: never) => Validated, folder: string]>> = {
  ClusterRole: [ClusterRole, "rbac.authorization.k8s.io/v1"],
  ClusterRoleBinding: [ClusterRoleBinding, "rbac.authorization.k8s.io/v1"],
  CronJob: [CronJob, "batch/v1"],
  DaemonSet: [DaemonSet, "apps/v1"],
  Deployment: [Deployment, "apps/v1"],
  Job: [Job, "batch/v1"],
  MutatingWebhookConfiguration: [MutatingWebhookConfiguration, "admissionregistration.k8s.io/v1"],
  Namespace: [Namespace, "v1"],
  Pod: [Pod, "v1"],
  PodDisruptionBudget: [PodDisruptionBudget, "policy/v1"],
  ReplicaSet: [ReplicaSet, "apps/v1"],
  ReplicationController: [ReplicationController, "v1"],
  Role: [Role, "rbac.authorization.k8s.io/v1"],
  RoleBinding: [RoleBinding, "rbac.authorization.k8s.io/v1"],
  Service: [Service, "v1"],
  ServiceAccount: [ServiceAccount, "v1"],
  StatefulSet: [StatefulSet, "apps/v1"],
};

const PACKAGE = join(dirname(fileURLToPath(import.meta.resolve("kubernetes-models/v1"))), "..");

type Fields = Readonly<Record<string, unknown>>;

/** What is wrong with an object of one of these kinds; empty when nothing is. */
export function schemaProblems(object: Fields): string[] {
  const found = MODELS[String(object["kind"])];
  if (found === undefined) return [`no schema for ${object["kind"]}`];
  const [Model, folder] = found;
  const problems = unknownFields(object, join(PACKAGE, folder, `${object["kind"]}.d.ts`), "");
  try {
    new Model(object as never).validate();
  } catch (thrown) {
    problems.push((thrown as Error).message);
  }
  return problems;
}

/** The type of each field, by its name, and the files of the types. */
interface Declaration {
  readonly types: ReadonlyMap<string, string>;
  readonly files: ReadonlyMap<string, string>;
}

const declarations = new Map<string, Declaration | undefined>();

/** Undefined for a type that is no mapping with named fields. */
function declarationIn(file: string): Declaration | undefined {
  if (declarations.has(file)) return declarations.get(file);
  const text = readFileSync(file, "utf8");
  const body = /export interface I\w+[^{]*\{\n([\s\S]*?)\n\}/.exec(text)?.[1];
  const types = new Map(
    [...(body ?? "").matchAll(/^ {4}"([^"]+)"\??: (.*)$/gm)].map(([, name, type]) => [name!, type!]),
  );
  const files = new Map(
    [...text.matchAll(/^import \{ (\w+) \} from "(\.[^"]+)\.js";$/gm)].map(([, type, path]) => [
      type!,
      join(dirname(file), `${path}.d.ts`),
    ]),
  );
  const declaration = types.size === 0 ? undefined : { types, files };
  declarations.set(file, declaration);
  return declaration;
}

function unknownFields(value: unknown, file: string, path: string): string[] {
  if (Array.isArray(value)) return value.flatMap((item, i) => unknownFields(item, file, `${path}[${i}]`));
  const declaration = declarationIn(file);
  if (declaration === undefined || typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const type = declaration.types.get(key);
    if (type === undefined) return [`unknown field ${path}.${key}`];
    const name = /^(?:Array<)?(\w+)>?;$/.exec(type)?.[1];
    const next = name === undefined ? undefined : declaration.files.get(name);
    return next === undefined ? [] : unknownFields(inner, next, `${path}.${key}`);
  });
}
