/**
 * The load of the scenes: wrk for as much as a proxy can carry, h2load for a rate that is kept whatever the answers take.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { HOST_HEADER } from "../load/upstream.ts";
import { type Load, load } from "../load/wrk.ts";
import type { Subject } from "./ground.ts";

const run = promisify(execFile);
const CONNECTIONS = 32;

/** As fast as it goes. */
export function saturate(
  proxy: Subject,
  core: number,
  seconds: number,
  { path = "/", connections = CONNECTIONS } = {},
): Promise<Load> {
  const url = `http://127.0.0.1:${proxy.port}${path}`;
  return load({ url, seconds, connections, core, signal: new AbortController().signal });
}

/** At a rate, in requests per second; resolves to the 99th percentile of the answers' times in milliseconds. */
export async function pace(proxy: Subject, core: number, rate: number, seconds: number): Promise<number> {
  const clients = 20;
  const folder = mkdtempSync(join(tmpdir(), "heddle-pace-"));
  const log = join(folder, "times");
  try {
    const rest = ["-D", String(seconds), `--log-file=${log}`, `--connect-to=127.0.0.1:${proxy.port}`];
    const command = [
      "-c",
      String(core),
      "h2load",
      "--h1",
      "-c",
      String(clients),
      "--rps",
      String(rate / clients),
      ...rest,
    ];
    const { stdout } = await run("taskset", [...command, `http://${HOST_HEADER}:${proxy.port}/`]);
    const failed = /(\d+) failed, (\d+) errored, (\d+) timeout/.exec(stdout);
    if (failed === null || failed.slice(1).some((count) => count !== "0"))
      throw new Error(`h2load: expected no failure, got ${stdout.slice(-400)}`);
    // Start in microseconds, status, duration in microseconds; the first second warms up.
    const lines = readFileSync(log, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => line.split("\t").map(Number));
    const from = lines[0]![0]! + 1e6;
    const times = lines.filter(([at]) => at! > from).map(([, , micros]) => micros! / 1000);
    times.sort((a, b) => a - b);
    return times[Math.floor(times.length * 0.99)]!;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
