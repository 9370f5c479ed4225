/**
 * How a service-resolver wants a choice to be made among the instances of a target.
 */
import { COOKIE_NAME, COOKIE_PATH } from "../../core/index.ts";
import { field, list, text } from "../json-values.ts";
import { count, durationMs } from "./values.ts";

export interface ChainBalancing {
  /** In Consul's words: `least_request`, `ring_hash`. Undefined when nothing is said. */
  readonly policy: string | undefined;
  readonly choices: number | undefined;
  readonly minimumRingSize: number | undefined;
  readonly maximumRingSize: number | undefined;
  /** What a request is known by, in order. */
  readonly hash: readonly ChainHash[];
  /** Cookies that the proxy is to set and cannot, as they would be another field than what was meant: their names. */
  readonly notSet: readonly string[];
}

export type ChainHash =
  | { readonly of: "header" | "query"; readonly name: string }
  | {
      readonly of: "cookie";
      readonly name: string;
      /** How it is set for a caller that has none; undefined where it is only read. */
      readonly sets?: { readonly ttlMs: number; readonly path: string };
    }
  | { readonly of: "source" };

/** Nothing said. */
export const NO_BALANCING: ChainBalancing = {
  policy: undefined,
  choices: undefined,
  minimumRingSize: undefined,
  maximumRingSize: undefined,
  hash: [],
  notSet: [],
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
  const hash: ChainHash[] = [];
  const notSet: string[] = [];
  for (const key of policies.flatMap((hashPolicy) => readHash(hashPolicy) ?? [])) {
    const isWritten = key.of !== "cookie" || key.sets === undefined || isWritable(key.name, key.sets.path);
    if (!isWritten) notSet.push(key.name);
    hash.push(isWritten ? key : { of: "cookie", name: key.name });
  }
  return {
    policy,
    choices: count(field(field(balancer, "LeastRequestConfig"), "ChoiceCount")),
    minimumRingSize: count(field(ring, "MinimumRingSize")),
    maximumRingSize: count(field(ring, "MaximumRingSize")),
    hash,
    notSet,
  };
}

function readHash(policy: unknown): ChainHash | undefined {
  if (field(policy, "SourceIP") === true) return { of: "source" };
  const kind = text(field(policy, "Field")) ?? "";
  const name = text(field(policy, "FieldValue"));
  const of = Object.hasOwn(FIELDS, kind) ? FIELDS[kind] : undefined;
  if (of === undefined || name === undefined) return undefined;
  if (of !== "cookie") return { of, name: of === "header" ? name.toLowerCase() : name };
  const sets = readCookie(field(policy, "CookieConfig"));
  return { of, name, ...(sets === undefined ? {} : { sets }) };
}

/**
 * As Consul makes Envoy's configuration of it: a cookie is set when it has a life or is one of a session, which goes first. Without a
 * path Envoy says none, and a browser takes that of the request; a session is for the whole service.
 */
function readCookie(config: unknown): { readonly ttlMs: number; readonly path: string } | undefined {
  const lifeMs = field(config, "Session") === true ? 0 : durationMs(field(config, "TTL")) || undefined;
  if (lifeMs === undefined || lifeMs < 0) return undefined;
  return { ttlMs: lifeMs, path: text(field(config, "Path")) ?? "/" };
}

/** Whoever may write to the registry must not write header fields. */
function isWritable(name: string, path: string): boolean {
  return COOKIE_NAME.test(name) && COOKIE_PATH.test(path);
}
