/**
 * A configuration file by its path, with a plain message when there is none.
 */
import { readFile } from "node:fs/promises";
import { type Config, ConfigError, parseConfig } from "../config/index.ts";

/** @throws ConfigError also when the file cannot be read */
export async function readConfig(file: string): Promise<Config> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (thrown) {
    const message = `expected a readable file, got ${(thrown as Error).message}`;
    throw new ConfigError(file, [{ line: 1, column: 1, path: "", message }]);
  }
  return parseConfig(text, file, process.env);
}
