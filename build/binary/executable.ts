/**
 * One file that is Node and heddle: the two bundles, their maps and the manifest, in a copy of the Node that runs this.
 *
 * Node makes it itself (`--build-sea`, from 25.5 on). The flags of V8 that bin/heddle.js would set are written into it, and the
 * builder runs with the same ones: V8 does not use compiled code that was made under others.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { MANIFEST_ASSET } from "../../cli/own-program.ts";
import { WORKER_ASSET } from "../../proxy/workers/program.ts";
import { bundle } from "./bundle.ts";
import { mapAsset, PROGRAM } from "./traces.ts";

/** As bin/heddle.js has them, with the reasons. */
const V8_FLAGS = ["--max-semi-space-size=8", "--no-flush-bytecode", "--no-memory-reducer"];

export interface Executable {
  /** The packages in it, see Bundle. */
  readonly packages: readonly string[];
  /** Whether what debuggers read of Node was left out, a fifth of the file. */
  readonly isStripped: boolean;
}

/**
 * @param root the project's folder
 * @param file where it is written; what it is made of lies in `parts` beside it afterwards
 * @throws Error when this Node cannot make one
 */
export async function makeExecutable(root: string, file: string): Promise<Executable> {
  const parts = join(dirname(file), "parts");
  mkdirSync(parts, { recursive: true });
  const program = await bundle(root, "build/binary/heddle.ts");
  const worker = await bundle(root, "build/binary/worker.ts");
  const assets = {
    [WORKER_ASSET]: worker.code,
    [mapAsset(WORKER_ASSET)]: worker.map,
    [mapAsset(PROGRAM)]: program.map,
  };
  for (const [name, text] of Object.entries({ ...assets, [PROGRAM]: program.code }))
    writeFileSync(join(parts, name), text);
  const node = join(parts, "node");
  const isStripped = copyStripped(process.execPath, node);
  // Names in `parts` and no paths: the one of the program is told in stack traces.
  const configuration = {
    main: PROGRAM,
    mainFormat: "commonjs",
    executable: node,
    output: file,
    disableExperimentalSEAWarning: true,
    useCodeCache: true,
    execArgv: V8_FLAGS,
    assets: {
      ...Object.fromEntries(Object.keys(assets).map((name) => [name, name])),
      [MANIFEST_ASSET]: join(root, "package.json"),
    },
  };
  writeFileSync(join(parts, "executable.json"), JSON.stringify(configuration));
  execFileSync(process.execPath, [...V8_FLAGS, "--build-sea", "executable.json"], {
    cwd: parts,
    stdio: ["ignore", "ignore", "inherit"],
  });
  rmSync(node);
  chmodSync(file, 0o755);
  return { packages: [...new Set([...program.packages, ...worker.packages])].sort(), isStripped };
}

/** Stripped before, and not after: what is added to the file would be taken for something to strip. */
function copyStripped(from: string, to: string): boolean {
  copyFileSync(from, to);
  chmodSync(to, 0o755);
  return process.platform === "linux" && spawnSync("strip", [to]).status === 0;
}
