/**
 * The rules that Prequal was compared with, each by the balancer that runs in the proxy where there is one: what differs
 * is what the balancer is told.
 *
 * Some are not heddle's. Weighted turns get weights from outside, as the publication's do: from the rate and the use of
 * processor that replicas report. C3 and the linear mixes are other orders of the same pool of probes; of C3 (Suresh et
 * al., NSDI 2015) that is the cubic score alone, without its rate control.
 */
import { createBalancer } from "../../../balancing/index.ts";
import { Prequal } from "../../../balancing/prequal.ts";
import { DEFAULT_PREQUAL, type PrequalOptions } from "../../../balancing/prequal-options.ts";
import type { Probe, ProbeOrder } from "../../../balancing/probe-pool.ts";
import { every, MEAN_WORK_MS, type Rule, SERVERS } from "../probing-farm.ts";

export const roundRobin: Rule = {
  name: "roundRobin",
  chooser: (random) => ({ balancer: createBalancer({ algorithm: "roundRobin" }, random) }),
};

/** How often weights follow what was reported. */
const WEIGHTS_MS = 2000;
/** How much of a new report there is in a weight: a replica ends only some forty queries in that time. */
const NEW_SHARE = 0.3;

/** Turns by queries per second over use of processor, so that all come to the same use. */
export const weightedRoundRobin: Rule = {
  name: "weighted roundRobin",
  chooser: roundRobin.chooser,
  background(engine, clients, machines) {
    const reports = machines.map(() => ({ done: 0, usedMs: 0, rate: 0, use: 0, weight: 1 }));
    every(engine, WEIGHTS_MS, (nowMs) => {
      for (const [i, report] of reports.entries()) {
        const { done, usedMs } = machines[i]!.work(nowMs);
        report.rate += NEW_SHARE * (done - report.done - report.rate);
        report.use += NEW_SHARE * (usedMs - report.usedMs - report.use);
        report.done = done;
        report.usedMs = usedMs;
        if (report.rate > 0 && report.use > 0) report.weight = (MEAN_WORK_MS * report.rate) / report.use;
      }
      for (const client of clients) {
        for (const one of client.seen) one.weight = reports[one.index]!.weight;
        client.seen = [...client.seen];
      }
    });
  },
};

/** The fewest of its own queries in flight, of all replicas. */
export const leastLoaded: Rule = {
  name: "leastRequest of all",
  chooser: (random) => ({
    balancer: createBalancer({ algorithm: "leastRequest", choices: SERVERS }, random),
  }),
};

/** What heddle does unless told otherwise. */
export const peakEwma: Rule = {
  name: "peakEwma",
  chooser: (random) => ({ balancer: createBalancer({ algorithm: "peakEwma" }, random) }),
};

/** How often a client asks every replica what it has in flight. */
const POLL_MS = 500;

/** Two choices by what all have in flight, as it was at the last poll (YARP's). */
export const polledTwoChoices: Rule = {
  name: "leastRequest, polled",
  keepsInFlight: true,
  chooser: (random) => ({ balancer: createBalancer({ algorithm: "leastRequest" }, random) }),
  background(engine, clients, machines) {
    for (const [i, { seen }] of clients.entries())
      engine.at((i * POLL_MS) / clients.length, {
        happen(nowMs) {
          engine.at(nowMs + POLL_MS, this);
          for (const one of seen) one.inFlight = machines[one.index]!.inFlight;
        },
      });
  },
};

/** By probes, in Prequal's own order or another one. */
export function prequal(options: Partial<PrequalOptions> = {}, name = "Prequal", order?: ProbeOrder): Rule {
  return {
    name,
    chooser(random) {
      const fallback = createBalancer({ algorithm: "random" }, random);
      const balancer = new Prequal({ ...DEFAULT_PREQUAL, ...options }, random, fallback, order);
      return { balancer, prequal: balancer };
    },
  };
}

/** The latency, times the cube of what is in flight with the query itself. */
export const c3: Rule = prequal({}, "C3's score", (first, second) => c3Score(first) - c3Score(second));

function c3Score({ load, latencyMs }: Probe): number {
  return Math.max(1, latencyMs) * (1 + load) ** 3;
}

/** @param share of what is in flight in the sum, each taken for the time of a query; the rest is that of latency */
export function linear(share: number): Rule {
  const score = ({ load, latencyMs }: Probe) => (1 - share) * latencyMs + share * MEAN_WORK_MS * load;
  return prequal({}, `linear ${share}`, (first, second) => score(first) - score(second));
}
