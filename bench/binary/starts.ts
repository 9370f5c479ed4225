/**
 * How long a program takes from its start until it has done what it was asked for, or says that it is ready.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type Program = readonly [string, ...string[]];

/** Milliseconds of `--version`, to its end. */
export function untilEnded([command, ...words]: Program): number {
  const beganMs = performance.now();
  const { status } = spawnSync(command, [...words, "--version"]);
  if (status !== 0) throw new Error(`${command} --version: expected exit code 0, got ${status}`);
  return performance.now() - beganMs;
}

/** Milliseconds of `run`, with one upstream, to the record that says that its ports are open. */
export async function untilReady([command, ...words]: Program): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "heddle-bench-"));
  const file = join(folder, "heddle.yaml");
  writeFileSync(
    file,
    "outbound: { listen: 127.0.0.1:0 }\nadmin: { listen: 127.0.0.1:0 }\nupstreams: { bench: { endpoints: [127.0.0.1:1] } }\n",
  );
  const beganMs = performance.now();
  const child = spawn(command, [...words, "run", "--config", file], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  let said = "";
  for await (const text of child.stdout.setEncoding("utf8")) {
    said += text;
    if (said.includes('"msg":"ready"')) break;
  }
  const tookMs = performance.now() - beganMs;
  child.kill("SIGKILL");
  await exited;
  rmSync(folder, { recursive: true });
  if (!said.includes('"msg":"ready"')) throw new Error(`${command} run: ended before it was ready`);
  return tookMs;
}
