/**
 * What a request pays for the choice of its endpoint, for every algorithm, in microseconds.
 *
 * Not with mitata, which compares functions that are called again and again with the same: here each pick has another hash,
 * another moment and other loads, as the request that is chosen for begins and another one ends. That is part of what is
 * measured, and costs some tens of nanoseconds where there are so many endpoints that they are not in the cache.
 */
import { type BalancingOptions, createBalancer, hash32 } from "../../balancing/index.ts";
import { systemRandom } from "../../proxy/system.ts";
import { median } from "../median.ts";
import { makeBusy, type Replica, replicas } from "./candidates.ts";

const COUNTS = [10, 100, 10_000] as const;
const WEIGHTS = ["equal", "unequal"] as const;
/** Of a pick, in microseconds, by the number of endpoints. */
const TARGETS: Readonly<Record<number, number>> = { 10: 0.5, 10000: 1 };

const ROUNDS = 7;
const PICKS_IN_A_ROUND = 50_000;
/** The first ones meet code that has not been compiled yet, and lay what is laid for a list. */
const WARM_UP = 50_000;

const HASHES = Uint32Array.from({ length: 65_536 }, (_, i) => hash32(`user-${i}`));

interface Entrant {
  readonly name: string;
  readonly options: BalancingOptions;
  readonly hashed?: boolean;
  /** Whether the caller keeps count of what is in flight. */
  readonly counted?: boolean;
}

const ENTRANTS: readonly Entrant[] = [
  { name: "peakEwma", options: { algorithm: "peakEwma" } },
  { name: "leastRequest", options: { algorithm: "leastRequest" } },
  { name: "roundRobin", options: { algorithm: "roundRobin" } },
  { name: "random", options: { algorithm: "random" } },
  { name: "ringHash", options: { algorithm: "ringHash" }, hashed: true },
  { name: "ringHash, no hash", options: { algorithm: "ringHash" } },
  {
    name: "ringHash, bounded",
    options: { algorithm: "ringHash", loadFactor: 1.25 },
    hashed: true,
    counted: true,
  },
  {
    name: "ringHash, bounded, not counted",
    options: { algorithm: "ringHash", loadFactor: 1.25 },
    hashed: true,
  },
  { name: "maglev", options: { algorithm: "maglev" }, hashed: true },
  { name: "maglev, no hash", options: { algorithm: "maglev" } },
  {
    name: "maglev, bounded",
    options: { algorithm: "maglev", loadFactor: 1.25 },
    hashed: true,
    counted: true,
  },
  { name: "maglev, bounded, not counted", options: { algorithm: "maglev", loadFactor: 1.25 }, hashed: true },
];

export function printPicks(): void {
  console.log(`\na pick, in microseconds: the median of ${ROUNDS} rounds of ${PICKS_IN_A_ROUND} picks`);
  const targets = Object.entries(TARGETS).map(([count, target]) => `${target} at ${count} endpoints`);
  console.log(`targets: ${targets.join(", ")}; "equal" and "unequal" are weights`);
  const columns = COUNTS.flatMap((count) => WEIGHTS.map((weights) => `${count} ${weights}`));
  console.log(["".padEnd(32), ...columns.map((column) => column.padStart(14))].join(""));
  for (const entrant of ENTRANTS) {
    let missed = 0;
    const cells = COUNTS.flatMap((count) =>
      WEIGHTS.map((weights) => {
        const tookUs = pickUs(entrant, replicas(count, weights));
        if (tookUs > (TARGETS[count] ?? Infinity)) missed++;
        return tookUs.toFixed(3).padStart(14);
      }),
    );
    console.log(
      `${entrant.name.padEnd(32)}${cells.join("")}  ${missed === 0 ? "met" : `MISSED in ${missed}`}`,
    );
  }
}

function pickUs(
  { options, hashed = false, counted = false }: Entrant,
  candidates: readonly Replica[],
): number {
  const balancer = createBalancer(options, systemRandom);
  let nowMs = 1000;
  const inFlight = makeBusy(candidates, nowMs, systemRandom);
  // Whose requests are under way; the oldest ends when one more begins, so that there are always as many.
  const underWay: Replica[] = candidates.flatMap((candidate) =>
    new Array<Replica>(candidate.inFlight).fill(candidate),
  );
  shuffle(underWay);
  let oldest = 0;
  let request = 0;
  const pick = (count: number) => {
    for (let i = 0; i < count; i++) {
      const hash = hashed ? HASHES[request++ & 65_535]! : undefined;
      nowMs += 0.01;
      const chosen = balancer.pick(candidates, nowMs, hash, counted ? inFlight : undefined)!;
      underWay[oldest]!.inFlight--;
      underWay[oldest] = chosen;
      chosen.inFlight++;
      oldest = oldest + 1 === underWay.length ? 0 : oldest + 1;
    }
  };
  pick(WARM_UP);
  const rounds = Array.from({ length: ROUNDS }, () => {
    const began = performance.now();
    pick(PICKS_IN_A_ROUND);
    return ((performance.now() - began) * 1000) / PICKS_IN_A_ROUND;
  });
  return median(rounds);
}

function shuffle(list: Replica[]): void {
  for (let i = list.length - 1; i > 0; i--) {
    const other = Math.floor(systemRandom.next() * (i + 1));
    [list[i], list[other]] = [list[other]!, list[i]!];
  }
}
