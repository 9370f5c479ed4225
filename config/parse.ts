/**
 * From text to a believed configuration, or every fault with its place. After this nobody checks again.
 */
import * as v from "valibot";
import { formatPath, withEnvironment } from "../discovery/index.ts";
import { crossFaults } from "./cross-checks.ts";
import { type Environment, type Path, type ReadDocument, readDocument } from "./document.ts";
import { ConfigError, type ConfigFault } from "./fault.ts";
import { type Complaint, complaints } from "./issues.ts";
import { type Config, shape } from "./shape.ts";

/** Settings that are given beside the file, each by its path. */
export type Overrides = readonly (readonly [path: readonly string[], value: string])[];

/** A second text, whose settings go before those of the file. */
export interface Layer {
  readonly text: string;
  /** What it is called in messages. */
  readonly name: string;
}

/**
 * @param file its name, for messages
 * @throws ConfigError with all faults, in the order of their place
 */
export function parseConfig(
  text: string,
  file: string,
  environment: Environment,
  overrides: Overrides = [],
  layer?: Layer,
): Config {
  const document = layered(readDocument(text, environment), layer, environment);
  const faults = [...document.faults];
  if (document.value !== undefined) {
    const value = overrides.reduce(withOverride, document.value);
    const result = v.safeParse(shape, value, { abortPipeEarly: true });
    const { config, found } = result.success
      ? believed(result.output, value, environment)
      : { config: undefined, found: result.issues.flatMap((issue) => complaints(issue)) };
    faults.push(...found.map((complaint) => placed(complaint, document)));
    if (config !== undefined && faults.length === 0) return deepFreeze(config);
  }
  faults.sort(
    (a, b) =>
      Number(a.source !== undefined) - Number(b.source !== undefined) ||
      a.line - b.line ||
      a.column - b.column,
  );
  throw new ConfigError(file, faults);
}

/** Two texts as one, in which each value has the place where it was written. */
function layered(file: ReadDocument, layer: Layer | undefined, environment: Environment): ReadDocument {
  if (layer === undefined) return file;
  const over = readDocument(layer.text, environment);
  const source = layer.name;
  const isOver = (path: Path) => depth(over.value, path) >= Math.max(1, depth(file.value, path));
  const known = file.value !== undefined && over.value !== undefined;
  return {
    value: known ? laidOver(file.value, over.value) : undefined,
    faults: [...file.faults, ...over.faults.map((fault) => ({ ...fault, source }))],
    placeOf: (path) => (isOver(path) ? { ...over.placeOf(path), source } : file.placeOf(path)),
    placeOfKey: (path) => (isOver(path) ? { ...over.placeOfKey(path), source } : file.placeOfKey(path)),
  };
}

/** Mappings are put together, anything else is replaced. */
function laidOver(below: unknown, above: unknown): unknown {
  if (!isMapping(below) || !isMapping(above)) return above;
  const entries = Object.entries(above).map(([key, value]) => [
    key,
    Object.hasOwn(below, key) ? laidOver(below[key], value) : value,
  ]);
  return { ...below, ...Object.fromEntries(entries) };
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** How much of a path there is. */
function depth(value: unknown, path: Path): number {
  const missing = path.findIndex((_, i) => !isSet(value, path.slice(0, i + 1)));
  return missing < 0 ? path.length : missing;
}

/** A copy of a mapping with one more value; what is no mapping is left for the shape to refuse. */
function withOverride(value: unknown, [path, given]: Overrides[number]): unknown {
  const [step, ...rest] = path;
  if (step === undefined) return given;
  if (typeof value !== "object" || Array.isArray(value)) return value;
  const inner: unknown = (value as Readonly<Record<string, unknown>> | null)?.[step] ?? {};
  return { ...value, [step]: withOverride(inner, [rest, given]) };
}

/** What the file says with what the environment adds, and what is wrong with the two together. */
function believed(
  output: v.InferOutput<typeof shape>,
  value: unknown,
  environment: Environment,
): { readonly config: Config; readonly found: readonly Complaint[] } {
  const { consul } = output.discovery;
  const { options, faults } =
    consul === undefined ? { options: undefined, faults: [] } : withEnvironment(consul, environment);
  const config: Config = {
    ...output,
    discovery: {
      ...output.discovery,
      consul: consul === undefined || options === undefined ? undefined : { ...consul, ...options },
    },
  };
  const said = faults.map(({ setting, message }) => ({ path: ["discovery", "consul", setting], message }));
  return { config, found: [...said, ...crossFaults(config, (path) => isSet(value, path))] };
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
