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

// What RFC 9110, 5.5 allows, and nothing above one byte: it would be cut to its low byte on the wire.
const FIELD_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/**
 * Replaces every field of that name by one at the end. This is how a layer changes headers.
 * @throws TypeError for a name or value that would not be one field on the wire
 */
export function setHeader(headers: HeaderPairs, name: string, value: string): void {
  if (!FIELD_NAME.test(name)) throw new TypeError(`expected a field name, got ${JSON.stringify(name)}`);
  if (!FIELD_VALUE.test(value))
    throw new TypeError(`expected a field value for ${name}, got ${JSON.stringify(value)}`);
  removeHeader(headers, name.toLowerCase());
  headers.push(name, value);
}

/** Removes every field of that name. */
export function removeHeader(headers: HeaderPairs, lowerCaseName: string): void {
  for (let i = headers.length - 2; i >= 0; i -= 2) {
    if (isName(headers[i]!, lowerCaseName)) headers.splice(i, 2);
  }
}

/**
 * Compares a field name of any case with a lower-case one. Nearly all differ in their length or in their last letter, so those are
 * asked first: to lower the case of a name is to make a string.
 */
export function isName(name: string, lowerCaseName: string): boolean {
  const last = lowerCaseName.length - 1;
  return (
    name.length === last + 1 &&
    // The two cases of a letter differ in this bit alone.
    ((name.charCodeAt(last) ^ lowerCaseName.charCodeAt(last)) & ~32) === 0 &&
    (name === lowerCaseName || name.toLowerCase() === lowerCaseName)
  );
}
