/**
 * Where names lead, at run time: to one upstream, to several by rules, or to nowhere yet.
 *
 * A name whose endpoints are not known is looked for when it is first called, and its callers wait here for what comes of
 * it: before the stack of any upstream, since which upstreams there are is part of what is looked for.
 */
import {
  type Endpoint,
  type Exchange,
  type Handler,
  type Layer,
  ProxyError,
  stack,
  type Timer,
} from "../core/index.ts";
import { waitFor } from "../resilience/index.ts";
import type { UpstreamCounts } from "../telemetry/index.ts";
import { own } from "./own.ts";
import type { Destination, Leads, NamePolicies, UpstreamPlan } from "./plan.ts";
import { addedCounts, pastCounts } from "./report.ts";
import * as stacks from "./stack.ts";
import { type Situation, Upstream } from "./upstream/index.ts";

interface Known {
  readonly leads: Leads;
  /** What it leads to, behind all that stands in front of the name. */
  readonly handle: Handler;
  /** Keys of its upstreams. */
  readonly keys: readonly string[];
}

/** How long a caller waits for the first word of discovery. */
const FIRST_WORD_MS = 2_500;
/** How often it is looked whether those that are no longer led to have finished. */
const PUT_AWAY_MS = 1_000;

export class Destinations {
  /** By the names that routes, hosts and listeners lead to. */
  readonly handlers: ReadonlyMap<string, Handler>;
  /** By key. */
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly #parts: stacks.StackParts;
  readonly #onWanted: (name: string) => void;
  readonly #policies: NamePolicies;
  /** What stands in front of each name. */
  readonly #inFront = new Map<string, readonly Layer[]>();
  readonly #handlers = new Map<string, Handler>();
  readonly #upstreams = new Map<string, Upstream>();
  readonly #plans = new Map<string, UpstreamPlan>();
  readonly #known = new Map<string, Known>();
  /** Callers of names that are looked for. */
  readonly #waiting = new Map<string, Set<() => void>>();
  /** How often each name has been called. */
  readonly #calls = new Map<string, { count: number }>();
  /** No longer led to, with requests that may still be under way. */
  readonly #retired = new Set<Upstream>();
  /** What upstreams have counted that are gone, by name. */
  readonly #gone = new Map<string, UpstreamCounts>();
  #puttingAway: Timer | undefined;
  #situation: Situation = {};

  /**
   * @param onWanted told with each call of a pending name for which nobody waits yet
   * @param policies by name, of those that have one
   */
  constructor(parts: stacks.StackParts, onWanted: (name: string) => void, policies: NamePolicies = {}) {
    this.#parts = parts;
    this.#policies = policies;
    this.#onWanted = onWanted;
    this.handlers = this.#handlers;
    this.upstreams = this.#upstreams;
  }

  /** Leads a name somewhere else, or nowhere with `undefined`. */
  lead(
    name: string,
    leads: Leads | undefined,
    endpoints: Readonly<Record<string, readonly Endpoint[]>>,
  ): void {
    const before = this.#known.get(name)?.keys ?? [];
    const after = leads === undefined || leads === "pending" ? {} : leads.upstreams;
    for (const [key, plan] of Object.entries(after)) this.#keep(key, plan, own(endpoints, key));
    if (leads === undefined) {
      this.#handlers.delete(name);
      this.#known.delete(name);
      this.#calls.delete(name);
    } else {
      const handle = leads === "pending" ? this.#pending(name) : this.#counted(name, leads);
      this.#handlers.set(name, stack(this.#frontOf(name), handle));
      this.#known.set(name, { leads, handle, keys: Object.keys(after) });
    }
    for (const key of before) if (!Object.hasOwn(after, key)) this.#drop(key);
    if (leads !== "pending") this.#wake(name);
  }

  /** Where this sidecar stands among those that do the same, for all upstreams. */
  situate(situation: Situation): void {
    this.#situation = situation;
    for (const upstream of this.#upstreams.values()) upstream.situate(situation);
  }

  /** The names that lead to one upstream whatever is asked, and those upstreams. */
  *single(): Generator<readonly [name: string, upstream: Upstream]> {
    for (const [name, { keys }] of this.#known) {
      const upstream = keys.length === 1 ? this.#upstreams.get(keys[0]!) : undefined;
      if (upstream !== undefined) yield [name, upstream];
    }
  }

  /** How often each name has been called. */
  calls(): Record<string, number> {
    return Object.fromEntries([...this.#calls].map(([name, { count }]) => [name, count]));
  }

  counts(): UpstreamCounts[] {
    const byName = new Map<string, UpstreamCounts>();
    // Those of now first: of them it is told how many endpoints there are.
    for (const upstream of this.#upstreams.values()) addTo(byName, upstream.counts());
    for (const upstream of this.#retired) addTo(byName, ofRetired(upstream));
    for (const counts of this.#gone.values()) addTo(byName, counts);
    return [...byName.values()];
  }

  stop(): void {
    this.#puttingAway?.cancel();
    for (const upstream of [...this.#upstreams.values(), ...this.#retired]) upstream.stop();
    for (const name of this.#waiting.keys()) this.#wake(name);
  }

  #keep(key: string, plan: UpstreamPlan, endpoints: readonly Endpoint[] | undefined): void {
    const before = this.#upstreams.get(key);
    if (before !== undefined && JSON.stringify(this.#plans.get(key)) === JSON.stringify(plan)) {
      if (endpoints !== undefined) before.update(endpoints);
      return;
    }
    const { clock, random, log, retrySwitch } = this.#parts;
    const parts = { clock, random, log, retrySwitch, situation: this.#situation };
    const upstream = new Upstream(plan.name, plan.options, parts, (of, to) =>
      stacks.endpoint(this.#parts, of, to),
    );
    upstream.update(endpoints ?? before?.endpoints.map(({ endpoint }) => endpoint) ?? []);
    this.#upstreams.set(key, upstream);
    this.#plans.set(key, plan);
    if (before === undefined) return;
    upstream.breakers.inherit(before.breakers);
    this.#retire(before);
  }

  #drop(key: string): void {
    const upstream = this.#upstreams.get(key);
    this.#upstreams.delete(key);
    this.#plans.delete(key);
    if (upstream !== undefined) this.#retire(upstream);
  }

  /** What waits for a turn there, or for another attempt, was promised one: it keeps its endpoints to the end. */
  #retire(upstream: Upstream): void {
    upstream.retire();
    this.#retired.add(upstream);
    this.#putAway();
  }

  #putAway(): void {
    for (const upstream of this.#retired) {
      if (!upstream.atRest) continue;
      upstream.stop();
      this.#retired.delete(upstream);
      addTo(this.#gone, pastCounts(upstream.counts()));
    }
    if (this.#retired.size === 0) return;
    this.#puttingAway ??= this.#parts.clock.schedule(PUT_AWAY_MS, () => {
      this.#puttingAway = undefined;
      this.#putAway();
    });
  }

  #lanes(destination: Destination): Handler {
    const lanes = new Map<string, Handler>();
    for (const [lane, plan] of Object.entries(destination.lanes)) {
      const upstream = this.#upstreams.get(plan.upstream)!;
      lanes.set(lane, stacks.upstream(this.#parts, upstream, plan));
    }
    const [only] = lanes.values();
    if (destination.routes.length === 0) return only!;
    return stacks.within(this.#parts, destination.routes, lanes);
  }

  #frontOf(name: string): readonly Layer[] {
    const before = this.#inFront.get(name);
    if (before !== undefined) return before;
    const policy = own(this.#policies, name);
    const layers = stacks.inFront(this.#parts, policy);
    // Of names without a policy there is nothing to keep, and there may be any number of them.
    if (policy !== undefined) this.#inFront.set(name, layers);
    return layers;
  }

  #pending(name: string): Handler {
    return (exchange) =>
      this.#wait(name, exchange).then(() => {
        const known = this.#known.get(name);
        if (known === undefined || known.leads === "pending")
          throw new ProxyError(
            "no_endpoint",
            `discovery has said nothing of ${name} for ${FIRST_WORD_MS} ms`,
          );
        return known.handle(exchange);
      });
  }

  #wait(name: string, exchange: Exchange): Promise<void> {
    const { clock } = this.#parts;
    return waitFor<void>(exchange, clock, "discovery", (done) => {
      const waiting = this.#waiting.get(name) ?? new Set();
      const isFirst = waiting.size === 0;
      this.#waiting.set(name, waiting);
      const leave = () => {
        timer.cancel();
        waiting.delete(wake);
      };
      const wake = () => {
        leave();
        done();
      };
      const timer = clock.schedule(FIRST_WORD_MS, wake);
      waiting.add(wake);
      // Last, as the answer may be known and come at once.
      if (isFirst) this.#onWanted(name);
      return leave;
    });
  }

  #wake(name: string): void {
    const waiting = this.#waiting.get(name);
    this.#waiting.delete(name);
    for (const wake of [...(waiting ?? [])]) wake();
  }

  #counted(name: string, leads: Destination): Handler {
    const handler = this.#lanes(leads);
    const calls = this.#calls.get(name) ?? { count: 0 };
    this.#calls.set(name, calls);
    return (exchange) => {
      calls.count++;
      return handler(exchange);
    };
  }
}

function addTo(sums: Map<string, UpstreamCounts>, counts: UpstreamCounts): void {
  const other = sums.get(counts.upstream);
  sums.set(counts.upstream, other === undefined ? counts : addedCounts(other, counts));
}

/** Its connections are open and its queue is there; its endpoints are those of nobody. */
function ofRetired(upstream: Upstream): UpstreamCounts {
  const { connections, pending, ...counts } = upstream.counts();
  return { ...pastCounts({ ...counts, connections, pending }), connections, pending };
}
