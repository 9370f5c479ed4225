/**
 * What a thread has under way, whoever began it: what leaks shows here, long before it shows in memory.
 *
 * Asked of Node and of the clock when somebody looks, and not counted where things begin and end: a count of our own would be wrong
 * in just the place that forgets to end something.
 */
import { systemClock } from "./system.ts";

export interface ThreadUse {
  /** Timers of the one clock that have neither fired nor been cancelled. */
  readonly timers: number;
  /** What the event loop has open, by Node's names. */
  readonly resources: Readonly<Record<string, number>>;
}

export function threadUse(): ThreadUse {
  const resources: Record<string, number> = {};
  for (const type of process.getActiveResourcesInfo()) resources[type] = (resources[type] ?? 0) + 1;
  return { timers: systemClock.pending, resources };
}
