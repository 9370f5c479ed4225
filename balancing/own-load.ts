/**
 * What a replica can say of its own load when it is asked: how many requests are in flight, and how long one takes
 * that comes now. (The server's half of Prequal, Wydrowski et al., "Load is not what you should balance", NSDI 2024.)
 *
 * Not the mean of recent latencies: those were measured at another load, and a mean is moved by one slow request. The
 * answer is the median of the samples that began with about as many in flight as there are now. Prequal leaves open how
 * they are kept; here the last 64 lie in a ring, and the 15 nearest in load are taken, the newer ones first. So it is
 * always clear what to say: with none near, those that are least far, and nothing is extrapolated.
 *
 * An idle replica says nothing of what is older than ten seconds but 0, for whoever is not known to be slow is worth a
 * try: it would else be left alone for ever for having been slow once. One that is busy and has ended nothing for so
 * long is not well, and what it did before is kept.
 *
 * A failure counts as slow here, as it does in latency.ts: who fails fast must not be able to praise itself for it.
 */
/** The answer to a probe. */
export interface ReplicaLoad {
  /** Requests that have come and not ended. */
  readonly inFlight: number;
  /** How long the application takes, network excluded, at about this load, in milliseconds; 0 when nothing is known. */
  readonly latencyMs: number;
}

/** Completions that are remembered: a power of two, for the sake of the ring. */
const SAMPLES = 64;
/** Of how many the median is taken, at most: odd, so that it is one of them. */
const NEAREST = 15;
/** How long a sample counts while nothing is in flight. */
const MAX_AGE_MS = 10_000;
/** What a failure is taken to have lasted, at least: as for the callers, see latency.ts. */
const FAILURE_MS = 1_000;

export class OwnLoad {
  #inFlight = 0;
  readonly #latencies = new Float64Array(SAMPLES);
  readonly #inFlights = new Float64Array(SAMPLES);
  readonly #stamps = new Float64Array(SAMPLES);
  /** Where the next sample goes, and so where the oldest is. */
  #next = 0;
  #count = 0;
  /** Room to work in: of the nearest samples, how far they are, the farthest last, and how long they took. */
  readonly #distances = new Float64Array(NEAREST);
  readonly #nearest = new Float64Array(NEAREST);

  /** @returns how many were in flight before it came, which `completed` wants to know */
  arrived(): number {
    return this.#inFlight++;
  }

  /** @param inFlight what `arrived` returned for it */
  completed(inFlight: number, latencyMs: number, failed: boolean, nowMs: number): void {
    this.#inFlight--;
    this.#latencies[this.#next] = failed ? Math.max(latencyMs, FAILURE_MS) : latencyMs;
    this.#inFlights[this.#next] = inFlight;
    this.#stamps[this.#next] = nowMs;
    this.#next = (this.#next + 1) % SAMPLES;
    if (this.#count < SAMPLES) this.#count++;
  }

  /** It ended, and how long it took says nothing: the caller hung up, or it became a tunnel. */
  abandoned(): void {
    this.#inFlight--;
  }

  answer(nowMs: number): ReplicaLoad {
    const found = this.#findNearest(this.#inFlight === 0 ? nowMs - MAX_AGE_MS : Number.NEGATIVE_INFINITY);
    return { inFlight: this.#inFlight, latencyMs: found === 0 ? 0 : medianOfFirst(this.#nearest, found) };
  }

  /** @returns how many it found */
  #findNearest(sinceMs: number): number {
    const distances = this.#distances;
    const nearest = this.#nearest;
    const inFlights = this.#inFlights;
    const now = this.#inFlight;
    const next = this.#next;
    let found = 0;
    for (let age = 1; age <= this.#count; age++) {
      const i = (next - age) & (SAMPLES - 1);
      // All that follow are older still.
      if (this.#stamps[i]! < sinceMs) break;
      const distance = Math.abs(inFlights[i]! - now);
      if (found === NEAREST) {
        const farthest = distances[NEAREST - 1]!;
        if (farthest === 0) break;
        if (distance >= farthest) continue;
      }
      let place = found < NEAREST ? found++ : NEAREST - 1;
      for (; place > 0 && distances[place - 1]! > distance; place--) {
        distances[place] = distances[place - 1]!;
        nearest[place] = nearest[place - 1]!;
      }
      distances[place] = distance;
      nearest[place] = this.#latencies[i]!;
    }
    return found;
  }
}

/** Of an even number, the mean of the two in the middle. It sorts them: by insertion, as they are few. */
function medianOfFirst(values: Float64Array, count: number): number {
  for (let i = 1; i < count; i++) {
    const value = values[i]!;
    let place = i;
    for (; place > 0 && values[place - 1]! > value; place--) values[place] = values[place - 1]!;
    values[place] = value;
  }
  const middle = count >> 1;
  return count % 2 === 1 ? values[middle]! : (values[middle - 1]! + values[middle]!) / 2;
}
