/**
 * YAML as Kubernetes reads it, and one document of it changed by its values.
 *
 * Kubernetes reads YAML 1.1: `yes` is true, and the mode 0644 is 420. It has no timestamps and no base 60. To read it otherwise here
 * would be to change what a manifest means wherever a value is written anew.
 */
import { isDeepStrictEqual } from "node:util";
import { type Document, type ParseOptions, parseDocument, type SchemaOptions, type Tags } from "yaml";
import { edited, type Originals, splice } from "./splice.ts";

const LEFT_OUT = new Set([
  "tag:yaml.org,2002:timestamp",
  "tag:yaml.org,2002:binary",
  "tag:yaml.org,2002:omap",
  "tag:yaml.org,2002:pairs",
  "tag:yaml.org,2002:set",
]);

export const READING: ParseOptions & SchemaOptions & { readonly logLevel: "silent" } = {
  keepSourceTokens: true,
  schema: "yaml-1.1",
  customTags: (tags: Tags) =>
    tags.filter(
      (tag) =>
        typeof tag === "string" || (!LEFT_OUT.has(tag.tag) && !("format" in tag && tag.format === "TIME")),
    ),
  logLevel: "silent",
};

/** So many values may come from one anchor, through aliases inside of aliases. */
const MOST_ALIASES = 10_000;

/** @throws ReferenceError for aliases without an anchor, or too many of them */
export function valueIn(document: Document.Parsed): unknown {
  return document.toJS({ maxAliasCount: MOST_ALIASES });
}

/** The value of a text with one document; undefined when it is none. */
export function readBack(text: string): unknown {
  const document = parseDocument(text, READING);
  try {
    return document.errors.length === 0 ? valueIn(document) : undefined;
  } catch {
    return undefined;
  }
}

/** The document with another value, as like the old one as can be. */
export interface Rewritten {
  readonly text: string;
  /** The texts that were replaced, for the way back. */
  readonly replaced: Originals;
}

/**
 * @param text one document
 * @param originals texts that were replaced on the way there
 * @param whole writes all of the document anew
 * @returns undefined when the text would not have that value
 */
export function rewritten(
  text: string,
  after: unknown,
  originals: Originals = {},
  whole = false,
): Rewritten | undefined {
  const document = parseDocument(text, READING);
  const before = valueIn(document);
  const { edits, replaced } = splice({ source: text, document, before, after, originals, whole });
  const result = edited(text, edits);
  return isDeepStrictEqual(readBack(result), after) ? { text: result, replaced } : undefined;
}
