/**
 * Asks every endpoint of a set, again and again, and says which of them are failing.
 *
 * It says and does not act: whether a failing endpoint leaves the rotation, and whether all of them may, is decided where
 * also the registry's word is heard. So an endpoint of which nothing is known yet is "unknown" and not failing.
 *
 * The pause counts from a result to the next question, not from question to question: so an endpoint is never asked twice
 * at once, and one that answers late is asked less often. The pause is the fast one only while an endpoint is
 * about to change its state, so that a change is found out quickly once there is reason to suspect one. It is not fast for an
 * endpoint that simply stays failing: that may last for hours, every such question may cost a whole time limit, and an app
 * that struggles to its feet is not helped by being asked more often.
 */
import {
  type Clock,
  type Endpoint,
  endpointKey,
  type Log,
  type Random,
  type Timer,
} from "../../core/index.ts";
import type { QuestionLimit } from "../question-limit.ts";
import { failed } from "./ask.ts";
import type { Probe, ProbeOptions, ProbeResult } from "./probe.ts";
import { type Health, type Judgement, judge, type RiseFall, UNJUDGED } from "./rise-fall.ts";

export interface HealthCheckOptions extends RiseFall {
  readonly probe: ProbeOptions;
  /** From a result to the next question. */
  readonly intervalMs: number;
  /** The same while the last result speaks against the state. */
  readonly fastIntervalMs: number;
  /** How long one question may take. */
  readonly timeoutMs: number;
  /** By which share of itself a pause may be shorter or longer, 0 to 1. */
  readonly jitter: number;
}

export interface HealthCheckParts {
  readonly probe: Probe;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Whose endpoints these are, for the log. */
  readonly name: string;
  /** Shared by all checks of the process. */
  readonly limit: QuestionLimit;
}

export interface EndpointHealth {
  readonly health: Health;
  /** What the last question found; empty before. */
  readonly note: string;
  /** On the clock: since when `health` is what it is. */
  readonly sinceMs: number;
  /** On the clock: when the last result came; undefined before. */
  readonly checkedAtMs: number | undefined;
}

/** The first question comes within this time, or within an interval if that is shorter. */
const FIRST_WITHIN_MS = 1_000;

interface Check {
  readonly key: string;
  readonly endpoint: Endpoint;
  /** Aborted when the endpoint is no longer followed. */
  readonly gone: AbortController;
  judgement: Judgement;
  note: string;
  sinceMs: number;
  checkedAtMs: number | undefined;
  timer: Timer | undefined;
}

export class HealthChecks {
  readonly #options: HealthCheckOptions;
  readonly #parts: HealthCheckParts;
  readonly #onChange: () => void;
  #checks: ReadonlyMap<string, Check> = new Map();

  /** @param onChange Called when an endpoint has begun or ceased to be failing, except by no longer being followed. */
  constructor(options: HealthCheckOptions, parts: HealthCheckParts, onChange: () => void) {
    this.#options = options;
    this.#parts = parts;
    this.#onChange = onChange;
  }

  /** The set from now on. What is known of those that stay is kept; those that go are forgotten, and no longer asked. */
  follow(endpoints: readonly Endpoint[]): void {
    const before = this.#checks;
    const after = new Map<string, Check>();
    for (const endpoint of endpoints) {
      const key = endpointKey(endpoint);
      if (!after.has(key)) after.set(key, before.get(key) ?? this.#begin(key, endpoint));
    }
    this.#checks = after;
    for (const check of before.values()) if (!after.has(check.key)) end(check);
  }

  /** Of an endpoint that is not followed nothing is known. */
  stateOf(key: string): EndpointHealth {
    const check = this.#checks.get(key);
    if (check === undefined)
      return { health: "unknown", note: "", sinceMs: this.#parts.clock.recentMs, checkedAtMs: undefined };
    const { judgement, note, sinceMs, checkedAtMs } = check;
    return { health: judgement.health, note, sinceMs, checkedAtMs };
  }

  /** Whether enough questions in a row have failed. */
  failing(key: string): boolean {
    return this.#checks.get(key)?.judgement.health === "failing";
  }

  /** Asks nothing more, and holds no timer or socket. What was known is forgotten. */
  stop(): void {
    this.follow([]);
  }

  #begin(key: string, endpoint: Endpoint): Check {
    const { clock, random } = this.#parts;
    const check: Check = {
      key,
      endpoint,
      gone: new AbortController(),
      judgement: UNJUDGED,
      note: "",
      sinceMs: clock.now(),
      checkedAtMs: undefined,
      timer: undefined,
    };
    // Not at once: a sidecar that starts with a thousand endpoints should not knock at all their doors in one moment.
    this.#askIn(check, random.next() * Math.min(this.#options.intervalMs, FIRST_WITHIN_MS));
    return check;
  }

  #askIn(check: Check, delayMs: number): void {
    check.timer = this.#parts.clock.schedule(delayMs, () => {
      void this.#ask(check);
    });
  }

  async #ask(check: Check): Promise<void> {
    const { signal } = check.gone;
    const result = await this.#parts.limit.run(signal, () => this.#askOnce(check));
    if (result === undefined || signal.aborted) return;
    const before = check.judgement.health;
    this.#learn(check, result);
    // Before anybody is told, so that whoever is told may also forget this endpoint.
    this.#askIn(check, this.#pauseMs(check));
    if ((before === "failing") !== (check.judgement.health === "failing")) this.#onChange();
  }

  /** As the probe, but never rejects. A probe promises the same; a bug in it must not end the checks. */
  async #askOnce({ endpoint, gone }: Check): Promise<ProbeResult> {
    try {
      return await this.#parts.probe(endpoint, gone.signal);
    } catch (thrown) {
      return failed(thrown);
    }
  }

  #learn(check: Check, { passing, note }: ProbeResult): void {
    const { clock, log, name } = this.#parts;
    const before = check.judgement.health;
    const nowMs = clock.now();
    check.judgement = judge(check.judgement, passing, this.#options);
    check.note = note;
    check.checkedAtMs = nowMs;
    const { health } = check.judgement;
    if (health === before) return;
    check.sinceMs = nowMs;
    const facts = { upstream: name, endpoint: check.key, note };
    if (health === "failing") log.warn(facts, "health checks fail");
    // The first success is what everybody expects; a thousand of them would hide what matters in the log of a start.
    else if (before === "unknown") log.debug(facts, "health checks pass");
    else log.info(facts, "health checks pass again");
  }

  #pauseMs({ judgement }: Check): number {
    const { intervalMs, fastIntervalMs, jitter } = this.#options;
    const meanMs = judgement.against > 0 ? fastIntervalMs : intervalMs;
    return meanMs * (1 + jitter * (2 * this.#parts.random.next() - 1));
  }
}

function end(check: Check): void {
  check.timer?.cancel();
  check.gone.abort();
}
