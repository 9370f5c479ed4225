/**
 * The order in which a request meets the proxy. Read this file first.
 *
 * A request passes the list of its listener and what its route asks for, is led to what its name leads to, which is the list
 * of an upstream or further routes to one, is led by `balance` to the list of one endpoint, and is forwarded. Its response
 * comes back the same way.
 */
import {
  type Clock,
  type Exchange,
  type Handler,
  type Layer,
  type Log,
  type NamePolicy,
  ProxyError,
  type Random,
  type RoutePolicy,
  stack,
} from "../core/index.ts";
import {
  type BreakerOptions,
  breakerLayer,
  callerDeadline,
  concurrencyLimit,
  deadline,
  type FallbackTally,
  type Faults,
  fallback,
  hedge,
  type Inheritance,
  injectFaults,
  postponedFaults,
  type RetrySwitch,
  rateLimit,
  retry,
  shadowTimeout,
} from "../resilience/index.ts";
import { type AccessLogWriter, accessLog, metrics, type RequestTally } from "../telemetry/index.ts";
import { healthQuestion, unlessHealth } from "./health-question.layer.ts";
import { ignoreCriticality } from "./ignore-criticality.layer.ts";
import type { OverloadMonitor } from "./overload.ts";
import { answerLoad, type LoadMeter } from "./own-load/index.ts";
import type { LanePlan } from "./plan.ts";
import { rescue } from "./rescue.layer.ts";
import { rewrite } from "./rewrite.layer.ts";
import { route, routeWithin } from "./route.layer.ts";
import type { RouteOptions } from "./route.ts";
import type { RouteBreakers } from "./route-breakers.ts";
import { shed } from "./shed.layer.ts";
import { tcpLayers } from "./tcp-stack.ts";
import type { TcpTally } from "./tcp-tally.ts";
import { balance, forward, heardLoad, load, type Upstream, type UpstreamEndpoint } from "./upstream/index.ts";
import type { WayIn } from "./way-in.ts";
import { wellFormed } from "./well-formed.layer.ts";

/** What the layers are made from. */
export interface StackParts {
  readonly clock: Clock;
  readonly random: Random;
  /** What makes the clock of this thread one that is the same in all threads, in milliseconds. */
  readonly threadOffsetMs?: number | undefined;
  readonly log: Log;
  readonly tally: RequestTally;
  /** What peers are told who ask how loaded the app is. */
  readonly loadMeter: LoadMeter;
  /** Undefined when this sidecar does not look after itself. */
  readonly overload?: OverloadMonitor | undefined;
  /** What is particular to requests that come in; undefined where nothing is. */
  readonly wayIn?: WayIn | undefined;
  /** What requests of the app inherit from those that it answers; undefined when nothing. */
  readonly inheritance?: Inheritance | undefined;
  readonly routeBreakers: RouteBreakers;
  /** Turns retries and hedges off for all upstreams. */
  readonly retrySwitch: RetrySwitch;
  /** Undefined when the access log is off. */
  readonly writeAccess: AccessLogWriter | undefined;
  /** Those that run now; undefined where none may be injected. */
  readonly faults?: Faults | undefined;
  readonly fallbacks: FallbackTally;
  readonly tcpTally: TcpTally;
}

/** What a route may ask for on its way to an upstream. */
export type Lane = Omit<LanePlan, "upstream">;

/** From the app to its peers. */
export function outbound(
  parts: StackParts,
  routes: readonly RouteOptions[],
  names: ReadonlyMap<string, Handler>,
): Handler {
  const layersOf = (of: RouteOptions) => routeLayers(parts, of);
  return stack(listenerLayers(parts), route(routes, names, parts.random, layersOf));
}

/**
 * From the peers to the app: one destination, the app, and nothing to route.
 * @param policy what all of its requests ask for, as those of a route would
 */
export function inbound(
  parts: StackParts,
  destinations: ReadonlyMap<string, Handler>,
  app: string,
  policy?: RoutePolicy,
): Handler {
  const asked = routeLayers(parts, { name: "", policy });
  const layers = parts.wayIn?.healthPath === undefined ? asked : asked.map(unlessHealth);
  return stack([...inboundLayers(parts), ...layers], (exchange) => {
    const toApp = destinations.get(app);
    return toApp === undefined
      ? Promise.reject(new ProxyError("no_route", "there is no app behind this port"))
      : toApp(exchange);
  });
}

/**
 * What stands in front of a name, outermost first. Made once for a name and not whenever it leads somewhere else: what it counts and
 * keeps is not to be lost with a change of endpoints or chains.
 */
export function inFront(parts: StackParts, policy: NamePolicy | undefined): Layer[] {
  return NAME_LAYERS.flatMap(({ of }) => of(parts, policy) ?? []);
}

/** Behind a name that leads to more than one upstream: by its own routes to one of its lanes. */
export function within(
  parts: StackParts,
  routes: readonly RouteOptions[],
  lanes: ReadonlyMap<string, Handler>,
): Handler {
  return routeWithin(routes, lanes, parts.random);
}

/** The way to one upstream; built when its configuration changes, or a route that leads there. */
export function upstream(parts: StackParts, to: Upstream, lane: Lane = {}): Handler {
  const { attempts } = lane.retries ?? to.options.retries;
  const way = stack(upstreamLayers(parts, to, lane), balance(to, attempts > 0));
  const handle: Handler = (exchange) => {
    exchange.upstream = to.name;
    return way(exchange);
  };
  if (to.options.protocol !== "tcp") return handle;
  const refusal = `${to.name} carries no requests but TCP, and is reached by its localPort`;
  return (exchange) =>
    exchange.opaque ? handle(exchange) : Promise.reject(new ProxyError("no_route", refusal));
}

/**
 * The way to one endpoint; built when discovery names it.
 * @param last what stands innermost; the micro benchmark puts an endpoint there that answers at once
 */
export function endpoint(
  parts: StackParts,
  of: Upstream,
  to: UpstreamEndpoint,
  last: Handler = forward(to.pool, of.options.upgrades),
): Handler {
  return stack(endpointLayers(parts, of, to), last);
}

function inboundLayers(parts: StackParts): Layer[] {
  return [
    // Outside telemetry: a peer that asks how loaded the app is, and for nothing else, sends no request of anybody's.
    answerLoad(parts.loadMeter, parts.clock),
    ...listenerLayers(parts, wayInLayers(parts)),
  ];
}

/** What comes in is told apart, and rid of what strangers may not say, before anything goes by it. Only where it is asked for. */
function wayInLayers({ wayIn }: StackParts): Layer[] {
  return [
    ...(wayIn?.healthPath === undefined ? [] : [healthQuestion(wayIn.healthPath)]),
    ...(wayIn?.criticality === "ignore" ? [ignoreCriticality()] : []),
  ];
}

/** @param ofDirection what this direction has besides, behind what a request is read by */
function listenerLayers(parts: StackParts, ofDirection: readonly Layer[] = []): Layer[] {
  return [
    // Outermost, so that refused and failed requests are logged like served ones.
    ...(parts.writeAccess === undefined ? [] : [accessLog(parts.writeAccess)]),
    // Beside it for the same reason: what is not counted did not happen.
    metrics(parts.tally),
    // Inside telemetry, so that what the caller received is what was recorded.
    rescue(parts.log),
    // Before anything reads a field: a request that cannot be read in one way only is not read at all.
    wellFormed(),
    ...ofDirection,
    // Before any work, and behind what a refusal must be seen by. Only where it is asked for.
    ...(parts.overload === undefined ? [] : [shed(parts.overload, parts.random)]),
    // Before the route: also a wait for discovery is bounded by what the caller gives.
    callerDeadline(parts.inheritance),
  ];
}

/** Whoever has a policy: a route, or the whole way in, which has no name. */
interface Policied {
  readonly name: string;
  readonly policy?: RoutePolicy | undefined;
  readonly breaker?: BreakerOptions | undefined;
}

/** A layer that stands in the stack of a route only where its policy asks for it. */
interface RouteLayer {
  readonly name: string;
  /** Undefined where the route does not ask for it. */
  readonly of: (parts: StackParts, route: Policied) => Layer | undefined;
}

/** What a route may ask for, outermost first. */
const ROUTE_LAYERS: readonly RouteLayer[] = [
  {
    // Outermost: what comes too fast costs nothing further in.
    name: "rate-limit",
    of: (parts, { policy }) => policy?.rateLimits && rateLimit(parts, policy.rateLimits),
  },
  {
    // Outside of all that may fail, for which it answers; a caller that is too fast must be told so.
    name: "fallback",
    of: ({ clock, fallbacks }, { policy }) =>
      policy?.fallback && fallback({ clock, tally: fallbacks }, policy.fallback),
  },
  {
    // Before any work is done: what is refused here takes no place in a queue and no retry.
    name: "route-breaker",
    of: ({ routeBreakers }, { name, breaker }) =>
      breaker === undefined || breaker.mode === "off" ? undefined : routeBreakers.layer(name, breaker),
  },
];

/** A layer that stands in front of a name only where it is asked for. */
interface NameLayer {
  readonly name: string;
  readonly of: (parts: StackParts, policy: NamePolicy | undefined) => Layer | undefined;
}

/** What stands in front of a name, outermost first: for all requests that are led there, whether a route matched or not. */
const NAME_LAYERS: readonly NameLayer[] = [
  {
    // In the order of those of a route, for the same reasons.
    name: "rate-limit",
    of: (parts, policy) =>
      policy?.rateLimits && unlessRouted("rateLimits", rateLimit(parts, policy.rateLimits)),
  },
  {
    name: "fallback",
    of: ({ clock, fallbacks }, policy) =>
      policy?.fallback && unlessRouted("fallback", fallback({ clock, tally: fallbacks }, policy.fallback)),
  },
  {
    // Inside all fallbacks, which can be tried with it.
    name: "faults",
    of: ({ clock, random, faults }) => faults && injectFaults({ clock, random, faults }),
  },
];

/** The layer, but for requests whose route has a setting of its own in place of this. */
function unlessRouted(setting: keyof NamePolicy, layer: Layer): Layer {
  return {
    name: layer.name,
    wrap(next: Handler): Handler {
      const inside = layer.wrap(next);
      return (exchange) => (exchange.policy?.[setting] === undefined ? inside : next)(exchange);
    },
  };
}

/**
 * The layers that a route has for itself; made once with the routes. They stand outside of all that belongs to an upstream,
 * so they see a request once, however often it is sent.
 */
function routeLayers(parts: StackParts, route: Policied): Layer[] {
  return ROUTE_LAYERS.flatMap(({ of }) => of(parts, route) ?? []);
}

function upstreamLayers(parts: StackParts, to: Upstream, lane: Lane): Layer[] {
  const { timeouts, retries } = to.options;
  return [
    // Outermost, so that what is sent again is what was sent before. Only where a route asks for it.
    ...(lane.rewrite === undefined ? [] : [rewrite(lane.rewrite)]),
    // Around all that the limit which holds covers. Only where a shorter one is tried.
    ...(timeouts.shadowRequestMs === undefined
      ? []
      : [shadowTimeout(parts.clock, timeouts.shadowRequestMs, "deadline_exceeded")]),
    // Outside the limit, so that waiting for a turn uses up the request's time.
    deadline(parts.clock, { requestMs: lane.requestMs ?? timeouts.requestMs }),
    // Directly inside, as only the deadline is to hear of a fault that holds a request back.
    ...postponed(parts),
    // Outside retry: a request has one permit however often it is sent, and a full upstream refuses before it works.
    concurrencyLimit(parts.clock, to.limit),
    // Outside balance: every attempt may choose another endpoint.
    retry(
      {
        clock: parts.clock,
        random: parts.random,
        budget: to.trying.budget,
        requeueBudget: to.trying.requeueBudget,
        budgetIsShared: to.trying.hedging !== undefined,
        switch: parts.retrySwitch,
        prospect: (exchange, nowMs) => to.choice.prospect(exchange, nowMs),
        onRefused: (_, reason) => to.trying.countRefused(reason),
      },
      lane.retries ?? retries,
    ),
    // Inside retry: to it, attempts side by side are one. Only where the upstream has hedges.
    ...hedgeLayers(parts, to),
  ];
}

function postponed({ clock, random, faults }: StackParts): Layer[] {
  return faults === undefined ? [] : [postponedFaults({ clock, random, faults })];
}

function hedgeLayers({ clock, retrySwitch }: StackParts, to: Upstream): Layer[] {
  const { hedge: options, retries } = to.options;
  const { hedging } = to.trying;
  if (options === undefined || hedging === undefined) return [];
  const parts = {
    clock,
    ...hedging,
    switch: retrySwitch,
    replayBytes: retries.replayBytes,
    hasOther: (exchange: Exchange, nowMs: number) => to.choice.prospect(exchange, nowMs).another,
    onHedge: (outcome: string) => to.trying.countHedge(outcome),
  };
  return [hedge(parts, options)];
}

function endpointLayers(parts: StackParts, of: Upstream, to: UpstreamEndpoint): Layer[] {
  return [
    // Outside the breaker, so that the balancer sees what each attempt cost, refused ones included.
    load(of, to, parts.clock),
    // Inside it, as what an endpoint says of its load is no part of its answer. Only where the algorithm goes by it.
    ...(of.choice.loadProbes === undefined ? [] : [heardLoad(of.choice.loadProbes, to, parts.clock)]),
    // As for the whole request, for each attempt.
    ...(of.options.timeouts.shadowAttemptMs === undefined
      ? []
      : [shadowTimeout(parts.clock, of.options.timeouts.shadowAttemptMs, "attempt_timeout")]),
    // Innermost: it judges the endpoint alone, by the outcome of every single attempt.
    breakerLayer(to.breaker, to.key, of.breakers.rules),
  ];
}

/**
 * The names of the layers for the admin port and the docs, outermost first.
 * @param samples of all kinds of upstreams that there are; each must have an endpoint
 */
export function describeStack(
  parts: StackParts,
  samples: readonly Upstream[],
): Record<string, readonly string[]> {
  const names = (layers: readonly Layer[]) => layers.map(({ name }) => name);
  const listener = names(listenerLayers(parts));
  // All that there are: which of them a route, a name or the way in has is for its policy to say. The way in has no breaker of
  // a route, as that of the app is one.
  const ofRoutes = ROUTE_LAYERS.map(({ name }) => name);
  const ofNames = NAME_LAYERS.map(({ name }) => name);
  return {
    outbound: [...listener, "route"],
    route: [...ofRoutes, "name"],
    inbound: [...names(inboundLayers(parts)), ...ofRoutes.filter((name) => ofNames.includes(name)), "name"],
    tcp: [...names(tcpLayers(parts)), "rate-limit", "name"],
    name: [...ofNames, "lead"],
    // All that any upstream has.
    upstream: [...interleaved(samples.map((of) => names(upstreamLayers(parts, of, {})))), "balance"],
    endpoint: [
      ...interleaved(samples.map((of) => names(endpointLayers(parts, of, of.endpoints[0]!)))),
      "forward",
    ],
  };
}

/** Lists that have one order, each with gaps, as one list without gaps. */
function interleaved(lists: readonly (readonly string[])[]): string[] {
  const whole: string[] = [];
  for (const list of lists)
    for (const [at, name] of list.entries())
      if (!whole.includes(name)) whole.splice(at === 0 ? 0 : whole.indexOf(list[at - 1]!) + 1, 0, name);
  return whole;
}
