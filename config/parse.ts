/**
 * From text to a believed configuration, or every fault with its place. After this nobody checks again.
 */
import * as v from "valibot";
import { crossFaults } from "./cross-checks.ts";
import { type Environment, type Path, type ReadDocument, readDocument } from "./document.ts";
import { ConfigError, type ConfigFault } from "./fault.ts";
import { type Complaint, complaints, formatPath } from "./issues.ts";
import { type Config, shape } from "./shape.ts";

/**
 * @param file its name, for messages
 * @throws ConfigError with all faults, in the order of their place
 */
export function parseConfig(text: string, file: string, environment: Environment): Config {
  const document = readDocument(text, environment);
  const faults = [...document.faults];
  if (document.value !== undefined) {
    const result = v.safeParse(shape, document.value, { abortPipeEarly: true });
    const found = result.success
      ? crossFaults(result.output, (path) => isSet(document.value, path))
      : result.issues.flatMap((issue) => complaints(issue));
    faults.push(...found.map((complaint) => placed(complaint, document)));
    if (result.success && faults.length === 0) return deepFreeze(result.output);
  }
  faults.sort((a, b) => a.line - b.line || a.column - b.column);
  throw new ConfigError(file, faults);
}

function placed({ path, message, atKey }: Complaint, document: ReadDocument): ConfigFault {
  const place = atKey === true ? document.placeOfKey(path) : document.placeOf(path);
  return { ...place, path: formatPath(path), message };
}

/** Whether the file itself says something at this path. */
function isSet(value: unknown, path: Path): boolean {
  let inner = value;
  for (const step of path) {
    if (typeof inner !== "object" || inner === null || !Object.hasOwn(inner, step)) return false;
    inner = (inner as Readonly<Record<string | number, unknown>>)[step];
  }
  return true;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
