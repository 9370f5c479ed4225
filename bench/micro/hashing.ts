/**
 * What a hash costs, and the first pick of all by one, which lays a circle as a whole. What a pick costs after that is in
 * picks.ts, what a change costs in pauses.ts.
 */
import { bench, group } from "mitata";
import { createBalancer, hash32 } from "../../balancing/index.ts";
import { systemRandom } from "../../proxy/system.ts";
import { replicas } from "./candidates.ts";

const KEYS = Array.from({ length: 1024 }, (_, i) => `a7f3c0de-0000-4000-8000-${String(i).padStart(12, "0")}`);
let request = 0;

group("hash32", () => {
  bench("36 characters", () => hash32(KEYS[request++ & 1023]!));
});

for (const count of [10, 10_000]) {
  const candidates = replicas(count);
  group(`the first pick of all among ${count}`, () => {
    for (const algorithm of ["ringHash", "maglev"] as const)
      bench(algorithm, () => createBalancer({ algorithm }, systemRandom).pick(candidates, 0, 1)!.inFlight);
  });
}
