/**
 * The two tables of this bench, whether its target is met, and where and how it was measured.
 *
 * The same Markdown goes to the terminal and into docs/benchmarks.md, so that no figure is copied by hand.
 */
import { median } from "../median.ts";
import type { Results, Row } from "./scenes.ts";
import { mediansOf, ratioOf } from "./turns.ts";

/** The most that the 99th percentile of `peakEwma` may be, as a part of `roundRobin`'s. */
const TARGET = 1 / 3;

/** What a timer may be late on a machine that has nothing else to do: they count whole milliseconds. Well below any work. */
const QUIET_MS = 4;
const NOT_QUIET = ": **the machine had other work, and these tails are its own**";

/** What a reader must know to read the figures. */
export interface Occasion {
  /** As in 2026-01-31. */
  readonly date: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly processor: string;
  readonly kernel: string;
  /** Of Node. */
  readonly version: string;
}

export function report(slow: Results, busy: Results, occasion: Occasion): string {
  return [
    table(
      "algorithm | p50 ms | p90 ms | p99 ms | p99.9 ms | mean ms | p99 to `roundRobin` | to the slow one",
      [
        ...slow.rows.map((row) => {
          const { p50Ms, p90Ms, p99Ms, p999Ms, meanMs, share } = mediansOf(row.rounds);
          const latencies = [p50Ms, p90Ms, p99Ms, p999Ms, meanMs].map((ms) => ms.toFixed(1));
          return [row.label, ...latencies, ratio(row, slow).toFixed(2), percent(share)];
        }),
      ],
    ),
    targetLine(slow),
    "One of six is busy with the requests of others:",
    table("algorithm | p50 ms | p99 ms | mean ms | to the busy one", [
      ...busy.rows.map(({ label, rounds }) => {
        const { p50Ms, p99Ms, meanMs, share } = mediansOf(rounds);
        return [label, ...[p50Ms, p99Ms, meanMs].map((ms) => ms.toFixed(1)), percent(share)];
      }),
    ]),
    occasionLines([slow, busy], occasion),
  ].join("\n\n");
}

function ratio(row: Row, { rows }: Results): number {
  return ratioOf(row.rounds, rows.find(({ label }) => label === "`roundRobin`")!.rounds);
}

function targetLine(slow: Results): string {
  const row = slow.rows.find(({ label }) => label === "`peakEwma`")!;
  const reached = ratio(row, slow);
  const each = slow.rows.map(
    ({ label, rounds }) => `${label} ${rounds.map(({ p99Ms }) => p99Ms.toFixed(1)).join(", ")}`,
  );
  return `- p99 of \`peakEwma\` to \`roundRobin\`: ${reached.toFixed(2)}, target at most ${TARGET.toFixed(2)}: ${reached <= TARGET ? "met" : "missed"}
- p99 in each round (ms): ${each.join("; ")}`;
}

function occasionLines(
  scenes: readonly Results[],
  { date, rounds, seconds, processor, kernel, version }: Occasion,
): string {
  const uses = (["heddle", "replicas", "callers"] as const).map(
    (process) => `${process} ${percent(Math.max(...scenes.map(({ coreUse }) => coreUse[process])))}`,
  );
  const late = scenes.flatMap(({ lateMs }) => lateMs);
  const usualMs = median(late);
  return [
    `- Measured on ${date}: ${rounds === 1 ? "1 round" : `${rounds} rounds`} of ${seconds} s each after one warm-up`,
    `- Most of a core in any turn: ${uses.join(", ")}`,
    `- Of the requests of a turn, 99 % were sent within ${usualMs.toFixed(1)} ms of when they were due; in the worst turn, within ${Math.max(...late).toFixed(1)} ms${usualMs > QUIET_MS ? NOT_QUIET : ""}`,
    `- Processor ${processor}, Linux ${kernel}, Node ${version}`,
  ].join("\n");
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function table(head: string, rows: readonly (readonly string[])[]): string {
  const rule = head.split(" | ").map((_, i) => (i === 0 ? "---" : "---:"));
  return [`| ${head} |`, `|${rule.join("|")}|`, ...rows.map((row) => `| ${row.join(" | ")} |`)].join("\n");
}
