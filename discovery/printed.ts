/**
 * What somebody has written, as a message repeats it: a value, and the place where it stands.
 *
 * For the configuration and for files with endpoints: both are refused with `expected …, got …`, which ends in a log or a terminal. So
 * it is one line of no great length, without what may be a password.
 */
import { withoutSecrets } from "./consul/options.ts";

export type Path = readonly (string | number)[];

const MOST_CHARACTERS = 80;

export function printed(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "an empty value";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object") return "a mapping";
  const text = typeof value === "string" ? JSON.stringify(withoutSecrets(value)) : String(value);
  return text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS - 3)}...` : text;
}

/** `routes[2].to`; a key that is no single short word is quoted. */
export function formatPath(path: Path): string {
  return path
    .map((step, i) => {
      if (typeof step === "number") return `[${step}]`;
      const word = /^[^\s\p{C}"]{1,64}$/u.test(step) ? step : printed(step);
      return i === 0 ? word : `.${word}`;
    })
    .join("");
}
