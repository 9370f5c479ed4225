/**
 * How retries keep an upstream down that could carry its traffic, and what ends that. (Bronson et al., "Metastable
 * failures in distributed systems", HotOS 2021; Huang et al., OSDI 2022.)
 *
 * 100 requests a second is what the server can do, 70 is what comes, and each caller waits a second, up to three times.
 * For eight seconds the server can do 20. It has a line without an end and serves those whose caller has gone as
 * well: only wasted work makes a storm that stays.
 */
import { RetryBudget } from "../../../resilience/index.ts";
import { exponential } from "../distributions.ts";
import { Engine } from "../engine.ts";
import { meanOf } from "../measures.ts";
import { STREAMS, sfc32 } from "../random.ts";
import { between, type Findings, fixed, percent } from "../rows.ts";

const RATE = 70;
const CAPACITY = 100;
const TROUBLED = 20;
const TROUBLE_MS: readonly [from: number, until: number] = [20_000, 28_000];
const UNTIL_MS = 120_000;
const TIMEOUT_MS = 1_000;
const ATTEMPTS = 3;
const RUNS = 5;

interface Storm {
  /** Share of the requests that may be retried; undefined is all of them. */
  readonly ratio?: number;
  /** Whether the server leaves out whoever has waited for too long. */
  readonly drops?: boolean;
}

interface Course {
  /** Share of the requests of the last 20 s that were answered. */
  readonly served: number;
  /** From the end of the trouble until everybody was answered again for a second; infinite when that never was. */
  readonly recoveredMs: number;
}

export function retryStorm(seed: number): Findings {
  const [without, budget, dropping, both] = [
    {},
    { ratio: 0.2 },
    { drops: true },
    { ratio: 0.2, drops: true },
  ].map((storm) => Array.from({ length: RUNS }, (_, run) => course(storm, seed + run))) as [
    Course[],
    Course[],
    Course[],
    Course[],
  ];
  const served = (courses: Course[]) => meanOf(courses.map((one) => one.served));
  const recovered = (courses: Course[]) => meanOf(courses.map((one) => one.recoveredMs / 1000));
  const from = "set beforehand";
  const seconds = fixed(1);
  return {
    rows: [
      between(
        "3 attempts, no budget: answered 72 s after the trouble",
        [0, 0.05],
        served(without),
        from,
        percent(1),
      ),
      between("budget of 20 %: answered 72 s after the trouble", [0.99, 1], served(budget), from, percent(1)),
      between(
        "budget of 20 %: seconds until all is well (backlog 512, drained at 16/s or more)",
        [0, 40],
        recovered(budget),
        "32 s and a window's tail",
        seconds,
      ),
      between(
        "no budget, the server drops who waited too long: answered",
        [0.99, 1],
        served(dropping),
        from,
        percent(1),
      ),
      between("budget and drops: seconds until all is well", [0, 10], recovered(both), from, seconds),
    ],
    plots: [],
  };
}

/** Who waits for one attempt. */
interface Waiting {
  readonly sinceMs: number;
  readonly attempt: number;
  readonly bornMs: number;
  answered: boolean;
}

function course({ ratio, drops = false }: Storm, seed: number): Course {
  const engine = new Engine();
  const arrivals = sfc32(seed, STREAMS.arrivals);
  const services = sfc32(seed, STREAMS.services);
  const gap = exponential(1000 / RATE);
  const one = exponential(1);
  const budget =
    ratio === undefined ? undefined : new RetryBudget({ ratio, minPerSecond: 0, windowMs: 10_000 });
  const line: Waiting[] = [];
  let first = 0;
  let busy = false;
  const failedAtMs: number[] = [];
  let born = 0;
  let good = 0;

  const send = (bornMs: number, attempt: number, nowMs: number) => {
    const waiting: Waiting = { sinceMs: nowMs, attempt, bornMs, answered: false };
    line.push(waiting);
    engine.at(nowMs + TIMEOUT_MS, { happen: (atMs) => gaveUp(waiting, atMs) });
    if (!busy) serve(nowMs);
  };
  const gaveUp = ({ answered, attempt, bornMs }: Waiting, nowMs: number) => {
    if (answered) return;
    if (attempt < ATTEMPTS && (budget === undefined || budget.withdraw(nowMs)))
      send(bornMs, attempt + 1, nowMs);
    else failedAtMs.push(nowMs);
  };
  const serve = (nowMs: number) => {
    while (drops && first < line.length && nowMs - line[first]!.sinceMs >= TIMEOUT_MS) first++;
    const next = line[first];
    busy = next !== undefined;
    if (next === undefined) return;
    first++;
    const isTroubled = nowMs >= TROUBLE_MS[0] && nowMs < TROUBLE_MS[1];
    const tookMs = (1000 / (isTroubled ? TROUBLED : CAPACITY)) * one.draw(services);
    engine.at(nowMs + tookMs, {
      happen: (atMs) => {
        if (atMs - next.sinceMs < TIMEOUT_MS) {
          next.answered = true;
          if (next.bornMs >= UNTIL_MS - 20_000) good++;
        }
        serve(atMs);
      },
    });
  };
  const arrive = (nowMs: number) => {
    if (nowMs >= UNTIL_MS) return;
    budget?.deposit(nowMs);
    if (nowMs >= UNTIL_MS - 20_000) born++;
    send(nowMs, 1, nowMs);
    engine.at(nowMs + gap.draw(arrivals), { happen: arrive });
  };
  engine.at(0, { happen: arrive });
  engine.run(UNTIL_MS + ATTEMPTS * TIMEOUT_MS);
  const lastMs = failedAtMs.at(-1) ?? TROUBLE_MS[1];
  return {
    served: good / born,
    recoveredMs: lastMs > UNTIL_MS - 5_000 ? Number.POSITIVE_INFINITY : Math.max(0, lastMs - TROUBLE_MS[1]),
  };
}
