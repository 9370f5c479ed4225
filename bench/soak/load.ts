/**
 * The load: open, so that requests are sent when they are due whatever becomes of others; or closed, to find out how much goes.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../../core/index.ts";
import { exponential } from "../simulate/distributions.ts";
import type { Callers } from "./caller.ts";
import type { Asks } from "./kinds.ts";
import type { Ledger } from "./ledger.ts";

export interface Traffic {
  readonly callers: Callers;
  readonly asks: Asks;
  readonly ledger: Ledger;
}

function send({ callers, asks, ledger }: Traffic, quick = false): Promise<void> {
  const ask = asks.next(quick);
  const id = ledger.begin(ask.kind);
  return callers.send(id, ask).then((seen) => ledger.saw(id, seen));
}

/** How well the load was kept. */
export interface Kept {
  /** How much later than they were due requests were sent: the 99th percentile, of a sample. */
  readonly lateMs: number;
  /** Requests that were due while this process itself had no time for longer than `STALL_MS`: they are not made up for all at once. */
  readonly skipped: number;
}

const STALL_MS = 500;
const SAMPLED = 0.1;

/** Requests at a rate, with the gaps of chance; resolves when all are over. */
export async function keepRate(
  traffic: Traffic,
  perSecond: number,
  seconds: number,
  random: Random,
): Promise<Kept> {
  const gap = exponential(1000 / perSecond);
  const open = new Set<Promise<void>>();
  const lateMs: number[] = [];
  let skipped = 0;
  const beginMs = performance.now();
  const endMs = beginMs + seconds * 1000;
  for (let dueMs = beginMs + gap.draw(random); dueMs < endMs; dueMs += gap.draw(random)) {
    for (let restMs = dueMs - performance.now(); restMs > 0; restMs = dueMs - performance.now())
      await sleep(restMs);
    const isLateMs = performance.now() - dueMs;
    if (isLateMs > STALL_MS) {
      skipped++;
      continue;
    }
    const one = send(traffic).finally(() => open.delete(one));
    open.add(one);
    if (random.next() < SAMPLED) lateMs.push(isLateMs);
    // Answers are read meanwhile, also by one who is late and never sleeps.
    if (isLateMs > 1) await new Promise(setImmediate);
  }
  await Promise.all(open);
  return { lateMs: lateMs.sort((a, b) => a - b)[Math.floor(lateMs.length * 0.99)] ?? 0, skipped };
}

/**
 * As much as goes: so many callers, each of whom asks again when it has its answer.
 * @returns requests per second, without those of the first third, in which code is compiled and connections are made
 */
export async function saturate(traffic: Traffic, callers: number, seconds: number): Promise<number> {
  const beginMs = performance.now();
  const countsFromMs = beginMs + (seconds * 1000) / 3;
  const endMs = beginMs + seconds * 1000;
  let counted = 0;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (let nowMs = beginMs; nowMs < endMs; ) {
        await send(traffic, true);
        nowMs = performance.now();
        if (nowMs >= countsFromMs && nowMs < endMs) counted++;
      }
    }),
  );
  return (counted * 1000) / (endMs - countsFromMs);
}
