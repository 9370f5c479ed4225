/**
 * The options that `heddle inject` and `heddle webhook` have in common: what annotations say, where a pod has none.
 */
import { type AnnotationName, type InjectOptions, readDefaults } from "../kubernetes/index.ts";
import { type Arguments, UsageError } from "./command.ts";
import { version } from "./own-program.ts";

const AS_ANNOTATION: Readonly<Record<string, AnnotationName>> = {
  image: "image",
  config: "config",
  discovery: "discovery",
  "log-level": "log-level",
};

/** @throws UsageError for a value that the annotation does not take */
export function injectOptions(options: Arguments["options"]): InjectOptions {
  const given: Partial<Record<AnnotationName, string>> = {};
  for (const [option, name] of Object.entries(AS_ANNOTATION)) {
    const value = options[option];
    if (typeof value === "string") given[name] = value;
  }
  if (options["classic"] === true) given.sidecar = "classic";
  if (options["transparent"] === true) given.mode = "transparent";
  const read = readDefaults(given);
  if ("expected" in read) {
    const got = JSON.stringify(given[read.name]);
    throw new UsageError(`--${read.name}: expected ${read.expected}, got ${got}`);
  }
  return { defaults: read.defaults, image: `heddle:${version()}` };
}
