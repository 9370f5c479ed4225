/**
 * What tests of injection have in common: the manifests, the forms a sidecar has, and a text's objects.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import {
  type AnnotationName,
  type InjectOptions,
  type ManifestResult,
  processManifests,
  readDefaults,
} from "../../kubernetes/index.ts";

const FOLDER = join(import.meta.dirname, "../kubernetes/inject/manifests");

/** The manifests by their names, as they are on disk. */
export const MANIFESTS: Readonly<Record<string, string>> = Object.fromEntries(
  readdirSync(FOLDER).map((name) => [name, readFileSync(join(FOLDER, name), "utf8")]),
);

export function optionsOf(annotations: Partial<Record<AnnotationName, string>> = {}): InjectOptions {
  const read = readDefaults(annotations);
  if ("expected" in read) throw new Error(`${read.name}: expected ${read.expected}`);
  return { defaults: read.defaults, image: "heddle:test" };
}

/** Every way in which a sidecar is put into a pod. */
export const FORMS: Readonly<Record<string, InjectOptions>> = {
  native: optionsOf(),
  "native, last": optionsOf({ position: "last" }),
  classic: optionsOf({ sidecar: "classic" }),
  transparent: optionsOf({ mode: "transparent" }),
  "transparent and classic": optionsOf({ mode: "transparent", sidecar: "classic" }),
  "with a ConfigMap": optionsOf({ config: "mesh" }),
  "with probes rewritten": optionsOf({ "rewrite-probes": "enabled" }),
};

/** @throws Error with the faults, where there are any */
export function injected(text: string, options: InjectOptions): string {
  return textOf(processManifests(text, { inject: options }));
}

export function uninjected(text: string): string {
  return textOf(processManifests(text, "uninject"));
}

function textOf({ text, faults }: ManifestResult): string {
  if (text === undefined) throw new Error(JSON.stringify(faults));
  return text;
}

export type Fields = Readonly<Record<string, unknown>>;

/** The objects in a text, those of lists as well, as Kubernetes reads them. */
export function objectsIn(text: string): Fields[] {
  const flat = (value: unknown): Fields[] => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return [];
    const fields = value as Fields;
    return Array.isArray(fields["items"]) ? fields["items"].flatMap(flat) : [fields];
  };
  const documents = parseAllDocuments(text, { schema: "yaml-1.1", logLevel: "silent" });
  return Array.isArray(documents) ? documents.flatMap((document) => flat(document.toJS())) : [];
}

/** The pod of an object, whatever its kind; undefined where there is none. */
export function podOf(object: Fields): Fields | undefined {
  const at = (value: unknown, ...path: string[]): unknown =>
    path.reduce<unknown>((inner, key) => (inner as Fields | undefined)?.[key], value);
  const found =
    object["kind"] === "Pod"
      ? object
      : (at(object, "spec", "jobTemplate", "spec", "template") ?? at(object, "spec", "template"));
  return found as Fields | undefined;
}

/** A container of a pod by its name, of either kind. */
export function containerOf(pod: Fields, name: string): Fields | undefined {
  const spec = pod["spec"] as Readonly<Record<string, readonly Fields[] | null | undefined>>;
  return [...(spec["initContainers"] ?? []), ...(spec["containers"] ?? [])].find(
    (container) => container["name"] === name,
  );
}
