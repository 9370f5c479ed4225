/**
 * Where heddle is installed. Found and not reckoned: these modules run from where they were written and from dist/.
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

/** The folder that holds package.json and bin/. */
export function packageRoot(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, "package.json"))) folder = dirname(folder);
  return folder;
}
