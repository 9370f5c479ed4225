/**
 * What a running heddle is made of, as a CycloneDX document: the packages it uses and the Node it runs on.
 *
 * npm writes the document (`npm sbom`, from the lock file) and this takes out what is for the work itself. npm's own `--omit=dev` is
 * not used: it leaves out every package that a tool uses, too, and so yaml and valibot. What depends on the moment or the
 * machine is taken out as well: the same lock file and the same Node give the same bytes.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

interface Component {
  readonly "bom-ref": string;
  readonly name: string;
  readonly version: string;
  readonly [member: string]: unknown;
}

export interface Sbom {
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
  readonly [member: string]: unknown;
}

interface LockFile {
  readonly packages: Readonly<
    Record<
      string,
      { readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>> }
    >
  >;
}

/**
 * @param root the folder of package.json and package-lock.json
 * @throws Error when npm fails, or its document lacks a package that is used
 */
export function sbomOf(root: string): Sbom {
  const written = JSON.parse(npm(root, ["sbom", "--package-lock-only", "--sbom-format=cyclonedx"])) as Sbom;
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    readonly name: string;
    readonly dependencies: Readonly<Record<string, string>>;
  };
  const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as LockFile;
  const dependsOn = new Map(written.dependencies.map(({ ref, dependsOn: on }) => [ref, on]));
  const us = written.metadata.component;
  const ours = Object.entries(manifest.dependencies).map(([name, version]) => `${name}@${version}`);
  const used = new Map([[us["bom-ref"], ours]]);
  for (const [, refs] of used)
    for (const ref of refs) {
      const on = dependsOn.get(ref);
      if (on === undefined) throw new Error(`npm's list lacks ${ref}`);
      const peers = lock.packages[`node_modules/${nameOf(ref)}`]?.peerDependenciesMeta ?? {};
      // The map grows while it is walked.
      if (!used.has(ref))
        used.set(
          ref,
          on.filter((other) => peers[nameOf(other)]?.optional !== true),
        );
    }
  const node = nodeComponent();
  return {
    $schema: written["$schema"],
    bomFormat: "CycloneDX",
    specVersion: written["specVersion"],
    version: 1,
    metadata: {
      // npm names it after the folder.
      component: { ...us, type: "application", name: manifest.name },
    },
    components: [
      ...written.components
        .filter((component) => used.has(component["bom-ref"]))
        // Where the package came from is the affair of whoever fetched it.
        .map((component) => ({ ...component, scope: "required", externalReferences: [] })),
      node,
    ],
    dependencies: [
      ...[...used].map(([ref, on]) => ({
        ref,
        dependsOn: ref === us["bom-ref"] ? [...on, node["bom-ref"]] : on,
      })),
      { ref: node["bom-ref"], dependsOn: [] },
    ],
  };
}

/** `pino` of `pino@10.4.0`, `@pinojs/redact` of `@pinojs/redact@0.4.0`. */
function nameOf(ref: string): string {
  return ref.slice(0, ref.lastIndexOf("@"));
}

/** Node with the libraries that are part of it, as it names them itself: whoever looks for a fault of OpenSSL looks here. */
function nodeComponent(): Component {
  const { node, ...libraries } = process.versions;
  return {
    "bom-ref": `node@${node}`,
    type: "platform",
    name: "node",
    version: node,
    scope: "required",
    purl: `pkg:generic/node@${node}`,
    licenses: [{ license: { id: "MIT" } }],
    components: Object.entries(libraries)
      // Numbers of interfaces.
      .filter(([name]) => name !== "modules" && name !== "napi")
      .map(([name, version]) => ({
        "bom-ref": `node@${node}/${name}@${version}`,
        type: "library",
        name,
        version: version!,
      })),
  };
}

/** The npm that runs this, or the one on PATH. */
function npm(root: string, words: readonly string[]): string {
  const path = process.env["npm_execpath"];
  const [program, ...first] = path === undefined ? ["npm"] : [process.execPath, path];
  return execFileSync(program!, [...first, ...words], { cwd: root, encoding: "utf8", maxBuffer: 1 << 26 });
}
