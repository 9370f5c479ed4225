/**
 * The licences of what the single executable holds of others: their texts want to go where the code goes.
 */
import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";

const RULE = "=".repeat(100);

/**
 * @param packages folders from the root, see Bundle
 * @throws Error when a text is not there: such a package must not be handed on
 */
export function thirdPartyNotices(root: string, packages: readonly string[]): string {
  const parts = packages.map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"));
    return section(`${name} ${version} (${license})`, join(root, folder));
  });
  // As it is unpacked: bin/node and LICENSE.
  const node = dirname(dirname(realpathSync(process.execPath)));
  return [
    "The executable heddle holds the following, each under its own licence.\n",
    ...parts,
    section(`Node.js ${process.versions.node}, with the libraries in it`, node),
  ].join("\n");
}

function section(title: string, folder: string): string {
  const files = readdirSync(folder)
    .filter((file) => /^(?:licen[cs]e|copying|notice)\b/i.test(file))
    .sort();
  if (files.length === 0) throw new Error(`${folder} has no text of its licence`);
  const texts = files.map((file) => readFileSync(join(folder, file), "utf8").trim());
  return `${RULE}\n${title}\n${RULE}\n\n${texts.join("\n\n")}\n`;
}
