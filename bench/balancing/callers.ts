/**
 * The callers: at a rate that is kept whatever the answers take, with every latency counted from when the request was due.
 *
 * Not a fixed number of connections that each wait for an answer before they ask again, as wrk and h2load do: a slow answer
 * keeps such a caller from asking just when it would have been slow, so the tail leaves itself out (Gil Tene calls
 * it coordinated omission). The gaps are those of chance and from a seed, so that all contenders of a round meet the same arrivals.
 */
import { Agent } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../../core/index.ts";
import { call } from "../../test/support/apps.ts";
import { exponential } from "../simulate/distributions.ts";
import { REPLICA_HEADER } from "./ground.ts";

/** One request that was answered with 200. */
export interface Sample {
  /** From when it was due until the whole answer was there. */
  readonly latencyMs: number;
  /** From when it was due until it was sent; part of the latency. */
  readonly lateMs: number;
  /** The place of the replica that answered. */
  readonly replica: number;
}

export interface Rate {
  readonly perSecond: number;
  /** How long requests are sent that count. */
  readonly seconds: number;
  /** How long requests are sent before that: connections are made and latencies learnt. */
  readonly warmUpSeconds: number;
}

/**
 * @returns when everything is answered; those that count, in the order in which they were due
 * @throws Error when an answer is none or not 200
 */
export async function callAtRate(port: number, host: string, rate: Rate, random: Random): Promise<Sample[]> {
  const agent = new Agent({ keepAlive: true });
  const gap = exponential(1000 / rate.perSecond);
  const beginMs = performance.now();
  const countsFromMs = beginMs + rate.warmUpSeconds * 1000;
  const endMs = countsFromMs + rate.seconds * 1000;
  const warmUp: Promise<Sample>[] = [];
  const counted: Promise<Sample>[] = [];
  try {
    for (let dueMs = beginMs + gap.draw(random); dueMs < endMs; dueMs += gap.draw(random)) {
      for (let restMs = dueMs - performance.now(); restMs > 0; restMs = dueMs - performance.now())
        await sleep(restMs);
      const sample = sampleOf(port, host, agent, dueMs);
      // Its failure is told below, when all have been sent.
      sample.catch(() => {});
      (dueMs < countsFromMs ? warmUp : counted).push(sample);
    }
    await Promise.all(warmUp);
    return await Promise.all(counted);
  } finally {
    agent.destroy();
  }
}

async function sampleOf(port: number, host: string, agent: Agent, dueMs: number): Promise<Sample> {
  const lateMs = performance.now() - dueMs;
  const { status, headers } = await call(port, host, { agent });
  const latencyMs = performance.now() - dueMs;
  if (status !== 200) throw new Error(`${host}: expected 200, got ${status}`);
  return { latencyMs, lateMs, replica: Number(headers[REPLICA_HEADER]) };
}

/**
 * Callers of whom the sidecar that is measured knows nothing: as many requests as this are in flight all the time.
 * @returns what ends them, and resolves when they have got their last answers
 */
export function keepInFlight(port: number, count: number): () => Promise<void> {
  const agent = new Agent({ keepAlive: true });
  let ended = false;
  const callers = Promise.all(
    Array.from({ length: count }, async () => {
      while (!ended) await call(port, "replica", { agent });
    }),
  );
  // Told by whoever ends them.
  callers.catch(() => {});
  return async () => {
    ended = true;
    await callers;
    agent.destroy();
  };
}
