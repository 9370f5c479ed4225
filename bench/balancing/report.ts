/**
 * The two tables of this bench, whether its target is met, and where and how it was measured.
 *
 * The same Markdown goes to the terminal and into docs/benchmarks.md, so that no figure is copied by hand.
 */
import { latenessLine, placeWords, type Rounds, roundsWords } from "../occasion.ts";
import { numbersTable } from "../table.ts";
import type { Results, Row } from "./scenes.ts";
import { mediansOf, ratioOf } from "./turns.ts";

/** The most that the 99th percentile of `peakEwma` may be, as a part of `roundRobin`'s. */
const TARGET = 1 / 3;

export function report(slow: Results, busy: Results, occasion: Rounds): string {
  return [
    numbersTable(
      [
        "algorithm",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p99.9 ms",
        "mean ms",
        "p99 to `roundRobin`",
        "to the slow one",
      ],
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
    numbersTable(
      ["algorithm", "p50 ms", "p99 ms", "mean ms", "to the busy one"],
      [
        ...busy.rows.map(({ label, rounds }) => {
          const { p50Ms, p99Ms, meanMs, share } = mediansOf(rounds);
          return [label, ...[p50Ms, p99Ms, meanMs].map((ms) => ms.toFixed(1)), percent(share)];
        }),
      ],
    ),
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

function occasionLines(scenes: readonly Results[], { date, rounds, seconds, ...place }: Rounds): string {
  const uses = (["heddle", "replicas", "callers"] as const).map(
    (process) => `${process} ${percent(Math.max(...scenes.map(({ coreUse }) => coreUse[process])))}`,
  );
  return [
    `- Measured on ${date}: ${roundsWords(rounds)} of ${seconds} s each after one warm-up`,
    `- Most of a core in any turn: ${uses.join(", ")}`,
    latenessLine(
      "a turn",
      scenes.flatMap(({ lateMs }) => lateMs),
    ),
    `- ${placeWords(place)}`,
  ].join("\n");
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
