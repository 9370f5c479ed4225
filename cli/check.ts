/**
 * `heddle check`: every fault at once, each on a line that an editor can jump to.
 */
import { ConfigError } from "../config/index.ts";
import type { Arguments } from "./command.ts";
import { readConfig } from "./read-config.ts";

export async function check({ words }: Arguments): Promise<number> {
  const file = words[0]!;
  try {
    await readConfig(file);
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown;
    process.stderr.write(`${thrown.message}\n`);
    return 1;
  }
  process.stdout.write(`${file}: fine\n`);
  return 0;
}
