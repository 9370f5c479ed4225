/**
 * Every timer of the proxy, in one ring of slots behind one system timer.
 *
 * Not setTimeout for each: a proxied request starts and stops a few timers that nearly never fire, and Node
 * keeps one list for every distinct number of milliseconds. Here starting and cancelling is linking and
 * unlinking a node. The price is coarseness: a timer fires up to one tick late, never early. (Varghese and
 * Lauck, "Hashed and hierarchical timing wheels", 1987, scheme 6.)
 *
 * A process that was stopped (by its cgroup, a snapshot, a long collection) finds all timers due at once, in front of the
 * answers that came meanwhile and lie in the kernel: Node runs timers before it reads. So a wake-up that is much too late lets
 * what has arrived be read first. Else a pause of the sidecar alone would time out whatever was under way, and open breakers.
 */
import type { Clock, Timer } from "../core/index.ts";

const TICK_MS = 10;
const SLOTS = 1024;
/** So much too late is no wake-up of a machine that is merely busy. */
const PAUSE_MS = 50;

/** What the wheel needs of the machine; a test hands in its own. */
export interface TickSource {
  now(): number;
  /** Calls back once after about `delayMs`; replaces an earlier request. */
  wakeIn(delayMs: number, callback: () => void): void;
  /** Calls back when what has arrived by now has been read. */
  afterReading(callback: () => void): void;
}

/** Fired, or cancelled. */
const IDLE = -1;
/** Taken out to be fired in this turn; an earlier callback of the same turn may still cancel it. */
const FIRING = -2;

class Node implements Timer {
  previous: Node | undefined = undefined;
  next: Node | undefined = undefined;
  /** Its slot in the wheel, or one of the two below. */
  slot = IDLE;
  dueTick = 0;
  readonly wheel: TimerWheel;
  readonly callback: () => void;

  constructor(wheel: TimerWheel, callback: () => void) {
    this.wheel = wheel;
    this.callback = callback;
  }

  cancel(): void {
    if (this.slot >= 0) this.wheel.unlink(this);
    this.slot = IDLE;
  }
}

export class TimerWheel implements Clock {
  readonly #source: TickSource;
  readonly #heads: (Node | undefined)[] = new Array(SLOTS).fill(undefined);
  #count = 0;
  recentMs: number;
  /** All timers due at or before this tick have fired. */
  #tick: number;
  #wakeAtTick = Number.POSITIVE_INFINITY;

  constructor(source: TickSource) {
    this.#source = source;
    this.recentMs = source.now();
    this.#tick = Math.floor(this.recentMs / TICK_MS);
  }

  now(): number {
    this.recentMs = this.#source.now();
    return this.recentMs;
  }

  /** Timers that have neither fired nor been cancelled. */
  get pending(): number {
    return this.#count;
  }

  schedule(delayMs: number, callback: () => void): Timer {
    const node = new Node(this, callback);
    const nowTick = this.now() / TICK_MS;
    // An idle wheel may have slept for long; its next tick is now.
    if (this.#count === 0) this.#tick = Math.floor(nowTick);
    node.dueTick = Math.max(this.#tick + 1, Math.ceil(nowTick + Math.max(0, delayMs) / TICK_MS));
    this.#link(node);
    if (node.dueTick < this.#wakeAtTick) this.#wakeAt(node.dueTick);
    return node;
  }

  unlink(node: Node): void {
    if (node.previous !== undefined) node.previous.next = node.next;
    else this.#heads[node.slot] = node.next;
    if (node.next !== undefined) node.next.previous = node.previous;
    node.previous = undefined;
    node.next = undefined;
    node.slot = IDLE;
    this.#count--;
  }

  #link(node: Node): void {
    const slot = node.dueTick % SLOTS;
    const head = this.#heads[slot];
    node.slot = slot;
    node.next = head;
    if (head !== undefined) head.previous = node;
    this.#heads[slot] = node;
    this.#count++;
  }

  #wakeAt(tick: number): void {
    this.#wakeAtTick = tick;
    const delayMs = Math.max(1, tick * TICK_MS - this.now());
    this.#source.wakeIn(delayMs, () => this.#woken());
  }

  #woken(): void {
    // Until then it counts as asked for, so that what is scheduled meanwhile does not ask for another.
    if (this.now() - this.#wakeAtTick * TICK_MS < PAUSE_MS) this.#turn();
    else this.#source.afterReading(() => this.#turn());
  }

  #turn(): void {
    this.#wakeAtTick = Number.POSITIVE_INFINITY;
    const nowTick = Math.floor(this.now() / TICK_MS);
    const due: Node[] = [];
    // More ticks than slots have passed: one round sees every timer.
    const from = Math.max(this.#tick + 1, nowTick - SLOTS + 1);
    for (let tick = from; tick <= nowTick; tick++) {
      for (let node = this.#heads[tick % SLOTS]; node !== undefined; ) {
        const next = node.next;
        if (node.dueTick <= nowTick) {
          this.unlink(node);
          node.slot = FIRING;
          due.push(node);
        }
        node = next;
      }
    }
    this.#tick = Math.max(this.#tick, nowTick);
    if (this.#count > 0) this.#wakeAt(this.#nextOccupiedTick());
    due.sort((a, b) => a.dueTick - b.dueTick);
    for (const node of due) {
      if (node.slot !== FIRING) continue;
      node.slot = IDLE;
      try {
        node.callback();
      } catch (thrown) {
        // The process's to see; the others of this turn are fired all the same.
        queueMicrotask(() => {
          throw thrown;
        });
      }
    }
  }

  /** The next tick whose slot holds anything; a timer of a later round only costs a look. */
  #nextOccupiedTick(): number {
    for (let tick = this.#tick + 1; tick <= this.#tick + SLOTS; tick++) {
      if (this.#heads[tick % SLOTS] !== undefined) return tick;
    }
    return this.#tick + SLOTS;
  }
}
