/**
 * From a discovery chain of Consul to a destination of heddle's own: each distinct target becomes an upstream, each route
 * with its overrides a lane. A decision without I/O.
 *
 * The fail-over of a resolver is not a matter of routing here: it is an upstream with several sources, of which the first
 * that has an endpoint which is well is used. So breakers, limits and budget count for the target as the caller sees it.
 */
import { type BalancingAlgorithm, HASHING_ALGORITHMS } from "../../balancing/index.ts";
import type {
  Chain,
  ChainBalancing,
  ChainMatch,
  ChainTarget,
  SourceOptions,
  TargetInstances,
  ValueMatch,
} from "../../discovery/index.ts";
import type { Destination, LanePlan, UpstreamPlan } from "../plan.ts";
import type { RouteMatch, RouteOptions } from "../route.ts";
import type { Condition } from "../route-condition.ts";
import type { UpstreamOptions } from "../upstream/index.ts";
import { laneOf, onTheWire, type Warn } from "./chain-lane.ts";
import { type NameSpec, NOT_CARRIED, type Origin } from "./name-spec.ts";

export interface NamePlan {
  readonly destination: Destination;
  /** By the key of the upstream, in the order of preference. */
  readonly sources: Readonly<Record<string, readonly SourceOptions[]>>;
  /** What was asked for and is not done, in words. */
  readonly warnings: readonly string[];
}

type ChainOrigin = Extract<Origin, { type: "chain" }>;

export function planOfChain(spec: NameSpec, origin: ChainOrigin, chain: Chain): NamePlan {
  const warnings = new Set(chain.warnings);
  if (NOT_CARRIED.has(chain.protocol))
    warnings.add(`the protocol of ${chain.service} is ${chain.protocol}; heddle speaks HTTP/1.1 to it`);
  const upstreams: Record<string, UpstreamPlan> = {};
  const sources: Record<string, readonly SourceOptions[]> = {};
  const keys = keysOf(spec.name, chain);
  const slowest = slowestByTarget(chain);
  for (const [target, key] of keys) {
    const warn = (warning: string) => warnings.add(`target ${target.id}: ${warning}`);
    upstreams[key] = {
      name: key,
      options: optionsFor(spec.options, origin, target, slowest.get(target.id) ?? 0, warn),
    };
    sources[key] = [target, ...target.failover].map((instances) => sourceOf(instances, origin));
  }
  const lanes = new Lanes();
  const keyById = new Map([...keys].map(([{ id }, key]) => [id, key]));
  const routes: RouteOptions[] = [];
  for (const [i, route] of chain.routes.entries()) {
    const name = `routes[${route.place ?? i}]`;
    const warn = (warning: string) => warnings.add(`${name}: ${warning}`);
    const to = route.to.map(({ weight, target, headers }) => {
      const lane = laneOf(keyById.get(target.id)!, route, headers, spec.options.retries, warn);
      return { upstream: lanes.nameOf(lane), weight };
    });
    routes.push({ name, match: matchOf(route.match), to });
  }
  const destination = flattened({ upstreams, lanes: lanes.plans, routes });
  return { destination, sources, warnings: [...warnings] };
}

/** One lane for everything needs no routes. */
function flattened(destination: Destination): Destination {
  const [route, ...others] = destination.routes;
  const isPlain =
    others.length === 0 &&
    route !== undefined &&
    route.to.length === 1 &&
    Object.keys(route.match).length === 0;
  return isPlain ? { ...destination, routes: [] } : destination;
}

/**
 * The targets of a chain with the keys of their upstreams. The service itself is called by its plain name: without a chain
 * it would be the same upstream. A subset may have the name of another service; then both are called in full.
 */
function keysOf(name: string, chain: Chain): ReadonlyMap<ChainTarget, string> {
  const targets = new Map(chain.routes.flatMap(({ to }) => to.map(({ target }) => [target.id, target])));
  const idsByShort = new Map<string, number>();
  const shorts = [...targets.values()].map((target) => {
    const { service, subset, datacenter, namespace, partition, peer } = target;
    const parts = [
      subset,
      service === chain.service ? undefined : service,
      datacenter,
      namespace,
      partition,
      peer,
    ];
    const short = parts.filter((part) => part !== undefined).join(".");
    idsByShort.set(short, (idsByShort.get(short) ?? 0) + 1);
    return [target, short] as const;
  });
  return new Map(
    shorts.map(([target, short]) => {
      const own = idsByShort.get(short) === 1 ? short : target.id;
      return [target, own === "" ? name : `${name}/${own}`];
    }),
  );
}

/** Ways to upstreams by their names. The same way twice is one lane. */
class Lanes {
  readonly plans: Record<string, LanePlan> = {};
  readonly #names = new Map<string, string>();
  readonly #ways = new Map<string, number>();

  nameOf(lane: LanePlan): string {
    const text = JSON.stringify(lane);
    const known = this.#names.get(text);
    if (known !== undefined) return known;
    const ways = (this.#ways.get(lane.upstream) ?? 0) + 1;
    this.#ways.set(lane.upstream, ways);
    const name = ways === 1 ? lane.upstream : `${lane.upstream}#${ways}`;
    this.#names.set(text, name);
    this.plans[name] = lane;
    return name;
  }
}

/** A route that allows a minute must not be cut by the usual time for an attempt. */
function slowestByTarget({ routes }: Chain): ReadonlyMap<string, number> {
  const slowest = new Map<string, number>();
  for (const { destination, to } of routes)
    for (const { target } of to) {
      const requestMs = destination.requestMs ?? target.requestMs ?? 0;
      slowest.set(target.id, Math.max(slowest.get(target.id) ?? 0, requestMs));
    }
  return slowest;
}

function optionsFor(
  usual: UpstreamOptions,
  { connectMs: tunedMs }: ChainOrigin,
  { balancing: wanted, connectMs, requestMs }: ChainTarget,
  slowestMs: number,
  warn: Warn,
): UpstreamOptions {
  const { timeouts } = usual;
  const request = requestMs ?? timeouts.requestMs;
  // The chain says five seconds where nobody has said anything, which is no reason to wait so long.
  const saidMs = tunedMs ?? (connectMs === CONSULS_CONNECT_MS ? undefined : connectMs);
  return {
    ...usual,
    ...balancedAs(wanted, usual, warn),
    timeouts: {
      ...timeouts,
      connectMs: saidMs ?? timeouts.connectMs,
      requestMs: request,
      attemptMs: Math.max(Math.min(timeouts.attemptMs, request), slowestMs),
    },
  };
}

/** How an endpoint is chosen, as the resolver wants it as far as it can be done. */
function balancedAs(
  { policy, choices, minimumRingSize, maximumRingSize, hash, notSet }: ChainBalancing,
  { balancing, hash: usualHash }: UpstreamOptions,
  warn: Warn,
): Pick<UpstreamOptions, "balancing" | "hash"> {
  const usual = { balancing, hash: usualHash };
  if (policy === undefined) return usual;
  const algorithm = ALGORITHMS.get(policy);
  if (algorithm === undefined) {
    warn(`the policy ${policy} is not built; ${balancing.algorithm} is used`);
    return usual;
  }
  const byHash = HASHING_ALGORITHMS.has(algorithm);
  if (byHash && hash.length === 0) {
    warn(`the policy ${policy} names nothing to go by; ${balancing.algorithm} is used`);
    return usual;
  }
  for (const name of byHash ? notSet : [])
    warn(`the cookie ${JSON.stringify(name)} is gone by and not set: its name or its path is none`);
  return {
    balancing: {
      ...balancing,
      algorithm,
      ...(choices === undefined || choices < 2 ? {} : { choices }),
      ...(minimumRingSize === undefined ? {} : { minimumRingSize }),
      ...(maximumRingSize === undefined
        ? {}
        : { maximumRingSize: Math.max(maximumRingSize, minimumRingSize ?? 1) }),
    },
    hash: byHash ? hash : [],
  };
}

const CONSULS_CONNECT_MS = 5_000;

const ALGORITHMS: ReadonlyMap<string, BalancingAlgorithm> = new Map([
  ["random", "random"],
  ["round_robin", "roundRobin"],
  ["least_request", "leastRequest"],
  ["ring_hash", "ringHash"],
  ["maglev", "maglev"],
]);

function sourceOf(instances: TargetInstances, origin: ChainOrigin): SourceOptions {
  const { connect, stale } = origin;
  const { service, partition, peer, filter, onlyPassing } = instances;
  // A target says where it is only if that is not where the chain was compiled for. A peer is in no datacenter of ours.
  const datacenter = peer === undefined ? (instances.datacenter ?? origin.datacenter) : undefined;
  const namespace = instances.namespace ?? origin.namespace;
  return {
    kind: "consul",
    service,
    connect,
    stale,
    ...(datacenter === undefined ? {} : { datacenter }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(partition === undefined ? {} : { partition }),
    ...(peer === undefined ? {} : { peer }),
    ...(filter === undefined ? {} : { filter }),
    ...(onlyPassing ? { onlyPassing } : {}),
  };
}

function matchOf({ path, ignoreCase, headers, query, methods }: ChainMatch): RouteMatch {
  const conditions: Condition[] = [];
  const exact = path?.type === "exact" && !ignoreCase ? path.value : undefined;
  // Consul's prefix is one of characters: /v1 matches /v10. `/` matches everything.
  if (path !== undefined && exact === undefined && !(path.type === "prefix" && path.value === "/"))
    conditions.push({ of: "path", ignoreCase, test: { type: path.type, value: path.value } });
  const test = ({ type, value }: ValueMatch) => (type === "present" ? { type } : { type, value });
  const wireTest = (match: ValueMatch) => test({ ...match, value: onTheWire(match.value) });
  for (const match of headers)
    conditions.push({
      of: "header",
      name: match.name.toLowerCase(),
      invert: match.invert,
      ignoreCase: match.ignoreCase,
      test: wireTest(match),
    });
  for (const match of query)
    conditions.push({
      of: "query",
      name: match.name,
      invert: match.invert,
      ignoreCase: match.ignoreCase,
      test: test(match),
    });
  return {
    ...(exact === undefined ? {} : { path: exact }),
    ...(methods.length === 0 ? {} : { methods }),
    ...(conditions.length === 0 ? {} : { conditions }),
  };
}
