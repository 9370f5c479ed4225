/**
 * From text to a believed configuration, or every fault with its place. After this nobody checks again.
 */
import * as v from "valibot";
import { crossFaults } from "./cross-checks.ts";
import { type Environment, type Path, readDocument } from "./document.ts";
import { ConfigError, type ConfigFault } from "./fault.ts";
import { type Config, shape } from "./shape.ts";
import { suggestion } from "./suggest.ts";

/**
 * @param file its name, for messages
 * @throws ConfigError with all faults, in the order of their place
 */
export function parseConfig(text: string, file: string, environment: Environment): Config {
  const document = readDocument(text, environment);
  if (document.faults.length > 0) throw new ConfigError(file, document.faults);
  const result = v.safeParse(shape, document.value, { abortPipeEarly: true });
  const faults: ConfigFault[] = [];
  if (result.success) {
    for (const { path, message } of crossFaults(result.output))
      faults.push({ ...document.placeOf(path), path: formatPath(path), message });
  } else {
    for (const issue of result.issues) {
      for (const { path, message, atKey } of describe(issue)) {
        const place = atKey ? document.placeOfKey(path) : document.placeOf(path);
        faults.push({ ...place, path: formatPath(path), message });
      }
    }
  }
  if (!result.success || faults.length > 0) {
    faults.sort((a, b) => a.line - b.line || a.column - b.column);
    throw new ConfigError(file, faults);
  }
  return deepFreeze(result.output);
}

interface Described {
  readonly path: Path;
  readonly message: string;
  readonly atKey: boolean;
}

type Issue = v.BaseIssue<unknown>;

/** @param base where the value that the issue is about begins */
function describe(issue: Issue, base: Path = []): Described[] {
  const path = [...base, ...(issue.path ?? []).map((item) => item.key as string | number)];
  const last = issue.path?.at(-1);
  if (issue.type === "strict_object" && issue.expected === "never") {
    const key = String(last?.key);
    const near = suggestion(key, knownKeys(path.slice(0, -1)));
    const known = knownKeys(path.slice(0, -1)).join(", ");
    const hint = near === undefined ? `expected one of ${known}` : `did you mean ${near}?`;
    return [{ path, message: `unknown setting; ${hint}`, atKey: true }];
  }
  if (issue.type === "strict_object" && issue.received === "undefined")
    return [{ path, message: "expected this setting, nothing came", atKey: false }];
  if (last?.origin === "key")
    return [{ path, message: `expected ${issue.message}, got ${printed(last.key)} as the key`, atKey: true }];
  const inner = issue.type === "union" ? innermost(issue, path) : undefined;
  if (inner !== undefined) return inner;
  return [{ path, message: `expected ${issue.message}, got ${printed(issue.input)}`, atKey: false }];
}

/** A union fails in every branch; the branch that fits the kind of value that came says what is wrong. */
function innermost(issue: Issue, path: Path): Described[] | undefined {
  const branch = (issue.issues ?? []).filter(
    (inner) => inner.type === "strict_object" || (inner.path?.length ?? 0) > 0,
  );
  if (typeof issue.input !== "object" || branch.length === 0) return undefined;
  return branch.flatMap((inner) => describe(inner, path));
}

/** The settings that the shape has at a path, for "did you mean". */
function knownKeys(path: Path): readonly string[] {
  let schemas: unknown[] = [shape];
  for (const step of path) schemas = schemas.flatMap(unwrap).flatMap((schema) => children(schema, step));
  return schemas
    .flatMap(unwrap)
    .flatMap((schema) => Object.keys((schema as { entries?: object }).entries ?? {}));
}

function unwrap(schema: unknown): unknown[] {
  const { type, wrapped, pipe, options } = schema as {
    type?: string;
    wrapped?: unknown;
    pipe?: readonly unknown[];
    options?: readonly unknown[];
  };
  if (wrapped !== undefined) return unwrap(wrapped);
  if (pipe !== undefined && pipe[0] !== schema && pipe.length > 1) return unwrap({ ...(pipe[0] as object) });
  if (type === "union" && options !== undefined) return options.flatMap(unwrap);
  return [schema];
}

function children(schema: unknown, step: string | number): unknown[] {
  const { entries, value, item } = schema as {
    entries?: Readonly<Record<string, unknown>>;
    value?: unknown;
    item?: unknown;
  };
  const child = entries?.[step] ?? value ?? item;
  return child === undefined ? [] : [child];
}

function printed(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "an empty value";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object") return "a mapping";
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

export function formatPath(path: Path): string {
  return path
    .map((step, i) => (typeof step === "number" ? `[${step}]` : i === 0 ? step : `.${step}`))
    .join("");
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
