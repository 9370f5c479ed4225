/**
 * A configuration file by its path, with a plain message when there is none, and what the environment lays over it.
 *
 * HEDDLE_CONFIG is for places where a file is more work than a value: an injected pod has all of its configuration in it, or only what
 * its manifest depends on, over a file that is mounted.
 */
import { readFile } from "node:fs/promises";
import { type Config, ConfigError, parseConfig } from "../config/index.ts";
import { usualPorts } from "./usual-ports.ts";

/** What the command line says in place of settings. */
export type GivenSettings = Readonly<Record<"sidecarFor" | "proxyId", string | boolean | undefined>>;

/**
 * @param file undefined when all that is to be said is given
 * @throws ConfigError also when the file cannot be read
 */
export async function readConfig(
  file: string | boolean | undefined,
  given: Partial<GivenSettings> = {},
): Promise<Config> {
  const overrides = Object.entries(given).flatMap(([setting, value]) =>
    typeof value === "string" ? [[["discovery", "consul", setting], value] as const] : [],
  );
  const inline = inlineConfig();
  if (typeof file !== "string" && inline !== undefined)
    return parseConfig(inline, INLINE, process.env, overrides);
  if (typeof file !== "string")
    return parseConfig("{}", "the command line", process.env, [...overrides, ...(await usualPorts())]);
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (thrown) {
    const message = `expected a readable file, got ${(thrown as Error).message}`;
    throw new ConfigError(file, [{ line: 1, column: 1, path: "", message }]);
  }
  const layer = inline === undefined ? undefined : { text: inline, name: INLINE };
  return parseConfig(text, file, process.env, overrides, layer);
}

const INLINE = "HEDDLE_CONFIG";

/** YAML in the environment; an empty variable is none. */
export function inlineConfig(): string | undefined {
  const text = process.env[INLINE];
  return text === undefined || text.trim() === "" ? undefined : text;
}
