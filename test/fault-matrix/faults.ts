/**
 * The faults of the matrix: how each is made, what a request that meets it comes to, and what its callers may be told.
 *
 * Silent ones are known by a time limit alone, so that theirs are short. All others say of themselves that they are there, and
 * have limits that nothing reaches: a machine that is busy must not look like a fault.
 */
import type { Fault } from "../support/fault-injector.ts";

/**
 * What an attempt comes to: the request was not sent (`unsent`), nobody knows whether it was processed (`lost`), the time was up
 * (`late`), or its answer broke after it had begun (`begun`). `garbled` may be any of these or a wrong answer, and with
 * `none` it is answered.
 */
export type Ending = "none" | "unsent" | "lost" | "late" | "begun" | "garbled";

export interface MatrixFault {
  readonly name: string;
  /** For the page. */
  readonly says: string;
  readonly fault: Fault;
  /**
   * What becomes of the connections that are pooled when it sets in: they meet it (`meet`), or they are reset (`reset`). For
   * what concerns only those that are made, none is (`none`).
   */
  readonly pooled: "meet" | "reset" | "none";
  readonly ending: Ending;
  /** Whether only a time limit tells of it. */
  readonly silent: boolean;
  /** What callers may see besides the app's answer: codes of docs/errors.md, `cut`, or `wrong`. */
  readonly outcomes: readonly string[];
}

type Course = Pick<MatrixFault, "pooled" | "ending" | "silent" | "outcomes">;

/** What most faults come to, all of which pooled connections meet. */
const WELL: Course = { pooled: "meet", ending: "none", silent: false, outcomes: [] };
const LOST: Course = { pooled: "meet", ending: "lost", silent: false, outcomes: ["upstream_reset"] };
const LATE: Course = { pooled: "meet", ending: "late", silent: true, outcomes: ["attempt_timeout"] };
/** Where head and reset are read together, nothing has been passed on yet. */
const BEGUN: Course = { pooled: "meet", ending: "begun", silent: false, outcomes: ["cut", "upstream_reset"] };

export const FAULTS: readonly MatrixFault[] = [
  {
    name: "none",
    says: "The endpoint is well.",
    fault: { kind: "none" },
    ...WELL,
  },
  {
    name: "refused",
    says: "Nobody listens.",
    fault: { kind: "refuse" },
    pooled: "none",
    ending: "unsent",
    silent: false,
    outcomes: ["connect_failed"],
  },
  {
    name: "crashed",
    says: "Pooled connections are reset, and nobody listens any more.",
    fault: { kind: "refuse" },
    pooled: "reset",
    ending: "unsent",
    silent: false,
    outcomes: ["connect_failed"],
  },
  {
    name: "black hole",
    says: "A connect has no answer.",
    fault: { kind: "black hole" },
    pooled: "none",
    ending: "unsent",
    silent: true,
    outcomes: ["connect_timeout"],
  },
  {
    name: "reset at accept",
    says: "A connection is made and reset at once.",
    fault: { kind: "reset", at: "accept" },
    ...LOST,
    // The kernel may tell of the connect and of the reset in one.
    outcomes: ["upstream_reset", "connect_failed"],
  },
  {
    name: "reset after the request's head",
    says: "RST when the request's head has come; the app has not heard of it.",
    fault: { kind: "reset", at: "request head" },
    ...LOST,
  },
  {
    name: "reset instead of the answer",
    says: "The app has processed the request, and RST comes in place of its answer.",
    fault: { kind: "reset", at: "answer" },
    ...LOST,
  },
  {
    name: "reset in the middle of the answer",
    says: "RST after the answer's head and half of its body.",
    fault: { kind: "reset", at: "middle of answer" },
    ...BEGUN,
  },
  {
    name: "partial head",
    says: "FIN after half of the answer's head.",
    fault: { kind: "partial write", of: "head" },
    ...LOST,
  },
  {
    name: "partial body",
    says: "FIN after the answer's head and half of its body.",
    fault: { kind: "partial write", of: "body" },
    ...BEGUN,
  },
  {
    name: "half-open",
    says: "The app processes the request, nobody answers, and a FIN is ignored.",
    fault: { kind: "half-open" },
    ...LATE,
  },
  {
    name: "short delay",
    says: "Answers come 10 ms later.",
    fault: { kind: "delay", ms: 10 },
    ...WELL,
  },
  {
    name: "long delay",
    says: "Answers come 2 s later, which is longer than an attempt may take.",
    fault: { kind: "delay", ms: 2_000 },
    ...LATE,
  },
  {
    name: "slow head",
    says: "The answer comes at a byte in 10 ms, from its first on.",
    fault: { kind: "slow drip", everyMs: 10, from: "head" },
    ...LATE,
  },
  {
    name: "slow body",
    says: "The answer's head comes at once, its body at a byte in a millisecond.",
    fault: { kind: "slow drip", everyMs: 1, from: "body" },
    ...WELL,
  },
  {
    name: "corrupt version",
    says: "A bit is flipped in the answer's `HTTP/1.1`.",
    fault: { kind: "corrupt", of: "version" },
    ...LOST,
    outcomes: ["bad_response"],
  },
  {
    name: "corrupt head",
    says: "Two bits are flipped anywhere in the answer's head, which may leave one that is well-formed and wrong.",
    fault: { kind: "corrupt", of: "head", bytes: 2 },
    pooled: "meet",
    ending: "garbled",
    silent: true,
    // A length that is too great is waited for; one that is too small leaves bytes that nobody asked for.
    outcomes: ["bad_response", "upstream_reset", "response_timeout", "attempt_timeout", "cut", "wrong"],
  },
];
