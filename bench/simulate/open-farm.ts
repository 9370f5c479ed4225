/**
 * The farm of the closed forms: Poisson arrivals, servers of one kind, services of mean 1, and clients that choose.
 *
 * It begins empty and the first part is not counted, rather than beginning in the state that the formula calls usual: a
 * wrong formula would then be right for a while.
 */
import type { BalancingOptions } from "../../balancing/index.ts";
import { clientsOf, Source } from "./clients.ts";
import { type Distribution, exponential } from "./distributions.ts";
import { Engine } from "./engine.ts";
import { Server, type ServerOptions } from "./farm.ts";
import { BatchMeans, type Estimate, Levels } from "./measures.ts";
import { STREAMS, sfc32 } from "./random.ts";

export interface OpenFarm {
  readonly seed: number;
  readonly balancing: BalancingOptions;
  readonly servers: number;
  /** Share of the time that a worker is busy. */
  readonly load: number;
  /** All jobs, those of the warm-up included. */
  readonly jobs: number;
  readonly clients?: number;
  readonly service?: Distribution;
  readonly workers?: ServerOptions["workers"];
  readonly batches?: number;
}

/** Share of the run that is not counted. */
const WARM_UP = 0.15;

export interface OpenFarmResult {
  /** From being sent until it is done. */
  readonly meanMs: Estimate;
  /** P(queue >= i), over time and servers. */
  readonly tail: (i: number) => Estimate;
  /** Jobs that were counted. */
  readonly jobs: number;
}

export function runOpenFarm(options: OpenFarm): OpenFarmResult {
  const { seed, servers: count, load, service = exponential(1), workers = 1 } = options;
  const engine = new Engine();
  const gap = exponential(service.meanMs / (count * (typeof workers === "number" ? workers : 1) * load));
  const untilMs = options.jobs * gap.meanMs;
  const fromMs = WARM_UP * untilMs;
  const times = new BatchMeans(fromMs, untilMs, options.batches);
  const levels = new Levels(fromMs, untilMs);
  const services = sfc32(seed, STREAMS.services);
  const servers = Array.from(
    { length: count },
    () => new Server(engine, services, { service, workers }, levels),
  );
  const clients = clientsOf(
    options.clients ?? 1,
    options.balancing,
    sfc32(seed, STREAMS.balancing),
    servers,
    // By when it was sent: those of the end would be the quick ones.
    (job, nowMs) => times.add(job.sentAtMs, nowMs - job.sentAtMs),
  );
  const source = {
    gap,
    untilMs,
    arrivals: sfc32(seed, STREAMS.arrivals),
    choice: sfc32(seed, STREAMS.clients),
  };
  new Source(engine, source, clients);
  engine.run(untilMs);
  for (const server of servers) server.close(untilMs);
  // Those that are still inside are jobs, too.
  engine.run();
  return { meanMs: times.mean, tail: (i) => levels.tail(i), jobs: times.count };
}
