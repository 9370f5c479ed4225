/**
 * `npm run build:image`: writes out/image, an image as the Open Container Initiative lays it out in files, without an engine.
 *
 * skopeo or podman carry it to a registry. With --root-only just its file system, out/root, which the Dockerfile copies.
 * Exit codes: 0 written, 1 something is missing.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { writeLayout } from "./layout.ts";
import { writeRoot } from "./root.ts";

const ROOT = join(import.meta.dirname, "../..");
const OUT = join(ROOT, "out");

try {
  if (!existsSync(join(OUT, "heddle")))
    throw new Error("there is no out/heddle; npm run build:binary makes it");
  writeRoot(ROOT, OUT, join(OUT, "root"));
  if (!process.argv.includes("--root-only")) {
    writeLayout(ROOT, join(OUT, "root"), join(OUT, "image"));
    process.stdout.write("out/image\n");
  }
} catch (thrown) {
  process.stderr.write(`image: ${(thrown as Error).message}\n`);
  process.exitCode = 1;
}
