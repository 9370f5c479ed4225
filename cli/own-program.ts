/**
 * What this program is: which version, and how it is started once more. Found and not reckoned: these modules run from where
 * they were written, from dist/, and from within the single executable, which has no files beside it and holds what it
 * needs of them (build/binary.ts).
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** The asset of the single executable that is package.json. */
export const MANIFEST_ASSET = "package.json";

/** The version of this heddle, such as 0.1.0. */
export function version(): string {
  const { isSea, getAsset } = process.getBuiltinModule("node:sea");
  const text = isSea()
    ? getAsset(MANIFEST_ASSET, "utf8")
    : readFileSync(join(packageRoot(), "package.json"), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

/** The program and the first words of a command line that means `heddle`. */
export function ownCommand(): readonly [program: string, ...words: string[]] {
  if (process.getBuiltinModule("node:sea").isSea()) return [process.execPath];
  return [process.execPath, join(packageRoot(), "bin/heddle.js")];
}

/** The folder that holds package.json and bin/. */
function packageRoot(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, "package.json"))) folder = dirname(folder);
  return folder;
}
