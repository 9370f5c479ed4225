/**
 * How an endpoint stands with the others: in, ejected until a time, or probing; and every way from one to another.
 *
 * Not ejected and back, as in Envoy, where time alone brings an endpoint back to its full share: then whoever is still
 * broken costs a window of requests each time. Here time only earns a trial: single requests, one after the other, until
 * enough of them in a row were good. The first bad one ends the trial, and the next ejection is longer. (Linkerd's and
 * Finagle's probe, with Envoy's growing times.)
 */
import type { EjectionOptions } from "./outlier-options.ts";
import { type Finding, heldAgainst, type OutlierRule } from "./outlier-rules.ts";

export type Standing = In | Ejected | Probing;

interface Common {
  /** When it came to stand so. What began before says nothing about it. */
  readonly sinceMs: number;
  /** Ejections that are held against it. */
  readonly times: number;
}

export interface In extends Common {
  readonly is: "in";
}

export interface Ejected extends Common {
  readonly is: "ejected";
  readonly untilMs: number;
  readonly rule: OutlierRule;
  /** An answer that takes longer is no proof of health: it is what the endpoint was ejected for. */
  readonly slowMs: number;
}

export interface Probing extends Common {
  readonly is: "probing";
  readonly rule: OutlierRule;
  readonly slowMs: number;
  /** Good answers in a row. */
  readonly passed: number;
  /** When the probe that is under way was sent; undefined when none is. */
  readonly askedAtMs: number | undefined;
}

/** Taken out for what was found. `forMs` says for how long, given how often it has been out, this time included. */
export function eject(
  { times, sinceMs }: In,
  { rule, limit }: Finding,
  options: EjectionOptions,
  nowMs: number,
  forMs: (times: number) => number,
): Ejected {
  const now = heldAgainst(times, nowMs - sinceMs, options) + 1;
  const slowMs = rule === "latency" ? limit : Number.POSITIVE_INFINITY;
  return { is: "ejected", sinceMs: nowMs, untilMs: nowMs + forMs(now), times: now, rule, slowMs };
}

/** Its trial has failed: out again for the same reason, and for longer. */
export function ejectAgain(
  { times, rule, slowMs }: Probing,
  nowMs: number,
  forMs: (times: number) => number,
): Ejected {
  return { is: "ejected", sinceMs: nowMs, untilMs: nowMs + forMs(times + 1), times: times + 1, rule, slowMs };
}

/** Its time is over: it may show what it can do, by what is slow now. */
export function onTrial(
  { times, rule, slowMs: slowThenMs }: Ejected,
  nowMs: number,
  slowNowMs: number | undefined,
): Probing {
  const slowMs = rule === "latency" ? (slowNowMs ?? slowThenMs) : slowThenMs;
  return { is: "probing", sinceMs: nowMs, times, rule, slowMs, passed: 0, askedAtMs: undefined };
}

/** Back among the others, on proof or because they are too few; what was held against it fades with time. */
export function reinstated({ times }: Standing, nowMs: number): In {
  return { is: "in", sinceMs: nowMs, times };
}

/** Whether it may be sent a probe: one at a time, and one that does not end holds its place only for so long. */
export function mayProbe({ askedAtMs }: Probing, nowMs: number, limitMs: number): boolean {
  return askedAtMs === undefined || nowMs - askedAtMs >= limitMs;
}

/** What becomes of the trial when a probe has ended: it goes on, or it is decided. */
export function afterProbe(
  before: Probing,
  outcome: "passed" | "failed" | "ignored",
  probes: number,
): Probing | "reinstate" | "eject" {
  switch (outcome) {
    case "failed":
      return "eject";
    case "ignored":
      return { ...before, askedAtMs: undefined };
    case "passed":
      return before.passed + 1 >= probes
        ? "reinstate"
        : { ...before, passed: before.passed + 1, askedAtMs: undefined };
  }
}
