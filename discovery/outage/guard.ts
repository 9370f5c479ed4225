/**
 * Stands between a source and the traffic: decides which instances are used, and when what a source says, or does not say,
 * is believed.
 *
 * A registry is mostly right about one instance and often wrong about all of them: one that has lost its memory lists nobody,
 * one whose token has been revoked lists nobody, and the node of an agent that is away is critical while its apps are
 * well. So what concerns a few is believed at once, in both directions, and what would take most away is first held
 * against the instances themselves: they are asked. The rules as a table are in docs/discovery.md, and matrix.test.ts
 * holds this file to it.
 */
import {
  type Clock,
  type Endpoint,
  endpointKey,
  type Log,
  type Random,
  type Timer,
} from "../../core/index.ts";
import type { Probe } from "../health/probe.ts";
import type { Instance, Sink } from "../source.ts";
import { Crowd } from "./crowd.ts";
import { Doubts } from "./doubts.ts";
import { asEndpoints, type ByKey, isSame, lastResortIn, unwellIn } from "./in-use.ts";
import { judge, mayServe } from "./judgement.ts";
import type { LastGood, Recalled } from "./last-good.ts";

export interface OutageOptions {
  /** How long the last good list is used while the source does not answer. */
  readonly keepForMs: number;
  /** If more than this share of the instances goes at once, they are asked before it is believed. */
  readonly suspiciousShare: number;
  /** For how long instances that answer are kept although the source does not list them. */
  readonly believeAfterMs: number;
}

/** What a guard has to go by at the moment. */
export type GuardState =
  /** Nobody asks the source, as nobody calls the upstream. */
  | "unfollowed"
  /** Nothing has been heard yet. */
  | "starting"
  /** The source's last word is in force. */
  | "current"
  /** The source's last word would take most instances away, and they are being asked. */
  | "doubting"
  /** The source does not answer; its last word is in force. */
  | "silent"
  /** The source has not spoken since the start; what was kept from before is in force. */
  | "copy"
  /** The source has been silent for so long that nothing is believed any more. */
  | "expired";

export interface GuardView {
  readonly source: string;
  readonly state: GuardState;
  /** For how long. */
  readonly forMs: number;
  /** Why it is not `current`, or what is to be said of its list, in words. */
  readonly why?: string;
  readonly instances: readonly InstanceView[];
}

export interface InstanceView {
  readonly address: string;
  readonly health: string;
  readonly used: boolean;
  /** Why it is not passing, or why it is used in spite of what the source says. */
  readonly why?: string;
}

export interface GuardParts {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** How an instance is asked when the source is doubted. */
  readonly probe: Probe;
  readonly lastGood: Pick<LastGood, "remember" | "recall">;
  /**
   * Told whenever the instances that may serve have changed, and once when the first word has been judged.
   * @param lastResort keys of those that are unwell, and used as nobody else is left
   */
  readonly onChange: (endpoints: readonly Endpoint[], lastResort: ReadonlySet<string>) => void;
  /** Told when only those have changed that are known and not well. */
  readonly onUnwell: () => void;
  /** Told while nothing is known, and the source does not answer: nobody needs to wait for it. */
  readonly onNothing: () => void;
}

/** Changes within this time are applied as one. */
const GATHER_MS = 60;
/** How long a start waits for the source before a copy is used. */
const COPY_AFTER_MS = 1_000;
/** How long the first word may be held back while those are asked that were there before the start. */
const FIRST_ANSWER_MS = 1_500;
/** A source that has nothing new to say, such as a watch, still confirms what it has said. */
const CONFIRM_MS = 60_000;

export class Guard implements Sink {
  readonly #parts: GuardParts;
  readonly #options: OutageOptions;
  readonly #doubts: Doubts;
  readonly #crowd = new Crowd();
  #state: GuardState = "starting";
  #sinceMs: number;
  #why = "";
  /** The source's last word. */
  #listed: readonly Instance[] = [];
  /** What may serve, by key, the kept ones included. */
  #serving: ByKey = new Map();
  /** What is listed and not in use as it is not well, by key. */
  #unwell: ByKey = new Map();
  /** Keys of listed ones that have been in use at some time. */
  #known: ReadonlySet<string> = new Set();
  /** From before the start and not listed: not in use, and asked as the source knows nobody. */
  #remembered: readonly Instance[] = [];
  /** Waits to be applied. */
  #next: readonly Instance[] | undefined;
  #gathering: Timer | undefined;
  /** Until nobody waits for the first word any longer. */
  #starting: Timer | undefined;
  #expiring: Timer | undefined;
  #confirming: Timer | undefined;
  #patient = true;
  #told = false;
  #stopped = false;

  constructor(options: OutageOptions, parts: GuardParts) {
    this.#options = options;
    this.#parts = parts;
    this.#sinceMs = parts.clock.now();
    this.#doubts = new Doubts(options.believeAfterMs, parts, () => this.#judge());
    this.#starting = parts.clock.schedule(COPY_AFTER_MS, () => {
      if (this.#recalled() !== undefined) this.#useCopy(`nothing was heard of it for ${COPY_AFTER_MS} ms`);
    });
  }

  list(instances: readonly Instance[]): void {
    if (this.#stopped) return;
    this.#expiring?.cancel();
    this.#doubts.go();
    if (this.#state === "starting") {
      this.#begin(instances);
      return;
    }
    this.#next = instances;
    this.#gathering ??= this.#parts.clock.schedule(GATHER_MS, () => {
      this.#gathering = undefined;
      if (this.#next !== undefined) this.#accept(this.#next);
    });
  }

  silent(why: string): void {
    if (this.#stopped) return;
    // What waits to be applied was said before the silence, and holds.
    if (this.#next !== undefined) this.#accept(this.#next);
    this.#doubts.pause();
    if (this.#state === "starting") this.#useCopy(why);
    if (this.#state !== "current" && this.#state !== "doubting") return;
    this.#become("silent", why);
    const { log, name } = this.#parts;
    log.warn({ source: name, kept: this.#serving.size, why }, "the registry is silent; endpoints are kept");
    this.#expireAfter(this.#options.keepForMs);
  }

  /** Those that the source lists and that are not in use, as they are critical or unreachable. */
  get unwell(): readonly Endpoint[] {
    return asEndpoints(this.#unwell);
  }

  view(): GuardView {
    const { clock, name } = this.#parts;
    const seen = new Map<string, Pick<InstanceView, "health"> & Pick<Instance, "note">>();
    for (const instance of this.#listed) seen.set(endpointKey(instance), instance);
    for (const [key, instance] of this.#serving)
      if (!seen.has(key)) seen.set(key, this.#state === "copy" ? instance : { health: "absent" });
    return {
      source: name,
      state: this.#state,
      forMs: Math.round(clock.now() - this.#sinceMs),
      ...(this.#why === "" ? {} : { why: this.#why }),
      instances: [...seen].map(([key, { health, note }]) => {
        const why = this.#doubts.reason(key) ?? note;
        return { address: key, health, used: this.#serving.has(key), ...(why === undefined ? {} : { why }) };
      }),
    };
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of [this.#gathering, this.#starting, this.#expiring, this.#confirming]) timer?.cancel();
    this.#doubts.stop();
  }

  /** Takes the first word. */
  #begin(instances: readonly Instance[]): void {
    this.#starting?.cancel();
    // Whoever starts beside a registry that knows nobody asks those that were there before.
    if (!instances.some(mayServe)) {
      const keys = new Set(instances.map(endpointKey));
      const before = this.#recalled()?.instances ?? [];
      this.#known = new Set(before.map(endpointKey));
      this.#remembered = before.filter((instance) => !keys.has(endpointKey(instance)));
      this.#starting = this.#parts.clock.schedule(FIRST_ANSWER_MS, () => {
        this.#patient = false;
        this.#judge();
      });
    }
    this.#accept(instances);
    this.#confirmSoon();
  }

  /** Takes the source's word, and judges it. */
  #accept(instances: readonly Instance[]): void {
    const { log, name, clock } = this.#parts;
    this.#next = undefined;
    this.#listed = instances;
    const keys = instances.map(endpointKey);
    this.#known = new Set(keys.filter((key) => this.#known.has(key) || this.#serving.has(key)));
    if (this.#state !== "starting" && !this.#isHeard)
      log.info(
        { source: name, afterMs: Math.round(clock.now() - this.#sinceMs) },
        "the registry speaks again",
      );
    if (this.#state !== "doubting") this.#become("current", "");
    this.#judge();
  }

  /** The source's last word is newer than its last silence. */
  get #isHeard(): boolean {
    return this.#state === "current" || this.#state === "doubting";
  }

  #recalled(): Recalled | undefined {
    return this.#parts.lastGood.recall(this.#parts.name);
  }

  /** Applies the rules to the source's last word, as things are now. */
  #judge(): void {
    const doubts = this.#doubts;
    if (!this.#isHeard) {
      // Only those in doubt can have changed.
      const next = new Map([...this.#serving].filter(([key]) => !doubts.refuted(key)));
      for (const instance of doubts.kept) next.set(endpointKey(instance), instance);
      this.#serve(next);
      return;
    }
    const nowMs = this.#parts.clock.now();
    const isServing = (key: string) => this.#serving.has(key);
    const serving = [
      ...this.#serving.values(),
      ...this.#remembered.filter((instance) => !isServing(endpointKey(instance))),
    ];
    const before = Math.max(this.#crowd.before(nowMs, this.#serving.size), this.#remembered.length);
    const { usable, leaving, lastResort, dismissed } = judge({
      listed: this.#listed,
      serving,
      known: this.#known,
      before,
      doubted: this.#crowd.doubted,
      suspiciousShare: this.#options.suspiciousShare,
    });
    this.#crowd.dismiss(dismissed);
    doubts.hold(leaving, lastResort, isServing);
    this.#remembered =
      leaving.length === 0
        ? []
        : this.#remembered.filter((instance) => !doubts.refuted(endpointKey(instance)));
    if (doubts.leaving > 0) this.#crowd.hold(before - dismissed, leaving.map(endpointKey));
    else this.#crowd.release();
    this.#explain(usable, leaving, lastResort);
    const next = new Map([...usable, ...doubts.kept].map((instance) => [endpointKey(instance), instance]));
    const isEmptied = next.size === 0 && this.#serving.size > 0;
    this.#serve(next);
    // Also that there is nobody any more; but not that nobody answers who was remembered.
    if (doubts.settled && (next.size > 0 || isEmptied)) this.#confirm();
  }

  #explain(usable: readonly Instance[], leaving: readonly Instance[], lastResort: readonly Instance[]): void {
    const { log, name } = this.#parts;
    if (!this.#doubts.settled && this.#state === "current") {
      const facts = {
        source: name,
        usable: usable.length,
        leaving: leaving.length,
        critical: lastResort.length,
      };
      if (this.#doubts.leaving > 0) {
        this.#become(
          "doubting",
          `${leaving.length} of ${leaving.length + usable.length} instances would go at once`,
        );
        log.warn(facts, "most endpoints would go at once; they are asked first");
      } else {
        this.#become("doubting", "none is well by its own checks");
        log.warn(facts, "no endpoint is well; those that answer are used as a last resort");
      }
    } else if (this.#doubts.settled && this.#state === "doubting") {
      this.#become("current", "");
      log.info({ source: name, endpoints: usable.length }, "the doubt about the registry is settled");
    }
  }

  /** What is in use is what there is. */
  #confirm(): void {
    this.#parts.lastGood.remember(this.#parts.name, [...this.#serving.values()]);
  }

  #confirmSoon(): void {
    if (this.#stopped) return;
    this.#confirming = this.#parts.clock.schedule(CONFIRM_MS, () => {
      if (this.#isHeard && this.#doubts.settled && this.#serving.size > 0) this.#confirm();
      this.#confirmSoon();
    });
  }

  #useCopy(why: string): void {
    const { name, log } = this.#parts;
    this.#starting?.cancel();
    const copy = this.#recalled();
    if (copy === undefined) {
      if (why !== this.#why) log.warn({ source: name, why }, "nothing is known of this source yet");
      this.#why = why;
      this.#parts.onNothing();
      return;
    }
    this.#become("copy", why);
    log.warn(
      { source: name, endpoints: copy.instances.length, ageMs: copy.ageMs, why },
      "the registry is silent; the kept copy is used",
    );
    this.#serve(new Map(copy.instances.map((instance) => [endpointKey(instance), instance])));
    this.#expireAfter(this.#options.keepForMs - copy.ageMs);
    this.#confirmSoon();
  }

  #expireAfter(delayMs: number): void {
    if (this.#stopped) return;
    this.#expiring?.cancel();
    this.#expiring = this.#parts.clock.schedule(delayMs, () => {
      const { log, name } = this.#parts;
      log.error(
        { source: name, dropped: this.#serving.size },
        "the last good endpoints are too old to be used",
      );
      this.#become("expired", this.#why);
      this.#doubts.stop();
      this.#serve(new Map());
    });
  }

  #become(state: GuardState, why: string): void {
    this.#why = why;
    if (state === this.#state) return;
    this.#state = state;
    this.#sinceMs = this.#parts.clock.now();
  }

  #serve(next: ByKey): void {
    if (this.#stopped) return;
    // Before the first word is passed on, those that are asked are given the time to answer.
    if (!this.#told && next.size === 0 && this.#patient && this.#doubts.asking) return;
    const [before, unwellBefore] = [this.#serving, this.#unwell];
    this.#serving = next;
    // Of what is too old nothing is believed, this neither.
    this.#unwell = this.#state === "expired" ? new Map() : unwellIn(this.#listed, next);
    if (this.#told && isSame(next, before)) {
      if (!isSame(this.#unwell, unwellBefore)) this.#parts.onUnwell();
      return;
    }
    const isFirst = !this.#told;
    this.#told = true;
    const added = [...next.keys()].filter((key) => !before.has(key));
    const removed = [...before.keys()].filter((key) => !next.has(key));
    const { log, name, onChange } = this.#parts;
    if (isFirst || added.length + removed.length > 0)
      log.info(
        { source: name, added: added.slice(0, 20), removed: removed.slice(0, 20), endpoints: next.size },
        "endpoints changed",
      );
    onChange(asEndpoints(next), lastResortIn(next));
  }
}
