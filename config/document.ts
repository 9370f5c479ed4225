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
import { brokenReference, fillReferences, hasReference, hideReferences } from "./environment.ts";
import type { ConfigFault } from "./fault.ts";
import { yamlProblems } from "./yaml-problems.ts";

export type Environment = Readonly<Record<string, string | undefined>>;
/** Whether the file itself has a value at a path. */
export type IsSet = (path: Path) => boolean;

export type Path = readonly (string | number)[];

/** In place of a value that cannot be known. That is a fault already; what follows from it is not one more. */
export const UNKNOWN: unique symbol = Symbol("unknown value");

export interface ReadDocument {
  /** Undefined when the text could not be read as YAML. */
  readonly value: unknown;
  readonly faults: readonly ConfigFault[];
  /** Where the value at this path is; for one that is missing, the nearest thing around it. */
  placeOf(path: Path): Place;
  /** Where the key of this path is, for a key that should not be there. */
  placeOfKey(path: Path): Place;
}

type Place = Pick<ConfigFault, "line" | "column" | "source">;

/** JavaScript gives these keys a meaning of its own, so they would get lost on the way to a setting. */
const UNUSABLE_KEYS: ReadonlySet<unknown> = new Set(["__proto__", "constructor", "prototype"]);

export function readDocument(file: string, environment: Environment): ReadDocument {
  // Editors do not count a byte order mark as a column.
  const source = file.replace(/^\uFEFF/, "");
  const { text, references } = hideReferences(source);
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    stringKeys: true,
    // The library compares each key with all before it; yamlProblems looks them up.
    uniqueKeys: false,
  });
  const at = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  const faults: ConfigFault[] = [];
  const fault = (offset: number, message: string) => faults.push({ ...at(offset), path: "", message });
  const placeOf = (path: Path) => at(rangeStart(document, path, false));
  const placeOfKey = (path: Path) => at(rangeStart(document, path, true));

  for (const { offset, message } of yamlProblems(document, source)) fault(offset, message);
  if (faults.length > 0) return { value: undefined, faults, placeOf, placeOfKey };
  let keysKnown = true;
  visit(document, {
    Alias(_, alias) {
      if (alias.resolve(document) !== undefined) return undefined;
      fault(alias.range![0], `expected an anchor &${alias.source} before this alias, got none`);
      return new Scalar(UNKNOWN);
    },
    Scalar(role, scalar) {
      const { value } = scalar;
      if (typeof value !== "string") return;
      const broken = brokenReference(text, scalar.range![0], scalar.range![1]);
      if (role === "key") {
        if (!UNUSABLE_KEYS.has(value) && !hasReference(value)) return;
        keysKnown = false;
        fault(scalar.range![0], `expected a plain name as the key, got ${written(source, scalar.range![0])}`);
      } else if (broken >= 0) {
        scalar.value = UNKNOWN;
        fault(broken, `expected \${NAME} or \${NAME:-default}, got ${written(source, broken)}`);
      } else if (hasReference(value)) {
        const { text: filled, missing } = fillReferences(value, references, environment);
        for (const { name, offset } of missing) {
          const message = `expected the environment variable ${name} to be set, or a default as in \${${name}:-value}`;
          fault(offset, message);
        }
        if (missing.length > 0) scalar.value = UNKNOWN;
        else scalar.value = scalar.type === Scalar.PLAIN ? plainValue(filled) : filled;
      }
    },
  });
  const value = keysKnown ? plainObject(document, faults) : undefined;
  return { value, faults, placeOf, placeOfKey };
}

/** A key or a reference as the file has it, on one line. */
function written(source: string, offset: number): string {
  const word = /^(?:\$\{[^}\r\n]*\}?|[^\s:]+)/.exec(source.slice(offset))?.[0] ?? "";
  return word.length > 40 ? `${word.slice(0, 37)}...` : word;
}

/** So many values may come from one anchor, through aliases inside of aliases. */
const MOST_ALIASES = 10_000;

function plainObject(document: Document, faults: ConfigFault[]): unknown {
  try {
    return document.toJS({ maxAliasCount: MOST_ALIASES }) ?? {};
  } catch {
    // Without the limit a few lines of aliases stand for more values than there is memory.
    const message = `expected at most ${MOST_ALIASES} values through aliases in aliases, got more`;
    faults.push({ line: 1, column: 1, path: "", message });
    return undefined;
  }
}

/** What an unquoted scalar means once its variables are filled in: 3000 is a number again. */
function plainValue(text: string): unknown {
  // More than one word is a text; YAML would take its comment or its quotes away.
  const value: unknown = /^[\w.+-]+$/.test(text) ? parse(text) : text;
  return typeof value === "number" || typeof value === "boolean" ? value : text;
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
