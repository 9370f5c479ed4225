/**
 * Header fields as one flat list: name, value, name, value, in the order and case in which they came.
 *
 * Not an object: a dictionary loses order, case and repetition, and makes the engine build a new hidden class
 * for each set of names. A list is copied once and written out as it stands.
 */
export type HeaderPairs = string[];

/** The first value of `lowerCaseName`, or undefined. */
export function headerValue(headers: readonly string[], lowerCaseName: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    if (isName(headers[i]!, lowerCaseName)) return headers[i + 1];
  }
  return undefined;
}

/** Replaces every field of that name by one at the end. */
export function setHeader(headers: HeaderPairs, name: string, value: string): void {
  removeHeader(headers, name.toLowerCase());
  headers.push(name, value);
}

/** Removes every field of that name. */
export function removeHeader(headers: HeaderPairs, lowerCaseName: string): void {
  for (let i = headers.length - 2; i >= 0; i -= 2) {
    if (isName(headers[i]!, lowerCaseName)) headers.splice(i, 2);
  }
}

/** Compares a field name of any case with a lower-case one; lengths differ for nearly all, so they are asked first. */
export function isName(name: string, lowerCaseName: string): boolean {
  return (
    name.length === lowerCaseName.length && (name === lowerCaseName || name.toLowerCase() === lowerCaseName)
  );
}
