/**
 * What a data plane is to do, as plain values: which ports are open, where names lead, and what each upstream is like.
 *
 * Not the configuration itself: much of what a data plane does is learned while it runs, from the definition of a
 * sidecar in Consul and from the routes, splits and fail-overs of a service. Both end up here, and a data plane in this
 * thread or another is told one name or one listener at a time.
 */
import type { NamePolicy, RoutePolicy } from "../core/index.ts";
import type { RetryOptions } from "../resilience/index.ts";
import type { ListenerOptions } from "./downstream/index.ts";
import type { Rewrite } from "./rewrite.layer.ts";
import type { RouteOptions } from "./route.ts";
import type { InterceptPlan } from "./transparent/index.ts";
import type { Protocol, Situation, UpstreamOptions } from "./upstream/index.ts";

export interface UpstreamPlan {
  /** In the log and in metrics. */
  readonly name: string;
  readonly options: UpstreamOptions;
}

/** A way to an upstream: the same upstream may be reached with another time limit from another route. */
export interface LanePlan {
  /** The key of an upstream of the same destination. */
  readonly upstream: string;
  /** In place of the upstream's `timeouts.requestMs`. */
  readonly requestMs?: number | undefined;
  /** In place of the upstream's retries. */
  readonly retries?: RetryOptions | undefined;
  readonly rewrite?: Rewrite | undefined;
}

/** What a name leads to. */
export interface Destination {
  /** By key; keys are unique among all destinations. */
  readonly upstreams: Readonly<Record<string, UpstreamPlan>>;
  readonly lanes: Readonly<Record<string, LanePlan>>;
  /** The first match wins, its `to` names lanes. Without routes the first lane is taken. */
  readonly routes: readonly RouteOptions[];
}

/** `pending` is a name whose endpoints are looked for when it is first called. */
export type Leads = Destination | "pending";

export interface ListenerPlan {
  readonly direction: "inbound" | "outbound";
  readonly options: ListenerOptions;
  /** The name that every request leads to, whatever its host. */
  readonly leadsTo?: string | undefined;
  /** `tcp` carries connections as they are; it leads to one name. */
  readonly protocol?: Protocol | undefined;
  /** Where the kernel redirects connections to it. */
  readonly intercept?: InterceptPlan | undefined;
  /** What all of its requests ask for; for the way in, as routes have their own. */
  readonly policy?: RoutePolicy | undefined;
}

export interface Plan {
  /** From hosts and paths to names. */
  readonly routes: readonly RouteOptions[];
  /** By name. */
  readonly destinations: Readonly<Record<string, Leads>>;
  /** By a name of their own: `outbound`, `inbound`, `local:orders`. */
  readonly listeners: Readonly<Record<string, ListenerPlan>>;
  /** Where this sidecar stands among those that do the same, as far as it is known at the start. */
  readonly situation: Situation;
}

/** What requests to some names ask for, by the name. */
export type NamePolicies = Readonly<Record<string, NamePolicy>>;

/** The one upstream of a plain destination, under the name itself. */
export function plainDestination(key: string, upstream: UpstreamPlan): Destination {
  return { upstreams: { [key]: upstream }, lanes: { [key]: { upstream: key } }, routes: [] };
}
