/**
 * The load generator: one turn of wrk on one thread, and what its report says.
 *
 * wrk is a closed loop (a connection sends its next request when the answer is there), so it finds how much a
 * proxy can carry, and its latencies are those of a saturated proxy.
 */
import { execFile } from "node:child_process";
import { HOST_HEADER } from "./upstream.ts";

export interface Load {
  readonly requests: number;
  readonly seconds: number;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Answers other than 2xx and 3xx, and errors of sockets; a sound turn has none. */
  readonly errors: number;
}

export interface Turn {
  readonly url: string;
  readonly seconds: number;
  readonly connections: number;
  readonly core: number;
  readonly signal: AbortSignal;
}

export async function load(turn: Turn): Promise<Load> {
  const wrk = ["wrk", "-t1", `-c${turn.connections}`, `-d${turn.seconds}s`, "--latency"];
  const command = ["-c", String(turn.core), ...wrk, "-H", `Host: ${HOST_HEADER}`, turn.url];
  const signal = AbortSignal.any([turn.signal, AbortSignal.timeout((turn.seconds + 15) * 1000)]);
  return parseReport(await outputOf("taskset", command, signal));
}

/** Reads the report of `wrk --latency`; a report without the lines it should have is refused. */
export function parseReport(report: string): Load {
  const total = field(report, /(\d+) requests in ([\d.]+)(\w+)/);
  // Units of one letter are padded with a space.
  const p50 = field(report, /^ +50% +([\d.]+)(\w+) *$/m);
  const p99 = field(report, /^ +99% +([\d.]+)(\w+) *$/m);
  const rate = field(report, /^Requests\/sec: +([\d.]+)$/m);
  const otherStatus = /Non-2xx or 3xx responses: (\d+)/.exec(report)?.[1] ?? 0;
  const ofSockets = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(report) ?? [];
  return {
    requests: Number(total[1]),
    seconds: milliseconds(total[2], total[3]) / 1000,
    requestsPerSecond: Number(rate[1]),
    p50Ms: milliseconds(p50[1], p50[2]),
    p99Ms: milliseconds(p99[1], p99[2]),
    errors: ofSockets.slice(1).reduce((sum, count) => sum + Number(count), Number(otherStatus)),
  };
}

const UNITS_MS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

function field(report: string, pattern: RegExp): RegExpExecArray {
  const match = pattern.exec(report);
  if (match === null) throw new Error(`wrk: expected ${pattern} in its report, got\n${report}`);
  return match;
}

function milliseconds(amount: string | undefined, unit: string | undefined): number {
  const unitMs = UNITS_MS[unit ?? ""];
  if (unitMs === undefined) throw new Error(`wrk: expected a unit of time, got "${unit}"`);
  return Number(amount) * unitMs;
}

function outputOf(program: string, commandLine: readonly string[], signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, commandLine, { signal, killSignal: "SIGKILL" }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else
        reject(new Error(`wrk did not finish its turn: ${stderr.trim() || error.message}`, { cause: error }));
    });
  });
}
