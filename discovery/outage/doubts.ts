/**
 * The instances that are asked before a source is believed: each is asked again and again until the source says otherwise,
 * it fails to answer, or the source has insisted for long enough.
 *
 * There are two kinds. Those that are leaving are asked for a proof that they are gone; one that has not answered is gone
 * for good, and one that answers is kept for a time only, since its address may get another owner. A last resort is still
 * there by the source's own word and only unwell, so it is used whenever and for as long as it answers.
 */
import { type Clock, endpointKey, type Log, type Random, type Timer } from "../../core/index.ts";
import { failed } from "../health/ask.ts";
import type { Probe, ProbeResult } from "../health/probe.ts";
import type { Instance } from "../source.ts";

interface Doubt {
  instance: Instance;
  isLastResort: boolean;
  /** Since when the source has insisted without a break. */
  sinceMs: number;
  /** It is used until it fails to answer, and not only from its first answer on. */
  inUse: boolean;
  answers: "unknown" | "yes" | "no";
  /** In a row. */
  failures: number;
  askedMs: number;
  note: string;
}

export interface DoubtParts {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly probe: Probe;
}

/** The pause between two rounds of questions. */
const ASK_EVERY_MS = 1_000;
/** One lost packet is no proof. */
const FAILURES_TO_REFUTE = 2;
/** How many are asked at once: half of what the process may, so that other checks have a turn while thousands are asked. */
const AT_ONCE = 32;
/** How many are asked again in a round although their last answer was clear: of thousands each in its turn. */
const AGAIN_PER_ROUND = 100;
/** Answers within this time are told as one: each makes all instances be judged anew. */
const GATHER_MS = 60;
/** How many are named in a log record. */
const MOST_NAMED = 20;

export class Doubts {
  readonly #believeAfterMs: number;
  readonly #parts: DoubtParts;
  readonly #onChange: () => void;
  readonly #doubts = new Map<string, Doubt>();
  #round: AbortController | undefined;
  #next: Timer | undefined;
  #telling: Timer | undefined;
  /** Until the source has insisted for long enough. */
  #believing: Timer | undefined;
  /** Keys of those whose answer is news. */
  #news: { readonly yes: string[]; readonly no: string[] } = { yes: [], no: [] };
  #paused = false;

  /** @param onChange told when an answer or the time has changed which are kept */
  constructor(believeAfterMs: number, parts: DoubtParts, onChange: () => void) {
    this.#believeAfterMs = believeAfterMs;
    this.#parts = parts;
    this.#onChange = onChange;
  }

  /** How many are leaving and have not gone yet. */
  get leaving(): number {
    let count = 0;
    for (const { isLastResort, answers } of this.#doubts.values())
      if (!isLastResort && answers !== "no") count++;
    return count;
  }

  /** Nobody needs to be asked. */
  get settled(): boolean {
    for (const doubt of this.#doubts.values()) if (isOpen(doubt)) return false;
    return true;
  }

  /** One of them has not been heard yet. */
  get asking(): boolean {
    for (const { answers } of this.#doubts.values()) if (answers === "unknown") return true;
    return false;
  }

  /** Those that are used in spite of the source. */
  get kept(): Instance[] {
    return [...this.#doubts.values()]
      .filter(({ answers, inUse }) => answers === "yes" || (answers === "unknown" && inUse))
      .map(({ instance }) => instance);
  }

  refuted(key: string): boolean {
    return this.#doubts.get(key)?.answers === "no";
  }

  /** Why it is used, or is not, while it is in doubt. */
  reason(key: string): string | undefined {
    const doubt = this.#doubts.get(key);
    if (doubt === undefined) return undefined;
    const { answers, isLastResort, note } = doubt;
    const kind = isLastResort ? "a last resort" : "in doubt";
    if (answers === "unknown") return `${kind}: it is being asked`;
    if (answers === "yes") return `${kind}, and used: it answers (${note})`;
    return isLastResort ? `it does not answer (${note})` : `gone: ${note}`;
  }

  /**
   * These are in doubt now, and no others.
   * @param inUse whether one that was not in doubt before has been in use
   */
  hold(leaving: readonly Instance[], lastResort: readonly Instance[], inUse: (key: string) => boolean): void {
    const nowMs = this.#parts.clock.now();
    const keys = new Set<string>();
    const take = (instance: Instance, isLastResort: boolean) => {
      const key = endpointKey(instance);
      keys.add(key);
      const doubt = this.#doubts.get(key);
      if (doubt?.isLastResort === isLastResort) {
        doubt.instance = instance;
        return;
      }
      // What it has answered holds, of whichever kind it is now.
      const heard = doubt ?? { inUse: inUse(key), answers: "unknown", failures: 0, askedMs: nowMs, note: "" };
      this.#doubts.set(key, { ...heard, instance, isLastResort, sinceMs: nowMs });
    };
    for (const instance of leaving) take(instance, false);
    for (const instance of lastResort) take(instance, true);
    for (const key of this.#doubts.keys()) if (!keys.has(key)) this.#doubts.delete(key);
    this.#believe(nowMs);
    this.#goOn();
  }

  /** The source has gone silent: it does not insist any more. */
  pause(): void {
    this.#paused = true;
  }

  /** The source speaks again, and begins to insist anew. */
  go(): void {
    if (!this.#paused) return;
    this.#paused = false;
    for (const doubt of this.#doubts.values()) doubt.sinceMs = this.#parts.clock.now();
  }

  /** Nobody is in doubt any more. */
  stop(): void {
    this.#doubts.clear();
    this.#news = { yes: [], no: [] };
    this.#telling?.cancel();
    this.#telling = undefined;
    this.#believing?.cancel();
    this.#round?.abort();
    this.#round = undefined;
    this.#goOn();
  }

  /** Gives up those of which the source has said for long enough that they are gone, and comes back for the next. */
  #believe(nowMs: number): void {
    this.#believing?.cancel();
    const { clock, log, name } = this.#parts;
    const believed: string[] = [];
    let nextMs = Number.POSITIVE_INFINITY;
    for (const [key, doubt] of this.#doubts) {
      if (doubt.isLastResort || doubt.answers === "no") continue;
      const leftMs = this.#believeAfterMs - (nowMs - doubt.sinceMs);
      if (leftMs > 0) {
        nextMs = Math.min(nextMs, leftMs);
        continue;
      }
      doubt.answers = "no";
      doubt.note = "the registry has insisted";
      believed.push(key);
    }
    if (nextMs < Number.POSITIVE_INFINITY) this.#believing = clock.schedule(nextMs, this.#onChange);
    if (believed.length === 0) return;
    log.warn(
      { source: name, count: believed.length, endpoints: believed.slice(0, MOST_NAMED) },
      "the registry has insisted; endpoints that were in doubt are given up",
    );
  }

  /** Asks all that are due once, and again after a while. */
  async #ask(): Promise<void> {
    const { clock, random } = this.#parts;
    const round = new AbortController();
    this.#round = round;
    const queue = this.#due().values();
    const askInTurn = async () => {
      for (const [key, doubt] of queue) await this.#askOne(key, doubt, round.signal);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, askInTurn));
    // It may have been called off, and another begun.
    if (this.#round !== round) return;
    this.#round = undefined;
    // Before anybody is told, so that nobody is asked again without a pause.
    this.#next = clock.schedule(ASK_EVERY_MS * (0.75 + random.next() / 2), () => {
      this.#next = undefined;
      this.#goOn();
    });
    this.#tell();
  }

  /** Asks as long as there is somebody to ask. */
  #goOn(): void {
    if (this.settled) {
      this.#next?.cancel();
      this.#next = undefined;
    } else if (this.#round === undefined && this.#next === undefined) void this.#ask();
  }

  /** Those that an answer may settle, and of the others those that have not been asked for the longest time. */
  #due(): [string, Doubt][] {
    const open = [...this.#doubts].filter(([, doubt]) => isOpen(doubt));
    const unclear = open.filter(([, doubt]) => !isClear(doubt));
    const clear = open.filter(([, doubt]) => isClear(doubt)).sort(([, a], [, b]) => a.askedMs - b.askedMs);
    return [...unclear, ...clear.slice(0, AGAIN_PER_ROUND)];
  }

  async #askOne(key: string, doubt: Doubt, signal: AbortSignal): Promise<void> {
    const isCurrent = () => !signal.aborted && this.#doubts.get(key) === doubt && isOpen(doubt);
    if (!isCurrent()) return;
    doubt.askedMs = this.#parts.clock.now();
    // A probe promises not to reject; a bug in it must not end the questions.
    const result = await this.#parts.probe(doubt.instance, signal).catch(failed);
    if (isCurrent()) this.#hear(key, doubt, result);
  }

  #hear(key: string, doubt: Doubt, { passing, note }: ProbeResult): void {
    const before = doubt.answers;
    doubt.note = note;
    doubt.failures = passing ? 0 : doubt.failures + 1;
    if (passing) {
      doubt.answers = "yes";
      doubt.inUse = true;
    } else if (doubt.failures >= FAILURES_TO_REFUTE || !doubt.inUse) {
      doubt.answers = "no";
    }
    if (doubt.answers === before) return;
    this.#news[passing ? "yes" : "no"].push(key);
    this.#telling ??= this.#parts.clock.schedule(GATHER_MS, () => this.#tell());
  }

  #tell(): void {
    this.#telling?.cancel();
    this.#telling = undefined;
    const { yes, no } = this.#news;
    if (yes.length + no.length === 0) return;
    this.#news = { yes: [], no: [] };
    const { log, name } = this.#parts;
    const facts = (keys: readonly string[]) => ({
      source: name,
      count: keys.length,
      endpoints: keys.slice(0, MOST_NAMED).map((key) => `${key}: ${this.#doubts.get(key)?.note ?? ""}`),
    });
    if (yes.length > 0) log.info(facts(yes), "these answer, and are used in spite of the registry");
    if (no.length > 0) log.info(facts(no), "these do not answer, and are given up");
    this.#onChange();
  }
}

/** It is asked. */
function isOpen({ isLastResort, answers }: Doubt): boolean {
  return isLastResort || answers !== "no";
}

/** One more answer would not settle anything. */
function isClear({ answers, failures }: Doubt): boolean {
  return answers === "no" || (answers === "yes" && failures === 0);
}
