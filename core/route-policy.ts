/**
 * What a route asks for in place of what is usual for the upstream that it leads to. It is carried by the request, as a route may
 * lead to several upstreams and an upstream be led to by a thousand routes: a stack for each pair would be many.
 */
import type { FallbackPolicy } from "./fallback-policy.ts";

export interface RoutePolicy {
  /** Time for the whole request, in milliseconds. */
  readonly requestMs?: number | undefined;
  /** Time for each attempt until its head, in milliseconds. */
  readonly attemptMs?: number | undefined;
  /** What is retried and how often; back-off and budget stay the upstream's. */
  readonly retries?: RoutedRetries | undefined;
  /** All of them must admit a request. */
  readonly rateLimits?: readonly RateLimitOptions[] | undefined;
  /** Whether and when a second attempt is made beside the first; only where the upstream has hedges at all. */
  readonly hedge?: RoutedHedge | undefined;
  /** What it answers for itself when its upstream cannot. */
  readonly fallback?: FallbackPolicy | undefined;
}

/**
 * What all requests ask for that are led to a name: by a host, by a port of its own, by a route, or by the routes of a chain behind
 * the name. Each setting holds unless the route of a request has its own.
 */
export type NamePolicy = Pick<RoutePolicy, "rateLimits" | "fallback">;

/** How many requests are let through in which time. */
export interface RateLimitOptions {
  /** What callers are told it is called, and the access log. */
  readonly name: string;
  readonly requests: number;
  /** In milliseconds. */
  readonly perMs: number;
  /** How many may come at once after a pause. */
  readonly burst: number;
  /** What has a limit of its own: all requests together, each value of a header field, or each caller's address. */
  readonly by:
    | { readonly of: "all" }
    | { readonly of: "address" }
    | { readonly of: "header"; readonly header: string };
  /** How many callers are told apart; for one limit for all it says nothing. */
  readonly maxKeys: number;
  /** `shadow` counts what would be refused and lets it through. */
  readonly mode: "enforce" | "shadow";
  /** Which answers say what is left: those that refuse, or those that are let through as well. */
  readonly fields: "refused" | "all";
  /** Where the counts are, shared by all workers; one that has none makes its own. See resilience/rate-buckets.ts. */
  readonly counts?: SharedArrayBuffer | undefined;
}

export interface RoutedHedge {
  readonly enabled: boolean;
  /** In place of the upstream's: a time in milliseconds, or a share of the requests that are answered by then. */
  readonly after?: HedgeAfter | undefined;
  readonly attempts?: number | undefined;
}

/** A time, or the time by which this share of first attempts is answered. */
export type HedgeAfter = { readonly ms: number } | { readonly share: number };

export interface RoutedRetries {
  /** Further attempts after the first; 0 is none. */
  readonly attempts: number;
  /** Classes of failures and statuses, as an upstream's retries have them. */
  readonly on?: readonly (string | number)[] | undefined;
}
