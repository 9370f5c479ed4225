/**
 * A breaker as the admin port shows it: what requests meet, what is behind it, and how it came to that. Plain values, which
 * can cross from one thread to another; and how those of several workers become one.
 */
import type { Breaker, BreakerOptions, BreakerState, Opening } from "../resilience/index.ts";

/** Times in milliseconds. */
export interface BreakerView {
  /** What requests meet. */
  readonly breaker: BreakerState;
  /** How long until it lets a probe through. */
  readonly opensForMs?: number;
  /** In shadow: what requests would meet. */
  readonly shadow?: BreakerState;
  /** What an operator has decided, and for how long that still holds. */
  readonly forced?: { readonly state: "open" | "closed"; readonly forMs: number };
  /** How it opened last; left out if it never has. */
  readonly opened?: Omit<Opening, "atMs"> & { readonly agoMs: number };
}

/** @param breaker undefined where nobody has needed it yet */
export function breakerView(
  breaker: Breaker | undefined,
  mode: BreakerOptions["mode"],
  nowMs: number,
): BreakerView {
  if (breaker === undefined) return mode === "shadow" ? { breaker: "closed", shadow: "closed" } : CLOSED;
  const { state, judged, forced, opening } = breaker;
  const until = (ms: number) => Math.max(0, Math.round(ms - nowMs));
  return {
    breaker: state,
    ...(state === "open" ? { opensForMs: until(breaker.openUntilMs) } : {}),
    ...(mode === "shadow" ? { shadow: judged } : {}),
    ...(forced === undefined ? {} : { forced: { state: forced.state, forMs: until(forced.untilMs) } }),
    ...(opening === undefined ? {} : { opened: openedView(opening, nowMs) }),
  };
}

const CLOSED: BreakerView = { breaker: "closed" };

function openedView({ atMs, ...opening }: Opening, nowMs: number): NonNullable<BreakerView["opened"]> {
  return { ...opening, agoMs: Math.round(nowMs - atMs) };
}

/** The same breaker in several workers: the worst of what requests meet, the last of how it opened. */
export function mergedBreaker(of: readonly BreakerView[]): BreakerView {
  const worst = of.reduce((a, b) => (BADNESS[b.breaker] > BADNESS[a.breaker] ? b : a));
  const opensForMs = Math.max(0, ...of.map((other) => other.opensForMs ?? 0));
  const shadows = of.flatMap(({ shadow }) => shadow ?? []);
  const forced = of.find((other) => other.forced !== undefined)?.forced;
  const opened = of.flatMap((other) => other.opened ?? []);
  const last = opened.toSorted((a, b) => a.agoMs - b.agoMs)[0];
  return {
    breaker: worst.breaker,
    ...(worst.breaker === "open" ? { opensForMs } : {}),
    ...(shadows.length === 0 ? {} : { shadow: shadows.reduce((a, b) => (BADNESS[b] > BADNESS[a] ? b : a)) }),
    ...(forced === undefined ? {} : { forced }),
    ...(last === undefined
      ? {}
      : { opened: { ...last, times: opened.reduce((sum, { times }) => sum + times, 0) } }),
  };
}

const BADNESS: Readonly<Record<BreakerState, number>> = { closed: 0, halfOpen: 1, open: 2 };
