/**
 * What one upstream is supplied with: one source or several, each behind its guard, put together, and without what fails
 * its active health checks.
 *
 * The checks stand behind the guards: what the registry says of an instance is judged first, and a probe can only take
 * away. But never everything: if nobody passes, it is the probe that is more likely wrong (a path that was renamed), and
 * the registry alone counts. What a guard offers as a last resort is treated alike: it is used when no source has better.
 */
import { type Clock, type Endpoint, endpointKey, type Log, type Random, type Timer } from "../core/index.ts";
import { type HealthCheckOptions, HealthChecks } from "./health/checks.ts";
import type { Probe, ProbeResult } from "./health/probe.ts";
import { type Merge, merged, NOTHING, type Offer, union } from "./merge.ts";
import { Guard, type GuardView, type OutageOptions } from "./outage/guard.ts";
import type { LastGood } from "./outage/last-good.ts";
import type { QuestionLimit } from "./question-limit.ts";
import type { Source } from "./source.ts";

export interface SupplyOptions {
  readonly merge: Merge;
  readonly outage: OutageOptions;
  readonly healthCheck?: HealthCheckOptions | undefined;
}

export interface SupplyParts {
  /** For the log, the upstream's name. */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly lastGood: LastGood;
  /** How instances are asked that a source would take away. */
  readonly probe: Probe;
  readonly questionLimit: QuestionLimit;
}

export interface SupplyView {
  readonly merge?: Merge;
  readonly sources: readonly GuardView[];
  /** By address: what the active checks have found. */
  readonly checks: Readonly<Record<string, { readonly health: string; readonly note: string }>>;
}

/** Of endpoints that nobody looks after: they are as they were named. */
export function supplied(
  source: string,
  endpoints: readonly Endpoint[],
  state: GuardView["state"] = "current",
): SupplyView {
  return {
    sources: [
      {
        source,
        state,
        forMs: 0,
        instances: endpoints.map((endpoint) => ({
          address: endpointKey(endpoint),
          health: "passing",
          used: true,
        })),
      },
    ],
    checks: {},
  };
}

/** How long the sources before one that has spoken may take for their first word. */
const FIRST_WORD_MS = 1_000;

const CALLED_OFF: ProbeResult = { passing: false, note: "called off" };
const NOTHING_KEPT: Pick<LastGood, "remember" | "recall"> = { remember() {}, recall: () => undefined };

interface Member {
  readonly source: Source;
  readonly guard: Guard;
  /** Undefined until its first word. */
  offer: Offer | undefined;
  /** It does not answer, and there is nothing to go by. */
  mute: boolean;
}

export class Supply {
  readonly #options: SupplyOptions;
  readonly #parts: SupplyParts;
  readonly #members: readonly Member[];
  readonly #checks: HealthChecks | undefined;
  readonly #onEndpoints: (endpoints: readonly Endpoint[]) => void;
  #hesitating: Timer | undefined;
  #patient = true;
  #last: readonly Endpoint[] | undefined;
  #stopped = false;

  /** @param onEndpoints told the first word, and each change */
  constructor(
    sources: readonly Source[],
    options: SupplyOptions,
    parts: SupplyParts,
    onEndpoints: (endpoints: readonly Endpoint[]) => void,
  ) {
    this.#options = options;
    this.#parts = parts;
    this.#onEndpoints = onEndpoints;
    this.#members = sources.map((source) => this.#member(source));
    const { healthCheck } = options;
    if (healthCheck !== undefined) {
      const { probe, clock, random, log, name, questionLimit } = parts;
      this.#checks = new HealthChecks(
        healthCheck,
        { probe, clock, random, log, name, limit: questionLimit },
        () => this.#tell(),
      );
    }
  }

  start(): void {
    if (this.#members.length > 1)
      this.#hesitating = this.#parts.clock.schedule(FIRST_WORD_MS, () => {
        this.#patient = false;
        this.#tell();
      });
    for (const { source, guard } of this.#members) {
      // Some speak at once, and whoever listens may have heard enough.
      if (this.#stopped) return;
      source.start(guard);
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#hesitating?.cancel();
    for (const { source, guard } of this.#members) {
      source.stop();
      guard.stop();
    }
    this.#checks?.stop();
  }

  view(): SupplyView {
    const checks: Record<string, { health: string; note: string }> = {};
    if (this.#checks !== undefined)
      for (const { endpoints } of this.#offers)
        for (const endpoint of endpoints) {
          const key = endpointKey(endpoint);
          const { health, note } = this.#checks.stateOf(key);
          checks[key] = { health, note };
        }
    return {
      ...(this.#members.length > 1 ? { merge: this.#options.merge } : {}),
      sources: this.#members.map(({ source: { remark }, guard }) => ({
        ...(remark === undefined ? {} : { why: remark }),
        // What is wrong with the source comes before what there is to say of its list.
        ...guard.view(),
      })),
      checks,
    };
  }

  #member(source: Source): Member {
    const { name: _, probe, questionLimit, ...parts } = this.#parts;
    const guard = new Guard(this.#options.outage, {
      ...parts,
      name: source.name,
      probe: async (endpoint, signal) =>
        (await questionLimit.run(signal, () => probe(endpoint, signal))) ?? CALLED_OFF,
      lastGood: source.fixed === true ? NOTHING_KEPT : keptUnder(source, parts.lastGood),
      onNothing: () => {
        if (member.mute) return;
        member.mute = true;
        this.#tell();
      },
      onUnwell: () => {
        member.offer = { ...(member.offer ?? NOTHING), unwell: guard.unwell };
        this.#tell();
      },
      onChange: (endpoints, lastResort) => {
        member.offer = { endpoints, lastResort, unwell: guard.unwell };
        this.#checks?.follow(union(this.#offers.map((offer) => offer.endpoints)));
        this.#tell();
      },
    });
    const member: Member = { source, guard, offer: undefined, mute: false };
    return member;
  }

  /** Who has not spoken and may change the choice: a fallback must not begin with its second one, nor wait for its third. */
  #awaits(failing: (key: string) => boolean): boolean {
    for (const { offer, mute } of this.#members) {
      if (offer === undefined && !mute) return true;
      const isChoice = offer?.endpoints.some(
        (endpoint) => !offer.lastResort.has(endpointKey(endpoint)) && !failing(endpointKey(endpoint)),
      );
      if (this.#options.merge === "fallback" && isChoice === true) return false;
    }
    return false;
  }

  /** In the order of preference. */
  get #offers(): Offer[] {
    return this.#members.map(({ offer }) => offer ?? NOTHING);
  }

  #tell(): void {
    if (this.#stopped) return;
    // Of nobody who has spoken nothing is known, which is not the same as that there is nothing.
    if (this.#members.every(({ offer }) => offer === undefined)) return;
    const failing = (key: string) => this.#checks?.failing(key) === true;
    if (this.#patient && this.#awaits(failing)) return;
    const endpoints = merged(this.#offers, this.#options.merge, failing);
    if (this.#last !== undefined && isSame(endpoints, this.#last)) return;
    this.#last = endpoints;
    this.#onEndpoints(endpoints);
  }
}

/** In whichever order, which is of no account to whoever balances. */
function isSame(a: readonly Endpoint[], b: readonly Endpoint[]): boolean {
  if (a.length !== b.length) return false;
  const texts = new Set(b.map((endpoint) => JSON.stringify(endpoint)));
  return a.every((endpoint) => texts.has(JSON.stringify(endpoint)));
}

/** Each source has a list of its own, under a name that no other one has. */
function keptUnder(source: Source, lastGood: LastGood): Pick<LastGood, "remember" | "recall"> {
  const name = source.copyName ?? source.name;
  return {
    remember: (_, instances) => lastGood.remember(name, instances),
    recall: () => lastGood.recall(name),
  };
}
