/**
 * What is wrong with a file as YAML, in the words of a person who wrote it and not of the one who parsed it.
 *
 * The library names its own insides ("Implicit keys need to be on a single line") and, for what was never
 * closed, the place where the file ended. Here each frequent problem is told as what was expected and what came,
 * at the place where it can be mended. After a fault in the structure only echoes follow, so it is the last one.
 */
import { type Document, isCollection, isScalar, visit, type YAMLError } from "yaml";

export interface YamlProblem {
  readonly offset: number;
  readonly message: string;
}

/** What the library complains of, or what it is not asked to look for. */
type Problem = Pick<YAMLError, "code" | "message" | "pos">;

/** These do not disturb how the rest of the file is read. */
const HARMLESS: ReadonlySet<string> = new Set([
  "BAD_DQ_ESCAPE",
  "BAD_SCALAR_START",
  "DUPLICATE_KEY",
  "TAB_AS_INDENT",
  "TAG_RESOLVE_FAILED",
]);

const TAB = "expected spaces for indentation, got a tab";

/** @param source the text with the same offsets as the one that was parsed; messages quote it */
export function yamlProblems(document: Document, source: string): YamlProblem[] {
  const nul = source.indexOf("\0");
  if (nul >= 0) return [{ offset: nul, message: "expected text, got a NUL byte; is this a YAML file?" }];
  const errors: Problem[] = [...document.errors, ...document.warnings, ...repeatedKeys(document)];
  errors.sort((a, b) => a.pos[0] - b.pos[0]);
  const firstFatal = errors.findIndex(({ code }) => !HARMLESS.has(code));
  const told = firstFatal === -1 ? errors : errors.slice(0, firstFatal + 1);
  return told.map((error) => {
    const sameKey = errors.find(
      ({ code, pos }) => code === "MULTILINE_IMPLICIT_KEY" && pos[0] === error.pos[0],
    );
    return translate(error, sameKey, document, source);
  });
}

function repeatedKeys(document: Document): Problem[] {
  const repeated: Problem[] = [];
  visit(document, {
    Map(_, map) {
      const keys = new Set<unknown>();
      for (const { key } of map.items) {
        if (!isScalar(key)) continue;
        const [start = 0, end = start] = key.range ?? [];
        if (keys.has(key.value)) repeated.push({ code: "DUPLICATE_KEY", message: "", pos: [start, end] });
        keys.add(key.value);
      }
    },
  });
  return repeated;
}

/** @param multiline the complaint that the same key goes over several lines, if there is one */
function translate(
  error: Problem,
  multiline: Problem | undefined,
  document: Document,
  source: string,
): YamlProblem {
  const [offset, end] = error.pos;
  const here = (message: string) => ({ offset, message });
  switch (error.code) {
    case "TAB_AS_INDENT":
      return here(TAB);
    case "DUPLICATE_KEY":
      return here(`expected each key once, got ${/^[^:\n]*/.exec(source.slice(offset))![0].trim()} again`);
    case "TAG_RESOLVE_FAILED":
      return here(`expected a value without a tag, got ${source.slice(offset, end)}`);
    case "BAD_DQ_ESCAPE":
      return here(`expected a known escape in double quotes, got ${source.slice(offset, offset + 2)}`);
    case "BAD_SCALAR_START":
      return here(`expected quotes around a value that begins with ${source[offset]}`);
    case "MULTIPLE_DOCS":
      return here("expected one document, got another one");
    case "MULTILINE_IMPLICIT_KEY":
      return here(`expected a key, a colon and a space, got ${restOfLine(source, offset)}`);
    case "BLOCK_IN_FLOW":
      return here(`expected a comma between the settings, got ${restOfLine(source, offset)}`);
    case "BLOCK_AS_IMPLICIT_KEY":
      if (error.message.startsWith("A block")) return misplaced(source, offset);
      if (multiline !== undefined) return misplaced(source, multiline.pos[1]);
      return here(`expected quotes around a value with a colon in it, got ${restOfLine(source, offset)}`);
    case "BAD_INDENT":
      if (tabIn(source, lineStart(source, offset)) === undefined) {
        const opened = unclosed(document, source, isCollection);
        if (opened !== undefined) return opened;
      }
      return misplaced(source, offset);
    case "MISSING_CHAR":
      if (error.message.startsWith("Missing , or"))
        return here(`expected a comma between the values, got ${restOfLine(source, offset)}`);
      return unclosed(document, source, isScalar) ?? here(plain(error.message));
    case "NON_STRING_KEY":
      return here(`expected a plain name as the key, got ${restOfLine(source, offset)}`);
    case "RESOURCE_EXHAUSTION":
      return here("expected less nesting, got more than can be followed");
    case "UNEXPECTED_TOKEN":
      return here(`expected nothing more here, got ${restOfLine(source, offset)}`);
    default:
      return here(plain(error.message));
  }
}

/** A line that begins too far to the left or to the right, or with a tab. */
function misplaced(source: string, at: number): YamlProblem {
  const start = lineStart(source, at);
  const tab = tabIn(source, start);
  if (tab !== undefined) return { offset: tab, message: TAB };
  const offset = start + /^ */.exec(source.slice(start))![0].length;
  const message = `expected the indentation of the lines around it, got ${restOfLine(source, offset)}`;
  return { offset, message };
}

function lineStart(source: string, at: number): number {
  return source.lastIndexOf("\n", at - 1) + 1;
}

function tabIn(source: string, start: number): number | undefined {
  const spaces = /^ *\t/.exec(source.slice(start))?.[0].length;
  return spaces === undefined ? undefined : start + spaces - 1;
}

/** The first quote or bracket that was opened and never closed. */
function unclosed(
  document: Document,
  source: string,
  isKind: (node: unknown) => boolean,
): YamlProblem | undefined {
  let found: YamlProblem | undefined;
  visit(document, {
    Node(_, node) {
      const [start, end] = node.range ?? [0, 0];
      const closing = isKind(node) ? CLOSING[source[start]!] : undefined;
      if (closing === undefined || (end > start + 1 && source[end - 1] === closing)) return undefined;
      found = { offset: start, message: `expected a closing ${closing}, got none` };
      return visit.BREAK;
    },
  });
  return found;
}

const CLOSING: Readonly<Record<string, string>> = { '"': '"', "'": "'", "{": "}", "[": "]" };

function restOfLine(source: string, offset: number): string {
  const rest = /^[^\r\n]*/.exec(source.slice(offset))![0].trim();
  return JSON.stringify(rest.length > 40 ? `${rest.slice(0, 37)}...` : rest);
}

function plain(message: string): string {
  return `not valid YAML: ${message.split("\n", 1)[0]!.replace(/ at line \d+, column \d+:?$/, "")}`;
}
