/**
 * What carries the traffic: listeners, the stacks behind them, and the upstreams at their end, as a plan says.
 *
 * Apart from the sidecar, so that there can be several: one in each worker thread, all of them told by one sidecar where
 * names lead, where endpoints are and when to drain. It knows neither registry nor admin port, and what it is told and
 * reports is plain values, which can cross from one thread to another.
 *
 * It is told one name or one listener at a time. Requests under way finish on the stack on which they began, and an
 * upstream whose options stay the same keeps its connections and what it has learned.
 */
import type { Endpoint, Handler } from "../core/index.ts";
import {
  Faults,
  Inheritance,
  type Inheriting,
  type RetrySwitch,
  type RunningFault,
} from "../resilience/index.ts";
import type { ProcessLog } from "../telemetry/index.ts";
import { Destinations } from "./destinations.ts";
import { type ListenAddress, Listener } from "./downstream/index.ts";
import { drain, type Leaving } from "./drain.ts";
import { Interception } from "./interception.ts";
import { OverloadMonitor, type OverloadOptions } from "./overload.ts";
import { LoadMeter } from "./own-load/index.ts";
import type { Leads, ListenerPlan, NamePolicies, Plan } from "./plan.ts";
import { endpointViews, type PlaneReport, requestViews, summed } from "./report.ts";
import type { BreakerCommand } from "./route-breakers.ts";
import * as stacks from "./stack.ts";
import { createStackParts } from "./stack-parts.ts";
import { newRequestId, systemClock, systemRandom, threadOffsetMs } from "./system.ts";
import { tcp } from "./tcp-stack.ts";
import { threadUse } from "./thread-use.ts";
import type { Situation, Upstream } from "./upstream/index.ts";
import type { WayIn } from "./way-in.ts";

/** Where the ports for traffic are, by the names of the listeners. */
export type PlaneAddresses = Readonly<Record<string, ListenAddress>>;

/** A data plane as the sidecar sees it, in its own thread or in another. */
export interface Plane {
  /**
   * Opens the ports of the plan.
   * @param at shares these ports with other planes, instead of opening those of the plan for itself
   * @throws Error when a port cannot be opened; what was opened before is closed again
   */
  start(plan: Plan, at?: PlaneAddresses): Promise<PlaneAddresses>;
  /**
   * Leads a name somewhere else.
   * @param leads undefined forgets the name
   * @param endpoints by key, for the upstreams that are new
   */
  lead(
    name: string,
    leads: Leads | undefined,
    endpoints: Readonly<Record<string, readonly Endpoint[]>>,
  ): void;
  /**
   * Opens one more listener, replaces it, or closes it.
   * @param plan undefined closes it; what has begun there finishes
   * @throws Error when the port cannot be opened
   */
  listen(
    name: string,
    plan: ListenerPlan | undefined,
    at?: ListenAddress,
  ): Promise<ListenAddress | undefined>;
  /** @param key of an upstream */
  update(key: string, endpoints: readonly Endpoint[]): void;
  /** Where this sidecar stands among those that do the same has changed. */
  situate(situation: Situation): void;
  /** From now on these faults are injected for testing, and no others. */
  injectFaults(faults: readonly RunningFault[]): void;
  report(): Promise<PlaneReport>;
  /** Decides for some time what requests meet at a breaker; who it is not known to knows nothing of it. */
  force(command: BreakerCommand): void;
  /** Finishes what has begun, within the grace. */
  drain(leaving: Leaving): Promise<void>;
  /** Ends at once. */
  destroy(): Promise<void>;
  setLogLevel(level: ProcessLog["level"]): void;
  /** Turns everything off or on that sends a request again or twice. */
  setRetries(enabled: boolean): void;
}

/** What a data plane is made with. */
export interface PlaneSettings {
  readonly accessLog: boolean;
  /** The sidecar's own: what it says now is what a data plane that is made later begins with. */
  readonly retrySwitch: RetrySwitch;
  /** Where it counts what its app has in flight, and which place is its own; undefined when it is alone. */
  readonly counts?: { readonly inFlight: Int32Array; readonly place: number };
  /** Undefined where it does not look after itself. */
  readonly overload?: OverloadOptions | undefined;
  /** What is particular to requests that come in. */
  readonly wayIn: WayIn;
  /** Which requests of the app inherit the deadline of the one that it answers. */
  readonly inheritDeadlines: Inheriting;
  /** Whether faults may be injected for testing: the layers that do it stand in the stacks. */
  readonly mayInject: boolean;
  /** Here and not in the plan: names may be led somewhere before there is one. */
  readonly policies: NamePolicies;
  /** Told when a name that is `pending` has been called. */
  readonly onWanted: (name: string) => void;
}

/** How long callers of a listener that is closed may leave their connection unused. */
const LEAVE_MS = 5_000;

export class DataPlane implements Plane {
  readonly stackParts: stacks.StackParts;
  readonly #log: ProcessLog;
  readonly #destinations: Destinations;
  readonly #interception: Interception;
  readonly #listeners = new Map<string, Listener>();
  /** Closed, with callers that have not left yet. */
  readonly #leaving = new Set<Listener>();
  /** Connections that listeners had hung up on which are gone, by direction. */
  #hungUpBefore: Record<string, number> = {};
  #outbound: Handler = () => Promise.reject(new Error("the data plane has not been started"));

  constructor(settings: PlaneSettings, log: ProcessLog) {
    this.#log = log;
    this.stackParts = createStackParts({
      clock: systemClock,
      random: systemRandom,
      threadOffsetMs,
      log: log.log,
      loadMeter: new LoadMeter(settings.counts?.inFlight, settings.counts?.place),
      ...(settings.inheritDeadlines === "none"
        ? {}
        : { inheritance: new Inheritance(settings.inheritDeadlines) }),
      wayIn: settings.wayIn,
      retrySwitch: settings.retrySwitch,
      writeAccess: settings.accessLog ? log.writeAccess : undefined,
      overload:
        settings.overload === undefined ? undefined : new OverloadMonitor(settings.overload, systemClock),
      faults: settings.mayInject ? new Faults() : undefined,
    });
    this.#destinations = new Destinations(this.stackParts, settings.onWanted, settings.policies);
    this.#interception = new Interception(this.stackParts, this.#destinations);
  }

  get upstreams(): ReadonlyMap<string, Upstream> {
    return this.#destinations.upstreams;
  }

  get listeners(): readonly Listener[] {
    return [...this.#listeners.values(), ...this.#leaving];
  }

  async start(plan: Plan, at: PlaneAddresses = {}): Promise<PlaneAddresses> {
    this.situate(plan.situation);
    this.stackParts.overload?.start();
    for (const [name, leads] of Object.entries(plan.destinations)) this.#destinations.lead(name, leads, {});
    this.#outbound = stacks.outbound(this.stackParts, plan.routes, this.#destinations.handlers);
    this.#interception.routes = plan.routes;
    const addresses: Record<string, ListenAddress> = {};
    try {
      for (const [name, listener] of Object.entries(plan.listeners))
        addresses[name] = (await this.listen(name, listener, at[name]))!;
    } catch (thrown) {
      await this.destroy();
      throw thrown;
    }
    return addresses;
  }

  lead(
    name: string,
    leads: Leads | undefined,
    endpoints: Readonly<Record<string, readonly Endpoint[]>>,
  ): void {
    this.#destinations.lead(name, leads, endpoints);
    this.#interception.changed();
  }

  async listen(
    name: string,
    plan: ListenerPlan | undefined,
    at?: ListenAddress,
  ): Promise<ListenAddress | undefined> {
    const before = this.#listeners.get(name);
    if (before !== undefined) {
      this.#listeners.delete(name);
      this.#close(before);
    }
    if (plan === undefined) return undefined;
    const listener = this.#createListener(plan);
    const address = await listener.start(at);
    this.#listeners.set(name, listener);
    return address;
  }

  update(key: string, endpoints: readonly Endpoint[]): void {
    this.upstreams.get(key)?.update(endpoints);
    this.#interception.changed();
  }

  situate(situation: Situation): void {
    this.#destinations.situate(situation);
  }

  force({ of, state, forMs }: BreakerCommand): void {
    const forced = state === "auto" ? undefined : state;
    if ("route" in of) this.stackParts.routeBreakers.force(of.route, forced, forMs);
    else this.upstreams.get(of.upstream)?.breakers.force(of.endpoint, forced, forMs);
  }

  injectFaults(faults: readonly RunningFault[]): void {
    this.stackParts.faults?.replace(faults, systemClock.now());
  }

  async report(): Promise<PlaneReport> {
    const nowMs = systemClock.now();
    return {
      upstreams: this.#destinations.counts(),
      endpoints: Object.fromEntries(
        [...this.upstreams].map(([key, upstream]) => [key, endpointViews(upstream, nowMs)]),
      ),
      routeBreakers: this.stackParts.routeBreakers.views(nowMs),
      calls: this.#destinations.calls(),
      requests: this.listeners.flatMap((listener) => requestViews(listener.exchanges, nowMs)),
      inFlight: this.#perDirection((listener) => listener.exchanges.size),
      connections: this.#perDirection((listener) => listener.connections),
      connectionsRefused: summed([this.#perDirection(({ hungUp }) => hungUp), this.#hungUpBefore]),
      tally: this.stackParts.tally.counted(),
      overload: this.stackParts.overload?.report(),
      faults: this.stackParts.faults?.counts() ?? {},
      fallbacks: this.stackParts.fallbacks.counts(),
      thread: threadUse(),
      tcpBytes: this.stackParts.tcpTally.counts(),
      intercepted: this.#interception.counts(),
    };
  }

  drain(leaving: Leaving): Promise<void> {
    this.stackParts.loadMeter.isLeaving = true;
    const those = (direction: string) =>
      this.listeners.filter((listener) => listener.direction === direction);
    return drain({
      ...leaving,
      clock: systemClock,
      log: this.#log.log,
      inbound: those("inbound"),
      outbound: those("outbound"),
    });
  }

  async destroy(): Promise<void> {
    this.stackParts.overload?.stop();
    for (const listener of this.listeners) listener.destroy();
    this.#destinations.stop();
    this.stackParts.routeBreakers.stop();
  }

  setLogLevel(level: ProcessLog["level"]): void {
    this.#log.level = level;
  }

  setRetries(enabled: boolean): void {
    this.stackParts.retrySwitch.enabled = enabled;
  }

  #createListener(plan: ListenerPlan): Listener {
    const { direction, options, leadsTo, protocol, intercept } = plan;
    const { clock, log, tcpTally } = this.stackParts;
    const isRouted = direction === "outbound" || protocol === "tcp";
    return new Listener({
      direction,
      options,
      clock,
      log,
      newRequestId,
      handle: this.#handlerOf(plan),
      protocol,
      tcpTally,
      accept: intercept === undefined ? undefined : this.#interception.acceptor(direction, intercept),
      ...(leadsTo === undefined || !isRouted ? {} : { boundUpstream: leadsTo }),
    });
  }

  #handlerOf({ direction, leadsTo, policy, protocol }: ListenerPlan): Handler {
    const { handlers } = this.#destinations;
    if (protocol === "tcp") return tcp(this.stackParts, handlers, policy);
    if (direction === "outbound") return this.#outbound;
    return stacks.inbound(this.stackParts, handlers, leadsTo!, policy);
  }

  /** Closes the port at once, and lets what has begun finish. */
  #close(listener: Listener): void {
    this.#leaving.add(listener);
    listener.stopAccepting();
    listener.beginDrain(LEAVE_MS);
    systemClock.schedule(LEAVE_MS, () => listener.closeIdle());
    void listener
      .until(() => listener.connections === 0)
      .then(() => {
        this.#leaving.delete(listener);
        this.#hungUpBefore = summed([this.#hungUpBefore, { [listener.direction]: listener.hungUp }]);
      });
  }

  #perDirection(count: (listener: Listener) => number): Record<string, number> {
    const counts: Record<string, number> = { outbound: 0 };
    for (const listener of this.listeners)
      counts[listener.direction] = (counts[listener.direction] ?? 0) + count(listener);
    return counts;
  }
}
