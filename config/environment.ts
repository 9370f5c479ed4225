/**
 * `${NAME}` and `${NAME:-default}` in a YAML file.
 *
 * Not replaced in the text: a value with a colon or a newline would change the structure, and every column after
 * it would be wrong in messages. Each is replaced by a placeholder of the same length before YAML is parsed (the
 * braces would not survive it), and filled in afterwards, inside its scalar.
 */
const REFERENCE = /\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}\n]*))?\}/g;
// Characters of a private area, which no configuration contains. A placeholder is a beginning, a number in two
// characters, and filling; the shortest reference has four characters.
const BEGIN = "\uE000";
const FILL = "\uE001";
const ZERO = 0xe100;
const BASE = 0x800;
const PLACEHOLDER = /\uE000([\uE100-\uE8FF])([\uE100-\uE8FF])\uE001*/g;

export interface Reference {
  readonly name: string;
  readonly fallback: string | undefined;
  /** Where it stands in the text. */
  readonly offset: number;
}

/** The text with placeholders, and what they stand for. */
export function hideReferences(text: string): { readonly text: string; readonly references: Reference[] } {
  const references: Reference[] = [];
  const hidden = text.replace(
    REFERENCE,
    (whole, name: string, fallback: string | undefined, offset: number) => {
      const number = references.push({ name, fallback, offset }) - 1;
      const digits = String.fromCharCode(ZERO + Math.floor(number / BASE), ZERO + (number % BASE));
      return (BEGIN + digits).padEnd(whole.length, FILL);
    },
  );
  return { text: hidden, references };
}

export function hasReference(text: string): boolean {
  return text.includes(BEGIN);
}

/** Where hidden references leave the beginning of another, which is one that was misspelt; -1 if nowhere. */
export function brokenReference(text: string, start: number, end: number): number {
  // Not a search from `start` to wherever the next one is: that reads the rest of the file for each of its values.
  const offset = text.slice(start, end + 1).indexOf("${");
  return offset < 0 ? -1 : start + offset;
}

/** Fills the values in. `missing` has the references to variables that are not set and have no default. */
export function fillReferences(
  text: string,
  references: readonly Reference[],
  environment: Readonly<Record<string, string | undefined>>,
): { readonly text: string; readonly missing: readonly Reference[] } {
  const missing: Reference[] = [];
  const filled = text.replace(PLACEHOLDER, (placeholder, high: string, low: string) => {
    const reference = references[(high.charCodeAt(0) - ZERO) * BASE + low.charCodeAt(0) - ZERO];
    // The file itself has a character of the private area: it stands for itself.
    if (reference === undefined) return placeholder;
    const { name, fallback } = reference;
    const value = Object.hasOwn(environment, name) ? environment[name] : undefined;
    // As in a shell, `:-` also replaces a value that is empty.
    if (fallback !== undefined) return value === undefined || value === "" ? fallback : value;
    if (value === undefined) missing.push(reference);
    return value ?? "";
  });
  return { text: filled, missing };
}
