/**
 * The testbed of Prequal in virtual time: 100 clients, each with a balancer of its own, and 100 replicas, each with a
 * tenth of a machine that it shares with antagonists (machine.ts). Work is Normal with a deviation as large as the mean,
 * negative draws counted as none. Queries are a Poisson process, and each is sent by a client drawn at random.
 *
 * What the publication does not say is assumed: a machine has twenty cores; a query needs 75 ms of one (the publication
 * weighs one request in flight as 75 ms); a probe is answered half a millisecond after it was sent, and none is lost;
 * there is no other delay in the network. The load is a part of what is promised to all replicas, in work for a quick
 * machine. So rows compare shapes and orders, and no milliseconds.
 *
 * Rules meet the same queries, the same work and the same antagonists.
 */
import { type Balancer, type Candidate, PeakEwma } from "../../balancing/index.ts";
import type { Prequal } from "../../balancing/prequal.ts";
import { below, type Random } from "../../core/index.ts";
import { exponential, normal } from "./distributions.ts";
import { Engine, type Happening } from "./engine.ts";
import { ALLOCATED, type Asker, DEADLINE_MS, Machine, Query } from "./machine.ts";
import { Samples } from "./measures.ts";
import { STREAMS, sfc32 } from "./random.ts";

export const CLIENTS = 100;
export const SERVERS = 100;
export const MEAN_WORK_MS = 75;
/** The mean of Normal(1, 1) when what is negative counts as none: Phi(1) + phi(1). */
const CUT_MEAN = 1.0833154705876864;
const PROBE_MS = 0.5;
/** Not counted: queues are usual by then, where they ever are. */
const WARM_UP_MS = 5_000;
/** How often machines are asked what they used. */
const REPORT_MS = 1_000;
const ANTAGONISTS = 5;

/** A replica as one client sees it. */
export class Seen implements Candidate {
  readonly key: string;
  readonly index: number;
  weight = 1;
  inFlight = 0;
  readonly latency: PeakEwma = new PeakEwma();

  constructor(index: number) {
    this.key = `10.0.0.${index}:80`;
    this.index = index;
  }
}

/** What a client needs to follow a rule. */
export interface Chooser {
  readonly balancer: Balancer;
  /** The same, where it wants probes. */
  readonly prequal?: Prequal;
}

/** A rule of the publication, or one beside it. */
export interface Rule {
  readonly name: string;
  /** Made for each client. */
  chooser(random: Random): Chooser;
  /** What happens beside the queries: polls, new weights. */
  background?(engine: Engine, clients: readonly ProbingClient[], machines: readonly Machine[]): void;
  /** Whether `inFlight` of what a client sees is kept by the rule, and not the count of its own queries. */
  readonly keepsInFlight?: boolean;
}

export class ProbingClient implements Asker, Happening {
  /** In an order of its own, so that turns do not begin at the same replica everywhere; a new list for new weights. */
  seen: readonly Seen[];
  readonly #byIndex: readonly Seen[];
  readonly #chooser: Chooser;
  readonly #counts: boolean;
  readonly #engine: Engine;
  readonly #machines: readonly Machine[];
  readonly #onEnd: (query: Query, failed: boolean, nowMs: number) => void;

  constructor(
    rule: Rule,
    random: Random,
    engine: Engine,
    machines: readonly Machine[],
    onEnd: (query: Query, failed: boolean, nowMs: number) => void,
  ) {
    this.#byIndex = machines.map((_, i) => new Seen(i));
    this.seen = shuffled(this.#byIndex, random);
    this.#chooser = rule.chooser(random);
    this.#counts = rule.keepsInFlight !== true;
    this.#engine = engine;
    this.#machines = machines;
    this.#onEnd = onEnd;
  }

  /** @returns which machine it was sent to */
  send(workMs: number, nowMs: number): number {
    const { balancer, prequal } = this.#chooser;
    const target = balancer.pick(this.seen, nowMs)!;
    if (target.inFlight === 0) target.latency.endIdle(nowMs);
    if (this.#counts) target.inFlight++;
    this.#machines[target.index]!.accept(new Query(this, target.index, nowMs, workMs), nowMs);
    if (prequal !== undefined)
      for (const { index } of prequal.toProbe(this.seen)) this.#engine.at(nowMs + PROBE_MS, this, index);
    return target.index;
  }

  /** A probe is answered. */
  happen(nowMs: number, index: number): void {
    const load = this.#machines[index]!.own.answer(nowMs);
    this.#chooser.prequal!.onProbe(this.#byIndex[index]!.key, load, nowMs);
  }

  ended(query: Query, failed: boolean, nowMs: number): void {
    const target = this.#byIndex[query.target]!;
    if (this.#counts) target.inFlight--;
    target.latency.observe(nowMs - query.sentAtMs, failed, nowMs);
    this.#onEnd(query, failed, nowMs);
  }
}

export interface ProbingFarm {
  readonly seed: number;
  readonly rule: Rule;
  /** Work that comes, as a part of what all replicas are promised. */
  readonly load: number;
  /** What is counted, after the warm-up. */
  readonly lastsMs: number;
  /** Whether every other machine takes twice as long for everything. */
  readonly halfSlow?: boolean;
  /** Of the first machine: it fails from then on. */
  readonly failsFromMs?: number;
  readonly onSent?: (server: number, nowMs: number) => void;
}

export interface ProbingFarmResult {
  /** Queries that were counted, and those of them that were given up or failed. */
  readonly queries: number;
  readonly errors: number;
  /** Times of all queries in ms; those that were given up took as long as the deadline. */
  readonly times: Batches;
  /** In flight at each machine, twenty times in each batch. */
  readonly inFlight: Batches;
  /** What machines used in a second, as a part of what is promised. */
  readonly used: readonly number[];
}

const BATCHES = 10;

/** Percentiles, of all and of batches: from these comes the error, as in measures.ts. */
export class Batches {
  readonly #fromMs: number;
  readonly #batchMs: number;
  readonly #batches: readonly Samples[] = Array.from({ length: BATCHES }, () => new Samples());

  constructor(fromMs: number, untilMs: number) {
    this.#fromMs = fromMs;
    this.#batchMs = (untilMs - fromMs) / BATCHES;
  }

  add(atMs: number, value: number): void {
    const batch = Math.floor((atMs - this.#fromMs) / this.#batchMs);
    this.#batches[Math.min(BATCHES - 1, batch)]!.add(value);
  }

  /** Batch by batch: those of two runs are pairs, as they have met the same queries. */
  percentiles(share: number): readonly number[] {
    return this.#batches.map((batch) => batch.percentile(share));
  }

  /** Of all batches together. */
  percentile(share: number): number {
    const all = new Samples();
    for (const batch of this.#batches) for (const value of batch.values) all.add(value);
    return all.percentile(share);
  }
}

export function runProbingFarm(options: ProbingFarm): ProbingFarmResult {
  const { seed, rule, halfSlow = false, failsFromMs } = options;
  const engine = new Engine();
  const untilMs = WARM_UP_MS + options.lastsMs;
  const machines = Array.from(
    { length: SERVERS },
    (_, i) => new Machine(engine, sfc32(seed * SERVERS + i, ANTAGONISTS), halfSlow && i % 2 === 1 ? 2 : 1),
  );
  if (failsFromMs !== undefined) machines[0]!.failFrom(failsFromMs);
  const times = new Batches(WARM_UP_MS, untilMs);
  const inFlight = new Batches(WARM_UP_MS, untilMs);
  let queries = 0;
  let errors = 0;
  const balancing = sfc32(seed, STREAMS.balancing);
  const clients = Array.from(
    { length: CLIENTS },
    () =>
      new ProbingClient(rule, balancing, engine, machines, (query, failed, nowMs) => {
        if (query.sentAtMs < WARM_UP_MS) return;
        queries++;
        if (failed) errors++;
        times.add(query.sentAtMs, Math.min(DEADLINE_MS, nowMs - query.sentAtMs));
      }),
  );
  rule.background?.(engine, clients, machines);
  every(engine, options.lastsMs / BATCHES / 20, (nowMs) => {
    if (nowMs <= WARM_UP_MS || nowMs > untilMs) return;
    for (const machine of machines) inFlight.add(nowMs, machine.inFlight);
  });
  const used: number[] = [];
  const before = new Float64Array(SERVERS);
  every(engine, REPORT_MS, (nowMs) => {
    for (const [i, machine] of machines.entries()) {
      const { usedMs } = machine.work(nowMs);
      if (nowMs > WARM_UP_MS && nowMs <= untilMs) used.push((usedMs - before[i]!) / REPORT_MS / ALLOCATED);
      before[i] = usedMs;
    }
  });
  sendQueries(engine, options, untilMs, clients);
  // Those that are still inside are queries, too.
  engine.run(untilMs + DEADLINE_MS);
  return { queries, errors, times, inFlight, used };
}

function sendQueries(
  engine: Engine,
  { seed, load, onSent }: ProbingFarm,
  untilMs: number,
  clients: readonly ProbingClient[],
): void {
  const gap = exponential((MEAN_WORK_MS * CUT_MEAN) / (SERVERS * ALLOCATED * load));
  const work = normal(MEAN_WORK_MS, MEAN_WORK_MS);
  const arrivals = sfc32(seed, STREAMS.arrivals);
  const services = sfc32(seed, STREAMS.services);
  const choice = sfc32(seed, STREAMS.clients);
  const source: Happening = {
    happen(nowMs) {
      engine.at(nowMs + gap.draw(arrivals), source);
      if (nowMs >= untilMs) return;
      const server = clients[below(choice, clients.length)]!.send(work.draw(services), nowMs);
      onSent?.(server, nowMs);
    },
  };
  engine.at(gap.draw(arrivals), source);
}

/** Again and again, the first time after such a while. */
export function every(engine: Engine, periodMs: number, callback: (nowMs: number) => void): void {
  const again: Happening = {
    happen(nowMs) {
      callback(nowMs);
      engine.at(nowMs + periodMs, again);
    },
  };
  engine.at(engine.nowMs + periodMs, again);
}

function shuffled<T>(items: readonly T[], random: Random): readonly T[] {
  const order = [...items];
  for (let i = order.length - 1; i > 0; i--) {
    const j = below(random, i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
