/**
 * An image as the Open Container Initiative lays it out in files, made without an engine by umoci: one layer, and the
 * configuration that the Dockerfile has, too.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { USER_ID } from "./root.ts";

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

/**
 * Writes it anew; its tag is the version of heddle.
 * @param root what writeRoot has written
 * @throws Error where umoci is not there or fails
 */
export function writeLayout(project: string, root: string, layout: string): void {
  const { version, description, license } = JSON.parse(readFileSync(join(project, "package.json"), "utf8"));
  const image = `${layout}:${version}`;
  rmSync(layout, { recursive: true, force: true });
  umoci("init", "--layout", layout);
  umoci("new", "--image", image);
  const rootless = process.getuid?.() === 0 ? [] : ["--rootless"];
  umoci("insert", ...rootless, "--image", image, root, "/");
  const label = (name: string, text: string) => `--config.label=org.opencontainers.image.${name}=${text}`;
  umoci(
    "config",
    "--image",
    image,
    "--os=linux",
    `--architecture=${ARCHITECTURES[process.arch] ?? process.arch}`,
    `--config.user=${USER_ID}:${USER_ID}`,
    "--config.entrypoint=/usr/bin/heddle",
    ...["run", "--config", "/etc/heddle/heddle.yaml"].map((word) => `--config.cmd=${word}`),
    ...[15001, 15006, 15000].map((port) => `--config.exposedports=${port}/tcp`),
    "--config.stopsignal=SIGTERM",
    label("title", "heddle"),
    label("description", description),
    label("version", version),
    label("licenses", license),
  );
}

function umoci(...words: readonly string[]): void {
  try {
    execFileSync("umoci", words, { stdio: ["ignore", "ignore", "pipe"] });
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") throw thrown;
    throw new Error("umoci is not there; on Debian and Ubuntu: apt-get install umoci");
  }
}
