/**
 * What the bench needs of the machine, and what a reader must know about it to read the figures.
 *
 * Everything that is missing is told at once, with the packages that bring it, before anything is started.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { UnfitMachine } from "../command.ts";
import { type Place, place } from "../occasion.ts";
import type { Contender, Program } from "./contender.ts";

export interface Machine extends Place {
  readonly proxyCore: number;
  readonly loadCore: number;
  readonly ticksPerSecond: number;
  /** By name, as in "nginx": "1.22.1". */
  readonly versions: Readonly<Record<string, string>>;
}

const ROOT = join(import.meta.dirname, "../..");

/** nginx is the upstream of every contender, and so needed even when it does not compete. */
const ALWAYS_NEEDED: readonly Program[] = [
  { name: "nginx", debianPackage: "nginx-light" },
  { name: "wrk", debianPackage: "wrk" },
  { name: "taskset", debianPackage: "util-linux" },
];

export function examineMachine(chosen: readonly Contender[]): Machine {
  if (process.platform !== "linux")
    throw new UnfitMachine("the bench needs Linux: it pins processes and reads /proc");
  // Debian keeps servers where only root looks by default.
  process.env.PATH = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`;
  const versions = programVersions(chosen);
  for (const { id, needsFile } of chosen) {
    if (needsFile === undefined || existsSync(join(ROOT, needsFile))) continue;
    throw new UnfitMachine(`${id} needs ${needsFile}, which is not there; choose others with --only`);
  }
  const [proxyCore, loadCore] = allowedCores(readFileSync("/proc/self/status", "utf8"));
  if (proxyCore === undefined || loadCore === undefined)
    throw new UnfitMachine("the bench needs two cores, got one");
  const here = place();
  return {
    proxyCore,
    loadCore,
    ticksPerSecond: Number(spawnSync("getconf", ["CLK_TCK"], { encoding: "utf8" }).stdout),
    ...here,
    versions: {
      Node: here.version,
      ...versions,
      "http-proxy": packageVersion("node_modules/http-proxy"),
      heddle: packageVersion("."),
    },
  };
}

function programVersions(chosen: readonly Contender[]): Record<string, string> {
  const versions: Record<string, string> = {};
  const missing: string[] = [];
  for (const { name, debianPackage } of [
    ...ALWAYS_NEEDED,
    ...chosen.flatMap(({ needsProgram }) => needsProgram ?? []),
  ]) {
    const { error, stdout, stderr } = spawnSync(name, ["-v"], { encoding: "utf8" });
    if (error !== undefined) missing.push(debianPackage);
    // taskset tells none when asked like this, and its version says nothing about the figures.
    const version = /\d+(\.\d+)+/.exec(stdout + stderr)?.[0];
    if (version !== undefined) versions[name] = version;
  }
  if (missing.length === 0) return versions;
  throw new UnfitMachine(`programs are missing; on Debian and Ubuntu: apt-get install ${missing.join(" ")}`);
}

/** Cores that this process may use, from a list such as "0-1,4": a container may own others than 0 and 1. */
export function allowedCores(status: string): readonly number[] {
  const list = /^Cpus_allowed_list:\s+(\S+)$/m.exec(status)?.[1] ?? "";
  return list.split(",").flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

function packageVersion(folder: string): string {
  const manifest: unknown = JSON.parse(readFileSync(join(ROOT, folder, "package.json"), "utf8"));
  return typeof manifest === "object" && manifest !== null && "version" in manifest
    ? String(manifest.version)
    : "unknown";
}
