/**
 * From what valibot complains about to what a person is told: where, what was expected, and what came.
 */
import type * as v from "valibot";
import { printed } from "../discovery/index.ts";
import { type Path, UNKNOWN } from "./document.ts";
import { expectedAt, settingsAt } from "./shape-walk.ts";
import { suggestion } from "./suggest.ts";

export interface Complaint {
  readonly path: Path;
  readonly message: string;
  /** Whether it is about the key and not about the value. */
  readonly atKey?: boolean;
}

type Issue = v.BaseIssue<unknown>;

/** What a secret is must not end up in a log. */
const SECRETS: ReadonlySet<unknown> = new Set(["token", "basicAuth", "sharedSecret"]);

/** @param base where the value that the issue is about begins */
export function complaints(issue: Issue, base: Path = []): Complaint[] {
  if (issue.input === UNKNOWN) return [];
  const path = [...base, ...(issue.path ?? []).map((item) => item.key as string | number)];
  const last = issue.path?.at(-1);
  if (issue.type === "strict_object" && issue.expected === "never")
    return unknownSettings(path.slice(0, -1), last?.input as object);
  if (issue.type === "strict_object" && issue.received === "undefined" && last?.origin === "key")
    return [{ path, message: `expected ${expectedAt(path)}, got nothing` }];
  if (last?.origin === "key")
    return [{ path, message: `expected ${issue.message}, got ${printed(last.key)} as the key`, atKey: true }];
  const inner = issue.type === "union" ? innermost(issue, path) : [];
  if (inner.length > 0) return inner;
  const came = SECRETS.has(path.at(-1)) ? `a ${typeof issue.input}` : printed(issue.input);
  const isEmptySection = issue.input === null && (issue.type === "strict_object" || issue.type === "record");
  const remedy = isEmptySection ? "; {} is an empty mapping" : "";
  return [{ path, message: `expected ${issue.message}, got ${came}${remedy}` }];
}

/** valibot names only the first one. */
function unknownSettings(path: Path, mapping: object): Complaint[] {
  const known = settingsAt(path);
  return Object.keys(mapping)
    .filter((key) => !known.includes(key))
    .map((key) => ({ path: [...path, key], message: `unknown setting; ${hint(key, known)}`, atKey: true }));
}

function hint(key: string, known: readonly string[]): string {
  if (key === "<<") return "YAML 1.2 has no merge key, but an alias can stand for a whole mapping";
  const near = suggestion(key, known);
  return near === undefined ? `expected one of ${known.join(", ")}` : `did you mean ${near}?`;
}

/** A union fails in every branch; the branch that got further than the kind of value says what is wrong. */
function innermost(issue: Issue, path: Path): Complaint[] {
  return (issue.issues ?? [])
    .filter((inner) => inner.kind === "validation" || inner.path !== undefined)
    .flatMap((inner) => complaints(inner, path));
}
