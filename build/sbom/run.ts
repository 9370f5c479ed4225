/**
 * `npm run sbom`: writes out/sbom.cdx.json, what heddle is made of.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sbomOf } from "./sbom.ts";

const ROOT = join(import.meta.dirname, "../..");
const FILE = "out/sbom.cdx.json";

mkdirSync(join(ROOT, "out"), { recursive: true });
const sbom = sbomOf(ROOT);
writeFileSync(join(ROOT, FILE), `${JSON.stringify(sbom, null, 2)}\n`);
process.stdout.write(`${FILE}: ${sbom.components.length} components\n`);
