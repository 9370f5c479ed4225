/**
 * Changes values inside a YAML or JSON text and leaves every other byte alone.
 *
 * The library could change its document and print it, but printing moves comments, folds long strings and forgets how lists were
 * indented, and a diff of a manifest that was injected should show what was added and nothing else. So the difference between two
 * values becomes insertions and deletions in the text, each made such that the opposite difference undoes it to the byte.
 *
 * It is a way that can fail, where an anchor is shared or a key is written in a strange way; whoever calls this reads the result
 * again and compares.
 */
import { isDeepStrictEqual } from "node:util";
import { type CST, type Document, isAlias, isMap, isScalar, isSeq, type Node, type Pair } from "yaml";
import { blockText, flowText, type Layout } from "./render.ts";

/** What stands in the text in place of something else, by the path of the value it was. */
export type Originals = Readonly<Record<string, string>>;

export interface Splicing {
  readonly source: string;
  readonly document: Document.Parsed;
  readonly before: unknown;
  readonly after: unknown;
  /** Texts to put back where a value is not what it was before it was replaced. */
  readonly originals?: Originals;
  /** Writes all of the document anew, keeping nothing. */
  readonly whole?: boolean;
}

export interface Edit {
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

export interface Spliced {
  readonly edits: readonly Edit[];
  /** The texts that were replaced, for the way back. */
  readonly replaced: Originals;
}

type Fields = Readonly<Record<string, unknown>>;
type Step = string | number;
type Path = readonly Step[];

/** As a JSON pointer without its first stroke. */
export function pathKey(path: Path): string {
  return path.map((step) => String(step).replaceAll("~", "~0").replaceAll("/", "~1")).join("/");
}

/** The edits that turn the one value into the other. */
export function splice(splicing: Splicing): Spliced {
  const splicer = new Splicer(splicing);
  const { document, before, after, whole } = splicing;
  if (whole === true) splicer.replace([], document.contents, after, undefined);
  else splicer.change([], document.contents, before, after, undefined);
  return { edits: splicer.edits, replaced: splicer.replaced };
}

/** The text with the edits made, which do not overlap. */
export function edited(source: string, edits: readonly Edit[]): string {
  let text = "";
  let done = 0;
  // Insertions at one place stay in the order in which they were asked for.
  for (const edit of edits.toSorted((a, b) => a.from - b.from || a.to - b.to)) {
    text += source.slice(done, edit.from) + edit.text;
    done = Math.max(done, edit.to);
  }
  return text + source.slice(done);
}

/** Where a value stands: what comes before it, and how far its holder is indented. */
interface Place {
  /** Just behind the colon or the dash. */
  readonly indicatorEnd: number;
  /** The column of the key or the dash, in characters. */
  readonly indent: number;
  readonly flow: boolean;
}

const atStart = (offset: number): Place => ({ indicatorEnd: offset, indent: 0, flow: false });

class Splicer {
  readonly edits: Edit[] = [];
  readonly replaced: Record<string, string> = {};
  readonly #source: string;
  readonly #originals: Originals;
  readonly #layout: Layout;
  /** Something is put back, so paths are those of the value that comes out. */
  readonly #isWayBack: boolean;

  constructor({ source, document, originals }: Splicing) {
    this.#source = source;
    this.#originals = originals ?? {};
    this.#isWayBack = Object.keys(this.#originals).length > 0;
    this.#layout = { lineEnd: source.includes("\r\n") ? "\r\n" : "\n", indentsLists: indentsLists(document) };
  }

  change(path: Path, node: Node | null, before: unknown, after: unknown, place: Place | undefined): void {
    const original = this.#originals[pathKey(path)];
    if (original !== undefined) {
      const from = place?.indicatorEnd ?? startOf(node);
      this.#edit(from, this.#contentEnd(node, place ?? atStart(from)), original);
      return;
    }
    if (isDeepStrictEqual(before, after)) return;
    if (isMap(node) && isFields(before) && isFields(after) && node.items.length > 0)
      this.#changeMap(path, node, before, after, place);
    else if (isSeq(node) && Array.isArray(before) && Array.isArray(after) && node.items.length > 0)
      this.#changeSeq(path, node, before, after, place);
    else this.replace(path, node, after, place);
  }

  #changeMap(
    path: Path,
    node: Node & { items: Pair[] },
    before: Fields,
    after: Fields,
    place: Place | undefined,
  ): void {
    const pairs = node.items as Pair<Node, Node | null>[];
    const lost = pairs.filter((pair) => !Object.hasOwn(after, keyOf(pair)));
    // Nothing says which keys it had, unless they are those that were added.
    if (lost.length > 0 && Object.keys(after).some((key) => !Object.hasOwn(before, key))) {
      this.replace(path, node, after, place);
      return;
    }
    if (lost.length === pairs.length) {
      this.replace(path, node, after, place);
      return;
    }
    const flow = isFlow(node);
    const indent = flow ? 0 : this.#column(pairStart(pairs[0]!));
    const places = pairs.map((pair): Place => ({ indicatorEnd: indicatorEnd(pair), indent, flow }));
    const spans = pairs.map((pair, i) => ({
      start: pairStart(pair),
      end: this.#contentEnd(pair.value, places[i]!),
    }));
    for (const [i, pair] of pairs.entries()) {
      const key = keyOf(pair);
      if (Object.hasOwn(after, key)) {
        this.change([...path, key], pair.value, before[key], after[key], places[i]!);
      } else this.#remove(spans, i, flow, place);
    }
    const known = new Set(pairs.map(keyOf));
    const order = Object.keys(after);
    for (const [at, key] of order.entries()) {
      if (known.has(key)) continue;
      const value = after[key];
      // Behind the nearest key in front that the text has already; a new object says by its order where a key is to stand.
      const ahead = order.slice(0, at).findLast((other) => known.has(other));
      const i = ahead === undefined ? 0 : pairs.findIndex((pair) => keyOf(pair) === ahead) + 1;
      this.#insert(spans, i, flow, place, indent, (lines) =>
        flow
          ? `${JSON.stringify(key)}: ${flowText(value, this.#layout, lines)}`
          : blockText({ [key]: value }, this.#layout, indent),
      );
    }
  }

  #changeSeq(
    path: Path,
    node: Node & { items: unknown[] },
    before: readonly unknown[],
    after: readonly unknown[],
    place: Place | undefined,
  ): void {
    const items = node.items as (Node | null)[];
    const flow = isFlow(node);
    const dashes = flow ? [] : dashesOf(node);
    const indent = flow ? 0 : this.#column(dashes[0] ?? 0);
    const places = items.map(
      (item, i): Place =>
        flow
          ? { indicatorEnd: startOf(item), indent: 0, flow }
          : { indicatorEnd: dashes[i]! + 1, indent, flow },
    );
    const spans = items.map((item, i) => ({
      start: flow ? startOf(item) : dashes[i]!,
      end: this.#contentEnd(item, places[i]!),
    }));
    if (before.length === after.length) {
      for (const [i, value] of after.entries())
        this.change([...path, i], items[i]!, before[i], value, places[i]!);
      return;
    }
    let taken = 0;
    let kept = 0;
    for (const [at, value] of after.entries()) {
      const found = before.findIndex((old, i) => i >= taken && isSame(old, value));
      if (found < 0) {
        this.#insert(spans, taken, flow, place, indent, (lines) =>
          flow ? flowText(value, this.#layout, lines) : blockText([value], this.#layout, indent),
        );
        continue;
      }
      for (; taken < found; taken++) this.#remove(spans, taken, flow, place);
      // On the way there and on the way back, the same entry has to have the same path.
      const step = this.#isWayBack ? at : found;
      this.change([...path, step], items[found]!, before[found], value, places[found]!);
      taken = found + 1;
      kept++;
    }
    for (; taken < before.length; taken++) this.#remove(spans, taken, flow, place);
    if (kept === 0 && after.length === 0) {
      this.edits.splice(-before.length);
      this.replace(path, node, after, place);
    }
  }

  replace(path: Path, node: Node | null, value: unknown, place: Place | undefined): void {
    if (place === undefined) {
      // The whole document.
      const from = startOf(node);
      const to = this.#contentEnd(node, atStart(from));
      this.replaced[pathKey(path)] = this.#source.slice(from, to);
      this.#edit(from, to, blockText(value, this.#layout, 0).trimStart());
      return;
    }
    const from = place.indicatorEnd;
    const to = this.#contentEnd(node, place);
    this.replaced[pathKey(path)] = this.#source.slice(from, to);
    this.#edit(from, to, this.#valueText(value, place));
  }

  /** A value behind its colon or dash. */
  #valueText(value: unknown, { flow, indent }: Place): string {
    const hasLines = typeof value === "object" && value !== null && Object.keys(value).length > 0;
    if (flow) return ` ${flowText(value, this.#layout, undefined)}`;
    if (!hasLines) return ` ${blockText(value, this.#layout, 0)}`;
    return `${this.#layout.lineEnd}${blockText(value, this.#layout, indent + 2)}`;
  }

  #insert(
    spans: readonly Span[],
    index: number,
    flow: boolean,
    place: Place | undefined,
    indent: number,
    render: (lines: string | undefined) => string,
  ): void {
    const first = spans[0]!;
    if (flow) {
      const lineStart = this.#onlyBlanksBefore(first.start);
      const separator = lineStart === undefined ? " " : `${this.#layout.lineEnd}${lineStart}`;
      const text = render(lineStart);
      if (index === 0) this.#edit(first.start, first.start, `${text},${separator}`);
      else this.#edit(spans[index - 1]!.end, spans[index - 1]!.end, `,${separator}${text}`);
      return;
    }
    const text = render(undefined);
    if (index > 0 || this.#startsOnOwnLine(first, place)) {
      const at = this.#lineEnd(index > 0 ? spans[index - 1]!.end : place!.indicatorEnd);
      this.#edit(at, at, this.#layout.lineEnd + text);
    } else
      this.#edit(first.start, first.start, `${text.trimStart()}${this.#layout.lineEnd}${" ".repeat(indent)}`);
  }

  /** The opposite of inserting at this index. */
  #remove(spans: readonly Span[], index: number, flow: boolean, place: Place | undefined): void {
    const span = spans[index]!;
    if (flow) {
      if (index === 0) this.#edit(span.start, spans[1]!.start, "");
      else this.#edit(spans[index - 1]!.end, span.end, "");
      return;
    }
    if (index > 0 || this.#startsOnOwnLine(span, place)) {
      const from = this.#lineEnd(index > 0 ? spans[index - 1]!.end : place!.indicatorEnd);
      this.#edit(from, this.#lineEnd(span.end), "");
    } else this.#edit(span.start, spans[1]!.start, "");
  }

  #startsOnOwnLine(first: Span, place: Place | undefined): boolean {
    return place !== undefined && this.#source.slice(place.indicatorEnd, first.start).includes("\n");
  }

  #edit(from: number, to: number, text: string): void {
    this.edits.push({ from, to, text });
  }

  /** Behind the last character of a value, without the line end, comments and blanks that may follow. */
  #contentEnd(node: Node | null, place: Place): number {
    if (node === null) return place.indicatorEnd;
    if (isFlow(node) || isAlias(node)) return node.range![1];
    if (isMap(node)) {
      const last = (node.items as Pair<Node, Node | null>[]).at(-1);
      if (last === undefined) return node.range![1];
      return this.#contentEnd(last.value, { ...place, indicatorEnd: indicatorEnd(last) });
    }
    if (isSeq(node)) {
      const last = (node.items as (Node | null)[]).at(-1);
      const dash = dashesOf(node).at(-1);
      if (last === undefined || dash === undefined) return node.range![1];
      return this.#contentEnd(last, { ...place, indicatorEnd: dash + 1 });
    }
    const [start, end] = node.range!;
    // A value that is not written stands somewhere behind the colon.
    if (start === end && isScalar(node) && node.source === "") return place.indicatorEnd;
    // That of a block scalar has its last line end.
    return this.#source.slice(start, end).endsWith("\n")
      ? end - (this.#source[end - 2] === "\r" ? 2 : 1)
      : end;
  }

  #lineEnd(offset: number): number {
    const found = this.#source.indexOf("\n", offset);
    if (found < 0) return this.#source.length;
    return this.#source[found - 1] === "\r" && found > offset ? found - 1 : found;
  }

  #column(offset: number): number {
    return offset - (this.#source.lastIndexOf("\n", offset - 1) + 1);
  }

  /** The blanks that a line begins with, where there is nothing else before this place. */
  #onlyBlanksBefore(offset: number): string | undefined {
    const start = this.#source.lastIndexOf("\n", offset - 1) + 1;
    const blanks = this.#source.slice(start, offset);
    return start > 0 && /^[ \t]*$/.test(blanks) ? blanks : undefined;
  }
}

interface Span {
  readonly start: number;
  readonly end: number;
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether two entries of lists are the same thing, perhaps changed. */
function isSame(one: unknown, other: unknown): boolean {
  if (isFields(one) && isFields(other) && typeof one["name"] === "string")
    return one["name"] === other["name"];
  return isDeepStrictEqual(one, other);
}

const keyOf = (pair: Pair): string => String(isScalar(pair.key) ? pair.key.value : pair.key);

const isFlow = (node: Node) => tokenOf(node)?.type === "flow-collection";

function tokenOf(node: Node): CST.Token | undefined {
  return (node as { srcToken?: CST.Token }).srcToken;
}

const startOf = (node: Node | null) => node?.range?.[0] ?? 0;

interface PairToken {
  readonly start: readonly CST.SourceToken[];
  readonly sep?: readonly CST.SourceToken[];
}

const BLANK = new Set(["space", "newline", "comment", "comma"]);

function pairStart(pair: Pair): number {
  const { start } = (pair as { srcToken?: PairToken }).srcToken ?? { start: [] };
  return start.find(({ type }) => !BLANK.has(type))?.offset ?? startOf(pair.key as Node | null);
}

/** Just behind the colon. */
function indicatorEnd(pair: Pair): number {
  const { sep } = (pair as { srcToken?: PairToken }).srcToken ?? {};
  const colon = sep?.find(({ type }) => type === "map-value-ind");
  return colon === undefined ? ((pair.key as Node | null)?.range?.[1] ?? 0) : colon.offset + 1;
}

function dashesOf(node: Node): number[] {
  const token = tokenOf(node);
  if (token?.type !== "block-seq") return [];
  return token.items.flatMap(({ start }) =>
    start.filter(({ type }) => type === "seq-item-ind").map(({ offset }) => offset),
  );
}

/** Whether the lists of a document stand further in than their keys; as the first one does. */
function indentsLists(document: Document.Parsed): boolean {
  const look = (node: unknown, column: number): boolean | undefined => {
    if (isMap(node)) {
      for (const pair of node.items as Pair<Node, Node | null>[]) {
        const key = tokenOf(pair.key);
        const found = look(pair.value, key !== undefined && "indent" in key ? key.indent : -1);
        if (found !== undefined) return found;
      }
    } else if (isSeq(node)) {
      const token = tokenOf(node);
      return token?.type === "block-seq" && column >= 0 ? token.indent > column : undefined;
    }
    return undefined;
  };
  return look(document.contents, -1) ?? true;
}
