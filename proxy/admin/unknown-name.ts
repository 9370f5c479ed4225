/**
 * What is told to whoever names something that there is not: that, and what there is.
 */

/** So many are listed: a sidecar may call a thousand services. */
const MOST_NAMES = 20;

/** @param what the kind of thing, as in `there is no upstream "oders"` */
export function unknownName(what: string, name: string, known: readonly string[]): string {
  const rest = known.length - MOST_NAMES;
  const list = known.slice(0, MOST_NAMES).join(", ") || "none";
  const more = rest > 0 ? `, and ${rest} more` : "";
  return `there is no ${what} ${JSON.stringify(name)}; known: ${list}${more}`;
}
