/**
 * The sources and the packages they use as one text, for the single executable, which has no files to import.
 *
 * CommonJS and not a module: only for that the executable keeps V8's compiled code, which is a quarter of its start. Names and
 * lines stay as they are written (nothing is minified), so that a profile or a trace can be read.
 */
import { join } from "node:path";
import { build } from "esbuild";

export interface Bundle {
  readonly code: string;
  /** The source map as JSON; it names files from the project's root. */
  readonly map: string;
  /** The folders of the packages that are in it, from the project's root: `node_modules/pino`. */
  readonly packages: readonly string[];
}

/** @param entry a path from the root */
export async function bundle(root: string, entry: string): Promise<Bundle> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile: join(root, "bundle.js"),
    bundle: true,
    write: false,
    metafile: true,
    format: "cjs",
    platform: "node",
    target: `node${process.versions.node}`,
    // An import() of Node's own modules does not work beside kept code; as require() it does.
    supported: { "dynamic-import": false },
    // Paths are told as they are below the root, also where node_modules is a link.
    preserveSymlinks: true,
    // follow-redirects takes it where it is, and here it is for tap: what a user's install lacks stays out.
    external: ["debug"],
    // Read only where there are files.
    define: { "import.meta.url": "undefined", "import.meta.dirname": "undefined" },
    sourcemap: "external",
    sourcesContent: false,
    logLevel: "warning",
  });
  const text = (ending: string) => outputFiles.find(({ path }) => path.endsWith(ending))!.text;
  return { code: text(".js"), map: text(".map"), packages: packagesOf(Object.keys(metafile.inputs)) };
}

function packagesOf(inputs: readonly string[]): string[] {
  const folders = inputs.map((input) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0]);
  return [...new Set(folders.filter((folder) => folder !== undefined))].sort();
}
