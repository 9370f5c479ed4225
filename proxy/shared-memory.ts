/**
 * Memory for what is known once to all workers: the counts of rate limits, and what makes the last good answers of each untrue. It is
 * made before the plan, so that each worker is given the same, and one that takes the place of another goes on where that one stopped.
 */
import type { Config } from "../config/index.ts";
import type { Random, RoutePolicy } from "../core/index.ts";
import { keysOf, rateCounts, sharedChanges } from "../resilience/index.ts";
import type { NamePolicies } from "./plan.ts";

/** The configuration, with a place for the counts of each rate limit, and for the changes that the answers of each fallback have to hear of. */
export function withSharedMemory(config: Config, random: Random): Config {
  const shared = <P extends RoutePolicy>(policy: P): P => {
    const { rateLimits, fallback } = policy;
    const lastGood = config.workers === 1 ? undefined : fallback?.lastGood;
    return {
      ...policy,
      ...(rateLimits && {
        rateLimits: rateLimits.map((limit) => ({ ...limit, counts: rateCounts(keysOf(limit), random) })),
      }),
      ...(lastGood && {
        fallback: { ...fallback, lastGood: { ...lastGood, changes: sharedChanges(random) } },
      }),
    };
  };
  const { inbound, routes, upstreams } = config;
  return {
    ...config,
    inbound: inbound.policy === undefined ? inbound : { ...inbound, policy: shared(inbound.policy) },
    routes: routes.map((route) =>
      route.policy === undefined ? route : { ...route, policy: shared(route.policy) },
    ),
    upstreams: Object.fromEntries(
      Object.entries(upstreams).map(([name, upstream]) => [
        name,
        upstream.policy === undefined ? upstream : { ...upstream, policy: shared(upstream.policy) },
      ]),
    ),
  };
}

/** What requests to each upstream ask for, of those that have such a policy. */
export function namePolicies({ upstreams }: Config): NamePolicies {
  return Object.fromEntries(
    Object.entries(upstreams).flatMap(([name, { policy }]) => (policy === undefined ? [] : [[name, policy]])),
  );
}
