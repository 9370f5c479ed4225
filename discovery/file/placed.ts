/**
 * YAML text as plain values, with the place of each of them.
 *
 * Much smaller than what the configuration is read with, on purpose: there are no variables to fill in, and the
 * parser's own words are good enough for a file that is mostly written by machines.
 */
import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isScalar,
  LineCounter,
  type Node,
  parseDocument,
} from "yaml";

export interface Place {
  readonly line: number;
  readonly column: number;
}

export type Placed =
  | { readonly problems: readonly { readonly place: Place; readonly message: string }[] }
  | {
      readonly value: unknown;
      /** Of the value at this path, or of its key; for one that is missing, of the nearest thing around it. */
      readonly placeOf: (path: readonly (string | number)[], atKey: boolean) => Place;
    };

export function readPlaced(text: string): Placed {
  const lines = new LineCounter();
  const at = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  const document = parseDocument(text, { lineCounter: lines, stringKeys: true, prettyErrors: false });
  // Only the first: what follows from a fault in the structure are echoes.
  const [problem] = [...document.errors, ...document.warnings].sort((a, b) => a.pos[0] - b.pos[0]);
  if (problem !== undefined) {
    const message = `expected YAML or JSON, got something else: ${problem.message}`;
    return { problems: [{ place: at(problem.pos[0]), message }] };
  }
  let value: unknown;
  try {
    // The parser counts aliases, since a few lines of them stand for more values than there is memory.
    value = document.toJS();
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    return { problems: [{ place: at(0), message: `expected values that can be written out, got ${why}` }] };
  }
  return { value, placeOf: (path, atKey) => at(startOf(document, path, atKey)) };
}

function startOf(document: Document, path: readonly (string | number)[], atKey: boolean): number {
  let node: unknown = document.contents;
  let start = offsetOf(node) ?? 0;
  for (const [depth, step] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    if (!isCollection(node)) break;
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
      if (pair === undefined) break;
      start = offsetOf(pair.key) ?? start;
      if (atKey && depth === path.length - 1) return start;
      node = pair.value;
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
