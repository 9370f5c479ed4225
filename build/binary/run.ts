/**
 * `npm run build:binary`: writes out/heddle, which needs no Node, out/THIRD-PARTY.txt and out/sbom.cdx.json.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sbomOf } from "../sbom/sbom.ts";
import { makeExecutable } from "./executable.ts";
import { thirdPartyNotices } from "./third-party.ts";

const ROOT = join(import.meta.dirname, "../..");
const OUT = join(ROOT, "out");
/** An odd number of them has a middle one. */
const STARTS = 9;

mkdirSync(OUT, { recursive: true });
const file = join(OUT, "heddle");
const sbom = sbomOf(ROOT);
const { packages, isStripped } = await makeExecutable(ROOT, file);
const listed = new Set(sbom.components.map(({ name }) => `node_modules/${name}`));
const unlisted = packages.filter((folder) => !listed.has(folder));
if (unlisted.length > 0) throw new Error(`in the executable and not in its list: ${unlisted.join(", ")}`);
writeFileSync(join(OUT, "sbom.cdx.json"), `${JSON.stringify(sbom, null, 2)}\n`);
writeFileSync(join(OUT, "THIRD-PARTY.txt"), thirdPartyNotices(ROOT, packages));

const mebibytes = Math.round(statSync(file).size / 2 ** 20);
const starts = Array.from({ length: STARTS }, startMs).toSorted((a, b) => a - b);
const ms = Math.round(starts[(STARTS - 1) / 2]!);
process.stdout.write(
  `out/heddle: ${mebibytes} MiB${isStripped ? "" : " (with what debuggers read: `strip` is not there)"}, ` +
    `\`heddle --version\` in ${ms} ms (median of ${STARTS})\n`,
);

function startMs(): number {
  const beganMs = performance.now();
  const { status } = spawnSync(file, ["--version"]);
  if (status !== 0) throw new Error(`out/heddle --version ended with ${status}`);
  return performance.now() - beganMs;
}
