/**
 * The difference between two values of JSON as a JSON Patch (RFC 6902), the form in which an admission webhook answers.
 *
 * Not a library, since those compare lists by position: a container put in front of others would then be told as a change of each of
 * them, which the audit log of a cluster shows to people and later webhooks have to undo in their heads. The entries of Kubernetes' lists have
 * names, so an entry that stays is known by its name.
 */
import { isDeepStrictEqual } from "node:util";
import { type Fields, isFields } from "../inject/index.ts";

export type PatchOperation =
  | { readonly op: "add" | "replace"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string };

/** What makes the second value of the first; nothing where they are equal. Parents come before what is in them. */
export function jsonPatch(from: unknown, to: unknown, path = ""): PatchOperation[] {
  if (isDeepStrictEqual(from, to)) return [];
  if (isFields(from) && isFields(to)) return fieldsPatch(from, to, path);
  if (Array.isArray(from) && Array.isArray(to)) {
    const operations = listPatch(from, to, path);
    if (operations !== undefined) return operations;
  }
  return [{ op: "replace", path, value: to }];
}

function fieldsPatch(from: Fields, to: Fields, path: string): PatchOperation[] {
  const operations: PatchOperation[] = [];
  for (const key of Object.keys(from))
    if (!Object.hasOwn(to, key)) operations.push({ op: "remove", path: `${path}/${escaped(key)}` });
  for (const [key, value] of Object.entries(to)) {
    const at = `${path}/${escaped(key)}`;
    if (Object.hasOwn(from, key)) operations.push(...jsonPatch(from[key], value, at));
    else operations.push({ op: "add", path: at, value });
  }
  return operations;
}

/** Undefined where entries have no names, have gone, or stand in another order: then the list is replaced as a whole. */
function listPatch(
  from: readonly unknown[],
  to: readonly unknown[],
  path: string,
): PatchOperation[] | undefined {
  const old = namesOf(from);
  const names = namesOf(to);
  if (old === undefined || names === undefined) return undefined;
  const operations: PatchOperation[] = [];
  let next = 0;
  for (const [i, name] of names.entries()) {
    if (name === old[next]) operations.push(...jsonPatch(from[next++], to[i], `${path}/${i}`));
    else operations.push({ op: "add", path: `${path}/${i}`, value: to[i] });
  }
  return next === old.length ? operations : undefined;
}

/** Undefined where an entry has none, or two have the same. */
function namesOf(list: readonly unknown[]): string[] | undefined {
  const names = list.map((entry) => (isFields(entry) ? entry["name"] : undefined));
  const all = names.every((name) => typeof name === "string");
  return all && new Set(names).size === names.length ? names : undefined;
}

/** A key as a part of a JSON pointer (RFC 6901). */
function escaped(key: string): string {
  return key.replaceAll("~", "~0").replaceAll("/", "~1");
}
