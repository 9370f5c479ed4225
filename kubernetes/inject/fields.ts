/**
 * Reading what somebody else has written: manifests are values of no known shape until they are looked at.
 */
export type Fields = Readonly<Record<string, unknown>>;

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The mapping at this key; an empty one where there is none. */
export function fieldsAt(value: unknown, key: string): Fields {
  const found = isFields(value) ? value[key] : undefined;
  return isFields(found) ? found : {};
}

/** The mappings in the list at this key. */
export function listAt(value: unknown, key: string): readonly Fields[] {
  const found = isFields(value) ? value[key] : undefined;
  return Array.isArray(found) ? found.filter(isFields) : [];
}

export function textAt(value: unknown, key: string): string | undefined {
  const found = isFields(value) ? value[key] : undefined;
  return typeof found === "string" ? found : undefined;
}

export function numberAt(value: unknown, key: string): number | undefined {
  const found = isFields(value) ? value[key] : undefined;
  return typeof found === "number" ? found : undefined;
}

/** What came, as messages have it: on one line, and cut, since whoever is at fault may have written megabytes. */
export function told(value: unknown): string {
  return cut(JSON.stringify(value) ?? "nothing");
}

export function cut(text: string, most = 80): string {
  return text.length > most ? `${text.slice(0, most - 3)}...` : text;
}

/** A copy that shares nothing: what an alias repeats becomes a value of its own. */
export function copyOf<T>(value: T): T {
  if (Array.isArray(value)) return value.map(copyOf) as T;
  if (isFields(value))
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, copyOf(inner)])) as T;
  return value;
}

/** A copy with some fields changed; a field that is undefined is taken out. */
export function withFields(value: Fields, changes: Fields): Fields {
  return Object.fromEntries(
    Object.entries({ ...value, ...changes }).filter(([, field]) => field !== undefined),
  );
}

/** A copy in which a new field stands in front of another one. */
export function withFieldBefore(value: Fields, key: string, field: unknown, before: string): Fields {
  if (Object.hasOwn(value, key)) return { ...value, [key]: field };
  const entries = Object.entries(value);
  const at = entries.findIndex(([name]) => name === before);
  return Object.fromEntries(entries.toSpliced(at < 0 ? entries.length : at, 0, [key, field]));
}

/** A text without this end, unless it is all of it. */
export function withoutEnd(text: string, end: string): string {
  return text.endsWith(end) && text.length > end.length ? text.slice(0, -end.length) : text;
}
