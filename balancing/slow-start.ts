/**
 * How much of its weight an endpoint gets while it is new: little at first, all of it after a window.
 *
 * Not its full share at once: a replica that has just started (cold caches, code not yet compiled, pools empty) gets as
 * many requests as a warm one and answers them late or not at all. Balancing by load does not help in its first moments,
 * since whoever has nothing in flight looks best. The curve and its names are Envoy's (`SlowStartConfig`):
 * weight * max(floor, (age / window) ^ (1 / aggression)).
 *
 * Whom it concerns is HAProxy's rule, not Envoy's: nobody at the start of the sidecar. All endpoints are new to it
 * then, which says nothing about their age, and if all of them are held back, nobody is. For the same reason a list that
 * has nobody in common with the one before starts warm. An endpoint that comes to such as were there, or comes back, is new.
 */
export interface SlowStartOptions {
  /** How long it takes to the full weight, in milliseconds; 0 turns slow start off. Envoy has no default. */
  readonly windowMs: number;
  /** 1 is a straight line; more gives more at the beginning, less gives less. Envoy: 1. */
  readonly aggression: number;
  /** The least share of its weight that a new endpoint gets, in (0, 1], so that it is tried at all. Envoy: 0.1. */
  readonly floor: number;
}

export const DEFAULT_SLOW_START: SlowStartOptions = { windowMs: 30_000, aggression: 1, floor: 0.1 };

/** What its weight is multiplied by, in [floor, 1], when an endpoint is so old. */
export function slowStartFactor(ageMs: number, { windowMs, aggression, floor }: SlowStartOptions): number {
  const age = Math.max(0, ageMs);
  return age >= windowMs ? 1 : Math.max(floor, (age / windowMs) ** (1 / aggression));
}

/**
 * How long after the first list those that come are taken to be found and not new, in milliseconds: sources speak one
 * after the other, and a registry that begins to answer lists the instances one by one.
 */
const SETTLING_MS = 5_000;

/** A balancer keeps what it made from a list, so weights move in steps, each with a list of its own: so many in a window. */
const STEPS = 20;

/** Who is new, by key, over all snapshots. */
export class SlowStart {
  readonly #options: SlowStartOptions;
  /** When it came, for those that came cold; those that are warm have none. */
  readonly #stamps = new Map<string, number>();
  /** How many there are. Who they are is only kept where whole lists are told: of thousands, that would be a list more. */
  #count = 0;
  #keys: ReadonlySet<string> | undefined;
  #settledAtMs: number | undefined;

  constructor(options: SlowStartOptions) {
    this.#options = options;
  }

  /** How long the factors may be taken as they are, in milliseconds, while somebody is warming up. */
  get stepMs(): number {
    return this.#options.windowMs / STEPS;
  }

  /** The endpoints are now these. */
  replace(keys: Iterable<string>, nowMs: number): void {
    const next = new Set(keys);
    const before = this.#keys ?? new Set<string>();
    this.#keys = next;
    this.change([...next.difference(before)], [...before.difference(next)], nowMs);
  }

  /**
   * Some endpoints have come and some have left. One that left and is here again is new: nobody knows what it was doing
   * meanwhile.
   */
  change(came: readonly string[], left: readonly string[], nowMs: number): void {
    for (const key of left) this.#stamps.delete(key);
    const isSettled = this.#settledAtMs !== undefined && nowMs >= this.#settledAtMs;
    const somebodyStays = this.#count > left.length;
    if (isSettled && somebodyStays) for (const key of came) this.#stamp(key, nowMs);
    this.#count += came.length - left.length;
    if (this.#count > 0) this.#settledAtMs ??= nowMs + SETTLING_MS;
  }

  /** One of them has come back from where it got nothing: an ejection, an open breaker. */
  restart(key: string, nowMs: number): void {
    this.#stamp(key, nowMs);
  }

  /** What its weight is multiplied by now; 1 for whoever is unknown here. */
  factor(key: string, nowMs: number): number {
    const stamp = this.#stamps.get(key);
    return stamp === undefined ? 1 : slowStartFactor(nowMs - stamp, this.#options);
  }

  /** Whether anybody gets less than its weight; those that have become warm are forgotten. */
  isWarming(nowMs: number): boolean {
    for (const [key, stamp] of this.#stamps)
      if (nowMs - stamp >= this.#options.windowMs) this.#stamps.delete(key);
    return this.#stamps.size > 0;
  }

  #stamp(key: string, nowMs: number): void {
    if (this.#options.windowMs > 0) this.#stamps.set(key, nowMs);
  }
}
