// Writes dist/: the same modules without their types, so that the command starts without the type stripper, which weighs
// some 27 MB and a quarter of a second (docs/performance.md). Run by `npm ci` through the script "prepare"; bin/heddle.js uses
// dist/ while no source is newer. Nothing is bundled or renamed: lines and columns are those of the sources.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const DIST = join(ROOT, "dist");
const ROOMS = [
  "core",
  "balancing",
  "resilience",
  "discovery",
  "config",
  "telemetry",
  "proxy",
  "kubernetes",
  "cli",
];
/** The name of a module of ours in an import or a URL. */
const OUR_MODULE = /(?<=["'](?:\.\.?\/)[^"'\n]*)\.ts(?=["'])/g;

// npm may run "prepare" in an installed package as well, where there is dist/ and nothing to make it from.
if (!existsSync(join(ROOT, ROOMS[0]))) process.exit(0);
if (stripTypeScriptTypes === undefined) {
  // Without dist/ the sources are used.
  process.stderr.write(`heddle: Node ${process.versions.node} cannot strip types; dist/ is not built.\n`);
  process.exit(0);
}
// It is experimental, and says so; what it writes is tested with every run of the command.
process.removeAllListeners("warning");

rmSync(DIST, { recursive: true, force: true });
let modules = 0;
for (const room of ROOMS) {
  for (const file of readdirSync(join(ROOT, room), { recursive: true })) {
    if (!file.endsWith(".ts") || file.endsWith(".d.ts")) continue;
    const path = join(room, file);
    const text = stripTypeScriptTypes(readFileSync(join(ROOT, path), "utf8"));
    const written = join(DIST, path.replace(/\.ts$/, ".js"));
    mkdirSync(dirname(written), { recursive: true });
    writeFileSync(written, text.replace(OUR_MODULE, ".js"));
    modules++;
  }
}
// Last, and younger than all that it stands for.
writeFileSync(join(DIST, "built.json"), `${JSON.stringify({ rooms: ROOMS, modules })}\n`);
