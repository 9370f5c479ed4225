/**
 * What is asked for, from all places where it can be: the pod's annotations, Consul's annotations, the options of the command.
 */
import { suggestion } from "../../config/index.ts";
import {
  ANNOTATIONS,
  type AnnotationName,
  isAnnotationName,
  PREFIX,
  REPLACED,
  readAnnotation,
  type Said,
  STATUS,
} from "./annotations.ts";
import { mergedMeta, readConsulAnnotations } from "./consul-annotations.ts";
import { type Fields, fieldsAt, isFields, told } from "./fields.ts";

/** What is wrong with an object, with the place inside of it. */
export interface InjectFault {
  readonly path: readonly (string | number)[];
  /** What was expected, and what came. */
  readonly message: string;
}

export interface Reading {
  readonly said: Said;
  readonly faults: readonly InjectFault[];
  readonly warnings: readonly string[];
}

/** More would help nobody, and whoever may create pods could make the webhook think for seconds about words that are not known. */
const MOST_FAULTS = 50;
/** The annotation and the label that decide whether there is a sidecar. */
export const SWITCH = `${PREFIX}inject`;
const WRITTEN_BY_HEDDLE = new Set([STATUS, REPLACED]);

/**
 * What a pod says of itself, by the annotation or the label of the same name; where they differ, declining wins. The label is what the API server
 * can select pods by, so both count, for the command as for the webhook.
 */
export function switchOf(pod: Fields): "enabled" | "disabled" | undefined {
  const said = switchesIn(pod).map((value) => (typeof value === "string" ? value.trim() : value));
  return (["disabled", "enabled"] as const).find((word) => said.includes(word));
}

/** A label that is neither one word nor the other; the annotation is read among the others. */
export function labelFaults(pod: Fields, path: readonly (string | number)[]): InjectFault[] {
  const [, label] = switchesIn(pod);
  if (label === undefined || label === "enabled" || label === "disabled") return [];
  const { expected } = ANNOTATIONS.inject.kind;
  return [
    { path: [...path, "metadata", "labels", SWITCH], message: `expected ${expected}, got ${told(label)}` },
  ];
}

function switchesIn(pod: Fields): readonly [annotation: unknown, label: unknown] {
  const metadata = fieldsAt(pod, "metadata");
  return [fieldsAt(metadata, "annotations")[SWITCH], fieldsAt(metadata, "labels")[SWITCH]];
}

/** @param path where the annotations stand */
export function readAnnotations(
  annotations: unknown,
  path: readonly (string | number)[],
  defaults: Said,
): Reading {
  if (annotations === undefined || annotations === null) return { said: defaults, faults: [], warnings: [] };
  if (!isFields(annotations)) {
    const message = `expected a mapping of texts, got ${told(annotations)}`;
    return { said: defaults, faults: [{ path, message }], warnings: [] };
  }
  const faults: InjectFault[] = [];
  const own: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(annotations)) {
    if (faults.length === MOST_FAULTS) break;
    if (!key.startsWith(PREFIX) || WRITTEN_BY_HEDDLE.has(key)) continue;
    const fault = (message: string) => faults.push({ path: [...path, key], message });
    const name = key.slice(PREFIX.length);
    if (!isAnnotationName(name)) fault(unknownAnnotation(name));
    else if (typeof value !== "string")
      fault(`expected a text, in quotes if it looks like a number, got ${told(value)}`);
    else {
      const read = readAnnotation(name, value);
      if ("expected" in read) fault(`expected ${read.expected}, got ${told(value)}`);
      else own[name] = read.value;
    }
  }
  const consul = readConsulAnnotations(annotations);
  const said: Said = { ...defaults, ...consul.said, ...own };
  const meta = mergedMeta(own["service-meta"] as Said["service-meta"], consul.said["service-meta"]);
  return {
    said: meta === undefined ? said : { ...said, "service-meta": meta },
    faults,
    warnings: consul.warnings,
  };
}

function unknownAnnotation(name: string): string {
  const near = suggestion(name, Object.keys(ANNOTATIONS));
  return `unknown annotation${near === undefined ? "" : `; did you mean ${PREFIX}${near}?`}`;
}

/** Annotations of ours that stand where no pod gets them. */
export function misplacedAnnotations(metadata: unknown, path: readonly (string | number)[]): InjectFault[] {
  const annotations = isFields(metadata) ? metadata["annotations"] : undefined;
  if (!isFields(annotations)) return [];
  return Object.keys(annotations as Fields)
    .filter((key) => key.startsWith(PREFIX))
    .map((key) => ({
      path: [...path, "annotations", key],
      message: "expected it among the annotations of the pod template, where pods get it",
    }));
}

/** What the command line says in place of annotations; undefined where a text is no such value. */
export function readDefaults(
  texts: Readonly<Partial<Record<AnnotationName, string>>>,
): { readonly defaults: Said } | { readonly name: AnnotationName; readonly expected: string } {
  const defaults: Record<string, unknown> = {};
  for (const [name, text] of Object.entries(texts) as [AnnotationName, string][]) {
    const read = readAnnotation(name, text);
    if ("expected" in read) return { name, expected: read.expected };
    defaults[name] = read.value;
  }
  return { defaults };
}
