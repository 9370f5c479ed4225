/**
 * What the bench tells: a table, whether heddle met its targets, every round, and where this was measured.
 *
 * The same Markdown goes to the terminal and into docs/benchmarks.md, so that no figure is copied by hand.
 */
import { roundsWords } from "../occasion.ts";
import { numbersTable } from "../table.ts";
import type { Machine } from "./machine.ts";
import type { Options } from "./options.ts";
import type { Result } from "./rounds.ts";
import type { Baseline, Row } from "./summary.ts";

export interface Occasion {
  /** As in 2026-01-31. */
  readonly date: string;
  readonly machine: Machine;
  readonly options: Options;
}

/** The most CPU time per request that heddle may take, as a multiple of what the baseline takes. */
const TARGETS: readonly { readonly of: string; readonly baseline: Baseline; readonly atMost: number }[] = [
  { of: "heddle", baseline: "nginx", atMost: 1.25 },
  { of: "heddle", baseline: "http-proxy", atMost: 0.25 },
  { of: "heddle-access-log", baseline: "nginx", atMost: 1.6 },
];

export function report(rows: readonly Row[], results: readonly Result[], occasion: Occasion): string {
  const parts = [
    numbersTable(SUMMARY_HEAD, rows.map(summaryCells)),
    failureLines(rows),
    targetLines(rows),
    "CPU time per request in each round (µs):",
    numbersTable(roundsHead(results), results.map(roundCells)),
    occasionLines(occasion),
  ];
  return parts.filter((part) => part !== "").join("\n\n");
}

const SUMMARY_HEAD = [
  "proxy",
  "µs CPU per request",
  "to nginx",
  "to http-proxy",
  "requests/s",
  "core use",
  "p50 ms",
  "p99 ms",
  "RSS MiB",
];

function summaryCells(row: Row): readonly string[] {
  if (row.failure !== undefined) {
    return [`${row.name} (FAILED)`, ...SUMMARY_HEAD.slice(1).map(() => ABSENT)];
  }
  return [
    row.name,
    row.cpuMicrosecondsPerRequest.toFixed(1),
    row.ratioTo.nginx?.toFixed(2) ?? ABSENT,
    row.ratioTo["http-proxy"]?.toFixed(2) ?? ABSENT,
    String(Math.round(row.requestsPerSecond)),
    `${Math.round(row.coreUse * 100)} %`,
    row.p50Ms.toFixed(2),
    row.p99Ms.toFixed(2),
    (row.residentBytes / 2 ** 20).toFixed(0),
  ];
}

const ABSENT = "–";

function failureLines(rows: readonly Row[]): string {
  const lines = rows.map(({ name, failure }) =>
    failure === undefined ? "" : `- ${name} FAILED: ${failure}`,
  );
  return lines.filter((line) => line !== "").join("\n");
}

function targetLines(rows: readonly Row[]): string {
  const lines = TARGETS.flatMap(({ of, baseline, atMost }) => {
    const row = rows.find(({ id, failure }) => id === of && failure === undefined);
    const ratio = row?.ratioTo[baseline];
    if (row === undefined || ratio === undefined) return [];
    const verdict = ratio <= atMost ? "met" : "missed";
    return [
      `- ${row.name} to ${baseline}: ${ratio.toFixed(2)}, target at most ${atMost.toFixed(2)}: ${verdict}`,
    ];
  });
  return lines.join("\n");
}

function roundsHead(results: readonly Result[]): readonly string[] {
  return ["proxy", ...(results[0]?.measurements ?? []).map((_, i) => `round ${i + 1}`)];
}

function roundCells({ name, measurements }: Result): readonly string[] {
  return [name, ...measurements.map((measurement) => measurement.cpuMicrosecondsPerRequest.toFixed(1))];
}

function occasionLines({ date, machine, options }: Occasion): string {
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  const { rounds, seconds, connections } = options;
  return [
    `- Measured on ${date}: ${roundsWords(rounds)} of ${seconds} s each after one warm-up, ${connections} connections`,
    `- Processor ${machine.processor}, Linux ${machine.kernel}`,
    `- Versions: ${versions.join(", ")}`,
  ].join("\n");
}
