/**
 * When and where a bench was run: what a reader must know to read its figures.
 */
import { cpus, release } from "node:os";
import { median } from "./median.ts";

export interface Place {
  readonly processor: string;
  readonly kernel: string;
  /** Of Node. */
  readonly version: string;
}

export interface Occasion extends Place {
  /** As in 2026-01-31. */
  readonly date: string;
}

/** The same of a bench that goes in rounds. */
export interface Rounds extends Occasion {
  readonly rounds: number;
  /** The length of each. */
  readonly seconds: number;
}

/** What a timer may be late on a machine that has nothing else to do: they count whole milliseconds. Well below any work. */
const QUIET_MS = 4;

export function place(): Place {
  return {
    processor: cpus()[0]?.model ?? "unknown",
    kernel: release(),
    version: process.versions.node,
  };
}

export function occasion(): Occasion {
  return { date: today(), ...place() };
}

/** As in 2026-01-31. */
export function today(): string {
  return new Date().toISOString().slice(0, 10);
}

export function placeWords({ processor, kernel, version }: Place): string {
  return `Processor ${processor}, Linux ${kernel}, Node ${version}`;
}

export function roundsWords(rounds: number): string {
  return rounds === 1 ? "1 round" : `${rounds} rounds`;
}

/**
 * How far the load generator kept to its plan: what it is late is in the latencies, and is not the proxy's.
 *
 * @param late of each turn, within which time 99 of 100 requests were sent
 */
export function latenessLine(of: string, late: readonly number[]): string {
  const usual = median(late);
  const warning = usual > QUIET_MS ? ": **the machine had other work, and it is in these figures**" : "";
  return `- Of the requests of ${of}, 99 % were sent within ${usual.toFixed(1)} ms of when they were due; in the worst turn, within ${Math.max(...late).toFixed(1)} ms${warning}`;
}
