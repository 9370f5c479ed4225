/**
 * What there is once in a sidecar, however many data planes: the registry and the other sources, the names that are
 * followed, the definition of the sidecar in Consul, and the registration of the service.
 *
 * It carries no traffic. It turns what it is told into plans, and tells the data planes one change at a time.
 */
import { hostname } from "node:os";
import type { Config } from "../../config/index.ts";
import { delay, type Endpoint, endpointKey, type Timer } from "../../core/index.ts";
import {
  ConsulRegistry,
  createProbe,
  LastGood,
  QuestionLimit,
  Registration,
  type SidecarDefinition,
  SourceFactory,
  type SourceOptions,
  Supply,
  type SupplyView,
  serviceRegistration,
  supplied,
} from "../../discovery/index.ts";
import type { DiscoveryCounts } from "../../telemetry/index.ts";
import { appKey } from "../app-key.ts";
import type { PlaneAddresses } from "../data-plane.ts";
import type { ListenAddress } from "../downstream/index.ts";
import { type ListenerPlan, type Plan, plainDestination } from "../plan.ts";
import { summed } from "../report.ts";
import type { StackParts } from "../stack.ts";
import { wallClock } from "../system.ts";
import type { Planes } from "../workers/index.ts";
import { inboundListener, outboundListeners } from "./intercepted-listeners.ts";
import { type NameSpec, originOf } from "./name-spec.ts";
import { Names } from "./names.ts";
import { Peers } from "./peers.ts";
import { SidecarFollower, type SidecarOf } from "./sidecar-follower.ts";
import { type CentralTuning, planOfSidecar, type SidecarPlan } from "./sidecar-plan.ts";
import { isOfThisMachine, WaysOut } from "./ways-out.ts";

type Parts = Pick<StackParts, "clock" | "random" | "log">;

/** How long a start waits for the first word about what is always followed. */
const FIRST_WORD_MS = 2_000;
/** When a port is tried again that could not be opened, as another process had it. */
const LISTEN_AGAIN_MS = 1_000;
/** What peers need to hear of a maintenance. */
const HEARD_MS = 500;

export class ControlPlane {
  readonly #config: Config;
  readonly #parts: Parts;
  readonly #planes: Planes;
  readonly #registry: ConsulRegistry | undefined;
  readonly #lastGood: LastGood;
  readonly #sources: SourceFactory;
  readonly #questionLimit = new QuestionLimit();
  readonly #names: Names;
  readonly #waysOut = new WaysOut();
  readonly #follower: SidecarFollower | undefined;
  readonly #peers: Peers;
  /** The listeners that the definition of the sidecar asks for. */
  #wanted: SidecarPlan["listeners"] = {};
  /** Those of them that are open. */
  readonly #defined = new Map<string, ListenerPlan>();
  /** Those that could not be opened, which has been said. */
  readonly #refused = new Set<string>();
  #listenAgain: Timer | undefined;
  /** One change of listeners after the other. */
  #listening: Promise<void> = Promise.resolve();
  #app: { readonly key: string; readonly endpoint: Endpoint } | undefined;
  #registration: Registration | undefined;
  #inboundPort: number | undefined;
  #saidWarnings = new Set<string>();
  /** Peers are being told to go elsewhere: no port is opened any more. */
  #leaving = false;
  #stopped = false;

  /** @param environment for what a cluster tells its pods */
  constructor(
    config: Config,
    parts: Parts,
    planes: Planes,
    environment: Readonly<Record<string, string | undefined>>,
  ) {
    this.#config = config;
    this.#parts = parts;
    this.#planes = planes;
    const { consul, outage } = config.discovery;
    const { log, clock } = parts;
    this.#registry = consul === undefined ? undefined : new ConsulRegistry(consul, parts);
    this.#lastGood = new LastGood(outage.copy, outage.policy.keepForMs, { clock, wallClock, log });
    this.#sources = new SourceFactory({ ...parts, registry: this.#registry, environment });
    this.#names = new Names({
      clock,
      log,
      registry: this.#registry,
      lastGood: this.#lastGood,
      idleAfterMs: config.discovery.idleAfterMs,
      createSupply: (key, spec, from, onEndpoints) => this.#createSupply(key, spec, from, onEndpoints),
      outlet: {
        lead: (name, leads, endpoints) => planes.lead(name, leads, endpoints),
        update: (key, endpoints) => planes.update(key, endpoints),
        calls: async () => summed((await planes.reports()).map(({ calls }) => calls)),
      },
    });
    this.#peers = this.#createPeers();
    const of = sidecarOf(config);
    if (of !== undefined && this.#registry !== undefined)
      this.#follower = new SidecarFollower(of, {
        ...parts,
        registry: this.#registry,
        lastGood: this.#lastGood,
        onChange: (definition, central) => this.#apply(definition, central),
      });
  }

  /** What the data planes begin with. */
  get plan(): Plan {
    const { config, service } = { config: this.#config, service: this.#config.service };
    const destinations: Record<string, Plan["destinations"][string]> = {};
    for (const spec of this.#specs()) destinations[spec.name] = Names.unfollowed(spec);
    const listeners: Record<string, ListenerPlan> = outboundListeners(config);
    for (const [name, { localPort, options }] of Object.entries(config.upstreams)) {
      if (localPort === undefined) continue;
      const listen = { host: config.outbound.listener.listen.host, port: localPort };
      listeners[`local:${name}`] = {
        direction: "outbound",
        options: { ...config.outbound.listener, listen },
        leadsTo: name,
        protocol: options.protocol,
      };
    }
    if (service !== undefined) {
      const key = appKey(service);
      const { name, protocol } = service;
      destinations[key] = plainDestination(key, { name, options: { ...config.inbound.app, protocol } });
      const { policy } = config.inbound;
      listeners["inbound"] = {
        ...inboundListener(config),
        leadsTo: key,
        protocol,
        ...(policy && { policy }),
      };
    }
    const { situation } = this.#peers;
    return { routes: namedRoutes(config), destinations, listeners, situation };
  }

  /**
   * Follows what is to be followed from the start, and resolves when it has been heard of, or soon.
   * @param addresses where the listeners of the plan are
   * @throws Error when the agent has no such sidecar as the configuration names
   */
  async start(addresses: PlaneAddresses): Promise<void> {
    const { service } = this.#config;
    this.#waysOut.opened(addresses);
    if (service !== undefined) this.#appIsAt(appKey(service), service);
    this.#inboundPort = addresses["inbound"]?.port;
    this.#peers.start();
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const timer = this.#parts.clock.schedule(FIRST_WORD_MS, resolve);
    await Promise.race([this.#names.set(this.#specs()), over]);
    timer.cancel();
    await this.#follower?.start();
    await this.#listening;
  }

  /** Tells peers where this instance is. */
  register(inbound: ListenAddress): void {
    const { service, discovery } = this.#config;
    if (this.#registry === undefined || service === undefined || discovery.consul?.register !== "self")
      return;
    const registration = serviceRegistration(service, inbound, hostname());
    const { report } = registration;
    this.#registration = new Registration(registration, {
      ...this.#parts,
      client: this.#registry.client,
      probe: createProbe(
        report?.probe ?? { type: "tcp" },
        report?.timeoutMs ?? service.check.timeoutMs,
        this.#parts.clock,
      ),
    });
    this.#registration.start();
  }

  /** A name has been called of which nothing is known. */
  wanted(name: string): void {
    this.#names.wanted(name);
  }

  /** Tells peers to go elsewhere, and resolves when they have heard of it or cannot be told. */
  async leave(): Promise<void> {
    this.#leaving = true;
    this.#listenAgain?.cancel();
    await this.#registration?.stop();
    if (this.#follower === undefined) return;
    await this.#follower.leave();
    await delay(this.#parts.clock, HEARD_MS);
  }

  /** All that lead somewhere, or will when they are called. */
  get names(): readonly string[] {
    return this.#names.all;
  }

  /** By the key of the upstream. */
  views(): Record<string, SupplyView> {
    const views = this.#names.views();
    if (this.#app !== undefined)
      views[this.#app.key] = supplied(this.#app.endpoint.source, [this.#app.endpoint]);
    return views;
  }

  counts(): DiscoveryCounts {
    const sources: Record<string, number> = {};
    for (const view of Object.values(this.#names.views()))
      for (const { state } of view.sources) sources[state] = (sources[state] ?? 0) + 1;
    const counts = this.#registry?.counts ?? { watches: 0, answered: 0, failed: 0 };
    return { ...counts, sources };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#listenAgain?.cancel();
    this.#registration?.abandon();
    this.#follower?.stop();
    this.#peers.stop();
    this.#names.stop();
    this.#registry?.close();
    await this.#lastGood.stop();
  }

  #createPeers(): Peers {
    const { service, upstreams, outbound } = this.#config;
    const isAsked = Object.values(upstreams).some(
      ({ options: { candidates } }) => candidates.zones !== undefined || candidates.aperture > 0,
    );
    const registry = isAsked && service !== undefined ? this.#registry : undefined;
    return new Peers({
      source: registry && this.#sources.create({ kind: "consul", service: service!.name }),
      id: `${service?.id ?? hostname()}:${outbound.listener.listen.port}`,
      zone: outbound.zone ?? service?.zone,
      isOwn: ({ address, port }) =>
        port === this.#inboundPort && (address === service?.advertise || isOfThisMachine(address)),
      onSituation: (situation) => this.#planes.situate(situation),
    });
  }

  #specs(): NameSpec[] {
    const { consul } = this.#config.discovery;
    // With a definition, an upstream without endpoints is what that says, with the options of the file.
    const isDefined = sidecarOf(this.#config) !== undefined;
    return Object.entries(this.#config.upstreams)
      .filter(
        ([, { endpoints, service, from }]) => !isDefined || (endpoints ?? service ?? from) !== undefined,
      )
      .map(([name, upstream]) => ({
        name,
        origin: originOf(name, upstream, consul),
        subset: upstream.subset,
        options: upstream.options,
        healthCheck: upstream.healthCheck,
        follow: upstream.follow,
      }));
  }

  #createSupply(
    key: string,
    { healthCheck, origin, subset }: NameSpec,
    from: readonly SourceOptions[],
    onEndpoints: (endpoints: readonly Endpoint[]) => void,
  ): Supply {
    const { clock } = this.#parts;
    const { outage } = this.#config.discovery;
    const probe =
      healthCheck === undefined
        ? createProbe({ type: "tcp" }, outage.probeTimeoutMs, clock)
        : createProbe(healthCheck.probe, healthCheck.timeoutMs, clock);
    return new Supply(
      // A resolver's targets are tried in order.
      from.map((options) => this.#sources.create(options, subset)),
      { merge: origin.type === "sources" ? origin.merge : "fallback", outage: outage.policy, healthCheck },
      { ...this.#parts, name: key, lastGood: this.#lastGood, probe, questionLimit: this.#questionLimit },
      (endpoints) => onEndpoints(this.#withoutLoops(key, endpoints)),
    );
  }

  /** Without those that are this sidecar itself. */
  #withoutLoops(key: string, endpoints: readonly Endpoint[]): readonly Endpoint[] {
    const usable = endpoints.filter((endpoint) => !this.#waysOut.leadsBack(endpoint));
    if (usable.length === endpoints.length) return endpoints;
    const refused = endpoints.filter((endpoint) => !usable.includes(endpoint)).map(endpointKey);
    this.#parts.log.error(
      { upstream: key, refused },
      "endpoints that are this sidecar's own way out are not used",
    );
    return usable;
  }

  /** The definition of the sidecar, or what concerns it, has changed. */
  #apply(definition: SidecarDefinition, central: CentralTuning): void {
    if (this.#stopped) return;
    const plan = planOfSidecar(definition, central, this.#config);
    const { log } = this.#parts;
    for (const warning of plan.warnings) {
      if (this.#saidWarnings.has(warning)) continue;
      this.#saidWarnings.add(warning);
      log.warn({ proxy: definition.id }, warning);
    }
    if (plan.app !== undefined) {
      this.#planes.lead(plan.app.key, plan.app.destination, {});
      this.#appIsAt(plan.app.key, plan.app);
    }
    const own = this.#specs();
    const taken = new Set(own.map(({ name }) => name));
    void this.#names.set([...own, ...plan.names.filter(({ name }) => !taken.has(name))]);
    this.#wanted = plan.listeners;
    this.#listenSoon();
  }

  #listenSoon(): void {
    this.#listening = this.#listening.then(() => this.#listen());
  }

  /**
   * Opens, moves and closes ports, and leaves alone those that stay. One that cannot be opened takes no other with it, and is
   * tried again: mostly it is that of the process whose place this one takes.
   */
  async #listen(): Promise<void> {
    const { log, clock } = this.#parts;
    const wanted = this.#wanted;
    this.#listenAgain?.cancel();
    for (const name of [...this.#defined.keys()]) {
      if (wanted[name] !== undefined) continue;
      this.#defined.delete(name);
      await this.#planes.listen(name, undefined);
      this.#waysOut.closed(name);
      log.info({ listener: name }, "closed");
    }
    for (const name of this.#refused) if (wanted[name] === undefined) this.#refused.delete(name);
    for (const [name, plan] of Object.entries(wanted)) {
      if (this.#leaving || this.#stopped) return;
      if (JSON.stringify(this.#defined.get(name)) === JSON.stringify(plan)) continue;
      this.#defined.delete(name);
      try {
        const at = await this.#planes.listen(name, plan);
        this.#defined.set(name, plan);
        this.#refused.delete(name);
        if (at !== undefined) this.#waysOut.opened({ [name]: at });
        log.info({ listener: name, at }, "listening");
      } catch (thrown) {
        const facts = { listener: name, listen: plan.options.listen, err: thrown };
        if (!this.#refused.has(name)) log.error(facts, "could not listen; it is tried again and again");
        this.#refused.add(name);
      }
    }
    if (this.#refused.size > 0) this.#listenAgain = clock.schedule(LISTEN_AGAIN_MS, () => this.#listenSoon());
  }

  #appIsAt(key: string, { address, port }: { readonly address: string; readonly port: number }): void {
    const endpoint: Endpoint = { address, port, weight: 1, source: "service" };
    this.#app = { key, endpoint };
    this.#planes.update(key, [endpoint]);
  }
}

/** Where the listeners of the configuration are, for whoever is told when the sidecar is ready. */
export function localPorts(addresses: PlaneAddresses): Record<string, ListenAddress> {
  return Object.fromEntries(
    Object.entries(addresses).flatMap(([name, at]) =>
      name.startsWith("local:") ? [[name.slice("local:".length), at]] : [],
    ),
  );
}

function sidecarOf({ discovery }: Config): SidecarOf | undefined {
  const { sidecarFor, proxyId } = discovery.consul ?? {};
  if (proxyId !== undefined) return { proxyId };
  return sidecarFor === undefined ? undefined : { sidecarFor };
}

/** A route without a name is called by its place. */
function namedRoutes(config: Config): Plan["routes"] {
  return config.routes.map(({ faults: _, ...route }, i) => ({
    ...route,
    name: route.name ?? `routes[${i}]`,
  }));
}
