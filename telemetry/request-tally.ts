/**
 * Counting requests without paying for it: plain numbers on the hot path, label strings only when scraped.
 *
 * A labelled counter of the metrics library costs about as much as parsing a request; a field costs nothing.
 * The number of series is bounded: what exceeds the bound is counted under one overflow series, so the sum
 * stays right and a surprising upstream cannot fill the memory of the proxy or of Prometheus.
 */

/** Upper bounds of the duration histogram, in seconds. */
export const DURATION_BUCKETS_S: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

const BUCKETS_MS = Float64Array.from(DURATION_BUCKETS_S, (seconds) => seconds * 1000);

/** Distinct {status, cause} pairs over all scopes before the overflow series is used. */
export const MAX_REQUEST_SERIES = 2000;
export const OVERFLOW = "overflow";

/** How one request ended. */
export interface Ending {
  readonly direction: string;
  readonly upstream: string;
  readonly route: string;
  readonly status: number;
  readonly cause: string;
  /** What would have refused it in earnest, joined by commas. */
  readonly shadow: string;
  readonly durationMs: number;
}

export interface CountedSeries {
  readonly direction: string;
  readonly upstream: string;
  readonly route: string;
  readonly status: string;
  readonly cause: string;
  readonly count: number;
}

/** Requests of one direction, upstream and route. */
class ScopeTally {
  readonly direction: string;
  readonly upstream: string;
  readonly route: string;
  /** Plain successes and upstream statuses, by status. */
  readonly byStatus: (number | undefined)[] = [];
  /** Those with a cause, by "status cause". */
  readonly byCause = new Map<string, number>();
  /** Those that something in shadow mode would have refused, by the error's code. */
  readonly byShadow = new Map<string, number>();
  readonly buckets = new Float64Array(DURATION_BUCKETS_S.length + 1);
  sumMs = 0;
  count = 0;

  constructor(direction: string, upstream: string, route: string) {
    this.direction = direction;
    this.upstream = upstream;
    this.route = route;
  }
}

/** All that a tally has counted. Plain values, so that it can cross to another thread. */
export interface CountedRequests {
  readonly scopes: readonly Readonly<ScopeTally>[];
  readonly overflowed: number;
}

/** One series for each pair of status and cause. Several tallies may give the same one. */
export function* requestSeries({ scopes, overflowed }: CountedRequests): Generator<CountedSeries> {
  for (const { direction, upstream, route, byStatus, byCause } of scopes) {
    for (const [status, count] of byStatus.entries())
      if (count !== undefined) yield { direction, upstream, route, status: String(status), cause: "", count };
    for (const [key, count] of byCause) {
      const [status, cause] = key.split(" ");
      yield { direction, upstream, route, status: status!, cause: cause!, count };
    }
  }
  if (overflowed > 0)
    yield {
      direction: OVERFLOW,
      upstream: OVERFLOW,
      route: OVERFLOW,
      status: OVERFLOW,
      cause: OVERFLOW,
      count: overflowed,
    };
}

/** One series for each code of an error with which something in shadow mode would have refused requests. */
export function* shadowSeries({ scopes }: CountedRequests): Generator<Omit<CountedSeries, "status">> {
  for (const { direction, upstream, route, byShadow } of scopes)
    for (const [cause, count] of byShadow) yield { direction, upstream, route, cause, count };
}

export class RequestTally {
  readonly #scopes = new Map<string, Map<string, Map<string, ScopeTally>>>();
  #last: ScopeTally | undefined = undefined;
  #series = 0;
  #overflowed = 0;

  record(ending: Ending): void {
    const scope = this.#scope(ending.direction, ending.upstream, ending.route);
    this.#count(scope, ending);
    if (ending.shadow !== "")
      for (const code of ending.shadow.split(","))
        scope.byShadow.set(code, (scope.byShadow.get(code) ?? 0) + 1);
    scope.count++;
    const { durationMs } = ending;
    scope.sumMs += durationMs;
    let bucket = 0;
    while (bucket < BUCKETS_MS.length && durationMs > BUCKETS_MS[bucket]!) bucket++;
    scope.buckets[bucket]!++;
  }

  /** What has been counted so far, as plain values. */
  counted(): CountedRequests {
    const scopes: ScopeTally[] = [];
    for (const byUpstream of this.#scopes.values())
      for (const byRoute of byUpstream.values()) scopes.push(...byRoute.values());
    return { scopes, overflowed: this.#overflowed };
  }

  #count(scope: ScopeTally, ending: Ending): void {
    if (ending.cause === "") {
      const count = scope.byStatus[ending.status];
      if (count !== undefined) scope.byStatus[ending.status] = count + 1;
      else if (this.#admitSeries()) scope.byStatus[ending.status] = 1;
      return;
    }
    const key = `${ending.status} ${ending.cause}`;
    const count = scope.byCause.get(key);
    if (count !== undefined || this.#admitSeries()) scope.byCause.set(key, (count ?? 0) + 1);
  }

  #admitSeries(): boolean {
    if (this.#series < MAX_REQUEST_SERIES) {
      this.#series++;
      return true;
    }
    this.#overflowed++;
    return false;
  }

  #scope(direction: string, upstream: string, route: string): ScopeTally {
    const last = this.#last;
    // Most requests are like the one before.
    if (last?.upstream === upstream && last.direction === direction && last.route === route) return last;
    const byRoute = child(child(this.#scopes, direction), upstream);
    let scope = byRoute.get(route);
    if (scope === undefined) {
      scope = new ScopeTally(direction, upstream, route);
      byRoute.set(route, scope);
    }
    this.#last = scope;
    return scope;
  }
}

function child<K, V>(parent: Map<string, Map<K, V>>, key: string): Map<K, V> {
  let found = parent.get(key);
  if (found === undefined) {
    found = new Map();
    parent.set(key, found);
  }
  return found;
}
