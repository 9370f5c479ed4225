/**
 * What both scenes stand on: replicas in one process, the caller's sidecar in another, the callers in this one, and what
 * each of the three takes of a core meanwhile, so that nobody has to believe that none of them was the bottleneck.
 */
import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Teardown } from "../../test/support/apps.ts";
import { type SidecarProcess, startSidecar } from "../../test/support/sidecar.ts";
import { usageOf } from "../load/usage.ts";

/** In each answer, the place of the replica that gave it, from 0. */
export const REPLICA_HEADER = "x-replica";

/** What the replicas do for a request. */
export interface Work {
  /** For each replica, how long a request usually takes it, in milliseconds. */
  readonly usualMs: readonly number[];
  /** How many requests each serves at the same time; null for any number. */
  readonly atOnce: number | null;
}

/** Where a replica is reached: itself, and by way of its inbound sidecar. */
export interface ReplicaPorts {
  readonly app: number;
  readonly sidecar: number;
}

export interface Ground {
  readonly replicas: readonly ReplicaPorts[];
  /** The caller's sidecar; each contender is an upstream of it, so that all of them meet the same process. */
  readonly sidecar: SidecarProcess;
  /** CPU time so far, in seconds, of each process. */
  cpuSeconds(): CpuSeconds;
}

export type CpuSeconds = Readonly<Record<"heddle" | "replicas" | "callers", number>>;

/** One way to choose among the replicas. */
export interface Contender {
  /** The upstream's name. */
  readonly name: string;
  /** As the table calls it. */
  readonly label: string;
  readonly algorithm: string;
  /** Whether requests go to the replicas themselves or to their inbound sidecars. */
  readonly to: keyof ReplicaPorts;
}

export async function prepare(t: Teardown, work: Work, contenders: readonly Contender[]): Promise<Ground> {
  const child = fork(fileURLToPath(new URL("./replicas.ts", import.meta.url)), [JSON.stringify(work)]);
  t.teardown(() => child.kill());
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`the replicas ended (${code}) before they were ready`);
  });
  ended.catch(() => {});
  const [replicas] = (await Promise.race([once(child, "message"), ended])) as [ReplicaPorts[]];
  const upstreams = contenders.map(({ name, algorithm, to }) => [
    name,
    { endpoints: replicas.map((ports) => `127.0.0.1:${ports[to]}`), balancing: { algorithm } },
  ]);
  const sidecar = await startSidecar(t, {
    upstreams: Object.fromEntries(upstreams),
    telemetry: { accessLog: false },
  });
  const ticksPerSecond = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));
  const secondsOf = (pid: number) => usageOf([pid]).cpuTicks / ticksPerSecond;
  return {
    replicas,
    sidecar,
    cpuSeconds: () => ({
      heddle: secondsOf(sidecar.pid),
      replicas: secondsOf(child.pid!),
      callers: secondsOf(process.pid),
    }),
  };
}
