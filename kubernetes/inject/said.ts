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
import { type Fields, isFields } from "./fields.ts";

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
const WRITTEN_BY_HEDDLE = new Set([STATUS, REPLACED]);

/** @param path where the annotations stand */
export function readAnnotations(
  annotations: unknown,
  path: readonly (string | number)[],
  defaults: Said,
): Reading {
  if (annotations === undefined || annotations === null) return { said: defaults, faults: [], warnings: [] };
  if (!isFields(annotations)) {
    const message = `expected a mapping of texts, got ${JSON.stringify(annotations)}`;
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
      fault(`expected a text, in quotes if it looks like a number, got ${JSON.stringify(value)}`);
    else {
      const read = readAnnotation(name, value);
      if ("expected" in read) fault(`expected ${read.expected}, got ${JSON.stringify(value)}`);
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
