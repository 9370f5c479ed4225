/**
 * What Consul's JSON has beyond what every registry's has: a number may have come as a text (operators write both in
 * opaque configuration, and Consul's own proxy reads both), and a duration is a text of Go's.
 */
import { list } from "../json-values.ts";

export function entries(value: unknown): readonly (readonly [string, unknown])[] {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
}

export function texts(value: unknown): readonly string[] {
  return list(value).filter((item) => typeof item === "string");
}

/** A number, or a text that is one. */
export function number(value: unknown): number | undefined {
  if (typeof value === "number") return Number.isFinite(value) ? value : undefined;
  if (typeof value !== "string" || value.trim() === "") return undefined;
  const read = Number(value);
  return Number.isFinite(read) ? read : undefined;
}

/** A whole number above 0. */
export function count(value: unknown): number | undefined {
  return atLeast(1, whole(value));
}

/** A whole number, or 0. */
export function whole(value: unknown): number | undefined {
  const read = atLeast(0, number(value));
  return read === undefined ? undefined : Math.floor(read);
}

export function atLeast(least: number, value: number | undefined): number | undefined {
  return value !== undefined && value >= least ? value : undefined;
}

const UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};
const DURATION = /^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/;
/** Longer than any request: what stands for no limit. */
export const NO_LIMIT_MS = 24 * 3_600_000;

/**
 * A duration as Go writes it (`1m30s`), or as its JSON has it when it is a number (nanoseconds). In milliseconds, and
 * below 0 if it was.
 */
export function durationMs(value: unknown): number | undefined {
  if (typeof value === "number") return Number.isFinite(value) ? value / 1e6 : undefined;
  if (typeof value !== "string") return undefined;
  if (value === "0") return 0;
  if (!DURATION.test(value)) return undefined;
  let sumMs = 0;
  for (const [, amount, unit] of value.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g))
    sumMs += Number(amount) * UNITS_MS[unit!]!;
  if (!Number.isFinite(sumMs)) return undefined;
  return value.startsWith("-") ? -sumMs : sumMs;
}

/** No longer than what stands for no limit: timers do not take every number. */
export function bounded(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.min(ms, NO_LIMIT_MS);
}

/** How long something may take, where 0 means that nothing is said and less that there is no limit. */
export function limitMs(value: unknown): number | undefined {
  const saidMs = durationMs(value);
  if (saidMs === undefined || saidMs === 0) return undefined;
  return saidMs < 0 ? NO_LIMIT_MS : bounded(Math.max(1, saidMs));
}
