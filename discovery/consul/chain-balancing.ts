/**
 * How a service-resolver wants a choice to be made among the instances of a target.
 */
import { count, field, list, text } from "./values.ts";

export interface ChainBalancing {
  /** In Consul's words: `least_request`, `ring_hash`. Undefined when nothing is said. */
  readonly policy: string | undefined;
  readonly choices: number | undefined;
  readonly minimumRingSize: number | undefined;
  readonly maximumRingSize: number | undefined;
  /** What a request is known by, in order. */
  readonly hash: readonly ChainHash[];
  /** Sessions are wanted that begin with a cookie which the proxy sets. */
  readonly setsCookies: boolean;
}

export type ChainHash =
  | { readonly of: "header" | "cookie" | "query"; readonly name: string }
  | { readonly of: "source" };

/** Nothing said. */
export const NO_BALANCING: ChainBalancing = {
  policy: undefined,
  choices: undefined,
  minimumRingSize: undefined,
  maximumRingSize: undefined,
  hash: [],
  setsCookies: false,
};

const FIELDS: Readonly<Record<string, "header" | "cookie" | "query">> = {
  header: "header",
  cookie: "cookie",
  query_parameter: "query",
};

/** @param balancer `LoadBalancer` of a resolver's node */
export function readBalancing(balancer: unknown): ChainBalancing {
  const policy = text(field(balancer, "Policy"));
  if (policy === undefined) return NO_BALANCING;
  const ring = field(balancer, "RingHashConfig");
  const policies = list(field(balancer, "HashPolicies"));
  return {
    policy,
    choices: count(field(field(balancer, "LeastRequestConfig"), "ChoiceCount")),
    minimumRingSize: count(field(ring, "MinimumRingSize")),
    maximumRingSize: count(field(ring, "MaximumRingSize")),
    hash: policies.flatMap((hashPolicy) => readHash(hashPolicy) ?? []),
    setsCookies: policies.some((hashPolicy) => {
      const config = field(hashPolicy, "CookieConfig");
      return config !== undefined && config !== null;
    }),
  };
}

function readHash(policy: unknown): ChainHash | undefined {
  if (field(policy, "SourceIP") === true) return { of: "source" };
  const kind = text(field(policy, "Field")) ?? "";
  const name = text(field(policy, "FieldValue"));
  const of = Object.hasOwn(FIELDS, kind) ? FIELDS[kind] : undefined;
  if (of === undefined || name === undefined) return undefined;
  return { of, name: of === "header" ? name.toLowerCase() : name };
}
