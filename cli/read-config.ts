/**
 * A configuration file by its path, with a plain message when there is none.
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
  if (typeof file !== "string")
    return parseConfig("{}", "the command line", process.env, [...overrides, ...(await usualPorts())]);
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (thrown) {
    const message = `expected a readable file, got ${(thrown as Error).message}`;
    throw new ConfigError(file, [{ line: 1, column: 1, path: "", message }]);
  }
  return parseConfig(text, file, process.env, overrides);
}
