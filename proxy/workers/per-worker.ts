/**
 * The plan of one of several workers: what bounds a number is divided, as each worker counts for itself.
 *
 * Shares are rounded up, so that a small bound does not become none; retries that a budget allows per second need no
 * rounding. Ratios and times hold for a part of the traffic as for the whole, and rate limits are counted together (shared-memory.ts).
 */
import type { NamePolicy } from "../../core/index.ts";
import type { RetryOptions } from "../../resilience/index.ts";
import type { LanePlan, Leads, ListenerPlan, UpstreamPlan } from "../plan.ts";
import type { RouteOptions } from "../route.ts";
import type { Situation } from "../upstream/index.ts";

export function leadsPerWorker(leads: Leads, workers: number): Leads {
  if (leads === "pending") return leads;
  return {
    ...leads,
    upstreams: mapped(leads.upstreams, (plan) => upstreamPerWorker(plan, workers)),
    lanes: mapped(leads.lanes, (plan) => lanePerWorker(plan, workers)),
  };
}

export function listenerPerWorker(plan: ListenerPlan, workers: number): ListenerPlan {
  const maxConnections = Math.ceil(plan.options.maxConnections / workers);
  const policy = plan.policy && policyPerWorker(plan.policy, workers);
  return { ...plan, options: { ...plan.options, maxConnections }, ...(policy && { policy }) };
}

export function routePerWorker(route: RouteOptions, workers: number): RouteOptions {
  return route.policy === undefined ? route : { ...route, policy: policyPerWorker(route.policy, workers) };
}

/** Each keeps good answers of its own, so what they may take is divided. */
export function policyPerWorker<P extends NamePolicy>(policy: P, workers: number): P {
  const { fallback } = policy;
  if (fallback?.lastGood === undefined) return policy;
  const maxBytes = Math.ceil(fallback.lastGood.maxBytes / workers);
  return { ...policy, fallback: { ...fallback, lastGood: { ...fallback.lastGood, maxBytes } } };
}

/** Each worker has connections of its own, so among those that share endpoints each has a place of its own. */
export function situationOfWorker(situation: Situation, number: number, workers: number): Situation {
  const { place } = situation;
  if (place === undefined) return situation;
  return { ...situation, place: { index: place.index * workers + number, count: place.count * workers } };
}

function upstreamPerWorker(plan: UpstreamPlan, workers: number): UpstreamPlan {
  const { limits, retries } = plan.options;
  const share = (bound: number) => Math.ceil(bound / workers);
  return {
    ...plan,
    options: {
      ...plan.options,
      limits: {
        ...limits,
        connections: share(limits.connections),
        pending: share(limits.pending),
        requests: share(limits.requests),
      },
      retries: retriesPerWorker(retries, workers),
    },
  };
}

function lanePerWorker(plan: LanePlan, workers: number): LanePlan {
  if (plan.retries === undefined) return plan;
  return { ...plan, retries: retriesPerWorker(plan.retries, workers) };
}

function retriesPerWorker(retries: RetryOptions, workers: number): RetryOptions {
  const { budget, requeues } = retries;
  const shared = (of: typeof budget) => ({ ...of, minPerSecond: of.minPerSecond / workers });
  return {
    ...retries,
    budget: shared(budget),
    ...(requeues === undefined ? {} : { requeues: { ...requeues, budget: shared(requeues.budget) } }),
  };
}

export function mapped<A, B>(of: Readonly<Record<string, A>>, change: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(of).map(([key, value]) => [key, change(value)]));
}
