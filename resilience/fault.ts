/**
 * Faults for testing: which requests they hit, and until when. What they do is in faults.layer.ts.
 *
 * Every fault has an end, which is looked at for each request and does not hang on a timer or on whoever added it: one that is
 * forgotten, or whose sidecar has lost the thread that would end it, ends by itself.
 */
import { type Direction, type Exchange, headerValue, type Random } from "../core/index.ts";

export const FAULT_KINDS = ["delay", "abort", "reset", "slow"] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** What happens to a request. */
export type FaultEffect =
  /** It is held back for a time between the two, in milliseconds, and then sent. */
  | { readonly kind: "delay"; readonly delayMs: readonly [number, number] }
  /** It is answered with this status, and not sent. */
  | { readonly kind: "abort"; readonly status: number }
  /** Its caller's connection is reset, and it is not sent. */
  | { readonly kind: "reset" }
  /** The body of its answer comes no faster than this. */
  | { readonly kind: "slow"; readonly bytesPerSecond: number };

/** Which requests are hit: those for which everything holds that is said. */
export interface FaultMatch {
  /** Both, unless told. */
  readonly direction?: Direction | undefined;
  /** The name of a route. */
  readonly route?: string | undefined;
  /** The name that a route or a host leads to. */
  readonly upstream?: string | undefined;
  /** A field that the request must have, in lower case. */
  readonly header?: string | undefined;
  /** What that field must say; anything unless told. */
  readonly value?: string | undefined;
}

export interface Fault {
  /** What it is called in the log and at /faults. */
  readonly id: string;
  readonly match: FaultMatch;
  /** The share of those requests, from 0 to 1. */
  readonly share: number;
  readonly effect: FaultEffect;
}

/** A fault with the time that it has left, in milliseconds: clocks of two threads do not agree. */
export interface RunningFault extends Fault {
  readonly leftMs: number;
}

const NO_FAULTS: readonly Fault[] = [];

/** The faults of one data plane, and how often each kind has been injected. */
export class Faults {
  #running: readonly { readonly fault: Fault; readonly untilMs: number }[] = [];
  readonly #injected = new Map<FaultKind, number>();
  /** Not a field of the exchange: hardly any has one. */
  readonly #postponed = new WeakMap<Exchange, readonly Fault[]>();
  /** The one thing that a request looks at where there are none. */
  any = false;

  /** From now on there are these and no others. */
  replace(running: readonly RunningFault[], nowMs: number): void {
    this.#running = running.map(({ leftMs, ...fault }) => ({ fault, untilMs: nowMs + leftMs }));
    this.any = running.length > 0;
  }

  /** Those that hit this request, in the order in which they were added; each by its own throw of the dice. */
  drawn(exchange: Exchange, nowMs: number, random: Random): readonly Fault[] {
    let drawn = NO_FAULTS;
    for (const { fault, untilMs } of this.#running) {
      if (nowMs >= untilMs || !matches(fault.match, exchange) || random.next() >= fault.share) continue;
      drawn = [...drawn, fault];
    }
    return drawn;
  }

  /** Takes along what is to happen to a request when it has a deadline. */
  postpone(exchange: Exchange, faults: readonly Fault[]): void {
    this.#postponed.set(exchange, faults);
  }

  /** What was taken along, once. */
  takePostponed(exchange: Exchange): readonly Fault[] {
    const faults = this.#postponed.get(exchange) ?? NO_FAULTS;
    this.#postponed.delete(exchange);
    return faults;
  }

  count(kind: FaultKind): void {
    this.#injected.set(kind, (this.#injected.get(kind) ?? 0) + 1);
  }

  /** How often each kind has been injected since the start. */
  counts(): Record<string, number> {
    return Object.fromEntries(this.#injected);
  }
}

function matches({ direction, route, upstream, header, value }: FaultMatch, exchange: Exchange): boolean {
  if (direction !== undefined && exchange.direction !== direction) return false;
  if (route !== undefined && exchange.route !== route) return false;
  if (upstream !== undefined && exchange.upstream !== upstream) return false;
  if (header === undefined) return true;
  const said = headerValue(exchange.headers, header);
  return said !== undefined && (value === undefined || said === value);
}

/** A time between the two, each equally likely. */
export function drawnMs([fromMs, toMs]: readonly [number, number], random: Random): number {
  return fromMs === toMs ? fromMs : fromMs + random.next() * (toMs - fromMs);
}
