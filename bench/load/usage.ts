/**
 * What processes have used so far, from /proc: CPU time of all their threads, and resident memory.
 *
 * CPU time per request is the figure of this bench, not requests per second: it hardly moves when something
 * else runs on the machine, and it is right even when the load generator is the slower side.
 */
import { readdirSync, readFileSync } from "node:fs";

export interface Usage {
  readonly processIds: readonly number[];
  readonly cpuTicks: number;
  readonly residentBytes: number;
}

export function usageOf(processIds: readonly number[]): Usage {
  let cpuTicks = 0;
  let residentBytes = 0;
  for (const id of processIds) {
    cpuTicks += parseStat(readFileSync(`/proc/${id}/stat`, "utf8")).cpuTicks;
    residentBytes += parseResidentBytes(readFileSync(`/proc/${id}/status`, "utf8"));
  }
  return { processIds, cpuTicks, residentBytes };
}

/** The process and all that descend from it, parents before children. */
export function processTree(rootId: number): readonly number[] {
  const parentOf = new Map<number, number>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      parentOf.set(Number(entry), parseStat(readFileSync(`/proc/${entry}/stat`, "utf8")).parentId);
    } catch {
      // It ended since the folder was listed.
    }
  }
  const tree = [rootId];
  // The array grows while it is walked, so grandchildren are met too.
  for (const id of tree) {
    for (const [child, parent] of parentOf) if (parent === id) tree.push(child);
  }
  return tree;
}

/** proc(5): the command in parentheses may hold anything, so fields are counted from the last parenthesis. */
export function parseStat(stat: string): { readonly parentId: number; readonly cpuTicks: number } {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // Fields 4 (ppid), 14 (utime) and 15 (stime); the first one here is field 3.
  return { parentId: Number(fields[1]), cpuTicks: Number(fields[11]) + Number(fields[12]) };
}

export function parseResidentBytes(status: string): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kibibytes === undefined) throw new Error("expected VmRSS in the status of a process, got none");
  return Number(kibibytes) * 1024;
}
