/**
 * The file system of an image: the executable, the libraries that the linker names for it, and the few files that those read.
 *
 * No distribution below it: no shell, no package manager, nothing that would have to be renewed but what is listed here. Not linked
 * statically, as Node's own builds are not and look up names by the C library.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/** Numeric, so that Kubernetes can tell that it is not root (runAsNonRoot). */
export const USER_ID = 10001;

const TEXTS: Readonly<Record<string, string>> = {
  "etc/passwd": `heddle:x:${USER_ID}:${USER_ID}:heddle:/:/nonexistent\n`,
  "etc/group": `heddle:x:${USER_ID}:\n`,
  // Without it the C library would ask services that are not there.
  "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
};
const DOCUMENTS = "usr/share/doc/heddle";

/**
 * Writes it anew.
 * @param out the folder with `heddle` and what is written beside it
 * @throws Error where a library is not found
 */
export function writeRoot(project: string, out: string, folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  const put = (from: string, path: string, mode: number) => {
    const to = join(folder, path);
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(from, to);
    chmodSync(to, mode);
  };
  put(join(out, "heddle"), "usr/bin/heddle", 0o755);
  for (const library of librariesOf(join(out, "heddle"))) {
    put(library, library, 0o755);
    const terms = termsOf(library);
    if (terms !== undefined) put(terms, terms, 0o644);
  }
  put(join(project, "LICENSE"), `${DOCUMENTS}/LICENSE`, 0o644);
  for (const file of ["THIRD-PARTY.txt", "sbom.cdx.json"])
    put(join(out, file), `${DOCUMENTS}/${file}`, 0o644);
  // The configuration is mounted at the first, and an engine mounts the others.
  for (const path of ["etc/heddle", "proc", "sys", "dev"]) mkdirSync(join(folder, path), { recursive: true });
  for (const [path, text] of Object.entries(TEXTS)) writeFileSync(join(folder, path), text, { mode: 0o644 });
  // For `heddle demo`; a sidecar writes nothing unless it is told to.
  mkdirSync(join(folder, "tmp"));
  chmodSync(join(folder, "tmp"), 0o1777);
}

/** The files that the linker would load, the linker itself among them. */
function librariesOf(program: string): string[] {
  const lines = execFileSync("ldd", [program], { encoding: "utf8" }).split("\n");
  return lines.flatMap((line) => {
    if (line.includes("not found")) throw new Error(`a library is missing: ${line.trim()}`);
    return /(\/\S+) \(0x/.exec(line)?.[1] ?? [];
  });
}

/** Where Debian keeps the licence of the package that a library comes from; undefined elsewhere. */
function termsOf(library: string): string | undefined {
  // Debian's record has the path from before /lib became a link to /usr/lib, or the one after.
  for (const path of [library, `/usr${library}`, `*/${basename(library)}`]) {
    try {
      const found = execFileSync("dpkg", ["-S", path], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      });
      const terms = `/usr/share/doc/${found.split(":", 1)[0]}/copyright`;
      if (existsSync(terms)) return terms;
    } catch {
      // Not by this name, or not Debian.
    }
  }
  return undefined;
}
