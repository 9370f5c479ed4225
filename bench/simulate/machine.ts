/**
 * A replica on a machine that it shares with others ("antagonists"): some cores are promised to it, and whatever the
 * others leave it may have on top. A query is one thread, so it runs on at most one core; when there are more queries
 * than cores they share them evenly. What is not done at the deadline is given up, and its caller told.
 *
 * How much the antagonists want is drawn once for each machine, evenly between four and twelve tenths of it, and stirred
 * again and again. So some machines never have anything to spare, some always, and some now and then: load
 * that is uneven both in place and in time, which is what Prequal was made for. (The authors' traces are not public.)
 */
import { OwnLoad } from "../../balancing/own-load.ts";
import type { Random } from "../../core/index.ts";
import type { Engine, Happening } from "./engine.ts";

/** Cores promised to the replica: a tenth of the machine. */
export const ALLOCATED = 2;
const CORES = 20;
/** Cores that antagonists want in the mean over time: evenly between these, machine by machine. */
const WANTED = [8, 24] as const;
/** And how far from that mean they want for a while, evenly; and how long that while is in the mean. */
const STIRRED = 3;
const STIR_MS = 1000;

/** From being sent until it is settled, at most. */
export const DEADLINE_MS = 5000;

/** Who is told how a query ended; a failure is one that took too long, or that failed. */
export interface Asker {
  ended(query: Query, failed: boolean, nowMs: number): void;
}

export class Query {
  readonly asker: Asker;
  /** Which machine it was sent to. */
  readonly target: number;
  readonly sentAtMs: number;
  /** Of one core of a quick machine. */
  readonly workMs: number;
  /** How much each query must have been served, since the machine began, for this one to be done. */
  doneAtMs = 0;
  /** In flight when it came. */
  met = 0;
  isInside = true;

  constructor(asker: Asker, target: number, sentAtMs: number, workMs: number) {
    this.asker = asker;
    this.target = target;
    this.sentAtMs = sentAtMs;
    this.workMs = workMs;
  }
}

const STIR = -1;
const GIVE_UP = -2;

export class Machine implements Happening {
  readonly own: OwnLoad = new OwnLoad();
  readonly #engine: Engine;
  readonly #random: Random;
  readonly #slowness: number;
  readonly #wantedMean: number;
  #cores = 0;
  /** Those inside: whoever is done first is last. */
  readonly #inside: Query[] = [];
  /** In the order they came, and so of their deadlines; the first so many have ended. */
  #order: Query[] = [];
  #ended = 0;
  #guarded = false;
  /** What each query has been served since the beginning, had it been there. */
  #servedMs = 0;
  #untilMs = 0;
  /** Whoever changes the pace makes the planned end void: it is of an earlier epoch. */
  #epoch = 0;
  #usedMs = 0;
  #done = 0;
  #failsFromMs = Number.POSITIVE_INFINITY;

  /**
   * @param antagonists the chance that they are drawn by
   * @param slowness how many times longer a query takes here than on a quick machine
   */
  constructor(engine: Engine, antagonists: Random, slowness = 1) {
    this.#engine = engine;
    this.#random = antagonists;
    this.#slowness = slowness;
    this.#wantedMean = WANTED[0] + (WANTED[1] - WANTED[0]) * antagonists.next();
    this.#stir(0);
  }

  get inFlight(): number {
    return this.#inside.length;
  }

  /** From then on every new query fails after a millisecond, without work. */
  failFrom(atMs: number): void {
    this.#failsFromMs = atMs;
  }

  accept(query: Query, nowMs: number): void {
    query.met = this.own.arrived();
    this.#serve(nowMs);
    const inside = this.#inside;
    const fails = nowMs >= this.#failsFromMs;
    query.doneAtMs = this.#servedMs + (fails ? 1 : query.workMs * this.#slowness);
    let place = inside.length;
    inside.push(query);
    for (; place > 0 && inside[place - 1]!.doneAtMs < query.doneAtMs; place--)
      inside[place] = inside[place - 1]!;
    inside[place] = query;
    this.#order.push(query);
    this.#guard();
    // At the same pace, whoever was first before is it still.
    if (place === inside.length - 1 || inside.length > this.#cores) this.#plan(nowMs);
  }

  happen(nowMs: number, what: number): void {
    if (what === STIR) this.#stir(nowMs);
    else if (what === GIVE_UP) this.#giveUp(nowMs);
    else if (what === this.#epoch) {
      this.#serve(nowMs);
      const query = this.#inside.pop()!;
      this.#plan(nowMs);
      this.#end(query, nowMs >= this.#failsFromMs, nowMs);
    }
  }

  /** Since it began: queries that it was done with, and how long one core would have worked. */
  work(nowMs: number): { readonly done: number; readonly usedMs: number } {
    this.#serve(nowMs);
    return { done: this.#done, usedMs: this.#usedMs };
  }

  #stir(nowMs: number): void {
    this.#serve(nowMs);
    const wanted = this.#wantedMean + STIRRED * (2 * this.#random.next() - 1);
    this.#cores = Math.max(ALLOCATED, CORES - wanted);
    this.#plan(nowMs);
    this.#engine.at(nowMs - STIR_MS * Math.log(1 - this.#random.next()), this, STIR);
  }

  #serve(nowMs: number): void {
    const count = this.#inside.length;
    if (count > 0) {
      const busy = Math.min(count, this.#cores);
      this.#servedMs += ((nowMs - this.#untilMs) * busy) / count;
      this.#usedMs += (nowMs - this.#untilMs) * busy;
    }
    this.#untilMs = nowMs;
  }

  #plan(nowMs: number): void {
    this.#epoch++;
    const count = this.#inside.length;
    if (count === 0) return;
    const leftMs = this.#inside[count - 1]!.doneAtMs - this.#servedMs;
    this.#engine.at(nowMs + (leftMs * count) / Math.min(count, this.#cores), this, this.#epoch);
  }

  #end(query: Query, failed: boolean, nowMs: number): void {
    query.isInside = false;
    if (!failed) this.#done++;
    this.own.completed(query.met, nowMs - query.sentAtMs, failed, nowMs);
    query.asker.ended(query, failed, nowMs);
  }

  /** One event stands for all deadlines: that of the one that has been here longest. */
  #guard(): void {
    if (this.#guarded) return;
    while (this.#ended < this.#order.length && !this.#order[this.#ended]!.isInside) this.#ended++;
    if (this.#ended > 1024) {
      this.#order = this.#order.slice(this.#ended);
      this.#ended = 0;
    }
    const oldest = this.#order[this.#ended];
    if (oldest === undefined) return;
    this.#guarded = true;
    this.#engine.at(oldest.sentAtMs + DEADLINE_MS, this, GIVE_UP);
  }

  #giveUp(nowMs: number): void {
    this.#guarded = false;
    for (let i = this.#ended; i < this.#order.length; i++) {
      const query = this.#order[i]!;
      if (query.sentAtMs + DEADLINE_MS > nowMs) break;
      if (!query.isInside) continue;
      this.#serve(nowMs);
      this.#inside.splice(this.#inside.indexOf(query), 1);
      this.#plan(nowMs);
      this.#end(query, true, nowMs);
    }
    this.#guard();
  }
}
