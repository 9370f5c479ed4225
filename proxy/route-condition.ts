/**
 * The tests of a request that cannot be looked up: they are compared one after the other, after host and path have
 * left few routes to compare.
 *
 * Where Consul's documents leave it open, Envoy decides, as those who move here from it have tried their routes there.
 */
import { type Exchange, headerValue, pathOf, queryParameter } from "../core/index.ts";

/** How a value is compared; `present` asks only whether there is one. */
export type ValueTest =
  | { readonly type: "present" }
  | { readonly type: "exact" | "prefix" | "suffix" | "contains" | "regex"; readonly value: string };

export type Condition = {
  /** The opposite must hold. Of a field or parameter that is not there, only `present` has an opposite. */
  readonly invert?: boolean | undefined;
  /** Letters in any case. */
  readonly ignoreCase?: boolean | undefined;
  readonly test: ValueTest;
} & (
  | { readonly of: "path" }
  /** `name` in lower case. */
  | { readonly of: "header"; readonly name: string }
  /** `name` as it is after decoding. */
  | { readonly of: "query"; readonly name: string }
);

/** Of fields and parameters that come several times, the first counts. */
export function holds(condition: Condition, exchange: Exchange): boolean {
  const { test, ignoreCase, invert } = condition;
  const value = valueFor(condition, exchange);
  if (value === undefined) return test.type === "present" && invert === true;
  return passes(test, value, ignoreCase === true) !== (invert === true);
}

function valueFor(condition: Condition, { target, headers }: Exchange): string | undefined {
  if (condition.of === "header") return headerValue(headers, condition.name);
  return condition.of === "path" ? pathOf(target) : queryParameter(target, condition.name);
}

function passes(test: ValueTest, value: string, ignoreCase: boolean): boolean {
  if (test.type === "present") return true;
  if (test.type === "regex") return pattern(test.value, ignoreCase).test(value);
  const [given, wanted] = ignoreCase ? [value.toLowerCase(), test.value.toLowerCase()] : [value, test.value];
  switch (test.type) {
    case "exact":
      return given === wanted;
    case "prefix":
      return given.startsWith(wanted);
    case "suffix":
      return given.endsWith(wanted);
    case "contains":
      return given.includes(wanted);
  }
}

/** Patterns come with the routes of the registry, and go with them. */
const MOST_PATTERNS = 1000;
const PATTERNS = new Map<string, RegExp>();

/** Of the whole value, as in Envoy. */
function pattern(source: string, ignoreCase: boolean): RegExp {
  const key = `${ignoreCase ? "i" : ""}/${source}`;
  let compiled = PATTERNS.get(key);
  if (compiled === undefined) {
    if (PATTERNS.size >= MOST_PATTERNS) PATTERNS.clear();
    compiled = new RegExp(`^(?:${source})$`, ignoreCase ? "i" : "");
    PATTERNS.set(key, compiled);
  }
  return compiled;
}
