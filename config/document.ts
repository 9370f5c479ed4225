/**
 * YAML text as plain values, with the place of each of them.
 */
import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isPair,
  isScalar,
  LineCounter,
  type Node,
  parse,
  parseDocument,
  Scalar,
  visit,
} from "yaml";
import { fillReferences, hasReference, hideReferences } from "./environment.ts";
import type { ConfigFault } from "./fault.ts";

export type Environment = Readonly<Record<string, string | undefined>>;
export type Path = readonly (string | number)[];

export interface ReadDocument {
  readonly value: unknown;
  readonly faults: readonly ConfigFault[];
  /** Where the value at this path is; for one that is missing, the nearest thing around it. */
  placeOf(path: Path): { readonly line: number; readonly column: number };
  /** Where the key of this path is, for a key that should not be there. */
  placeOfKey(path: Path): { readonly line: number; readonly column: number };
}

export function readDocument(source: string, environment: Environment): ReadDocument {
  const { text, references } = hideReferences(source);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const faults: ConfigFault[] = [];
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  for (const problem of [...document.errors, ...document.warnings])
    faults.push({
      ...at(problem.pos[0]),
      path: "",
      message: `not valid YAML: ${firstLine(problem.message)}`,
    });

  visit(document, {
    Scalar(key, scalar) {
      if (key === "key" || typeof scalar.value !== "string" || !hasReference(scalar.value)) return;
      const filled = fillReferences(scalar.value, references, environment);
      for (const name of filled.missing) {
        const message = `expected the environment variable ${name} to be set, or a default as in \${${name}:-value}`;
        faults.push({ ...at(scalar.range![0]), path: "", message });
      }
      scalar.value = scalar.type === Scalar.PLAIN ? plainValue(filled.text) : filled.text;
    },
  });
  const offsetOf = (path: Path, key: boolean) => at(rangeStart(document, path, key));
  return {
    value: faults.length > 0 ? undefined : plainObject(document, faults),
    faults,
    placeOf: (path) => offsetOf(path, false),
    placeOfKey: (path) => offsetOf(path, true),
  };
}

/** The library refuses to expand aliases without an anchor, and alias bombs, by throwing. */
function plainObject(document: Document, faults: ConfigFault[]): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 }) ?? {};
  } catch (thrown) {
    faults.push({ line: 1, column: 1, path: "", message: `not valid YAML: ${(thrown as Error).message}` });
    return undefined;
  }
}

/** What an unquoted scalar means once its variables are filled in: 3000 is a number again. */
function plainValue(text: string): unknown {
  if (text === "") return "";
  try {
    const value: unknown = parse(text);
    return typeof value === "object" ? text : value;
  } catch {
    return text;
  }
}

function rangeStart(document: Document, path: Path, wantsKey: boolean): number {
  let node: unknown = document.contents;
  let start = offsetOf(node) ?? 0;
  for (const [depth, step] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    if (!isCollection(node)) break;
    const last = depth === path.length - 1;
    if (isMap(node)) {
      const pair = node.items.find(
        (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(step),
      );
      if (pair === undefined) break;
      start = offsetOf(pair.key) ?? start;
      node = pair.value;
      if (last && wantsKey) return start;
    } else {
      node = node.items[Number(step)];
    }
    start = offsetOf(node) ?? start;
  }
  return start;
}

function offsetOf(node: unknown): number | undefined {
  return (node as Node | null | undefined)?.range?.[0];
}

function firstLine(message: string): string {
  return message.split("\n", 1)[0]!.replace(/ at line \d+, column \d+:?$/, "");
}
