/**
 * By which rule what a caller saw agrees with the line of the access log.
 *
 * There is no tolerance: each request has one rule that explains it, or is a fault. What is left open is only what the network leaves open:
 * a caller that has gone away cannot know how far heddle had come, and a reset takes bytes with it that were on their way.
 */
import type { Seen } from "./caller.ts";

/** A line of the access log, as far as it is needed here. */
export interface AccessLine {
  readonly requestId: string;
  readonly direction: string;
  readonly method: string;
  readonly status: number;
  readonly cause?: string;
  readonly upstream?: string;
  readonly route?: string;
  readonly attempts: number;
  readonly hedged?: number;
  readonly responseBytes: number;
}

interface Rule {
  readonly name: string;
  /** @param line undefined where the log has none */
  readonly holds: (seen: Seen, line: AccessLine | undefined) => boolean;
}

/** What may break an answer that has begun, or a tunnel. */
const BREAKS = new Set(["upstream_reset", "response_timeout", "bad_response"]);

/** The status of a request whose caller had gone before there was an answer. */
const NEVER_SENT = 499;
const SWITCHED = 101;

const left = (seen: Seen) => seen.ended === "left";
const isAnswer = (line: AccessLine) => line.cause !== "client_closed" && line.status !== NEVER_SENT;

/** The first that holds is a request's. */
const RULES: readonly Rule[] = [
  {
    name: "answered, and logged with the same status, code and size",
    holds: (seen, line) =>
      seen.ended === "whole" &&
      line?.status === seen.status &&
      line.responseBytes === seen.bytes &&
      causeOf(line) === seen.code,
  },
  {
    name: "broken off in the answer, and logged with what broke it",
    holds: (seen, line) =>
      seen.ended === "broken" &&
      line?.status === seen.status &&
      line.responseBytes >= seen.bytes &&
      BREAKS.has(line.cause ?? ""),
  },
  {
    // A tunnel has two ways: one that has come to its end cannot break any more, and the caller does not hear that the other did.
    name: "a tunnel whose endpoint had ended its side, and lost what its caller still said",
    holds: (seen, line) =>
      seen.ended === "whole" &&
      seen.status === SWITCHED &&
      line?.status === SWITCHED &&
      line.responseBytes === seen.bytes &&
      line.cause === "upstream_reset",
  },
  {
    name: "cut off before an answer by a fault that was injected for testing",
    holds: (seen, line) =>
      seen.ended === "nothing" && line?.status === 503 && line.cause === "fault_injected",
  },
  {
    name: "given up before an answer, and logged as 499 client_closed",
    holds: (seen, line) =>
      left(seen) && seen.status === 0 && line?.status === NEVER_SENT && line.cause === "client_closed",
  },
  {
    name: "given up in the answer, and logged with its status and client_closed",
    holds: (seen, line) =>
      left(seen) &&
      line?.cause === "client_closed" &&
      line.responseBytes >= seen.bytes &&
      (seen.status === 0 || line.status === seen.status),
  },
  {
    name: "given up while the answer was on its way, and logged as answered",
    holds: (seen, line) =>
      left(seen) &&
      line !== undefined &&
      isAnswer(line) &&
      (seen.status === 0 || line.status === seen.status),
  },
  {
    name: "given up before the request was sent, and not logged",
    holds: (seen, line) => left(seen) && !seen.sent && line === undefined,
  },
];

/** The name of the rule that explains a request; undefined where none does. */
export function ruleOf(seen: Seen, line: AccessLine | undefined): string | undefined {
  return RULES.find(({ holds }) => holds(seen, line))?.name;
}

export const RULE_NAMES: readonly string[] = RULES.map(({ name }) => name);

/** As the caller is told: an endpoint's own bad status has no code. */
function causeOf({ cause = "" }: AccessLine): string {
  return cause === "upstream_status" ? "" : cause;
}
