/**
 * Clients of a farm, each with a balancer and candidates of its own: what it knows of a server is what it has sent
 * there itself and how that was answered, as with sidecars, and not what the server has to do.
 *
 * It keeps the books as proxy/upstream/load.layer.ts does, and its balancer is the one that runs in the proxy.
 */
import {
  type Balancer,
  type BalancingOptions,
  type Candidate,
  createBalancer,
  PeakEwma,
} from "../../balancing/index.ts";
import { below, type Random } from "../../core/index.ts";
import type { Distribution } from "./distributions.ts";
import type { Engine, Happening } from "./engine.ts";
import { Job, type Sender, type Server } from "./farm.ts";

/** A server as one client sees it. */
export class Target implements Candidate {
  readonly key: string;
  readonly index: number;
  weight: number;
  inFlight = 0;
  readonly latency: PeakEwma = new PeakEwma();

  constructor(index: number, weight = 1) {
    this.key = `10.0.${index >> 8}.${index & 255}:80`;
    this.index = index;
    this.weight = weight;
  }
}

/** Told of every answer. */
export type OnSettled = (job: Job, nowMs: number) => void;

export class Client implements Sender {
  readonly targets: readonly Target[];
  /** Those that may be chosen, all of them at first: a new list for each change, also of a weight. */
  candidates: readonly Target[];
  readonly #balancer: Balancer;
  readonly #servers: readonly Server[];
  readonly #onSettled: OnSettled;

  /** @param weights of the servers, in their order; all equal if left out */
  constructor(
    balancer: Balancer,
    servers: readonly Server[],
    onSettled: OnSettled,
    weights: readonly number[] = [],
  ) {
    this.targets = servers.map((_, i) => new Target(i, weights[i]));
    this.candidates = this.targets;
    this.#balancer = balancer;
    this.#servers = servers;
    this.#onSettled = onSettled;
  }

  /** @returns which server it was sent to */
  send(nowMs: number, hash?: number): number {
    const target = this.#balancer.pick(this.candidates, nowMs, hash)!;
    if (target.inFlight === 0) target.latency.endIdle(nowMs);
    target.inFlight++;
    this.#servers[target.index]!.accept(new Job(this, target.index, nowMs), nowMs);
    return target.index;
  }

  settled(job: Job, nowMs: number): void {
    const target = this.targets[job.target]!;
    target.inFlight--;
    target.latency.observe(nowMs - job.sentAtMs, job.failed, nowMs);
    this.#onSettled(job, nowMs);
  }
}

/** So many clients of the same servers. Their balancers draw from one stream, which is as good as one for each. */
export function clientsOf(
  count: number,
  balancing: BalancingOptions,
  random: Random,
  servers: readonly Server[],
  onSettled: OnSettled,
  weights?: readonly number[],
): readonly Client[] {
  return Array.from(
    { length: count },
    () => new Client(createBalancer(balancing, random), servers, onSettled, weights),
  );
}

/** Requests one after the other, each by a client drawn at random, until the time is over. */
export class Source implements Happening {
  readonly #engine: Engine;
  readonly #gap: Distribution;
  readonly #untilMs: number;
  readonly #arrivals: Random;
  readonly #choice: Random;
  readonly #clients: readonly Client[];
  readonly #onSent: ((server: number, nowMs: number) => void) | undefined;

  /**
   * @param gap between two requests: exponential for a Poisson process, constant for a load generator
   * @param arrivals the chance that gaps are drawn by
   * @param choice the chance that clients are drawn by
   */
  constructor(
    engine: Engine,
    {
      gap,
      untilMs,
      arrivals,
      choice,
    }: { gap: Distribution; untilMs: number; arrivals: Random; choice: Random },
    clients: readonly Client[],
    onSent?: (server: number, nowMs: number) => void,
  ) {
    this.#engine = engine;
    this.#gap = gap;
    this.#untilMs = untilMs;
    this.#arrivals = arrivals;
    this.#choice = choice;
    this.#clients = clients;
    this.#onSent = onSent;
    this.#plan(engine.nowMs);
  }

  happen(nowMs: number): void {
    this.#plan(nowMs);
    const client = this.#clients.length === 1 ? 0 : below(this.#choice, this.#clients.length);
    const server = this.#clients[client]!.send(nowMs);
    this.#onSent?.(server, nowMs);
  }

  #plan(nowMs: number): void {
    const atMs = nowMs + this.#gap.draw(this.#arrivals);
    if (atMs < this.#untilMs) this.#engine.at(atMs, this);
  }
}
