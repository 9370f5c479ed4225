/**
 * The callers: at rates that are kept whatever becomes of the answers, each with a patience of its own that ends, and
 * with every latency counted from when the request was due.
 *
 * Not those of bench/balancing, to whom anything but 200 is an error: here a refusal is an answer, and no answer in time is a
 * result. Who gives up closes the connection, as callers do.
 */
import { Agent, type IncomingMessage, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { CRITICALITIES, type Criticality, type Random } from "../../core/index.ts";
import { exponential } from "../simulate/distributions.ts";

/** One request, when all is over. */
export interface Outcome {
  /** Counted from the beginning of the first stretch. */
  readonly dueMs: number;
  /** From when it was due until the whole answer was there, or the caller's patience ended. */
  readonly latencyMs: number;
  /** From when it was due until it was sent; part of the latency. */
  readonly lateMs: number;
  readonly criticality: Criticality;
  /** 0 where there was no answer in time, or the connection broke. */
  readonly status: number;
}

/** So many requests per second for so many seconds. */
export interface Stretch {
  readonly perSecond: number;
  readonly seconds: number;
}

export interface Callers {
  readonly port: number;
  readonly host: string;
  readonly patienceMs: number;
  /** Which part of the requests is of each criticality; together 1. */
  readonly shares: Readonly<Record<Criticality, number>>;
}

/** One stretch after the other, without a pause; resolves when nobody waits any more. */
export async function callThrough(
  callers: Callers,
  stretches: readonly Stretch[],
  arrivals: Random,
  kinds: Random,
): Promise<Outcome[]> {
  const agent = new Agent({ keepAlive: true });
  const calls: Promise<Outcome>[] = [];
  const beginMs = performance.now();
  let endMs = beginMs;
  try {
    for (const { perSecond, seconds } of stretches) {
      const gap = exponential(1000 / perSecond);
      let dueMs = endMs + gap.draw(arrivals);
      endMs += seconds * 1000;
      for (; dueMs < endMs; dueMs += gap.draw(arrivals)) {
        for (let restMs = dueMs - performance.now(); restMs > 0; restMs = dueMs - performance.now())
          await sleep(restMs);
        calls.push(callOf(callers, agent, dueMs, beginMs, drawn(callers, kinds)));
      }
    }
    return await Promise.all(calls);
  } finally {
    agent.destroy();
  }
}

function drawn({ shares }: Callers, random: Random): Criticality {
  let rest = random.next();
  for (const criticality of CRITICALITIES) {
    rest -= shares[criticality];
    if (rest < 0) return criticality;
  }
  return "sheddable";
}

function callOf(
  { port, host, patienceMs }: Callers,
  agent: Agent,
  dueMs: number,
  beginMs: number,
  criticality: Criticality,
): Promise<Outcome> {
  const lateMs = performance.now() - dueMs;
  return new Promise((resolve) => {
    const calling = request({
      ...{ host: "127.0.0.1", port, agent },
      headers: { host, "x-heddle-criticality": criticality },
    });
    const end = (status: number) => {
      clearTimeout(patience);
      const latencyMs = performance.now() - dueMs;
      resolve({ dueMs: dueMs - beginMs, latencyMs, lateMs, criticality, status });
    };
    const patience = setTimeout(() => calling.destroy(), patienceMs);
    calling.on("response", (response: IncomingMessage) => {
      response.on("end", () => end(response.statusCode ?? 0));
      response.resume();
    });
    calling.on("error", () => end(0));
    // After the end it changes nothing.
    calling.on("close", () => end(0));
    calling.end();
  });
}

/** How many requests per second are answered while so many callers ask again and again. */
export async function saturatedRate(
  port: number,
  inFlight: number,
  spans: { readonly warmUpSeconds: number; readonly seconds: number },
): Promise<number> {
  const agent = new Agent({ keepAlive: true });
  const fromMs = performance.now() + spans.warmUpSeconds * 1000;
  const untilMs = fromMs + spans.seconds * 1000;
  let answered = 0;
  const ask = async () => {
    while (performance.now() < untilMs) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const calling = request({ host: "127.0.0.1", port, agent }, (response) => {
        response.on("end", resolve);
        response.resume();
      });
      calling.on("error", reject);
      calling.end();
      await promise;
      const nowMs = performance.now();
      if (nowMs >= fromMs && nowMs < untilMs) answered++;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, ask));
  agent.destroy();
  return answered / spans.seconds;
}
