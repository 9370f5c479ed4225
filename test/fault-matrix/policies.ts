/**
 * The policies of the matrix: what is written into the file for each, what it adds to what callers may be told, which
 * endings of an attempt it repairs, and how many attempts it allows.
 */
import type { BalancingAlgorithm } from "../../balancing/index.ts";
import type { Ending, MatrixFault } from "./faults.ts";

/** A kind of request, by whether and how often it may be sent. */
export type Kind = "GET" | "PUT" | "POST" | "POST with a key";

export const KINDS: readonly Kind[] = ["GET", "PUT", "POST", "POST with a key"];

/** What bounds a kind of further attempts together: so many per request, and so many per second over 10 s. */
export interface Allowance {
  readonly ratio: number;
  readonly minPerSecond: number;
}

export interface Policy {
  readonly name: string;
  /** Round robin unless said, which sends to a bad endpoint for as long as it may: others learn to avoid it. */
  readonly algorithm?: BalancingAlgorithm;
  /** Settings of the upstream besides its endpoints and timeouts. */
  readonly upstream?: string;
  /** Settings of its `timeouts` besides those of the fault. */
  readonly timeouts?: string;
  /** Settings at the top of the file. */
  readonly top?: string;
  /** Settings of a route to the upstream, where there is one. */
  readonly route?: (limits: Limits) => string;
  readonly headers?: (limits: Limits) => Readonly<Record<string, string>>;
  /** What callers may be told by the policy itself, whatever the fault. */
  readonly outcomes?: readonly string[];
  /** Whether breakers may refuse. */
  readonly breaks: boolean;
  /** Whether no caller of this kind sees an error where one of several endpoints has a fault with this ending. */
  readonly repairs: (ending: Ending, kind: Kind, fault: MatrixFault) => boolean;
  readonly retries: Allowance;
  readonly requeues: Allowance;
  /** Attempts of one request at most: the first, retries, requeues, and what is beside each. */
  readonly attempts: number;
}

/** Time limits as they are written. */
export interface Limits {
  readonly connect: string;
  readonly attempt: string;
  readonly request: string;
  readonly idle: string;
  /** Where a policy has a time of its own for the whole request, in milliseconds. */
  readonly ownMs: number;
}

const LONG: Limits = { connect: "10s", attempt: "10s", request: "60s", idle: "10s", ownMs: 10_000 };
/** For what is known only by them. The first attempt is over before a request is. */
export const SHORT: Limits = {
  connect: "500ms",
  attempt: "500ms",
  request: "60s",
  idle: "500ms",
  ownMs: 400,
};

export function limitsFor({ silent }: MatrixFault): Limits {
  return silent ? SHORT : LONG;
}

export const DEFAULT_RETRIES: Allowance = { ratio: 0.2, minPerSecond: 10 };
export const DEFAULT_REQUEUES: Allowance = { ratio: 1, minPerSecond: 10 };

const mayBeRepeated = (kind: Kind) => kind !== "POST";

/** As `retries.on` has it by default: a time limit is no reason to send again. */
function byDefault(ending: Ending, kind: Kind): boolean {
  return ending === "none" || ending === "unsent" || (ending === "lost" && mayBeRepeated(kind));
}

const AS_USUAL = {
  breaks: true,
  repairs: byDefault,
  retries: DEFAULT_RETRIES,
  requeues: DEFAULT_REQUEUES,
  attempts: 5,
} as const;

/** A limit of the whole request that is shorter than a silent attempt leaves no time for another. */
const unlessSilent: Policy["repairs"] = (ending, kind, { silent }) => !silent && byDefault(ending, kind);

export const POLICIES: readonly Policy[] = [
  { ...AS_USUAL, name: "defaults" },
  { ...AS_USUAL, name: "balanced by latency", algorithm: "peakEwma" },
  {
    ...AS_USUAL,
    name: "retries off",
    top: "retries: { enabled: false }",
    repairs: (ending) => ending === "none",
    retries: { ratio: 0, minPerSecond: 0 },
    requeues: { ratio: 0, minPerSecond: 0 },
    attempts: 1,
  },
  {
    ...AS_USUAL,
    name: "no retries",
    upstream: "retries: { attempts: 0 }",
    repairs: (ending) => ending === "none",
    retries: { ratio: 0, minPerSecond: 0 },
    requeues: { ratio: 0, minPerSecond: 0 },
    attempts: 1,
  },
  {
    ...AS_USUAL,
    name: "generous retries",
    upstream:
      "retries: { attempts: 4, on: [connectFailure, reset, timeout, 502, 503, 504], backoff: { base: 1ms, max: 10ms }, " +
      "budget: { ratio: 100%, minPerSecond: 100 }, requeues: { budget: { ratio: 100%, minPerSecond: 100 } } }",
    repairs: (ending, kind) => byDefault(ending, kind) || (ending === "late" && mayBeRepeated(kind)),
    retries: { ratio: 1, minPerSecond: 100 },
    requeues: { ratio: 1, minPerSecond: 100 },
    attempts: 9,
  },
  {
    ...AS_USUAL,
    name: "hedging",
    upstream: "hedge: { after: 20ms, ratio: 100% }",
    repairs: (ending, kind) =>
      byDefault(ending, kind) || (ending === "late" && (kind === "GET" || kind === "PUT")),
    attempts: 10,
  },
  { ...AS_USUAL, name: "breaker off", upstream: "breaker: { mode: off }", breaks: false },
  { ...AS_USUAL, name: "outlier detection off", upstream: "outliers: { enabled: false }" },
  {
    ...AS_USUAL,
    name: "adaptive limit",
    upstream: "limits: { queueTimeout: 60s, adaptive: { enabled: true } }",
  },
  {
    ...AS_USUAL,
    name: "bulkhead with a queue",
    upstream: "limits: { requests: 4, pending: 64, queueTimeout: 60s }",
  },
  {
    ...AS_USUAL,
    name: "static fallback",
    route: () =>
      "fallback: { on: [no_endpoint, breaker_open, overflow, connect_failed, connect_timeout, upstream_reset, " +
      'bad_response, attempt_timeout, deadline_exceeded], status: 200, body: "instead" }',
    outcomes: ["fallback"],
    repairs: (ending, kind) => byDefault(ending, kind) || (kind === "GET" && ending === "late"),
  },
  {
    ...AS_USUAL,
    // Each request asks for something else, so that there is never a last good answer, and a wrong one would be seen.
    name: "last good answer",
    route: () => "fallback: { lastGood: {} }",
  },
  {
    ...AS_USUAL,
    // Tight enough to refuse or to end nearly everything.
    name: "all in shadow mode",
    upstream:
      "breaker: { mode: shadow }, limits: { requests: 1, pending: 0, mode: shadow }, " +
      "rateLimits: [{ requests: 1, per: 1s, mode: shadow }]",
    timeouts: "shadowRequest: 1ms, shadowAttempt: 1ms",
    breaks: false,
  },
  {
    ...AS_USUAL,
    name: "timeouts of a route",
    route: ({ ownMs }) => `timeouts: { request: ${ownMs}ms, attempt: ${ownMs}ms }`,
    outcomes: ["deadline_exceeded"],
    repairs: unlessSilent,
  },
  {
    ...AS_USUAL,
    name: "deadline of the caller",
    headers: ({ ownMs }) => ({ "x-heddle-timeout-ms": `${ownMs}` }),
    outcomes: ["deadline_exceeded"],
    repairs: unlessSilent,
  },
];
