/**
 * What a second attempt beside a slow one is worth, with the percentile and the budget of the proxy: much where
 * slowness is one server's own affair, and less than nothing where all are busy. (Dean and Barroso, "The tail at scale",
 * CACM 2013.)
 */

import { below } from "../../../core/index.ts";
import { HedgeBudget, RecentLatency, RetryBudget } from "../../../resilience/index.ts";
import { fanOutShare } from "../closed-forms.ts";
import { type Distribution, exponential, twoMode } from "../distributions.ts";
import { Engine } from "../engine.ts";
import { meanOf, Samples } from "../measures.ts";
import { STREAMS, sfc32 } from "../random.ts";
import { between, type Findings, fixed, nearByChance, percent } from "../rows.ts";

const FAN_OUT = 100;
const RUNS = 5;

interface Hedging {
  readonly after: { readonly share: number } | { readonly ms: number };
  readonly ratio: number;
}

export function hedging(seed: number): Findings {
  const runs = <T>(run: (seed: number) => T) => Array.from({ length: RUNS }, (_, i) => run(seed + i));
  const p95 = { after: { share: 0.95 }, ratio: 1 };
  const alone = runs((of) => fannedOut(undefined, of).p98Ms);
  const hedged = runs((of) => fannedOut(p95, of));
  const busy = (how: Hedging | undefined) => meanOf(runs((of) => busyFarm(how, of)));
  const without = busy(undefined);
  const unbounded = busy({ after: { ms: 3 }, ratio: 10 });
  const bounded = busy({ after: { ms: 3 }, ratio: 0.02 });
  const ratioOf = (a: { value: number }, b: number) => ({ value: a.value / b, standardError: 0 });
  return {
    rows: [
      between(
        "one answer of 100 slow, hedged at p95: sent beside",
        [0, 0.055],
        meanOf(hedged.map(({ extra }) => extra)),
        "5 % and chance",
        percent(2),
      ),
      nearByChance(
        "100 servers asked: requests in which a hedge was slow, too",
        fanOutShare(0.01 ** 2, FAN_OUT),
        meanOf(hedged.map(({ slow }) => slow)),
        percent(2),
        `${RUNS} runs`,
      ),
      between(
        "100 servers asked: p98 without hedges over p98 with",
        [10, Number.POSITIVE_INFINITY],
        ratioOf(meanOf(alone), meanOf(hedged.map(({ p98Ms }) => p98Ms)).value),
        "more than tenfold",
        fixed(0),
      ),
      between(
        "load 0.95, all late requests hedged: mean time over that without",
        [2, Number.POSITIVE_INFINITY],
        ratioOf(unbounded, without.value),
        "it hurts: set beforehand",
        fixed(1),
      ),
      between(
        "load 0.95, hedges at most 2 %: mean time over that without",
        [0, 1.5],
        ratioOf(bounded, without.value),
        "set beforehand",
        fixed(2),
      ),
    ],
    plots: [],
  };
}

/**
 * Requests that ask a hundred servers, whose latency does not depend on load. Not the 99th percentile of them: of a hundred
 * pairs one is slow in 0.995 % of the requests, so that it is one or the other by chance.
 */
function fannedOut(how: Hedging | undefined, seed: number): { p98Ms: number; slow: number; extra: number } {
  const random = sfc32(seed, STREAMS.services);
  const service = twoMode(5, 1000, 0.01);
  const latency = new RecentLatency(30_000);
  const shared = new RetryBudget({ ratio: 1, minPerSecond: 10, windowMs: 10_000 });
  const budget = new HedgeBudget(how?.ratio ?? 0, shared);
  const requests = new Samples();
  let sent = 0;
  let asked = 0;
  for (let request = 0; request < 4_000; request++) {
    const nowMs = request * 10;
    let slowestMs = 0;
    for (let i = 0; i < FAN_OUT; i++) {
      asked++;
      shared.deposit(nowMs);
      budget.deposit(nowMs);
      let tookMs = service.draw(random);
      const afterMs =
        how === undefined || !("share" in how.after)
          ? undefined
          : latency.percentileMs(how.after.share, nowMs);
      if (afterMs !== undefined && tookMs > afterMs && budget.withdraw(nowMs)) {
        sent++;
        tookMs = Math.min(tookMs, afterMs + service.draw(random));
      }
      latency.record(tookMs, nowMs);
      slowestMs = Math.max(slowestMs, tookMs);
    }
    // What is slow before there is a percentile is no hedge's fault.
    if (request >= 100) requests.add(slowestMs);
  }
  return { p98Ms: requests.percentile(0.98), slow: 1 - requests.shareUpTo(999), extra: sent / asked };
}

/** Twenty busy servers, each with a line, that do whatever has begun: the mean time of a request, of which one server's mean service is 1 ms. */
function busyFarm(how: Hedging | undefined, seed: number): number {
  const servers = 20;
  const requests = 40_000;
  const engine = new Engine();
  const arrivals = sfc32(seed, STREAMS.arrivals);
  const services = sfc32(seed, STREAMS.services);
  const choice = sfc32(seed, STREAMS.balancing);
  const gap: Distribution = exponential(1 / (servers * 0.95));
  const service = exponential(1);
  const shared = new RetryBudget({ ratio: 10, minPerSecond: 0, windowMs: 10_000 });
  const budget = new HedgeBudget(how?.ratio ?? 0, shared);
  /** When each will have done all that it has been given. */
  const freeAtMs = new Float64Array(servers);
  const inLine = new Int32Array(servers);
  let sum = 0;
  /** The shorter of two lines, as leastRequest does. */
  const send = (nowMs: number): number => {
    const [a, b] = [below(choice, servers), below(choice, servers)];
    const at = inLine[b]! < inLine[a]! ? b : a;
    inLine[at]!++;
    freeAtMs[at] = Math.max(freeAtMs[at]!, nowMs) + service.draw(services);
    engine.at(freeAtMs[at]!, { happen: () => void inLine[at]!-- });
    return freeAtMs[at]!;
  };
  let left = requests;
  const arrive = (nowMs: number) => {
    if (left-- === 0) return;
    shared.deposit(nowMs);
    budget.deposit(nowMs);
    const doneMs = send(nowMs);
    const hedgeMs = how !== undefined && "ms" in how.after ? nowMs + how.after.ms : doneMs;
    if (hedgeMs >= doneMs) sum += doneMs - nowMs;
    else
      engine.at(hedgeMs, {
        happen: (atMs) => {
          sum += (budget.withdraw(atMs) ? Math.min(doneMs, send(atMs)) : doneMs) - nowMs;
        },
      });
    engine.at(nowMs + gap.draw(arrivals), { happen: arrive });
  };
  engine.at(0, { happen: arrive });
  engine.run();
  return sum / requests;
}
