/**
 * A text with manifests in, the same text with sidecars out, and a word on each object.
 *
 * Nothing comes out while anything in the text is wrong: half of an application with sidecars is worse than none of it. What has no pod,
 * or must not have a sidecar, comes out as it came in, to the byte.
 */
import { isDeepStrictEqual } from "node:util";
import {
  type Document,
  isCollection,
  isMap,
  isPair,
  isScalar,
  LineCounter,
  type Node,
  parseAllDocuments,
} from "yaml";
import { REPLACED } from "./annotations.ts";
import { fieldsAt, isFields, textAt, withFields } from "./fields.ts";
import { type InjectOptions, injectPod, uninjectPod } from "./pod.ts";
import { type InjectFault, misplacedAnnotations } from "./said.ts";
import type { Originals } from "./splice.ts";
import { type Resource, resourcesIn, valueAt, withValueAt } from "./workload.ts";
import { READING, readBack, rewritten, valueIn } from "./yaml-text.ts";

export interface ManifestFault {
  /** From 1. */
  readonly line: number;
  readonly column: number;
  /** From 1, in the text. */
  readonly document: number;
  /** `Deployment web`; empty where it cannot be known. */
  readonly object: string;
  /** `spec.template.metadata.annotations["heddle.dev/port"]`; empty for the document as a whole. */
  readonly path: string;
  /** What was expected, and what came. */
  readonly message: string;
}

export interface ObjectReport {
  readonly kind: string;
  readonly name: string;
  readonly outcome:
    | "injected"
    | "already injected"
    | "injected anew"
    | "skipped"
    | "untouched"
    | "uninjected";
  /** Why it was skipped. */
  readonly reason?: string;
  readonly warnings: readonly string[];
}

export interface ManifestResult {
  /** Undefined when there are faults. */
  readonly text: string | undefined;
  readonly reports: readonly ObjectReport[];
  readonly faults: readonly ManifestFault[];
}

/** What is to be done with the pods of a text. */
export type Work = { readonly inject: InjectOptions } | "uninject";

/** @param text YAML with any number of documents, or JSON */
export function processManifests(text: string, work: Work): ManifestResult {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { ...READING, lineCounter: lines });
  const reports: ObjectReport[] = [];
  const faults: ManifestFault[] = [];
  let result = "";
  let done = 0;
  if (Array.isArray(documents))
    for (const [i, document] of documents.entries()) {
      const end = document.range[2];
      const chunk = text.slice(done, end);
      done = end;
      const outcome = processDocument(chunk, document as Document.Parsed, work);
      reports.push(...outcome.reports);
      for (const { at, object, path, message } of outcome.faults) {
        const { line, col } = lines.linePos(at);
        const place = { line: Math.max(1, line), column: Math.max(1, col), document: i + 1 };
        faults.push({ ...place, object, path, message });
      }
      result += outcome.text;
    }
  result += text.slice(done);
  if (faults.length === 0 && result !== text && documentsIn(result) !== documentsIn(text)) {
    const message = "expected documents with lines --- between them, got some that run into each other";
    faults.push({ line: 1, column: 1, document: 1, object: "", path: "", message });
  }
  return { text: faults.length > 0 ? undefined : result, reports, faults };
}

/** How many documents there are; -1 where something is no YAML. */
function documentsIn(text: string): number {
  const documents = parseAllDocuments(text, READING);
  if (!Array.isArray(documents)) return 0;
  return documents.every(({ errors }) => errors.length === 0) ? documents.length : -1;
}

interface DocumentFault {
  readonly at: number;
  readonly object: string;
  readonly path: string;
  readonly message: string;
}

interface DocumentResult {
  readonly text: string;
  readonly reports: readonly ObjectReport[];
  readonly faults: readonly DocumentFault[];
}

/** A pod that is to become another. */
interface Change {
  readonly resource: Resource;
  readonly pod: unknown;
}

function processDocument(chunk: string, document: Document.Parsed, work: Work): DocumentResult {
  const unreadable = (at: number, message: string): DocumentResult => ({
    text: chunk,
    reports: [],
    faults: [{ at, object: "", path: "", message }],
  });
  const [error] = document.errors;
  if (error !== undefined) return unreadable(error.pos[0], `expected YAML, got: ${firstLine(error.message)}`);
  let value: unknown;
  try {
    value = valueIn(document);
  } catch (thrown) {
    return unreadable(document.range[0], `expected YAML, got: ${(thrown as Error).message}`);
  }
  const reports: ObjectReport[] = [];
  const faults: DocumentFault[] = [];
  const changes: Change[] = [];
  const injectedBefore: Change[] = [];
  for (const resource of resourcesIn(value)) {
    const { kind, name, podPath } = resource;
    const report = (outcome: ObjectReport["outcome"], warnings: readonly string[] = [], reason?: string) =>
      reports.push({ kind, name, outcome, warnings, ...(reason === undefined ? {} : { reason }) });
    const wrong = (found: readonly InjectFault[]) => {
      for (const { path, message } of found)
        faults.push({
          at: offsetOf(document, path),
          object: `${kind} ${name}`,
          path: formatPath(path),
          message,
        });
    };
    if (podPath === undefined) {
      report("untouched");
      continue;
    }
    const pod = valueAt(value, podPath);
    const uninjected = uninjectPod(pod, podPath);
    if (work === "uninject") {
      if (uninjected.outcome === "faulty") wrong(uninjected.faults);
      else if (uninjected.outcome === "skipped") report("skipped", [], uninjected.reason);
      else {
        report("uninjected");
        injectedBefore.push({ resource, pod: uninjected.pod });
      }
      continue;
    }
    if (podPath.length > resource.path.length)
      wrong(
        misplacedAnnotations(fieldsAt(valueAt(value, resource.path), "metadata"), [
          ...resource.path,
          "metadata",
        ]),
      );
    const origin = { workload: resource.workload, kind, path: podPath };
    const outcome = injectPod(pod, work.inject, origin);
    if (outcome.outcome === "faulty") wrong(outcome.faults);
    else if (outcome.outcome === "skipped") report("skipped", outcome.warnings, outcome.reason);
    else if (outcome.outcome === "already") report("already injected", outcome.warnings);
    else {
      const anew = uninjected.outcome === "uninjected";
      report(anew ? "injected anew" : "injected", outcome.warnings);
      if (anew) injectedBefore.push({ resource, pod: uninjected.pod });
      changes.push({ resource, pod: outcome.pod });
    }
  }
  if (faults.length > 0 || changes.length + injectedBefore.length === 0)
    return { text: chunk, reports, faults };
  // Behind a document that is no YAML, the next one may begin where it does not seem to.
  if (!isDeepStrictEqual(readBack(chunk), value))
    return unreadable(
      document.range[0],
      "expected a document that can be read by itself, got one that cannot",
    );
  const plain = injectedBefore.length === 0 ? chunk : uninjectedText(chunk, value, injectedBefore);
  if (changes.length === 0 && plain !== undefined) return { text: plain, reports, faults };
  const injected = plain === undefined ? undefined : injectedText(plain, changes);
  if (injected !== undefined)
    return { text: injected.text, reports: injected.whole ? reports.map(writtenAnew) : reports, faults };
  return unreadable(
    document.range[0],
    "expected a document that can be changed, got one with an anchor or a key that cannot",
  );
}

/** The document before it was injected: to the byte, where nobody has written into what was added. */
function uninjectedText(chunk: string, value: unknown, changes: readonly Change[]): string | undefined {
  const originals: Record<string, string> = {};
  for (const { resource } of changes) {
    const annotations = fieldsAt(fieldsAt(valueAt(value, resource.podPath!), "metadata"), "annotations");
    Object.assign(originals, readOriginals(textAt(annotations, REPLACED)));
  }
  const after = withPods(value, changes);
  const found =
    rewritten(chunk, after, originals) ?? rewritten(chunk, after) ?? rewritten(chunk, after, {}, true);
  return found?.text;
}

function readOriginals(text: string | undefined): Originals {
  try {
    const value: unknown = JSON.parse(text ?? "{}");
    if (isFields(value) && Object.values(value).every((original) => typeof original === "string"))
      return value as Originals;
  } catch {
    // Somebody has written into it: then it is done without.
  }
  return {};
}

function writtenAnew(report: ObjectReport): ObjectReport {
  const warning =
    "its document is written anew, without comments, since anchors in it are shared; --uninject gives back what it was";
  return report.outcome === "injected" || report.outcome === "injected anew"
    ? { ...report, warnings: [...report.warnings, warning] }
    : report;
}

interface InjectedText {
  readonly text: string;
  /** All of it was written anew. */
  readonly whole: boolean;
}

/** The document with its pods injected; undefined when there is no way back to the byte. */
function injectedText(plain: string, changes: readonly Change[]): InjectedText | undefined {
  for (const whole of [false, true]) {
    const value = valueOfText(plain);
    // Its own replaced texts are among what is written, so they must be known first; they do not depend on each other.
    const first = rewritten(plain, withPods(value, changes), {}, whole);
    if (first === undefined) continue;
    const kept = changes.map(({ resource, pod }, i) => ({
      resource,
      pod: withReplaced(pod, shareOf(first.replaced, changes, i)),
    }));
    const after = withPods(value, kept);
    const found = Object.keys(first.replaced).length === 0 ? first : rewritten(plain, after, {}, whole);
    if (found === undefined) continue;
    const there = valueOfText(found.text);
    const back = changes.map(({ resource }) => {
      const undone = uninjectPod(valueAt(there, resource.podPath!));
      return { resource, pod: undone.outcome === "uninjected" ? undone.pod : undefined };
    });
    if (uninjectedText(found.text, there, back) === plain) return { text: found.text, whole };
  }
  return undefined;
}

/** The replaced texts that one of the pods keeps: those inside of it, and the first pod those that are inside of none. */
function shareOf(replaced: Originals, changes: readonly Change[], index: number): Originals | undefined {
  const within = (key: string, { resource }: Change) =>
    key === "" ? false : `${key}/`.startsWith(resource.podPath!.map((step) => `${step}/`).join(""));
  const share = Object.entries(replaced).filter(([key]) => {
    const owner = changes.findIndex((change) => within(key, change));
    return (owner < 0 ? 0 : owner) === index;
  });
  return share.length === 0 ? undefined : Object.fromEntries(share);
}

function withReplaced(pod: unknown, originals: Originals | undefined): unknown {
  if (!isFields(pod)) return pod;
  const metadata = fieldsAt(pod, "metadata");
  const annotations = fieldsAt(metadata, "annotations");
  const text = originals === undefined ? undefined : JSON.stringify(originals);
  if (text === undefined && !Object.hasOwn(annotations, REPLACED)) return pod;
  return {
    ...pod,
    metadata: { ...metadata, annotations: withFields(annotations, { [REPLACED]: text }) },
  };
}

function withPods(value: unknown, changes: readonly Change[]): unknown {
  return changes.reduce((whole, { resource, pod }) => withValueAt(whole, resource.podPath!, pod), value);
}

function valueOfText(text: string): unknown {
  return valueIn(parseAllDocuments(text, READING)[0] as Document.Parsed);
}

function firstLine(message: string): string {
  return message.split("\n", 1)[0]!.replace(/ at line \d+, column \d+:?$/, "");
}

/** `spec.containers[0].ports`, and what is no word in brackets and quotes. */
function formatPath(path: readonly (string | number)[]): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === "number") return `${text}[${step}]`;
    if (!/^\w+$/.test(step)) return `${text}[${JSON.stringify(step)}]`;
    return text === "" ? step : `${text}.${step}`;
  }, "");
}

/** Where the value at a path begins, or the nearest thing around it. */
function offsetOf(document: Document.Parsed, path: readonly (string | number)[]): number {
  let node: unknown = document.contents;
  let offset = document.contents?.range?.[0] ?? 0;
  for (const step of path) {
    if (!isCollection(node)) break;
    if (isMap(node)) {
      const pair = node.items.find(
        (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(step),
      );
      if (pair === undefined) break;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value;
    } else node = node.items[Number(step)];
    const start = (node as Node | null)?.range?.[0];
    if (start !== undefined) offset = start;
  }
  return offset;
}
