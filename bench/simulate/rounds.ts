/**
 * Endpoints under outlier detection, asked in rounds: one request to each that is in, and a probe to each that may be
 * probed.
 *
 * Not by a balancer and not at random moments: so each has the same number of requests in every window, what an endpoint is
 * found by is a binomial chance, and how long that takes has a closed form. Answers come at once; what the detection
 * learns of a latency is told to it.
 */
import { DEFAULT_OUTLIERS, OutlierDetection, type OutlierOptions } from "../../resilience/index.ts";
import { SILENT_LOG } from "../../test/support/silent-log.ts";
import type { Distribution } from "./distributions.ts";
import { Engine } from "./engine.ts";
import { STREAMS, sfc32 } from "./random.ts";

/** Fifty requests to each endpoint in an interval of ten seconds. */
export const ROUND_MS = 200;

export interface RoundsOptions {
  readonly endpoints: number;
  readonly forMs: number;
  readonly seed: number;
  /** The share of its requests that an endpoint fails. */
  readonly failing: (place: number) => number;
  /** What an endpoint's successes take; all the same time unless told otherwise. */
  readonly latency?: (place: number) => Distribution;
  readonly options?: Partial<OutlierOptions>;
  /** Whether to end with the first ejection. */
  readonly untilFound?: boolean;
}

interface Ejection {
  readonly place: number;
  readonly atMs: number;
  readonly forMs: number;
}

interface Answers {
  sent: number;
  failed: number;
}

export interface RoundsResult {
  readonly ejections: readonly Ejection[];
  /** Requests that each endpoint got. */
  readonly sentTo: readonly number[];
  /** The most that were out at the same time. */
  readonly mostOut: number;
  /** What callers saw until the first ejection, and from then on. */
  readonly before: Answers;
  readonly after: Answers;
}

const USUAL_MS = 10;

export function runRounds({
  endpoints,
  forMs,
  seed,
  failing,
  latency,
  ...rest
}: RoundsOptions): RoundsResult {
  const engine = new Engine();
  const services = sfc32(seed, STREAMS.services);
  const ejections: Ejection[] = [];
  const places = new Map(Array.from({ length: endpoints }, (_, place) => [`e${place}`, place]));
  let out = 0;
  let mostOut = 0;
  const detection = new OutlierDetection(
    { ...DEFAULT_OUTLIERS, ...rest.options },
    {
      clock: engine.clock,
      random: sfc32(seed),
      log: SILENT_LOG,
      upstream: "simulated",
      onChange(key, standing) {
        const { standings } = detection.counts();
        out = standings.ejected + standings.probing;
        mostOut = Math.max(mostOut, out);
        if (standing.is === "ejected")
          ejections.push({
            place: places.get(key)!,
            atMs: standing.sinceMs,
            forMs: standing.untilMs - standing.sinceMs,
          });
      },
    },
  );
  detection.endpoints(places.keys());
  const watched = [...places.keys()].map((key) => detection.of(key)!);
  const shares = watched.map((_, place) => failing(place));
  const latencies = watched.map((_, place) => latency?.(place));
  const sentTo = watched.map(() => 0);
  const before = { sent: 0, failed: 0 };
  const after = { sent: 0, failed: 0 };
  for (let nowMs = 0; nowMs < forMs; nowMs += ROUND_MS) {
    engine.run(nowMs);
    if (rest.untilFound === true && ejections.length > 0) break;
    const answers = ejections.length > 0 ? after : before;
    for (const [place, endpoint] of watched.entries()) {
      if (!endpoint.isIn && !endpoint.takeProbe(nowMs)) continue;
      const share = shares[place]!;
      // No draw for those that are certain: they are nearly all, and the others' chance does not depend on their number.
      const fails = share === 1 || (share > 0 && services.next() < share);
      endpoint.observe(
        fails ? "failure" : "success",
        latencies[place]?.draw(services) ?? USUAL_MS,
        nowMs,
        nowMs,
      );
      sentTo[place] = sentTo[place]! + 1;
      answers.sent++;
      if (fails) answers.failed++;
    }
  }
  detection.stop();
  return { ejections, sentTo, mostOut, before, after };
}
