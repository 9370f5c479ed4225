/**
 * The limit that finds itself (`limits.adaptive`) over a service whose knee is known: c workers of about the same time each,
 * asked without a pause by more callers than it can bear.
 *
 * With the latency S x max(1, L / c), the gradient settles where L - sqrt(L) = c (1 + tolerance); L is solved from that.
 * A whole number of requests is let in and the law is of real numbers, so what is compared is the mean over many windows.
 * Then the capacity changes, in both ways in which it can: half of the workers go, or each takes twice as long.
 */

import type { Random } from "../../../core/index.ts";
import { AdaptiveLimit } from "../../../resilience/adaptive-limit.ts";
import { normal } from "../distributions.ts";
import { Engine, type Happening } from "../engine.ts";
import { meanOf } from "../measures.ts";
import { STREAMS, sfc32 } from "../random.ts";
import { between, type Findings, fixed, nearBy, percent, type Row } from "../rows.ts";

const TOLERANCE = 0.25;
/** Nearly constant: with a constant one all workers end at the same moment, and latencies are whole rounds. */
const SERVICE = normal(20, 2);
const OPTIONS = {
  minimum: 3,
  tolerance: TOLERANCE,
  windowMs: 100,
  percentile: 0.5,
  measureMs: 30_000,
};
const MOST = 1000;
/** By when it has settled, and until when it is watched. */
const [SETTLED_MS, UNTIL_MS] = [5_000, 65_000];

export function adaptiveLimit(seed: number): Findings {
  const rows: Row[] = [];
  const seeds = Array.from({ length: RUNS }, (_, run) => seed + 1000 * run);
  const near = (result: string, workers: number, limits: readonly number[]) =>
    nearBy(result, settledLimit(workers), meanOf(limits), 0.03, fixed(1), `${RUNS} runs`);
  for (const workers of [10, 50, 100]) {
    const runs = seeds.map((each) => new Saturated(each, workers).watch(SETTLED_MS, UNTIL_MS));
    rows.push(
      near(
        `${workers} workers, asked by more than they can serve: the limit (L - sqrt L = c (1 + 25 %))`,
        workers,
        runs.map(({ limit }) => limit),
      ),
      between(
        "the same: what the workers do of what they could, measurements included",
        [0.99, Number.POSITIVE_INFINITY],
        meanOf(runs.map(({ served }) => served)),
        "a hundredth",
        percent(1),
      ),
    );
  }
  const changes = [
    ["half of 100 workers go", 50, 1],
    ["of 100 workers, each takes twice as long", 100, 2],
  ] as const;
  for (const [what, workers, times] of changes) {
    const runs = seeds.map((each) => {
      const run = new Saturated(each, 100);
      run.watch(0, SETTLED_MS);
      run.change(workers, times);
      const worse = run.watch(run.nowMs + RECOVERY_MS, run.nowMs + 3 * RECOVERY_MS).limit;
      run.change(100, 1);
      const back = run.watch(run.nowMs + RECOVERY_MS, run.nowMs + 3 * RECOVERY_MS).limit;
      return { worse, back };
    });
    const after = `the limit ${RECOVERY_MS / 1000} s later`;
    rows.push(
      near(
        `${what}: ${after}`,
        workers,
        runs.map(({ worse }) => worse),
      ),
      near(
        `${what}, and all is as before: ${after}`,
        100,
        runs.map(({ back }) => back),
      ),
    );
  }
  return { rows, plots: [] };
}

const RUNS = 8;
/** Within this it has found the new limit. */
const RECOVERY_MS = 10_000;

/** The root of L - sqrt(L) = c (1 + tolerance). */
export function settledLimit(workers: number): number {
  return ((1 + Math.sqrt(1 + 4 * workers * (1 + TOLERANCE))) / 2) ** 2;
}

/** A service with a line in front of its workers, and always somebody who would like to be let in. */
class Saturated implements Happening {
  readonly #engine = new Engine();
  readonly #limit: AdaptiveLimit;
  readonly #line: number[] = [];
  #workers: number;
  readonly #services: Random;
  /** How many times as long as usual a service takes. */
  #times = 1;
  #busy = 0;
  #inFlight = 0;
  #ended = 0;

  constructor(seed: number, workers: number) {
    this.#workers = workers;
    this.#limit = new AdaptiveLimit(OPTIONS, MOST, sfc32(seed, STREAMS.clients));
    this.#services = sfc32(seed, STREAMS.services);
    this.#fill();
  }

  get nowMs(): number {
    return this.#engine.nowMs;
  }

  change(workers: number, times: number): void {
    this.#workers = workers;
    this.#times = times;
    this.#serve();
  }

  /** The mean of the limit, and what was done of what could be done. */
  watch(fromMs: number, untilMs: number): { limit: number; served: number } {
    this.#engine.run(fromMs);
    const before = this.#ended;
    let sum = 0;
    let looks = 0;
    for (let atMs = fromMs; atMs < untilMs; atMs += LOOK_MS) {
      this.#engine.run(atMs);
      sum += this.#limit.settled;
      looks++;
    }
    this.#engine.run(untilMs);
    const possible = ((untilMs - fromMs) * this.#workers) / (this.#times * SERVICE.meanMs);
    return { limit: sum / looks, served: (this.#ended - before) / possible };
  }

  /** A service ends. @param begunAtMs when its request was let in */
  happen(nowMs: number, begunAtMs: number): void {
    this.#busy--;
    this.#inFlight--;
    this.#ended++;
    this.#limit.noteInFlight(this.#inFlight, nowMs);
    this.#limit.observe(nowMs - begunAtMs, nowMs);
    this.#fill();
  }

  #fill(): void {
    while (this.#inFlight < this.#limit.limit) {
      this.#inFlight++;
      this.#limit.noteInFlight(this.#inFlight, this.nowMs);
      this.#line.push(this.nowMs);
    }
    this.#serve();
  }

  #serve(): void {
    while (this.#busy < this.#workers && this.#line.length > 0) {
      this.#busy++;
      this.#engine.at(this.nowMs + this.#times * SERVICE.draw(this.#services), this, this.#line.shift()!);
    }
  }
}

const LOOK_MS = 10;
