/**
 * The discovery chain of a service: what service-router, service-splitter and service-resolver together make of a call,
 * compiled by the agent, and read here into an ordered list of routes to weighted targets.
 *
 * The agent's answer is a graph whose nodes may share others. It is walked once: a splitter that leads to splitters is
 * multiplied out, so that what is left is flat, and is what heddle's own routes are.
 */
import { field, list, text } from "../json-values.ts";
import { type ChainBalancing, readBalancing } from "./chain-balancing.ts";
import {
  type ChainDestination,
  type ChainHeaders,
  type ChainMatch,
  EVERY_REQUEST,
  mergedEdits,
  NO_HEADERS,
  NOTHING_SPECIAL,
  readDestination,
  readEdits,
  readMatch,
} from "./chain-route.ts";
import { atLeast, bounded, durationMs, limitMs, number } from "./values.ts";
import type { ConsulQuery } from "./watch.ts";

export type { ChainDestination, ChainHeaders, ChainMatch, HeaderEdits, ValueMatch } from "./chain-route.ts";

export interface Chain {
  readonly service: string;
  /** `tcp` also where nothing has been said. */
  readonly protocol: string;
  /** In the order in which they are tried; the last one matches everything. */
  readonly routes: readonly ChainRoute[];
  /** What is in the chain and not done, in words. */
  readonly warnings: readonly string[];
}

export interface ChainRoute {
  /** Its place in Consul's list, of which some may be left out here. */
  readonly place?: number | undefined;
  readonly match: ChainMatch;
  readonly destination: ChainDestination;
  /** Weights are shares of 100. */
  readonly to: readonly {
    readonly weight: number;
    readonly target: ChainTarget;
    readonly headers: ChainHeaders;
  }[];
}

/** Where a resolver leads: one set of instances, and others for when it has none that is well. */
export interface ChainTarget extends TargetInstances {
  readonly connectMs: number | undefined;
  readonly requestMs: number | undefined;
  readonly balancing: ChainBalancing;
  readonly failover: readonly TargetInstances[];
}

export interface TargetInstances {
  readonly id: string;
  readonly service: string;
  readonly subset: string | undefined;
  readonly datacenter: string | undefined;
  readonly namespace: string | undefined;
  readonly partition: string | undefined;
  readonly peer: string | undefined;
  readonly filter: string | undefined;
  readonly onlyPassing: boolean;
}

/** The chain of a service, followed by its index. It always answers, also for a service that nobody has registered. */
export function chainQuery(
  service: string,
  at: {
    readonly datacenter?: string | undefined;
    readonly namespace?: string | undefined;
    /** Any server may answer: there without a leader, like the instances themselves. */
    readonly stale?: boolean | undefined;
  } = {},
): ConsulQuery<Chain> {
  const where = [at.datacenter, at.namespace].filter((part) => part !== undefined);
  return {
    // Also the name of its copy, which a chain of another datacenter must not have.
    name: `consul:chain:${[service, ...where].join("@")}`,
    path: "/discovery-chain/{service}",
    params: { service },
    query: {
      ...(at.datacenter === undefined ? {} : { "compile-dc": at.datacenter }),
      ...(at.namespace === undefined ? {} : { ns: at.namespace }),
      ...(at.stale === true ? { stale: "" } : {}),
    },
    blocks: "index",
    read: readChain,
  };
}

/** @returns undefined when this is no chain */
export function readChain(body: unknown): Chain | undefined {
  const chain = field(body, "Chain");
  const service = text(field(chain, "ServiceName"));
  const start = text(field(chain, "StartNode"));
  if (service === undefined || start === undefined) return undefined;
  const reader = new ChainReader(chain);
  const routes = reader.routes(start);
  if (routes === undefined) return undefined;
  return {
    service,
    protocol: text(field(chain, "Protocol"))?.toLowerCase() ?? "tcp",
    routes,
    warnings: reader.warnings,
  };
}

/** A graph with a circle is not one that an agent compiles; a damaged one must not hang us. */
const MOST_DEPTH = 20;
/** Steps of the walk. Without it, splitters that share splitters would multiply to more than there is memory for. */
const MOST_STEPS = 20_000;

interface Share {
  readonly id: string;
  readonly weight: number;
  readonly headers: ChainHeaders;
  readonly depth: number;
}

class ChainReader {
  readonly #nodes: unknown;
  readonly #targets: unknown;
  readonly #own: Pick<TargetInstances, "datacenter" | "namespace" | "partition">;
  readonly #warnings = new Set<string>();
  /** What has been walked: most routes of a router lead to the same splitter. */
  readonly #walked = new Map<string, ChainRoute["to"] | undefined>();
  #stepsLeft = MOST_STEPS;

  constructor(chain: unknown) {
    this.#nodes = field(chain, "Nodes");
    this.#targets = field(chain, "Targets");
    this.#own = placeOf(chain);
  }

  get warnings(): readonly string[] {
    return [...this.#warnings];
  }

  routes(start: string): ChainRoute[] | undefined {
    const node = field(this.#nodes, start);
    if (field(node, "Type") !== "router") {
      const to = this.#to(start);
      return to === undefined ? undefined : [{ match: EVERY_REQUEST, destination: NOTHING_SPECIAL, to }];
    }
    const routes: ChainRoute[] = [];
    for (const [place, route] of list(field(node, "Routes")).entries()) {
      const to = this.#to(field(route, "NextNode"));
      const definition = field(route, "Definition");
      if (to === undefined || typeof definition !== "object" || definition === null) return undefined;
      const warn = (warning: string) => this.#warnings.add(`routes[${place}]: ${warning}`);
      const match = readMatch(field(definition, "Match"), warn);
      if (match === undefined) continue;
      routes.push({ place, match, destination: readDestination(field(definition, "Destination"), warn), to });
    }
    return routes.length === 0 ? undefined : routes;
  }

  /** The targets behind a node with their shares; undefined when the graph leads nowhere. */
  #to(start: unknown): ChainRoute["to"] | undefined {
    const id = text(start) ?? "";
    if (!this.#walked.has(id)) {
      const to = this.#splits({ id, weight: 100, headers: NO_HEADERS, depth: 0 });
      this.#walked.set(id, to?.some(({ weight }) => weight > 0) === true ? to : undefined);
    }
    return this.#walked.get(id);
  }

  #splits({ id, weight: share, headers, depth }: Share): ChainRoute["to"] | undefined {
    const node = field(this.#nodes, id);
    if (depth > MOST_DEPTH || --this.#stepsLeft < 0) return undefined;
    if (field(node, "Type") === "resolver") {
      const target = this.#target(id, node);
      return target === undefined ? undefined : [{ weight: share, target, headers }];
    }
    if (field(node, "Type") !== "splitter") return undefined;
    const all: ChainRoute["to"][number][] = [];
    for (const split of list(field(node, "Splits"))) {
      const weight = atLeast(0, number(field(split, "Weight"))) ?? 0;
      const definition = field(split, "Definition");
      const inner = this.#splits({
        id: text(field(split, "NextNode")) ?? "",
        weight: (share * weight) / 100,
        headers: {
          request: mergedEdits(headers.request, readEdits(field(definition, "RequestHeaders"))),
          // An answer comes the other way.
          response: mergedEdits(readEdits(field(definition, "ResponseHeaders")), headers.response),
        },
        depth: depth + 1,
      });
      if (inner === undefined) return undefined;
      all.push(...inner);
    }
    return all.length === 0 ? undefined : all;
  }

  #target(id: string, node: unknown): ChainTarget | undefined {
    const resolver = field(node, "Resolver");
    const instances = this.#instances(text(field(resolver, "Target")));
    if (instances === undefined) return undefined;
    const failover = field(resolver, "Failover");
    const policy = field(failover, "Policy");
    if (
      !["sequential", undefined].includes(text(field(policy, "Mode"))) ||
      list(field(policy, "Regions")).length > 0
    )
      this.#warnings.add(`${id}: the policy of its fail-over is not built; its targets are tried in order`);
    return {
      ...instances,
      connectMs: bounded(atLeast(1, durationMs(field(resolver, "ConnectTimeout")))),
      requestMs: limitMs(field(resolver, "RequestTimeout")),
      balancing: readBalancing(field(node, "LoadBalancer")),
      failover: list(field(failover, "Targets")).flatMap((target) => {
        const other = this.#instances(text(target));
        if (other === undefined)
          this.#warnings.add(`${id}: its fail-over ${JSON.stringify(target)} is not there`);
        return other ?? [];
      }),
    };
  }

  #instances(id: string | undefined): TargetInstances | undefined {
    const target = id === undefined ? undefined : field(this.#targets, id);
    const service = text(field(target, "Service"));
    if (id === undefined || service === undefined) return undefined;
    if (field(target, "External") === true)
      this.#warnings.add(`target ${id}: it is external and may want TLS, which is not built`);
    const place = placeOf(target);
    const subset = field(target, "Subset");
    // Where the chain itself is needs not be said of its targets.
    const elsewhere = (of: keyof typeof place) => (place[of] === this.#own[of] ? undefined : place[of]);
    const datacenter = elsewhere("datacenter");
    const peer = text(field(target, "Peer"));
    const gateway = text(field(field(target, "MeshGateway"), "Mode"));
    // Those who are here are called directly anyway.
    if (gateway !== undefined && gateway !== "none" && (datacenter ?? peer) !== undefined)
      this.#warnings.add(`target ${id}: mesh gateways need TLS, which is not built; it is called directly`);
    return {
      id,
      service,
      subset: text(field(target, "ServiceSubset")),
      datacenter,
      namespace: elsewhere("namespace"),
      partition: elsewhere("partition"),
      peer,
      filter: text(field(subset, "Filter")),
      onlyPassing: field(subset, "OnlyPassing") === true,
    };
  }
}

/** Without Enterprise there is only what that calls `default`, and it may be unsaid. */
function placeOf(value: unknown): Pick<TargetInstances, "datacenter" | "namespace" | "partition"> {
  return {
    datacenter: text(field(value, "Datacenter")),
    namespace: text(field(value, "Namespace")) ?? "default",
    partition: text(field(value, "Partition")) ?? "default",
  };
}
