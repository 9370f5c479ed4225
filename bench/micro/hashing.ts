/**
 * Choosing by hash: what a request pays for it, and what laying a circle costs as a whole.
 */
import { bench, group, summary } from "mitata";
import { type BalancingAlgorithm, createBalancer, hash32, PeakEwma } from "../../balancing/index.ts";
import { systemRandom } from "../../proxy/system.ts";

class Host {
  readonly key: string;
  readonly weight = 1;
  readonly latency: PeakEwma = new PeakEwma();
  inFlight = 1;

  constructor(key: string) {
    this.key = key;
  }
}

export function hosts(count: number): Host[] {
  return Array.from({ length: count }, (_, i) => new Host(`10.1.${i >> 8}.${i & 255}:8080`));
}

/** Different ones, so that what they lead to is not in the cache by itself. */
const HASHES = Uint32Array.from({ length: 65_536 }, (_, i) => hash32(`user-${i}`));
let request = 0;
const nextHash = () => HASHES[request++ & 65_535]!;

const KEYS = Array.from({ length: 1024 }, (_, i) => `a7f3c0de-0000-4000-8000-${String(i).padStart(12, "0")}`);

group("hash32", () => {
  bench("36 characters", () => hash32(KEYS[request++ & 1023]!));
});

for (const count of [10, 10_000]) {
  const candidates = hosts(count);
  group(`a pick among ${count}`, () => {
    summary(() => {
      for (const algorithm of ["ringHash", "maglev"] as const satisfies BalancingAlgorithm[]) {
        const free = createBalancer({ algorithm }, systemRandom);
        const bounded = createBalancer({ algorithm, loadFactor: 1.25 }, systemRandom);
        bench(algorithm, () => free.pick(candidates, 0, nextHash())!.inFlight);
        bench(`${algorithm}, no hash`, () => free.pick(candidates, 0)!.inFlight);
        bench(`${algorithm}, bounded load`, () => bounded.pick(candidates, 0, nextHash())!.inFlight);
      }
    });
  });
  group(`the first pick of all among ${count}`, () => {
    for (const algorithm of ["ringHash", "maglev"] as const)
      bench(algorithm, () => createBalancer({ algorithm }, systemRandom).pick(candidates, 0, 1)!.inFlight);
  });
}
