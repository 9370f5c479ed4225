/**
 * Shares by weight: exactly in turns, by chance in the mean, and for least request both when nothing is in flight and
 * when much is, as the two are decided by different lines (the draw, and the comparison).
 *
 * With a bias, least request follows Envoy's law, whose shares under load are not those of the weights: they settle where
 * rate * (in flight + 1)^bias ~ weight. The row is here so that nobody sets it in the belief that they are.
 */
import type { BalancingOptions } from "../../../balancing/index.ts";
import { clientsOf, Source } from "../clients.ts";
import { constant, exponential } from "../distributions.ts";
import { Engine } from "../engine.ts";
import { Server } from "../farm.ts";
import { binomialError, type Estimate, meanOf } from "../measures.ts";
import { STREAMS, sfc32 } from "../random.ts";
import { type Findings, nearByChance, percent, type Row } from "../rows.ts";

const WEIGHTS = [1, 2, 7];
const TOTAL = 10;
const REQUESTS = 300_000;
/** Services of one second: so many are in flight when there is one request in a tenth of a millisecond. */
const SERVICE_MS = 1000;
const BUSY_GAP_MS = 0.1;
const IN_FLIGHT = SERVICE_MS / BUSY_GAP_MS;

export function weights(seed: number): Findings {
  const byWeight = WEIGHTS.map((weight) => weight / TOTAL);
  const rows: Row[] = [
    turns(),
    byChance("`random`", { algorithm: "random" }, seed),
    byChance("`leastRequest` of 2, nothing in flight", { algorithm: "leastRequest" }, seed),
    byChance("`leastRequest` of 3, nothing in flight", { algorithm: "leastRequest", choices: 3 }, seed),
    byChance("`leastRequest` with bias 1, nothing in flight", { algorithm: "leastRequest", bias: 1 }, seed),
    byChance("`leastRequest` with bias 0, nothing in flight", { algorithm: "leastRequest", bias: 0 }, seed),
  ];
  for (const choices of [2, 3])
    rows.push(busy(`\`leastRequest\` of ${choices}`, { algorithm: "leastRequest", choices }, byWeight, seed));
  for (const bias of [0, 1, 2])
    rows.push(
      busy(`\`leastRequest\` with bias ${bias}`, { algorithm: "leastRequest", bias }, settled(bias), seed),
    );
  return { rows, plots: [] };
}

/** nginx's smooth weighted round robin gives each its weight in each round of so many turns. */
function turns(): Row {
  const sent = idleShares({ algorithm: "roundRobin" }, 1, 100 * TOTAL);
  const off = Math.max(...sent.map((share, i) => Math.abs(share * TOTAL - WEIGHTS[i]!)));
  return {
    result: "`roundRobin`, weights 1, 2, 7: turns in 100 rounds of 10",
    published: "100, 200, 700",
    here: sent.map((share) => Math.round(share * 100 * TOTAL)).join(", "),
    tolerance: "none (exact)",
    holds: off < 1e-9,
  };
}

/** The share that is farthest off, in standard errors of so many draws. */
function byChance(name: string, balancing: BalancingOptions, seed: number): Row {
  const sent = idleShares(balancing, seed, REQUESTS);
  const shares = sent.map((value, i) => ({
    value,
    standardError: binomialError(WEIGHTS[i]! / TOTAL, REQUESTS),
  }));
  return worst(
    name,
    shares,
    WEIGHTS.map((weight) => weight / TOTAL),
    "binomial",
  );
}

/** Each request ends before the next one. */
function idleShares(balancing: BalancingOptions, seed: number, requests: number): number[] {
  const counts = [0, 0, 0];
  simulate(
    balancing,
    seed,
    { gap: constant(2), service: constant(1), untilMs: 2 * requests + 1 },
    (server) => {
      counts[server]!++;
    },
  );
  return counts.map((count) => count / requests);
}

const BUSY_BATCHES = 20;
/** Services until the rates have settled, and of one batch. */
const SETTLED_MS = 10 * SERVICE_MS;
const BATCH_MS = 2 * SERVICE_MS;

function busy(name: string, balancing: BalancingOptions, published: readonly number[], seed: number): Row {
  const counts = Array.from({ length: BUSY_BATCHES }, () => [0, 0, 0]);
  const untilMs = SETTLED_MS + BUSY_BATCHES * BATCH_MS;
  const load = { gap: exponential(BUSY_GAP_MS), service: exponential(SERVICE_MS), untilMs };
  simulate(balancing, seed, load, (server, nowMs) => {
    const batch = Math.floor((nowMs - SETTLED_MS) / BATCH_MS);
    if (batch >= 0 && batch < BUSY_BATCHES) counts[batch]![server]!++;
  });
  const shares = WEIGHTS.map((_, i) =>
    meanOf(counts.map((batch) => batch[i]! / batch.reduce((sum, count) => sum + count))),
  );
  return worst(`${name}, ${IN_FLIGHT} in flight`, shares, published, "batch means");
}

/** Where the shares settle under Envoy's law: rates with rate * (rate * service + 1)^bias in proportion to the weight. */
function settled(bias: number): number[] {
  let low = 0;
  let high = IN_FLIGHT ** (bias + 1);
  let rates: number[] = [];
  for (let i = 0; i < 200; i++) {
    const scale = (low + high) / 2;
    rates = WEIGHTS.map((weight) => rateOf(weight * scale, bias));
    if (rates.reduce((sum, rate) => sum + rate) > IN_FLIGHT) high = scale;
    else low = scale;
  }
  return rates.map((rate) => rate / IN_FLIGHT);
}

/** The rate, in requests per service, with rate * (rate + 1)^bias = value. */
function rateOf(value: number, bias: number): number {
  let low = 0;
  let high = value;
  for (let i = 0; i < 200; i++) {
    const rate = (low + high) / 2;
    if (rate * (rate + 1) ** bias > value) high = rate;
    else low = rate;
  }
  return low;
}

function worst(name: string, shares: readonly Estimate[], published: readonly number[], from: string): Row {
  const errors = shares.map(({ value, standardError }, i) => Math.abs(value - published[i]!) / standardError);
  const at = errors.indexOf(Math.max(...errors));
  const title = `${name}, weights 1, 2, 7: share of weight ${WEIGHTS[at]}, the farthest off`;
  return nearByChance(title, published[at]!, shares[at]!, percent(3), from);
}

function simulate(
  balancing: BalancingOptions,
  seed: number,
  load: { gap: ReturnType<typeof constant>; service: ReturnType<typeof constant>; untilMs: number },
  onSent: (server: number, nowMs: number) => void,
): void {
  const engine = new Engine();
  const services = sfc32(seed, STREAMS.services);
  const servers = WEIGHTS.map(() => new Server(engine, services, { service: load.service, workers: "all" }));
  const clients = clientsOf(1, balancing, sfc32(seed), servers, () => {}, WEIGHTS);
  const { gap, untilMs } = load;
  const source = {
    gap,
    untilMs,
    arrivals: sfc32(seed, STREAMS.arrivals),
    choice: sfc32(seed, STREAMS.clients),
  };
  new Source(engine, source, clients, onSent);
  engine.run(untilMs);
}
