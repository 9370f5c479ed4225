/**
 * `${NAME}` and `${NAME:-default}` in a YAML file.
 *
 * Not replaced in the text: a value with a colon or a newline would change the structure, and every column after
 * it would be wrong in messages. Each is replaced by a placeholder of the same length before YAML is parsed (the
 * braces would not survive it), and filled in afterwards, inside its scalar.
 */
const REFERENCE = /\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}\n]*))?\}/g;
// Characters of a private area, which no configuration contains: begin, fill, and digits in between.
const BEGIN = "\uE000";
const FILL = "\uE001";
const PLACEHOLDER = new RegExp(`${BEGIN}(\\d+)${FILL}*`, "g");

export interface Reference {
  readonly name: string;
  readonly fallback: string | undefined;
}

/** The text with placeholders, and what they stand for. */
export function hideReferences(text: string): { readonly text: string; readonly references: Reference[] } {
  const references: Reference[] = [];
  const hidden = text.replace(REFERENCE, (whole, name: string, fallback: string | undefined) => {
    const digits = String(references.push({ name, fallback }) - 1);
    return (BEGIN + digits).padEnd(whole.length, FILL);
  });
  return { text: hidden, references };
}

export function hasReference(text: string): boolean {
  return text.includes(BEGIN);
}

/** Fills the values in. `missing` names the variables that are not set and have no default. */
export function fillReferences(
  text: string,
  references: readonly Reference[],
  environment: Readonly<Record<string, string | undefined>>,
): { readonly text: string; readonly missing: readonly string[] } {
  const missing: string[] = [];
  const filled = text.replace(PLACEHOLDER, (_, digits: string) => {
    const { name, fallback } = references[Number(digits)]!;
    const value = environment[name];
    // As in a shell, `:-` also replaces a value that is empty.
    if (fallback !== undefined) return value === undefined || value === "" ? fallback : value;
    if (value === undefined) missing.push(name);
    return value ?? "";
  });
  return { text: filled, missing };
}
