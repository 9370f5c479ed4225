/**
 * Reading the JSON of registries, of which nothing is certain: a member may be missing, null or of another kind than is documented,
 * and what is read here is then left out, and nothing is thrown. No schema, as there is for the configuration: what a registry
 * says grows with its version, and an unknown member is no fault of anybody's.
 */

/** A member of something that should be an object. */
export function field(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined;
}

/** A text that is not empty. */
export function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** Also of null, which some write for an empty list. */
export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function isPort(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65_535;
}

/**
 * What others have said, as it may stand in a log and on a page: without line breaks and what else is not to be seen.
 * @param most characters
 */
export function oneLine(said: string, most: number): string {
  // Cut first, since a check may have said megabytes.
  const part = said.slice(0, 4 * most);
  return part
    .replaceAll(/[\s\p{Cc}\p{Cf}]+/gu, " ")
    .trim()
    .slice(0, most);
}
