/**
 * Virtual time: a heap of what will happen, soonest first; what is due at the same moment, in the order it was planned.
 *
 * Not a timer wheel, since the moments are real numbers, and not a heap of objects: the times lie in an array of
 * numbers, so that the two million comparisons of a simulated second follow no pointers. Ten million jobs are two
 * such events each, and a run of all experiments shall take less than a minute.
 */
import type { Clock, Timer } from "../../core/index.ts";

/** Something that happens at a moment; one object may be planned for many. */
export interface Happening {
  /** @param argument what was given when it was planned */
  happen(nowMs: number, argument: number): void;
}

export class Engine {
  #nowMs = 0;
  /** Heap, in parallel: when, in which order it was planned, and where what happens is kept. */
  #times = new Float64Array(1024);
  #orders = new Float64Array(1024);
  #places = new Int32Array(1024);
  #size = 0;
  #planned = 0;
  readonly #happenings: (Happening | undefined)[] = [];
  readonly #arguments: number[] = [];
  readonly #free: number[] = [];

  /** Virtual milliseconds since the beginning. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Plans for a moment that has not passed; an earlier one counts as now. */
  at(atMs: number, happening: Happening, argument = 0): void {
    const place = this.#free.pop() ?? this.#happenings.length;
    this.#happenings[place] = happening;
    this.#arguments[place] = argument;
    if (this.#size === this.#times.length) this.#grow();
    this.#rise(Math.max(atMs, this.#nowMs), this.#planned++, place);
  }

  /** Lets everything happen that is due until then, what is planned on the way included. */
  run(untilMs = Number.POSITIVE_INFINITY): void {
    while (this.#size > 0 && this.#times[0]! <= untilMs) {
      const place = this.#places[0]!;
      this.#nowMs = this.#times[0]!;
      this.#removeFirst();
      const happening = this.#happenings[place]!;
      this.#happenings[place] = undefined;
      this.#free.push(place);
      happening.happen(this.#nowMs, this.#arguments[place]!);
    }
    if (untilMs < Number.POSITIVE_INFINITY) this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  /** This time as the rest of heddle knows it, for what sets timers. */
  readonly clock: Clock = virtualClock(this);

  #rise(time: number, order: number, place: number): void {
    const times = this.#times;
    let i = this.#size++;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      // Whoever comes now was planned last: among equals it stays below.
      if (times[parent]! <= time) break;
      this.#move(parent, i);
      i = parent;
    }
    this.#put(i, time, order, place);
  }

  #removeFirst(): void {
    const size = --this.#size;
    if (size === 0) return;
    const times = this.#times;
    const orders = this.#orders;
    const time = times[size]!;
    const order = orders[size]!;
    const place = this.#places[size]!;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= size) break;
      const right = child + 1;
      if (
        right < size &&
        (times[right]! < times[child]! || (times[right] === times[child] && orders[right]! < orders[child]!))
      )
        child = right;
      if (times[child]! > time || (times[child] === time && orders[child]! > order)) break;
      this.#move(child, i);
      i = child;
    }
    this.#put(i, time, order, place);
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#times[from]!, this.#orders[from]!, this.#places[from]!);
  }

  #put(at: number, time: number, order: number, place: number): void {
    this.#times[at] = time;
    this.#orders[at] = order;
    this.#places[at] = place;
  }

  #grow(): void {
    const times = new Float64Array(2 * this.#size);
    const orders = new Float64Array(2 * this.#size);
    const places = new Int32Array(2 * this.#size);
    times.set(this.#times);
    orders.set(this.#orders);
    places.set(this.#places);
    [this.#times, this.#orders, this.#places] = [times, orders, places];
  }
}

function virtualClock(engine: Engine): Clock {
  return {
    now: () => engine.nowMs,
    get recentMs() {
      return engine.nowMs;
    },
    schedule(delayMs, callback): Timer {
      let cancelled = false;
      engine.at(engine.nowMs + Math.max(0, delayMs), {
        happen() {
          if (!cancelled) callback();
        },
      });
      return {
        cancel() {
          cancelled = true;
        },
      };
    },
  };
}
